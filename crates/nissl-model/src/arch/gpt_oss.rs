//! gpt-oss: a decoder of experts whose heads may look at nothing, with attention over a window in every other layer.

use serde_json::json;

use super::positions::windows;
use super::{Architecture, Config, Experts, Family, Spec, llama};
use crate::checkpoint::Checkpoint;
use crate::engine::{Activation, Choice};
use crate::error::LoadError;

pub(super) const FAMILY: Family = Family {
    name: "gpt_oss",
    model_types: &["gpt_oss"],
    summary: "as Mixtral, with attention sinks, a window in every other layer, clamped gates, 4-bit experts",
    head: "causal LM",
    fresh: None,
    mark: None,
    read,
};

fn read(config: &Config, _: &Checkpoint) -> Result<Architecture, LoadError> {
    // The same again under other names.
    config.pass_over(&["experts_per_token", "initial_context_length"]);
    config.only("hidden_act", &json!("silu"))?;
    if let Some(group) = config.group("quantization_config")? {
        group.only("quant_method", &json!("mxfp4"))?;
    }
    // Without others, positions are those of the models that were published.
    let yarn = json!({
        "rope_type": "yarn", "rope_theta": 150_000.0, "factor": 32.0, "beta_fast": 32.0, "beta_slow": 1.0,
        "truncate": false, "original_max_position_embeddings": 4096,
    });
    let completed = config.get("rope_scaling").is_none().then(|| config.with_default("rope_parameters", yarn));
    let config = completed.as_ref().unwrap_or(config);
    let mut spec = llama::spec(config)?;
    let bias = config.flag_or("attention_bias", true)?;
    spec.qkv.iter_mut().chain([&mut spec.attn_out]).for_each(|part| part.bias = bias);
    let most = config.number_or("swiglu_limit", 7.0)? as f32;
    let sharpness = config.number_or("swiglu_alpha", 1.702)? as f32;
    if !(most > 0.0 && sharpness.is_finite()) {
        return Err(config.wrong("swiglu_limit", "a number above 0", most));
    }
    let experts = Experts {
        choice: Choice {
            n_experts: config.size("num_local_experts")?,
            n_taken: config.size("num_experts_per_tok")?,
            normalizes: true,
        },
        width: spec.d_mlp,
        router: "layers.{}.mlp.router",
        parts: [
            "layers.{}.mlp.experts.gate_up_proj",
            "layers.{}.mlp.experts.gate_up_proj",
            "layers.{}.mlp.experts.down_proj",
        ],
        shared: None,
        linear: Some(Activation::RaisedClamp { most }),
        stacked: true,
    };
    Ok(Architecture::Transformer(Spec {
        activation: Activation::ClampedSwish { sharpness, most },
        sinks: Some("layers.{}.self_attn.sinks"),
        windows: windows(config, spec.n_layers, |layer| layer.is_multiple_of(2))?,
        ..spec.with_experts(experts)
    }))
}
