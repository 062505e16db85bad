//! The weights of the units of models whose blocks have a state.

use std::ops::Range;

use nissl_core::{HookPoint, Linear, Site};

use super::{head_name, matrix};
use crate::arch::{Block, StateSpace};
use crate::checkpoint::Checkpoint;
use crate::error::LoadError;
use crate::weights::neurons::{Answer, unit_vectors};
use crate::weights::stored::Stored;

/// What units read of the residual stream.
pub(in crate::weights) fn reads(
    checkpoint: &Checkpoint,
    model: &StateSpace,
    point: HookPoint,
    units: Range<usize>,
) -> Answer<Linear> {
    let Block::Mamba(block) = model.block else {
        return Ok(Err("it reads a blend of a token and the one before it: no one row makes it".to_owned()));
    };
    let first = match point.site() {
        Site::MixerIn => 0,
        Site::MixerGate => block.width,
        site => return Ok(Err(format!("no row of a matrix makes a unit of {site}; mixer_in and mixer_gate have one"))),
    };
    let shape = [2 * block.width, model.d_model];
    Ok(
        Ok(Stored { first, ..stored(checkpoint, block.mixer, "in_proj", point, shape, block.biases[0])? }
            .outputs(units)),
    )
}

/// What units add to the residual stream.
pub(in crate::weights) fn writes(
    checkpoint: &Checkpoint,
    model: &StateSpace,
    point: HookPoint,
    units: Range<usize>,
) -> Answer<Linear> {
    let (part, matrix, width, bias) = match model.block {
        Block::Rwkv(block) => (block.parts[0], block.matrices[3], block.n_heads * block.d_head, false),
        Block::Mamba(block) => (block.mixer, "out_proj", block.width, block.biases[0]),
    };
    Ok(Ok(match point.site() {
        Site::MixerZ => stored(checkpoint, part, matrix, point, [model.d_model, width], bias)?.inputs(units),
        Site::MlpPre | Site::MlpPost => {
            return Ok(Err("what it writes is gated by the text: ask for mlp_out".to_owned()));
        }
        Site::Embed | Site::ResidPre | Site::MixerOut | Site::ResidMid | Site::MlpOut | Site::ResidPost => {
            unit_vectors(units, model.d_model)
        }
        _ => return Ok(Err("it writes through the mixer: ask for mixer_z".to_owned())),
    }))
}

/// Rows of the unembedding.
pub(in crate::weights) fn unembedding(
    checkpoint: &Checkpoint,
    model: &StateSpace,
    tokens: Range<usize>,
) -> Result<Linear, LoadError> {
    let name = head_name(checkpoint, model)?.unwrap_or(model.head);
    let weight = matrix(checkpoint, name, [model.d_vocab, model.d_model])?;
    Ok(Stored { weight, transposed: false, first: 0, order: &[], bias: None }.outputs(tokens))
}

fn stored<'a>(
    checkpoint: &'a Checkpoint,
    part: &str,
    name: &str,
    point: HookPoint,
    shape: [usize; 2],
    bias: bool,
) -> Result<Stored<'a>, LoadError> {
    let name = format!("{}.{name}", part.replace("{}", &point.layer().unwrap_or(0).to_string()));
    let bias = bias.then(|| crate::weights::vector(checkpoint, &format!("{name}.bias"), shape[0])).transpose()?;
    let weight = matrix(checkpoint, &format!("{name}.weight"), shape)?;
    Ok(Stored { weight, transposed: false, first: 0, order: &[], bias: bias.map(|bias| bias.values) })
}
