//! Mixtral: Mistral with experts in place of the MLP.

use super::positions::windows;
use super::{Architecture, Config, Experts, Family, Spec, llama};
use crate::checkpoint::Checkpoint;
use crate::engine::Choice;
use crate::error::LoadError;

pub(super) const FAMILY: Family = Family {
    name: "mixtral",
    model_types: &["mixtral"],
    summary: "as Mistral, experts that a router chooses",
    head: "causal LM",
    fresh: None,
    mark: None,
    read,
};

fn read(config: &Config, _: &Checkpoint) -> Result<Architecture, LoadError> {
    let spec = llama::spec(config)?;
    let has_window = config.get("sliding_window").is_some();
    let experts = Experts {
        choice: Choice {
            n_experts: config.size_or("num_local_experts", 8)?,
            n_taken: config.size_or("num_experts_per_tok", 2)?,
            normalizes: true,
        },
        width: spec.d_mlp,
        router: "layers.{}.block_sparse_moe.gate",
        parts: [
            "layers.{}.block_sparse_moe.experts.{e}.w1",
            "layers.{}.block_sparse_moe.experts.{e}.w3",
            "layers.{}.block_sparse_moe.experts.{e}.w2",
        ],
        shared: None,
        linear: None,
        stacked: false,
    };
    Ok(Architecture::Transformer(Spec {
        windows: windows(config, spec.n_layers, |_| has_window)?,
        ..spec.with_experts(experts)
    }))
}
