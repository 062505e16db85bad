//! Layer norm and RMS norm of rows.

#![expect(clippy::inline_always, reason = "the body is compiled once for each instruction set")]

use std::ops::Range;

use super::Norm;
use super::isa::{Isa, for_each_isa};
use super::math::LANES;
use super::tensor::Tensor;
use crate::engine::NormKind;

/// The norm of every row of x `[T, width]`.
pub(crate) fn norm(isa: Isa, x: &Tensor, kind: NormKind, gain: &[f32], bias: &[f32]) -> Tensor {
    assert_eq!(x.width(), gain.len(), "a norm has one gain a column");
    let mut y = Tensor::new(x.n_rows(), x.width());
    for row in 0..x.n_rows() {
        norm_row(isa, x.row(row), y.row_mut(row), kind, gain, bias);
    }
    y
}

/// The norm of pieces of some columns of x `[T, width]`.
pub(crate) fn norm_columns(isa: Isa, x: &mut Tensor, columns: Range<usize>, norm: &Norm) {
    let width = norm.gain.len();
    assert!(columns.len().is_multiple_of(width), "a norm has one gain a column of a piece");
    let mut normed = vec![0.0; width];
    for row in 0..x.n_rows() {
        for piece in x.row_mut(row)[columns.clone()].chunks_exact_mut(width) {
            norm_row(isa, piece, &mut normed, norm.kind, &norm.gain, &norm.bias);
            piece.copy_from_slice(&normed);
        }
    }
}

for_each_isa! {
    /// The norm of one row.
    fn norm_row(x: &[f32], y: &mut [f32], kind: NormKind, gain: &[f32], bias: &[f32]) = row_body
}

#[inline(always)]
fn row_body(x: &[f32], y: &mut [f32], kind: NormKind, gain: &[f32], bias: &[f32]) {
    let n = x.len() as f32;
    let (mean, eps) = match kind {
        NormKind::Layer { eps } => (sum(x, |v| v) / n, eps),
        NormKind::Rms { eps } => (0.0, eps),
    };
    let variance = sum(x, |v| (v - mean) * (v - mean)) / n;
    let scale = 1.0 / (variance + eps).sqrt();
    for (((y, x), gain), bias) in y.iter_mut().zip(x).zip(gain).zip(bias) {
        *y = ((x - mean) * scale).mul_add(*gain, *bias);
    }
}

/// The sum of `f` over a row: 16 partial sums, joined in a fixed order.
#[inline(always)]
fn sum(x: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    let mut partial = [0.0f32; LANES];
    let chunks = x.chunks_exact(LANES);
    let rest = chunks.remainder();
    for chunk in chunks {
        for (partial, x) in partial.iter_mut().zip(chunk) {
            *partial += f(*x);
        }
    }
    for (partial, x) in partial.iter_mut().zip(rest) {
        *partial += f(*x);
    }
    let mut width = LANES / 2;
    while width > 0 {
        for i in 0..width {
            partial[i] += partial[i + width];
        }
        width /= 2;
    }
    partial[0]
}
