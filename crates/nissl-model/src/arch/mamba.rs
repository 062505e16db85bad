//! Mamba: mixers with a convolution and a selective state-space model, no MLP.

use super::lstm::MAX_LENGTH;
use super::state_space::{Block, MambaBlock, StateSpace};
use super::{Architecture, Config, Family};
use crate::checkpoint::Checkpoint;
use crate::engine::NormKind;
use crate::error::LoadError;

pub(super) const FAMILY: Family = Family {
    name: "mamba",
    model_types: &["mamba"],
    summary: "mixers with a convolution and a selective state-space model",
    head: "causal LM",
    fresh: None,
    mark: None,
    read,
};

fn read(config: &Config, _: &Checkpoint) -> Result<Architecture, LoadError> {
    let d_model = config.size("hidden_size")?;
    // Says again what the width is over that of the stream; and in which order sums are taken, and that the residual
    // stream of a model in 16-bit floats is in 32 bits, as all of it is here.
    config.pass_over(&["expand", "use_associative_scan", "residual_in_fp32"]);
    let width = match config.size_or("intermediate_size", 0)? {
        0 => d_model.saturating_mul(config.size_or("expand", 2)?),
        width => width,
    };
    let automatic = config.get("time_step_rank").is_none_or(|rank| rank == "auto");
    let block = MambaBlock {
        width,
        n_states: config.size_or("state_size", 16)?,
        rank: if automatic { d_model.div_ceil(16) } else { config.size("time_step_rank")? },
        n_taps: config.size_or("conv_kernel", 4)?,
        biases: [config.flag_or("use_bias", false)?, config.flag_or("use_conv_bias", true)?],
        activation: config.activation("hidden_act", "silu")?,
        norm: "backbone.layers.{}.norm",
        mixer: "backbone.layers.{}.mixer",
    };
    Ok(Architecture::StateSpace(StateSpace {
        n_layers: config.layers("num_hidden_layers")?,
        d_model,
        d_vocab: config.size("vocab_size")?,
        n_ctx: MAX_LENGTH,
        norm: NormKind::Rms { eps: config.number_or("layer_norm_epsilon", 1e-5)? as f32 },
        token_embedding: "backbone.embeddings.weight",
        embedding_norm: None,
        final_norm: "backbone.norm_f",
        head: "lm_head.weight",
        tied: config.flag_or("tie_word_embeddings", true)?,
        block: Block::Mamba(block),
    }))
}
