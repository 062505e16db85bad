//! Gemma 2: Gemma with norms before and after attention and MLP, capped scores and logits, and windows.

use super::positions::windows;
use super::{Architecture, Config, Family, Spec, gemma};
use crate::checkpoint::Checkpoint;
use crate::error::LoadError;

pub(super) const FAMILY: Family = Family {
    name: "gemma2",
    model_types: &["gemma2"],
    summary: "as Gemma, norms before and after, capped scores, attention over a window in every other layer",
    head: "causal LM",
    fresh: None,
    mark: None,
    read,
};

fn read(config: &Config, _: &Checkpoint) -> Result<Architecture, LoadError> {
    let spec = spec(config, (Some(50.0), Some(30.0)))?;
    let windows = windows(config, spec.n_layers, |layer| layer.is_multiple_of(2))?;
    Ok(Architecture::Transformer(Spec { windows, ..spec }))
}

/// What Gemma 2 and 3 have in common, with the caps of scores and logits that hold where the config says nothing.
pub(super) fn spec(config: &Config, caps: (Option<f64>, Option<f64>)) -> Result<Spec, LoadError> {
    let spec = gemma::spec(config)?;
    let cap = |field: &str, default: Option<f64>| match (config.is_null(field), default) {
        (true, _) => Ok(None),
        (false, Some(default)) => config.number_or(field, default).map(Some),
        (false, None) => config.get(field).map(|_| config.number(field)).transpose(),
    };
    let (score_cap, logit_cap) = (cap("attn_logit_softcapping", caps.0)?, cap("final_logit_softcapping", caps.1)?);
    if let Some(wrong) = [score_cap, logit_cap].into_iter().flatten().find(|cap| *cap <= 0.0) {
        return Err(config.wrong("attn_logit_softcapping and final_logit_softcapping", "numbers above 0", wrong));
    }
    Ok(Spec {
        activation: config.activation("hidden_activation", "gelu_pytorch_tanh")?,
        score_scale: Some(config.number_or("query_pre_attn_scalar", 256.0)?.powf(-0.5) as f32),
        score_cap: score_cap.map(|cap| cap as f32),
        logit_cap: logit_cap.map(|cap| cap as f32),
        attn_out_norm: Some("layers.{}.post_attention_layernorm"),
        mlp_norm: Some("layers.{}.pre_feedforward_layernorm"),
        mlp_out_norm: Some("layers.{}.post_feedforward_layernorm"),
        ..spec
    })
}
