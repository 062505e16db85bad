//! How like two layers that read the same words are as a whole, whatever linear map or rotation lies between them.
//!
//! With both layers standardized column by column:
//!
//! - **LinReg** (Bau et al. 2019, arXiv:1811.01157): how well each neuron is a sum of the other layer's, its multiple
//!   correlation with them; 1 for every invertible linear copy.
//! - **SVCCA** (Raghu et al. 2017, arXiv:1706.05806): each layer's leading directions, up to a share of its variance with
//!   the one that crosses it, then the mean of their canonical correlations.
//! - **PWCCA** (Morcos et al. 2018, arXiv:1806.05759): the mean weighted by how much of the layer each canonical direction
//!   says; not symmetric. Weights are of centered activations; the reference of Wu et al. 2020 (arXiv:2005.01172) has raw
//!   ones.
//! - **RBF CKA** (Kornblith et al. 2019, arXiv:1905.00414): centered kernels `exp(-d² / 2m)`, m the median of d² over all
//!   pairs of rows; of at most some rows, evenly spaced, as it needs all pairs.
//!
//! Products are in 64 bits, their sums over rows in fixed blocks: the bits do not depend on the number of threads.

use ndarray::{Array1, Array2, ArrayView2, Axis, s};
use nissl_core::{Activations, MethodError};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::correlation::read;
use crate::eigen::symmetric;

#[cfg(test)]
mod tests;

/// What errors call it.
pub const NAME: &str = "similarity";

/// Directions with less than this share of the largest one's length are noise.
const RANK: f64 = 1e-6;
/// Rows for every column of the other layer, at least: with fewer, every neuron is a sum of them.
const ROWS_EACH: usize = 2;
/// Rows whose products a thread sums.
const ROWS: usize = 1024;

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Similarity {
    /// Share of the variance that SVCCA keeps.
    pub variance: f64,
    /// Rows of RBF CKA, at most.
    pub rows: usize,
}

impl Default for Similarity {
    fn default() -> Self {
        Self { variance: 0.99, rows: 1000 }
    }
}

/// How like two layers are.
#[derive(Clone, Debug, PartialEq)]
pub struct Similar {
    /// The multiple correlation of every neuron with the other layer; 0 for a neuron of one value.
    pub linreg: Vec<f64>,
    /// Mean canonical correlation of the leading directions.
    pub svcca: f64,
    /// The mean weighted by what directions say of the layer.
    pub pwcca: f64,
    /// Kernel alignment; none if a layer has one value a neuron.
    pub rbf_cka: Option<f64>,
}

/// A layer that is ready to be compared.
#[derive(Debug)]
pub struct Layer {
    /// Standardized columns, `[n_tokens, n_neurons]`.
    z: Array2<f64>,
    /// Lengths of its directions, largest first, and the directions as columns; those that are noise are left out.
    lengths: Array1<f64>,
    directions: Array2<f64>,
    /// The centered kernel of some rows, and its length.
    kernel: Option<(Array2<f64>, f64)>,
}

impl Similarity {
    /// Makes a layer ready: all columns of `x`.
    ///
    /// # Errors
    /// If there are too few rows for the columns, a value is not finite, or memory is short.
    pub fn layer(&self, x: &dyn Activations, memory: usize) -> Result<Layer, MethodError> {
        let (n, width) = (x.n_tokens(), x.neurons().len());
        let refuse = |name, value, expected| Err(MethodError::Parameter { method: NAME, name, value, expected });
        if !(self.variance > 0.0 && self.variance <= 1.0) {
            return refuse("variance", self.variance.to_string(), "above 0 to 1");
        }
        if n < 2 || n < ROWS_EACH * width {
            let expected = (ROWS_EACH * width).max(2);
            return Err(MethodError::Shape { what: "rows to compare layers as a whole, at least", expected, got: n });
        }
        let rows = self.rows.clamp(2, n);
        if 8 * (2 * n * width + 3 * width * width + 2 * rows * rows) > memory {
            let value = format!("{memory} bytes");
            return refuse("memory", value, "16 bytes for every activation of a layer; choose sites, or give more");
        }
        let tile = read(x, 0..width)?;
        let z = tile.z.mapv(f64::from);
        let (values, directions) = symmetric(&product(&z.view(), &z.view()));
        let most = values.first().copied().unwrap_or(0.0).max(0.0);
        let kept = values.iter().take_while(|&&value| value > RANK * RANK * most && value > 0.0).count();
        let mut raw = z.clone();
        for (mut column, deviation) in raw.axis_iter_mut(Axis(1)).zip(&tile.deviations) {
            column *= *deviation;
        }
        let spaced: Vec<usize> = (0..rows).map(|row| row * n / rows).collect();
        Ok(Layer {
            z,
            lengths: values.iter().take(kept).map(|value| value.sqrt()).collect(),
            directions: directions.select(Axis(1), &(0..kept).collect::<Vec<_>>()),
            kernel: kernel(&raw.select(Axis(0), &spaced)),
        })
    }

