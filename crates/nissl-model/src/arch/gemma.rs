//! Gemma: Llama with scaled embeddings, gains that are stored less one, and GELU.

use serde_json::json;

use super::{Architecture, Config, Family, Spec, llama};
use crate::checkpoint::Checkpoint;
use crate::engine::Activation;
use crate::error::LoadError;

pub(super) const FAMILY: Family = Family {
    name: "gemma",
    model_types: &["gemma"],
    summary: "as Llama, scaled embeddings, GELU",
    head: "causal LM",
    fresh: None,
    mark: None,
    read,
};

fn read(config: &Config, _: &Checkpoint) -> Result<Architecture, LoadError> {
    let spec = spec(config)?;
    // Old configs say gelu and mean the approximation.
    let activation = match config.activation("hidden_act", "gelu_pytorch_tanh")? {
        Activation::GeluErf => Activation::GeluTanh,
        other => other,
    };
    let activation =
        config.get("hidden_activation").map_or(Ok(activation), |_| config.activation("hidden_activation", ""))?;
    Ok(Architecture::Transformer(Spec { activation, ..spec }))
}

/// What all Gemmas have in common.
pub(super) fn spec(config: &Config) -> Result<Spec, LoadError> {
    config.only("use_bidirectional_attention", &json!(false))?;
    let mut spec = llama::spec(config)?;
    let bias = config.flag_or("attention_bias", false)?;
    spec.qkv.iter_mut().chain([&mut spec.attn_out]).for_each(|part| part.bias = bias);
    spec.head.tied = config.flag_or("tie_word_embeddings", true)?;
    Ok(Spec { gain_shift: 1.0, embedding_scale: (spec.d_model as f64).sqrt() as f32, ..spec })
}
