//! GRU language models and taggers with PyTorch's weights.
//!
//! A folder is as one of the `lstm` family, but for `"model_type": "gru"`, layers that may be called `gru.` in place of
//! `rnn.`, and no projection.

use serde_json::json;

use super::lstm::pytorch;
use super::recurrent::CellKind;
use super::{Architecture, Config, Family};
use crate::checkpoint::Checkpoint;
use crate::error::LoadError;

pub(super) const FAMILY: Family = Family {
    name: "gru",
    model_types: &["gru"],
    summary: "GRU layers in PyTorch's layout, one or two directions",
    head: "causal LM or tagger",
    fresh: None,
    mark: None,
    read,
};

fn read(config: &Config, checkpoint: &Checkpoint) -> Result<Architecture, LoadError> {
    config.only("rnn_type", &json!("GRU"))?;
    config.only("proj_size", &json!(0))?;
    pytorch(config, checkpoint, CellKind::Gru, &["rnn", "gru"])
}
