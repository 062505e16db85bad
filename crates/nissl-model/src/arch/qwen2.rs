//! Qwen2: Llama with biases of queries, keys and values, and windows from some layer on.

use super::positions::windows;
use super::{Architecture, Config, Family, Spec, llama};
use crate::checkpoint::Checkpoint;
use crate::error::LoadError;

pub(super) const FAMILY: Family = Family {
    name: "qwen2",
    model_types: &["qwen2"],
    summary: "as Llama, biases of queries, keys and values",
    head: "causal LM",
    fresh: None,
    mark: None,
    read,
};

fn read(config: &Config, _: &Checkpoint) -> Result<Architecture, LoadError> {
    Ok(Architecture::Transformer(spec(config)?))
}

/// What Qwen2 and its likes have in common.
pub(super) fn spec(config: &Config) -> Result<Spec, LoadError> {
    let mut spec = llama::spec(config)?;
    spec.qkv.iter_mut().for_each(|part| part.bias = true);
    spec.windows = late_windows(config, spec.n_layers)?;
    Ok(spec)
}

/// The windows of layers that slide from `max_window_layers` on, if they are to slide at all.
pub(super) fn late_windows(config: &Config, n_layers: usize) -> Result<Vec<Option<usize>>, LoadError> {
    if !config.flag_or("use_sliding_window", false)? {
        config.pass_over(&["sliding_window", "max_window_layers", "layer_types"]);
        return Ok(Vec::new());
    }
    let first = config.size_or("max_window_layers", 28)?;
    windows(config, n_layers, |layer| layer >= first)
}
