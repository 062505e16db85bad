//! StableLM: Llama with layer norms and rotations of a part of each head.

use serde_json::json;

use super::positions::rope;
use super::{Architecture, Config, Family, Spec, llama};
use crate::checkpoint::Checkpoint;
use crate::engine::NormKind;
use crate::error::LoadError;

pub(super) const FAMILY: Family = Family {
    name: "stablelm",
    model_types: &["stablelm"],
    summary: "as Llama, layer norms, rotations of a part of each head",
    head: "causal LM",
    fresh: None,
    mark: None,
    read,
};

fn read(config: &Config, _: &Checkpoint) -> Result<Architecture, LoadError> {
    config.only("qk_layernorm", &json!(false))?;
    let mut spec = llama::spec(config)?;
    let bias = config.flag_or("use_qkv_bias", false)?;
    spec.qkv.iter_mut().for_each(|part| part.bias = bias);
    let parallel = config.flag_or("use_parallel_residual", false)?;
    Ok(Architecture::Transformer(Spec {
        norm: NormKind::Layer { eps: config.number_or("layer_norm_eps", 1e-5)? as f32 },
        positions: rope(config, spec.d_head, 0.25)?.everywhere(spec.n_layers),
        mlp_norm: spec.mlp_norm.filter(|_| !parallel),
        parallel,
        ..spec
    }))
}
