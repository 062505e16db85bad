//! Phi-3 and Phi-4: Llama with queries, keys and values in one matrix, and gate and linear branch in another.

use super::positions::windows;
use super::{Architecture, Config, Family, Matrix, Spec, llama};
use crate::checkpoint::Checkpoint;
use crate::engine::NormKind;
use crate::error::LoadError;

pub(super) const FAMILY: Family = Family {
    name: "phi3",
    model_types: &["phi3"],
    summary: "as Llama, fused matrices; contexts as long as the one it was trained on at first",
    head: "causal LM",
    fresh: None,
    mark: None,
    read,
};

fn read(config: &Config, _: &Checkpoint) -> Result<Architecture, LoadError> {
    // Where positions are scaled alone.
    config.pass_over(&["original_max_position_embeddings"]);
    let spec = llama::spec(config)?;
    let has_window = config.get("sliding_window").is_some();
    Ok(Architecture::Transformer(Spec {
        norm: NormKind::Rms { eps: config.number_or("rms_norm_eps", 1e-5)? as f32 },
        qkv: vec![Matrix::linear("layers.{}.self_attn.qkv_proj", false)],
        mlp_in: Matrix::linear("layers.{}.mlp.gate_up_proj", false),
        mlp_linear: None,
        mlp_joint: true,
        windows: windows(config, spec.n_layers, |_| has_window)?,
        ..spec
    }))
}