    /// Compares two layers of the same rows.
    ///
    /// # Errors
    /// If they have not as many rows.
    pub fn compare(&self, own: &Layer, other: &Layer) -> Result<Similar, MethodError> {
        let (expected, got) = (own.z.nrows(), other.z.nrows());
        if expected != got {
            return Err(MethodError::Shape { what: "rows of two layers that are compared", expected, got });
        }
        let cross = product(&own.z.view(), &other.z.view());
        // How far each neuron goes along each unit direction of the other layer.
        let along = cross.dot(&other.directions) / &other.lengths;
        let linreg = along.outer_iter().zip(own.z.axis_iter(Axis(1))).map(|(along, z)| {
            let length = z.dot(&z);
            if length > 0.0 { (along.dot(&along) / length).min(1.0).sqrt() } else { 0.0 }
        });
        let (svcca, _) = canonical(own, other, &cross, (own.leading(self.variance), other.leading(self.variance)));
        let (_, pwcca) = canonical(own, other, &cross, (own.lengths.len(), other.lengths.len()));
        let rbf_cka = own
            .kernel
            .as_ref()
            .zip(other.kernel.as_ref())
            .map(|((a, length), (b, other))| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>() / (length * other));
        Ok(Similar { linreg: linreg.collect(), svcca, pwcca, rbf_cka })
    }
}

impl Layer {
    /// Directions up to a share of the variance, with the one that crosses it.
    fn leading(&self, variance: f64) -> usize {
        let squares = self.lengths.mapv(|length| length * length);
        let wanted = variance * squares.sum();
        let mut sum = 0.0;
        let below = squares.iter().take_while(|&&square| {
            sum += square;
            sum < wanted
        });
        (below.count() + 1).min(squares.len())
    }
}

/// The mean canonical correlation of some leading directions of two layers, and the mean weighted by what each canonical
/// direction says of the first layer; 0 if there are no directions.
fn canonical(own: &Layer, other: &Layer, cross: &Array2<f64>, (n_own, n_other): (usize, usize)) -> (f64, f64) {
    let whitened = |layer: &Layer, n: usize| &layer.directions.slice(s![.., ..n]) / &layer.lengths.slice(s![..n]);
    let between = whitened(own, n_own).t().dot(&cross.dot(&whitened(other, n_other)));
    let n = n_own.min(n_other);
    if n == 0 {
        return (0.0, 0.0);
    }
    let (squares, vectors) = symmetric(&between.dot(&between.t()));
    let correlations: Vec<f64> = squares.iter().take(n).map(|square| square.clamp(0.0, 1.0).sqrt()).collect();
    // The inner products of canonical directions with the layer's columns.
    let scaled = &own.directions.slice(s![.., ..n_own]) * &own.lengths.slice(s![..n_own]);
    let says = scaled.dot(&vectors.slice(s![.., ..n]));
    let weights: Vec<f64> = says.axis_iter(Axis(1)).map(|says| says.iter().map(|value| value.abs()).sum()).collect();
    let total: f64 = weights.iter().sum();
    let weighted: f64 = weights.iter().zip(&correlations).map(|(weight, value)| weight * value).sum();
    (correlations.iter().sum::<f64>() / n as f64, if total > 0.0 { weighted / total } else { 0.0 })
}

/// `aᵀ b`: blocks of rows, joined in order.
fn product(a: &ArrayView2<'_, f64>, b: &ArrayView2<'_, f64>) -> Array2<f64> {
    let mut sum = Array2::zeros((a.ncols(), b.ncols()));
    let chunks: Vec<_> = sum.axis_chunks_iter_mut(Axis(0), 64).collect();
    chunks.into_par_iter().enumerate().for_each(|(chunk, mut out)| {
        let columns = chunk * 64..chunk * 64 + out.nrows();
        for first in (0..a.nrows()).step_by(ROWS) {
            let rows = first..a.nrows().min(first + ROWS);
            out += &a.slice(s![rows.clone(), columns.clone()]).t().dot(&b.slice(s![rows, ..]));
        }
    });
    sum
}

/// The centered kernel of some rows, and its length; none if all are the same.
fn kernel(x: &Array2<f64>) -> Option<(Array2<f64>, f64)> {
    let n = x.nrows();
    let squares: Vec<f64> = x.outer_iter().map(|row| row.dot(&row)).collect();
    let mut k = x.dot(&x.t());
    for ((row, column), value) in k.indexed_iter_mut() {
        let apart = squares[row] + squares[column] - 2.0 * *value;
        *value = if row == column { 0.0 } else { apart.max(0.0) };
    }
    let mut all: Vec<f64> = k.iter().copied().collect();
    let (below, &mut upper, _) = all.select_nth_unstable_by(n * n / 2, f64::total_cmp);
    let lower = below.iter().copied().fold(0.0, f64::max);
    let median = if n.is_multiple_of(2) { f64::midpoint(lower, upper) } else { upper };
    if median <= 0.0 {
        return None;
    }
    k.mapv_inplace(|apart| (-apart / (2.0 * median)).exp());
    let means = k.mean_axis(Axis(0))?;
    let mean = means.mean()?;
    for ((row, column), value) in k.indexed_iter_mut() {
        *value += mean - means[row] - means[column];
    }
    let length = k.iter().map(|value| value * value).sum::<f64>().sqrt();
    (length > 0.0).then_some((k, length))
}
