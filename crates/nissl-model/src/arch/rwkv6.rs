//! RWKV 6 ("Finch"), as Hugging Face's folders name its weights, or as its authors do without config.json.
//!
//! Decays and the shares of the token before are the token's own. Without config.json all sizes are those of the weights.

use super::rwkv::{BLOCK, DIVISOR, by_config, by_weights};
use super::state_space::{RwkvBlock, TimeMix};
use super::{Architecture, Config, Family, Mark};
use crate::checkpoint::Checkpoint;
use crate::error::LoadError;

pub(super) const FAMILY: Family = Family {
    name: "rwkv6",
    model_types: &["rwkv6"],
    summary: "RWKV 6: decays and blends by the token; with config.json or as its authors store it",
    head: "causal LM",
    fresh: None,
    mark: Some(Mark { weight: "blocks.0.att.time_maa_w1", sizes: &[] }),
    read,
};

fn read(config: &Config, checkpoint: &Checkpoint) -> Result<Architecture, LoadError> {
    Ok(Architecture::StateSpace(if config.is_empty() {
        let block = RwkvBlock { time: TimeMix::Finch, ..BLOCK };
        by_weights(checkpoint, "blocks.0.att.time_faaaa", "RWKV 6", block)?
    } else {
        by_config(config, TimeMix::Finch, DIVISOR)?
    }))
}
