//! The weights of models whose blocks have a state.

pub(super) mod neurons;
mod rwkv;

use std::sync::Arc;

use super::Embeddings;
use crate::arch::{Block, MambaBlock, StateSpace};
use crate::blocks::head::Head;
use crate::blocks::mamba::Mamba;
use crate::checkpoint::{Checkpoint, Weight};
use crate::engine::{Kernel, LinearPart, NormKind, Packing, Scan};
use crate::error::LoadError;
use crate::skeletons::{Layer, StateSpace as Network};

/// Checks name and shape of the embeddings.
pub(super) fn embeddings(checkpoint: &Checkpoint, model: &StateSpace) -> Result<Embeddings, LoadError> {
    matrix(checkpoint, model.token_embedding, [model.d_vocab, model.d_model])?;
    let tokens = model.token_embedding.to_owned();
    Ok(Embeddings {
        tokens,
        positions: None,
        token_type: None,
        width: model.d_model,
        scale: 1.0,
        blank: None,
        sines: None,
        source: None,
    })
}

/// Lays out the blocks.
pub(super) fn network<P: Packing>(
    packing: &P,
    checkpoint: &Checkpoint,
    model: &StateSpace,
) -> Result<Network<P>, LoadError> {
    let mut layers = Vec::new();
    for layer in 0..model.n_layers {
        let source = Source { packing, checkpoint, model, layer };
        layers.push(match &model.block {
            Block::Rwkv(block) => Layer::Rwkv(Box::new(source.rwkv(block)?)),
            Block::Mamba(block) => Layer::Mamba(Box::new(source.mamba(block)?)),
        });
    }
    let whole = Source { packing, checkpoint, model, layer: 0 };
    Ok(Network {
        embedding_norm: model.embedding_norm.map(|name| whole.norm(name)).transpose()?,
        layers,
        final_norm: whole.norm(model.final_norm)?,
    })
}

/// The name of the head, if there is one; its shape was checked.
fn head_name(checkpoint: &Checkpoint, model: &StateSpace) -> Result<Option<&'static str>, LoadError> {
    let name = if checkpoint.contains(model.head) {
        model.head
    } else if model.tied {
        model.token_embedding
    } else {
        return Ok(None);
    };
    matrix(checkpoint, name, [model.d_vocab, model.d_model])?;
    Ok(Some(name))
}

/// Whether there is a head, whose name and shape are then checked.
pub(super) fn has_head(checkpoint: &Checkpoint, model: &StateSpace) -> Result<bool, LoadError> {
    Ok(head_name(checkpoint, model)?.is_some())
}

/// Lays out the head.
pub(super) fn head<P: Packing>(packing: &P, checkpoint: &Checkpoint, model: &StateSpace) -> Result<Head<P>, LoadError> {
    let name = head_name(checkpoint, model)?.unwrap_or(model.head);
    let weight = matrix(checkpoint, name, [model.d_vocab, model.d_model])?;
    let decoder = packing.pack(&[LinearPart::new(weight, false, None)]);
    Ok(Head { dense: None, norm: None, decoder, cap: None, scale: None })
}

/// A matrix `[n_out, n_in]`.
fn matrix<'a>(checkpoint: &'a Checkpoint, name: &str, shape: [usize; 2]) -> Result<Weight<'a>, LoadError> {
    Weight::new(checkpoint.tensor(name)?, &shape.map(Some))
}

/// Where the weights of a layer come from.
#[derive(Clone, Copy)]
struct Source<'a, P: Packing> {
    packing: &'a P,
    checkpoint: &'a Checkpoint,
    model: &'a StateSpace,
    layer: usize,
}

impl<P: Packing> Source<'_, P> {
    fn name(&self, pattern: &str) -> String {
        pattern.replace("{}", &self.layer.to_string())
    }

    /// A product of a matrix `[n_out, n_in]`, and of its bias where it has one.
    fn linear(&self, name: &str, [n_out, n_in]: [usize; 2], bias: bool) -> Result<P::Linear, LoadError> {
        let weight = matrix(self.checkpoint, &format!("{name}.weight"), [n_out, n_in])?;
        let bias = bias.then(|| super::vector(self.checkpoint, &format!("{name}.bias"), n_out)).transpose()?;
        Ok(self.packing.pack(&[LinearPart::new(weight, false, bias)]))
    }

    /// A norm of the residual stream.
    fn norm(&self, pattern: &str) -> Result<P::Norm, LoadError> {
        let (name, width) = (self.name(pattern), self.model.d_model);
        let gain = super::vector(self.checkpoint, &format!("{name}.weight"), width)?;
        let has_bias = matches!(self.model.norm, NormKind::Layer { .. });
        let bias = has_bias.then(|| super::vector(self.checkpoint, &format!("{name}.bias"), width)).transpose()?;
        Ok(self.packing.pack_norm(self.model.norm, gain, bias))
    }

    /// So many values, whatever sizes of 1 the file gives them.
    fn values(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, LoadError> {
        let tensor = self.checkpoint.tensor(name)?;
        let real = |shape: &[usize]| shape.iter().copied().filter(|&n| n != 1).collect::<Vec<usize>>();
        if real(tensor.shape) != real(shape) {
            return Err(LoadError::Weight {
                what: "shape",
                name: name.to_owned(),
                expected: format!("{shape:?}"),
                got: format!("{:?}", tensor.shape),
            });
        }
        Ok(self.checkpoint.f32(name, tensor.shape)?.into_owned())
    }

    fn mamba(&self, block: &MambaBlock) -> Result<Mamba<P>, LoadError> {
        let MambaBlock { width, n_states, rank, n_taps, biases: [projection_bias, conv_bias], activation, .. } = *block;
        let (mixer, d_model) = (self.name(block.mixer), self.model.d_model);
        let part = |what: &str| format!("{mixer}.{what}");
        // Both lie column by column; they are used row by row.
        let taps = self.values(&part("conv1d.weight"), &[width, n_taps])?;
        let rates = self.values(&part("A_log"), &[width, n_states])?;
        let bias = conv_bias.then(|| self.values(&part("conv1d.bias"), &[width])).transpose()?;
        let kernel = Kernel { taps: turned(&taps, n_taps), bias: bias.unwrap_or_else(|| vec![0.0; width]) };
        let rates = turned(&rates, n_states).iter().map(|rate| -rate.exp()).collect();
        Ok(Mamba {
            norm: self.norm(block.norm)?,
            inner: self.linear(&part("in_proj"), [2 * width, d_model], projection_bias)?,
            kernel: Arc::new(kernel),
            selection: self.linear(&part("x_proj"), [rank + 2 * n_states, width], false)?,
            rank,
            steps: self.linear(&part("dt_proj"), [width, rank], true)?,
            scan: Arc::new(Scan { rates, skip: self.values(&part("D"), &[width])? }),
            out: self.linear(&part("out_proj"), [d_model, width], projection_bias)?,
            activation,
        })
    }
}

/// A matrix of so many columns, column after column.
fn turned(values: &[f32], n_columns: usize) -> Vec<f32> {
    (0..n_columns).flat_map(|column| values.iter().skip(column).step_by(n_columns).copied()).collect()
}
