//! Mistral: Llama whose attention looks back over a window.

use super::positions::windows;
use super::{Architecture, Config, Family, Spec, llama};
use crate::checkpoint::Checkpoint;
use crate::error::LoadError;

pub(super) const FAMILY: Family = Family {
    name: "mistral",
    model_types: &["mistral", "ministral"],
    summary: "as Llama, attention over a sliding window",
    head: "causal LM",
    fresh: None,
    mark: None,
    read,
};

fn read(config: &Config, _: &Checkpoint) -> Result<Architecture, LoadError> {
    let spec = llama::spec(config)?;
    let has_window = config.get("sliding_window").is_some();
    let windows = windows(config, spec.n_layers, |_| has_window)?;
    Ok(Architecture::Transformer(Spec { windows, ..spec }))
}
