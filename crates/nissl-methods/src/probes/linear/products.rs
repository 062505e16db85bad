//! Products of the matrix with weights and slopes: single precision within [`CHUNK`] rows, double between.

use std::ops::Range;

use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView2, ArrayViewMut2, s};
use nissl_core::MethodError;
use rayon::prelude::*;

use super::loss::CHUNK;
use crate::probes::design::{Design, view};

/// Slope of the mean loss by the weights of a piece, `[columns, K]`, from the slopes of its first rows, `[N, K]`.
pub(crate) fn gradient(x: &ArrayView2<'_, f32>, slopes: &[f32], k: usize) -> Vec<f64> {
    gradient_of_some(x, slopes, k, 1)
}

/// The same over every so many-th [`CHUNK`] of the rows.
pub(super) fn gradient_of_some(x: &ArrayView2<'_, f32>, slopes: &[f32], k: usize, every: usize) -> Vec<f64> {
    let n = slopes.len() / k;
    let mut seen = 0;
    let r = ArrayView2::from_shape((n, k), slopes).expect("a slope for each row and output");
    let mut sum = vec![0.0; x.ncols() * k];
    let mut part = Array2::zeros((x.ncols(), k));
    for first in (0..n).step_by(CHUNK * every) {
        let rows = first..n.min(first + CHUNK);
        seen += rows.len();
        general_mat_mul(1.0, &x.slice(s![rows.clone(), ..]).t(), &r.slice(s![rows, ..]), 0.0, &mut part);
        sum.iter_mut().zip(&part).for_each(|(sum, &part)| *sum += part as f64);
    }
    sum.into_iter().map(|sum| sum / seen as f64).collect()
}

/// Products of the columns of two pieces over their first `n` rows, over n.
pub(super) fn gram(a: &ArrayView2<'_, f32>, b: &ArrayView2<'_, f32>, n: usize) -> Array2<f64> {
    let mut sum = Array2::zeros((a.ncols(), b.ncols()));
    let mut part = Array2::zeros(sum.dim());
    for first in (0..n).step_by(CHUNK) {
        let rows = s![first..n.min(first + CHUNK), ..];
        general_mat_mul(1.0, &a.slice(rows).t(), &b.slice(rows), 0.0, &mut part);
        sum.zip_mut_with(&part, |sum, &part: &f32| *sum += part as f64 / n as f64);
    }
    sum
}

/// Adds what the weights of a piece, `[columns, K]`, change in the outputs of its first rows, `[N, K]`.
pub(super) fn add_outputs(x: &ArrayView2<'_, f32>, weights: &[f32], z: &mut [f32]) {
    let k = weights.len() / x.ncols();
    let w = ArrayView2::from_shape((x.ncols(), k), weights).expect("a weight for each column and output");
    z.par_chunks_mut(CHUNK * k).enumerate().for_each(|(chunk, z)| {
        let rows = z.len() / k;
        let x = x.slice(s![chunk * CHUNK..chunk * CHUNK + rows, ..]);
        let mut z = ArrayViewMut2::from_shape((rows, k), z).expect("whole rows");
        general_mat_mul(1.0, &x, &w, 1.0, &mut z);
    });
}

/// The outputs `[rows, K]` that weights `[n_neurons, K]` give.
///
/// # Errors
/// If the activations cannot be read.
pub(crate) fn outputs(
    design: &Design<'_>,
    weights: &[f64],
    bias: &[f64],
    rows: Range<usize>,
) -> Result<Vec<f64>, MethodError> {
    let (n, k) = (rows.len(), bias.len());
    let mut z: Vec<f64> = bias.iter().copied().cycle().take(n * k).collect();
    for piece in 0..design.n_pieces() {
        let columns = design.columns(piece);
        let weights: Vec<f32> = weights[columns.start * k..columns.end * k].iter().map(|&w| w as f32).collect();
        if weights.iter().any(|&w| w != 0.0) {
            let mut part = vec![0.0; n * k];
            let values = design.piece(piece)?;
            add_outputs(&view(&values, design.n_rows()).slice(s![rows.clone(), ..]), &weights, &mut part);
            z.iter_mut().zip(part).for_each(|(z, part)| *z += part as f64);
        }
    }
    Ok(z)
}
