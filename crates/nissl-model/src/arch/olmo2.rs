//! OLMo 2: Llama with norms after attention and MLP instead of before, and norms of all queries and all keys.

use super::{Architecture, Config, Family, QkNorms, Spec, llama};
use crate::checkpoint::Checkpoint;
use crate::engine::NormKind;
use crate::error::LoadError;

pub(super) const FAMILY: Family = Family {
    name: "olmo2",
    model_types: &["olmo2"],
    summary: "as Llama, norms of what attention and MLP add, norms of queries and keys",
    head: "causal LM",
    fresh: None,
    mark: None,
    read,
};

fn read(config: &Config, _: &Checkpoint) -> Result<Architecture, LoadError> {
    let mut spec = llama::spec(config)?;
    let bias = config.flag_or("attention_bias", false)?;
    spec.qkv.iter_mut().chain([&mut spec.attn_out]).for_each(|part| part.bias = bias);
    Ok(Architecture::Transformer(Spec {
        norm: NormKind::Rms { eps: config.number_or("rms_norm_eps", 1e-5)? as f32 },
        attn_norm: None,
        attn_out_norm: Some("layers.{}.post_attention_layernorm"),
        mlp_norm: None,
        mlp_out_norm: Some("layers.{}.post_feedforward_layernorm"),
        qk_norms: Some(QkNorms { q: "layers.{}.self_attn.q_norm", k: "layers.{}.self_attn.k_norm", joint: true }),
        ..spec
    }))
}
