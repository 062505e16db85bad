//! RWKV 5 (5.2, "Eagle"), as Hugging Face's folders name its weights, or as its authors and rwkv.cpp do without
//! config.json.
//!
//! Without config.json all sizes are those of the weights. Decays `[n_heads, d_head]` are stored as ln(-ln(decay)), by
//! rwkv.cpp `[n_heads, d_head, 1]` as they are used. What heads read from the state is divided by `head_size_divisor`
//! before its norm: by 8 in the authors' files, by 1 in rwkv.cpp and where a config does not say.
//!
//! The logits that rwkv.cpp publishes of a model of 12 layers, up to 6.8, are 3.1e-6 from what these equations give in
//! 64-bit floats, and so are ours in 32 bits: the two are up to 3.5e-6 apart.

use super::rwkv::{BLOCK, EPS, by_config, by_weights};
use super::state_space::{RwkvBlock, TimeMix};
use super::{Architecture, Config, Family, Mark};
use crate::checkpoint::Checkpoint;
use crate::error::LoadError;

pub(super) const FAMILY: Family = Family {
    name: "rwkv5",
    model_types: &["rwkv5"],
    summary: "RWKV 5.2: time-mix with a state a head, channel-mix; with config.json or as its authors store it",
    head: "causal LM",
    fresh: None,
    mark: Some(Mark { weight: "blocks.0.att.time_mix_g", sizes: &[] }),
    read,
};

/// What has a state's decays, of each head.
const DECAYS: &str = "blocks.0.att.time_decay";

fn read(config: &Config, checkpoint: &Checkpoint) -> Result<Architecture, LoadError> {
    if !config.is_empty() {
        let shares = ["time_mix_receptance", "time_mix_key", "time_mix_value", "time_mix_gate"];
        let time = TimeMix::Eagle { plain_decays: false, shares };
        return Ok(Architecture::StateSpace(by_config(config, time, 1.0)?));
    }
    let plain_decays = checkpoint.tensor(DECAYS)?.shape.len() == 3;
    let shares = ["time_mix_r", "time_mix_k", "time_mix_v", "time_mix_g"];
    let head_eps = if plain_decays { EPS } else { BLOCK.head_eps };
    let block = RwkvBlock { head_eps, time: TimeMix::Eagle { plain_decays, shares }, ..BLOCK };
    Ok(Architecture::StateSpace(by_weights(checkpoint, DECAYS, "RWKV 5.2", block)?))
}
