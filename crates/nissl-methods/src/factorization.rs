//! Non-negative factors of activations: what fires together, and on which words.
//!
//! What is below 0 counts as 0. The matrix, words by neurons, becomes `W · G`: how strongly each factor is there in each
//! word, `[n_tokens, k]`, and which neurons it is made of, `[k, n_neurons]`, both ≥ 0. Factors are improved one by one,
//! each to the best for the others as they are (HALS), so the error never rises; every factor's neurons have length 1.
//!
//! Alammar 2021, "Ecco: An Open Source Library for the Explainability of Transformer Language Models"; Cichocki and Phan
//! 2009, "Fast Local Algorithms for Large Scale Nonnegative Matrix and Tensor Factorizations". Reference: jalammar/ecco.
//! There the last layer is the size of the batch where only the first is given; here the columns are those that are
//! chosen.

use std::ops::Range;

use ndarray::{Array1, Array2, ArrayView2, Axis, s};
use nissl_core::{Activations, Context, MethodError};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::random::Random;

#[cfg(test)]
mod tests;

/// What errors call it.
pub const NAME: &str = "factor";

/// Columns of activations that are read at a time.
const COLUMNS: usize = 512;

/// How activations are factored.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Factorization {
    /// Number of factors; no more than words or neurons.
    pub factors: usize,
    /// Rounds over all factors, at most.
    pub rounds: usize,
    /// It ends when the error falls by less than this share of it.
    pub tolerance: f64,
    /// Seed of the numbers it begins with.
    pub seed: u64,
}

impl Default for Factorization {
    fn default() -> Self {
        Self { factors: 10, rounds: 500, tolerance: 1e-4, seed: 0 }
    }
}

/// Factors.
#[derive(Clone, Debug, PartialEq)]
pub struct Factors {
    /// How strongly each factor is there in each word, `[n_tokens, n_factors]`.
    pub words: Array2<f64>,
    /// The neurons of each factor, `[n_factors, n_neurons]`, of length 1; zeros of a factor that is not needed.
    pub neurons: Array2<f64>,
    /// After each round the length of what is missing, as a share of the length of the matrix.
    pub errors: Vec<f64>,
}

impl Factorization {
    /// Factors the activations.
    ///
    /// # Errors
    /// If there are no factors, words or neurons; memory is short of the activations in 64 bits; one is not finite; or
    /// the user stops it.
    pub fn factor(&self, x: &dyn Activations, ctx: Context<'_>) -> Result<Factors, MethodError> {
        let (n_tokens, n_neurons) = (x.n_tokens(), x.neurons().len());
        let refuse =
            |name, value: String, expected| Err(MethodError::Parameter { method: NAME, name, value, expected });
        if self.factors == 0 {
            return refuse("factors", "0".to_owned(), "at least 1");
        }
        if self.tolerance.is_nan() || self.tolerance < 0.0 {
            return refuse("tolerance", self.tolerance.to_string(), "0 or more");
        }
        if n_tokens == 0 || n_neurons == 0 {
            return Err(MethodError::Shape { what: "words and neurons", expected: 1, got: n_tokens.min(n_neurons) });
        }
        if n_tokens.saturating_mul(n_neurons).saturating_mul(size_of::<f64>()) > ctx.memory {
            let value = format!("{} bytes", ctx.memory);
            return refuse("memory", value, "8 bytes for every activation; choose sites or words, or give more");
        }
        let a = positive(x)?;
        self.improve(&a, ctx)
    }

