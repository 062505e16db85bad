//! The weights of single units and tokens, as methods ask for them.

use std::ops::Range;

use ndarray::{Array2, s};
use nissl_core::{HookPoint, Linear, Norm, Stack};

use super::{recurrent, state_space, transformer};
use crate::arch::Architecture;
use crate::checkpoint::Checkpoint;
use crate::error::LoadError;

/// What was asked for, or what to ask for instead.
pub(crate) type Answer<T> = Result<Result<T, String>, LoadError>;

/// The weights of a model's units. Points and ranges were checked.
#[derive(Clone, Copy)]
pub(crate) struct Units<'a> {
    pub(crate) checkpoint: &'a Checkpoint,
    pub(crate) architecture: &'a Architecture,
}

impl Units<'_> {
    pub(crate) fn reads(self, point: HookPoint, units: Range<usize>) -> Answer<Linear> {
        match self.architecture {
            Architecture::Transformer(spec) => transformer::neurons::reads(self.checkpoint, spec, point, units),
            Architecture::EncoderDecoder(both) => {
                transformer::neurons::reads(self.checkpoint, both.of(point.stack()), point, units)
            }
            Architecture::Recurrent(model) => recurrent::neurons::reads(self.checkpoint, model, point, units),
            Architecture::StateSpace(model) => state_space::neurons::reads(self.checkpoint, model, point, units),
        }
    }

    pub(crate) fn reads_state(self, point: HookPoint, units: Range<usize>) -> Answer<Linear> {
        match self.architecture {
            Architecture::Transformer(_) | Architecture::StateSpace(_) | Architecture::EncoderDecoder(_) => {
                Ok(Err("only gates of an LSTM or a GRU read a state".to_owned()))
            }
            Architecture::Recurrent(model) => recurrent::neurons::reads_state(self.checkpoint, model, point, units),
        }
    }

    pub(crate) fn writes(self, point: HookPoint, units: Range<usize>, width: usize) -> Answer<Linear> {
        match self.architecture {
            Architecture::Transformer(spec) => transformer::neurons::writes(self.checkpoint, spec, point, units),
            Architecture::EncoderDecoder(both) => {
                transformer::neurons::writes(self.checkpoint, both.of(point.stack()), point, units)
            }
            Architecture::Recurrent(_) => Ok(recurrent::neurons::writes(point, units, width)),
            Architecture::StateSpace(model) => state_space::neurons::writes(self.checkpoint, model, point, units),
        }
    }

    pub(crate) fn unembedding(self, tokens: Range<usize>) -> Result<Linear, LoadError> {
        match self.architecture {
            Architecture::Transformer(spec) => transformer::neurons::unembedding(self.checkpoint, spec, tokens),
            Architecture::EncoderDecoder(both) => {
                transformer::neurons::unembedding(self.checkpoint, &both.decoder, tokens)
            }
            Architecture::Recurrent(model) => recurrent::neurons::unembedding(self.checkpoint, model, tokens),
            Architecture::StateSpace(model) => state_space::neurons::unembedding(self.checkpoint, model, tokens),
        }
    }

    pub(crate) fn path(self, from: Option<HookPoint>, to: Option<HookPoint>) -> Result<Option<Vec<Norm>>, LoadError> {
        match self.architecture {
            Architecture::Transformer(spec) => transformer::neurons::path(self.checkpoint, spec, from, to),
            Architecture::EncoderDecoder(both) => {
                let stack_of = |point: Option<HookPoint>| point.map_or(Stack::Decoder, HookPoint::stack);
                let is_one = stack_of(from) == stack_of(to) || from.is_none();
                // What the encoder writes is read by the decoder through its own matrices alone.
                if !is_one {
                    return Ok(None);
                }
                transformer::neurons::path(self.checkpoint, both.of(stack_of(to)), from, to)
            }
            Architecture::Recurrent(model) => Ok(recurrent::neurons::is_joined(model, from, to).then(Vec::new)),
            // A norm stands before every reader, and blends of tokens behind most.
            Architecture::StateSpace(_) => Ok(None),
        }
    }

    /// Whether the head has a layer of its own before the unembedding.
    pub(crate) fn has_transform(self) -> bool {
        match self.architecture {
            Architecture::Transformer(spec) => spec.readout.as_ref().is_some_and(|head| head.dense.is_some()),
            Architecture::Recurrent(_) | Architecture::StateSpace(_) | Architecture::EncoderDecoder(_) => false,
        }
    }
}

/// Some unit vectors of a stream, one a row.
pub(super) fn unit_vectors(units: Range<usize>, width: usize) -> Linear {
    let mut weights = Array2::zeros((units.len(), width));
    weights.slice_mut(s![.., units]).diag_mut().fill(1.0);
    Linear { weights, bias: None }
}
