//! Qwen2-MoE: Qwen2 with experts in place of the MLP, and one that every token takes.

use serde_json::json;

use super::transformer::Shared;
use super::{Architecture, Config, Experts, Family, qwen2};
use crate::checkpoint::Checkpoint;
use crate::engine::Choice;
use crate::error::LoadError;

pub(super) const FAMILY: Family = Family {
    name: "qwen2_moe",
    model_types: &["qwen2_moe"],
    summary: "as Qwen2, experts that a router chooses and a shared one",
    head: "causal LM",
    fresh: None,
    mark: None,
    read,
};

fn read(config: &Config, _: &Checkpoint) -> Result<Architecture, LoadError> {
    let mut spec = qwen2::spec(config)?;
    let bias = config.flag_or("qkv_bias", true)?;
    spec.qkv.iter_mut().for_each(|part| part.bias = bias);
    let shared = Shared {
        width: config.size("shared_expert_intermediate_size")?,
        router: "layers.{}.mlp.shared_expert_gate",
        parts: [
            "layers.{}.mlp.shared_expert.gate_proj",
            "layers.{}.mlp.shared_expert.up_proj",
            "layers.{}.mlp.shared_expert.down_proj",
        ],
    };
    Ok(Architecture::Transformer(spec.with_experts(Experts { shared: Some(shared), ..experts(config)? })))
}

/// What the experts of Qwen's models have in common. Every layer must have them.
pub(super) fn experts(config: &Config) -> Result<Experts, LoadError> {
    config.only("decoder_sparse_step", &json!(1))?;
    config.only("mlp_only_layers", &json!([]))?;
    Ok(Experts {
        choice: Choice {
            // Some configs of Qwen3 have the other name.
            n_experts: config.size(if config.get("num_experts").is_some() {
                "num_experts"
            } else {
                "num_local_experts"
            })?,
            n_taken: config.size("num_experts_per_tok")?,
            normalizes: config.flag_or("norm_topk_prob", false)?,
        },
        width: config.size("moe_intermediate_size")?,
        router: "layers.{}.mlp.gate",
        parts: [
            "layers.{}.mlp.experts.{e}.gate_proj",
            "layers.{}.mlp.experts.{e}.up_proj",
            "layers.{}.mlp.experts.{e}.down_proj",
        ],
        shared: None,
        linear: None,
        stacked: false,
    })
}