    fn improve(&self, a: &Array2<f64>, ctx: Context<'_>) -> Result<Factors, MethodError> {
        let (n_tokens, n_neurons) = a.dim();
        let k = self.factors.min(n_tokens).min(n_neurons);
        let total: f64 = a.iter().map(|value| value * value).sum();
        // So large that the product is of the size of the matrix.
        let scale = (a.sum() / a.len() as f64 / k as f64).sqrt();
        let mut random = Random::new(self.seed);
        let mut draw =
            |rows, columns| Array2::from_shape_simple_fn((rows, columns), || scale * (0.5 + random.uniform()));
        let (mut words, mut neurons) = (draw(n_tokens, k), draw(k, n_neurons));
        ctx.progress.stage("factors", Some(self.rounds as u64), "rounds");
        let mut errors: Vec<f64> = Vec::new();
        for round in 0..self.rounds {
            if ctx.progress.cancelled() {
                return Err(MethodError::Cancelled);
            }
            let (gram, product) = (neurons.dot(&neurons.t()), times(&a.view(), &neurons.t()));
            better(words.view_mut(), &gram, &product);
            let (gram, product) = (words.t().dot(&words), times(&a.t(), &words.view()));
            better(neurons.view_mut().reversed_axes(), &gram, &product);
            // ‖A‖² - 2 ⟨AᵀW, G⟩ + ⟨WᵀW, GGᵀ⟩.
            let both: f64 = product.t().iter().zip(&neurons).map(|(p, g)| p * g).sum();
            let own: f64 = gram.iter().zip(&neurons.dot(&neurons.t())).map(|(w, g)| w * g).sum();
            let error = if total > 0.0 { ((total - 2.0 * both + own).max(0.0) / total).sqrt() } else { 0.0 };
            let before = errors.last().copied();
            errors.push(error);
            ctx.progress.step(round as u64 + 1);
            if error == 0.0 || before.is_some_and(|before| before - error <= self.tolerance * before) {
                ctx.progress.step(self.rounds as u64);
                break;
            }
        }
        for (mut row, mut column) in neurons.outer_iter_mut().zip(words.axis_iter_mut(Axis(1))) {
            let length = row.iter().map(|value| value * value).sum::<f64>().sqrt();
            if length > 0.0 {
                row /= length;
                column *= length;
            } else {
                column.fill(0.0);
            }
        }
        Ok(Factors { words, neurons, errors })
    }
}

/// One round over the factors: each column of `w` becomes the best for the others, and none below 0.
fn better(w: ndarray::ArrayViewMut2<'_, f64>, gram: &Array2<f64>, product: &Array2<f64>) {
    // Rows do not depend on each other.
    let rows: Vec<_> = w.into_outer_iter_mut().zip(product.outer_iter()).collect();
    rows.into_par_iter().with_min_len(64).for_each(|(mut row, product)| {
        for factor in 0..row.len() {
            let own = gram[[factor, factor]];
            if own > 0.0 {
                let others: f64 = row.iter().zip(gram.row(factor)).map(|(w, g)| w * g).sum();
                row[factor] = (row[factor] + (product[factor] - others) / own).max(0.0);
            }
        }
    });
}

/// A product, a block of rows a thread.
fn times(a: &ArrayView2<'_, f64>, b: &ArrayView2<'_, f64>) -> Array2<f64> {
    let mut out = Array2::zeros((a.nrows(), b.ncols()));
    let blocks: Vec<_> = a.axis_chunks_iter(Axis(0), 256).zip(out.axis_chunks_iter_mut(Axis(0), 256)).collect();
    blocks.into_par_iter().for_each(|(a, mut out)| out.assign(&a.dot(b)));
    out
}

/// The activations with zeros for what is below.
fn positive(x: &dyn Activations) -> Result<Array2<f64>, MethodError> {
    let (n_tokens, n_neurons) = (x.n_tokens(), x.neurons().len());
    let mut a = Array2::zeros((n_tokens, n_neurons));
    for first in (0..n_neurons).step_by(COLUMNS) {
        let columns: Range<usize> = first..n_neurons.min(first + COLUMNS);
        let mut block = Array2::<f32>::zeros((n_tokens, columns.len()));
        x.read(0..n_tokens, columns.clone(), block.view_mut())?;
        if let Some(((row, column), &value)) = block.indexed_iter().find(|(_, value)| !value.is_finite()) {
            return Err(MethodError::NotFinite { neuron: x.neurons()[first + column], row, value });
        }
        a.slice_mut(s![.., columns]).assign(&block.mapv(|value| f64::from(value.max(0.0))));
    }
    Ok(a)
}

impl Factors {
    /// The largest entries of a column or row, largest first, of those above 0.
    pub fn largest(values: &Array1<f64>, n: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..values.len()).filter(|&idx| values[idx] > 0.0).collect();
        order.sort_by(|&a, &b| values[b].total_cmp(&values[a]).then(a.cmp(&b)));
        order.truncate(n);
        order
    }
}
