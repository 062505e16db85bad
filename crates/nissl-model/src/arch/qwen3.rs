//! Qwen3: Llama with norms of the queries and keys of each head.

use super::qwen2::late_windows;
use super::{Architecture, Config, Family, QkNorms, Spec, llama};
use crate::checkpoint::Checkpoint;
use crate::error::LoadError;

pub(super) const FAMILY: Family = Family {
    name: "qwen3",
    model_types: &["qwen3"],
    summary: "as Llama, norms of the queries and keys of each head",
    head: "causal LM",
    fresh: None,
    mark: None,
    read,
};

fn read(config: &Config, _: &Checkpoint) -> Result<Architecture, LoadError> {
    let spec = spec(config)?;
    if config.get("head_dim").is_none() && spec.d_head != 128 {
        return Err(config.wrong("head_dim", "a whole number", "nothing"));
    }
    Ok(Architecture::Transformer(spec))
}

/// What Qwen3 and its likes have in common.
pub(super) fn spec(config: &Config) -> Result<Spec, LoadError> {
    let mut spec = llama::spec(config)?;
    let bias = config.flag_or("attention_bias", false)?;
    spec.qkv.iter_mut().chain([&mut spec.attn_out]).for_each(|part| part.bias = bias);
    spec.qk_norms = Some(QkNorms { q: "layers.{}.self_attn.q_norm", k: "layers.{}.self_attn.k_norm", joint: false });
    spec.windows = late_windows(config, spec.n_layers)?;
    Ok(spec)
}
