//! Phi-1 and Phi-2: attention and MLP of the same norm, rotations of a part of each head, biases everywhere.

use serde_json::json;

use super::positions::rope;
use super::{Architecture, Config, Family, Matrix, Spec, llama};
use crate::checkpoint::Checkpoint;
use crate::engine::NormKind;
use crate::error::LoadError;

pub(super) const FAMILY: Family = Family {
    name: "phi",
    model_types: &["phi"],
    summary: "attention beside the MLP, rotary positions of a part of each head (Phi-1, Phi-2)",
    head: "causal LM",
    fresh: None,
    mark: None,
    read,
};

fn read(config: &Config, _: &Checkpoint) -> Result<Architecture, LoadError> {
    config.only("qk_layernorm", &json!(false))?;
    let mut spec = llama::spec(config)?;
    spec.qkv.iter_mut().for_each(|part| part.bias = true);
    Ok(Architecture::Transformer(Spec {
        activation: config.activation("hidden_act", "gelu_new")?,
        norm: NormKind::Layer { eps: config.number_or("layer_norm_eps", 1e-5)? as f32 },
        positions: rope(config, spec.d_head, 0.5)?.everywhere(spec.n_layers),
        parallel: true,
        attn_out: Matrix::linear("layers.{}.self_attn.dense", true),
        mlp_in: Matrix::linear("layers.{}.mlp.fc1", true),
        mlp_linear: None,
        mlp_out: Matrix::linear("layers.{}.mlp.fc2", true),
        mlp_norm: None,
        final_norm: Some("final_layernorm"),
        ..spec
    }))
}
