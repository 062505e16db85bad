//! Operations made of those whose gradients candle has right.

use std::ops::Range;

use candle_core::{D, DType, Result, Tensor};
use ndarray::Array2;

use super::{Norm, done};
use crate::engine::{Activation, NormKind};

/// Probabilities of scores, `[n_heads, n_queries, n_keys]`.
pub(super) fn softmax(scores: &Tensor) -> Result<Tensor> {
    let most = scores.max_keepdim(D::Minus1)?.detach();
    let weights = scores.broadcast_sub(&most)?.exp()?;
    weights.broadcast_div(&weights.sum_keepdim(D::Minus1)?)
}

/// `[n, n_heads d_head]` to `[n_query_heads, n, d_head]`, each key/value head repeated for its queries.
pub(super) fn heads(x: &Tensor, d_head: usize, n_query_heads: usize) -> Result<Tensor> {
    let (n, width) = x.dims2()?;
    let n_heads = width / d_head;
    let each = n_query_heads / n_heads;
    let x = x.reshape((n, n_heads, 1, d_head))?.broadcast_as((n, n_heads, each, d_head))?;
    x.reshape((n, n_query_heads, d_head))?.transpose(0, 1)?.contiguous()
}

pub(super) fn array(x: &Tensor) -> Array2<f32> {
    let read = || {
        let (rows, columns) = x.dims2()?;
        let values = x.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?;
        Ok((rows, columns, values))
    };
    let (rows, columns, values) = done(read());
    Array2::from_shape_vec((rows, columns), values).expect("a tensor has as many values as its shape says")
}

pub(super) fn activated(x: &Tensor, activation: Activation) -> Result<Tensor> {
    match activation {
        Activation::GeluErf => ((x / 2f64.sqrt())?.erf()? + 1.0)? * (x * 0.5)?,
        Activation::GeluTanh => {
            let inner = ((x + (x.powf(3.0)? * 0.044_715)?)? * (2.0 / std::f64::consts::PI).sqrt())?;
            (inner.tanh()? + 1.0)? * (x * 0.5)?
        }
        Activation::Relu => x.relu(),
        Activation::Silu => x.silu(),
        Activation::Tanh => x.tanh(),
        Activation::Sigmoid => sigmoid(x),
        Activation::ReluSquared => x.relu()?.sqr(),
        Activation::Softplus => x.relu()? + (x.abs()?.neg()?.exp()? + 1.0)?.log()?,
        Activation::Exp => x.exp(),
        Activation::Cap(most) => (x / f64::from(most))?.tanh()? * f64::from(most),
        Activation::Scale(factor) => x * f64::from(factor),
        Activation::ClampedSwish { sharpness, most } => {
            let x = x.minimum(&Tensor::new(most, x.device())?.to_dtype(x.dtype())?.broadcast_as(x.shape())?)?;
            sigmoid(&(&x * f64::from(sharpness))?)? * x
        }
        Activation::RaisedClamp { most } => {
            let bound = |most: f32| Tensor::new(most, x.device())?.to_dtype(x.dtype())?.broadcast_as(x.shape());
            x.minimum(&bound(most)?)?.maximum(&bound(-most)?)? + 1.0
        }
    }
}

pub(super) fn sigmoid(x: &Tensor) -> Result<Tensor> {
    (x.neg()?.exp()? + 1.0)?.recip()
}

pub(super) fn normed(x: &Tensor, norm: &Norm) -> Result<Tensor> {
    let (x, eps) = match norm.kind {
        NormKind::Layer { eps } => (x.broadcast_sub(&x.mean_keepdim(1)?)?, eps),
        NormKind::Rms { eps } => (x.clone(), eps),
    };
    let size = (x.sqr()?.mean_keepdim(1)? + f64::from(eps))?.sqrt()?;
    let x = x.broadcast_div(&size)?.broadcast_mul(&norm.gain)?;
    norm.bias.as_ref().map_or(Ok(x.clone()), |bias| x.broadcast_add(bias))
}

/// `x` with `middle` in place of its `columns`.
pub(super) fn with_columns(x: &Tensor, columns: &Range<usize>, middle: &Tensor) -> Result<Tensor> {
    let width = x.dim(1)?;
    if columns.len() == width {
        return Ok(middle.clone());
    }
    let left = x.narrow(1, 0, columns.start)?;
    let right = x.narrow(1, columns.end, width - columns.end)?;
    let parts: Vec<&Tensor> = [&left, middle, &right].into_iter().filter(|part| part.elem_count() > 0).collect();
    Tensor::cat(&parts, 1)
}
