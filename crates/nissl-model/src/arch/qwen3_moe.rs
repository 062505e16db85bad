//! Qwen3-MoE: Qwen3 with experts in place of the MLP.

use super::{Architecture, Config, Family, qwen2_moe, qwen3};
use crate::checkpoint::Checkpoint;
use crate::error::LoadError;

pub(super) const FAMILY: Family = Family {
    name: "qwen3_moe",
    model_types: &["qwen3_moe"],
    summary: "as Qwen3, experts that a router chooses",
    head: "causal LM",
    fresh: None,
    mark: None,
    read,
};

fn read(config: &Config, _: &Checkpoint) -> Result<Architecture, LoadError> {
    Ok(Architecture::Transformer(qwen3::spec(config)?.with_experts(qwen2_moe::experts(config)?)))
}
