//! What a linear probe minimizes on a row: value, slope, curvature and convex conjugate.

use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::probes::targets::Targets;

/// Rows that are summed up together before sums are joined.
pub(crate) const CHUNK: usize = 1024;

/// What is minimized on a row; z are the outputs, y what they should be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Loss {
    /// Cross-entropy of classes that exclude each other: log Σ exp z - z of the class.
    #[default]
    Softmax,
    /// Cross-entropy of each concept by itself: log(1 + exp z) - y z.
    Sigmoid,
    /// (z - y)².
    Squared,
    /// max(0, 1 - z)² for what a row has, max(0, 1 + z)² for what it has not: a linear support vector machine.
    SquaredHinge,
}

impl Loss {
    /// Value, slope and curvature by an output `z` that should be `y`.
    ///
    /// Of a softmax `z` is an output less the logarithm of the sum of the exponentials of the others: but for what does not
    /// change with it, it is the loss of a sigmoid there.
    pub(super) fn of_one(self, z: f64, y: f64) -> (f64, f64, f64) {
        match self {
            Self::Softmax | Self::Sigmoid => {
                let e = (-z.abs()).exp();
                let p = if z >= 0.0 { 1.0 / (1.0 + e) } else { e / (1.0 + e) };
                (z.max(0.0) + e.ln_1p() - y * z, p - y, p * (1.0 - p))
            }
            Self::Squared => ((z - y) * (z - y), 2.0 * (z - y), 2.0),
            Self::SquaredHinge => {
                let side = 2.0 * y - 1.0;
                let short = (1.0 - side * z).max(0.0);
                (short * short, -2.0 * side * short, if short > 0.0 { 2.0 } else { 0.0 })
            }
        }
    }
}

/// Sums over rows.
#[derive(Clone, Debug)]
pub(crate) struct Sums {
    /// Of the losses.
    pub(crate) loss: f64,
    /// Of the second derivatives by each output, `[n_outputs]`.
    pub(crate) curvature: Vec<f64>,
    /// Of the slopes by each output, `[n_outputs]`.
    pub(crate) slope: Vec<f64>,
}

/// A loss, what it is measured against, and how much each row counts.
pub(crate) struct Objective<'a> {
    pub(crate) loss: Loss,
    pub(crate) targets: &'a Targets,
    /// Weights of the rows, mean 1.
    pub(crate) row_weights: Option<&'a [f64]>,
}

impl Objective<'_> {
    pub(super) fn weight(&self, row: usize) -> f64 {
        self.row_weights.map_or(1.0, |weights| weights[row])
    }

    /// Slope of the loss by each output, `[n_rows, n_outputs]` into `slopes`, and mean loss, curvature and slope.
    ///
    /// `z` are the outputs, `[n_rows, n_outputs]`.
    pub(crate) fn evaluate(&self, z: &[f64], slopes: &mut [f32]) -> Sums {
        let k = self.targets.n_outputs();
        let chunks = z.par_chunks(CHUNK * k).zip(slopes.par_chunks_mut(CHUNK * k)).enumerate();
        let sums: Vec<Sums> =
            chunks.map(|(chunk, (z, slopes))| self.evaluate_chunk(chunk * CHUNK, z, slopes)).collect();
        let mut total = Sums { loss: 0.0, curvature: vec![0.0; k], slope: vec![0.0; k] };
        let n = self.targets.len() as f64;
        for sums in sums {
            total.loss += sums.loss / n;
            total.curvature.iter_mut().zip(&sums.curvature).for_each(|(total, sum)| *total += sum / n);
            total.slope.iter_mut().zip(&sums.slope).for_each(|(total, sum)| *total += sum / n);
        }
        total
    }

    fn evaluate_chunk(&self, first: usize, z: &[f64], slopes: &mut [f32]) -> Sums {
        let k = self.targets.n_outputs();
        let mut sums = Sums { loss: 0.0, curvature: vec![0.0; k], slope: vec![0.0; k] };
        let mut p = vec![0.0; k];
        for (place, (z, slopes)) in z.chunks(k).zip(slopes.chunks_mut(k)).enumerate() {
            let (row, weight) = (first + place, self.weight(first + place));
            if self.loss == Loss::Softmax {
                sums.loss += weight * softmax(z, &mut p);
                if let Targets::Classes { of, .. } = self.targets {
                    sums.loss -= weight * z[of[row] as usize];
                }
            }
            for output in 0..k {
                let y = self.targets.value(row, output);
                let (loss, slope, curvature) = match self.loss {
                    Loss::Softmax => (0.0, p[output] - y, p[output] * (1.0 - p[output])),
                    other => other.of_one(z[output], y),
                };
                sums.loss += weight * loss;
                sums.slope[output] += weight * slope;
                sums.curvature[output] += weight * curvature;
                slopes[output] = (weight * slope) as f32;
            }
        }
        sums
    }

    /// Mean of the convex conjugate of the loss at `share` times its slopes at `z`: what the dual objective needs.
    pub(crate) fn conjugate(&self, z: &[f64], share: f64) -> f64 {
        let k = self.targets.n_outputs();
        let of_chunk = |(chunk, z): (usize, &[f64])| {
            let (mut sum, mut p) = (0.0, vec![0.0; k]);
            for (place, z) in z.chunks(k).enumerate() {
                let row = chunk * CHUNK + place;
                if self.loss == Loss::Softmax {
                    softmax(z, &mut p);
                }
                let of_row: f64 =
                    (0..k).map(|output| self.conjugate_of(row, output, z[output], p[output], share)).sum();
                sum += self.weight(row) * of_row;
            }
            sum
        };
        let sums: Vec<f64> = z.par_chunks(CHUNK * k).enumerate().map(of_chunk).collect();
        sums.iter().sum::<f64>() / self.targets.len() as f64
    }

    fn conjugate_of(&self, row: usize, output: usize, z: f64, p: f64, share: f64) -> f64 {
        let y = self.targets.value(row, output);
        match self.loss {
            Loss::Softmax => entropy_term(y + share * (p - y)),
            Loss::Sigmoid => {
                let q = y + share * (sigmoid(z) - y);
                entropy_term(q) + entropy_term(1.0 - q)
            }
            Loss::Squared => {
                let slope = share * 2.0 * (z - y);
                slope * y + slope * slope / 4.0
            }
            Loss::SquaredHinge => {
                let side = 2.0 * y - 1.0;
                let slope = -2.0 * side * share * (1.0 - side * z).max(0.0);
                slope * side + slope * slope / 4.0
            }
        }
    }
}

/// Probabilities into `p`; the logarithm of the sum of the exponentials.
pub(crate) fn softmax(z: &[f64], p: &mut [f64]) -> f64 {
    let max = z.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut sum = 0.0;
    for (p, z) in p.iter_mut().zip(z) {
        *p = (z - max).exp();
        sum += *p;
    }
    for p in p {
        *p /= sum;
    }
    max + sum.ln()
}

pub(crate) fn sigmoid(z: f64) -> f64 {
    if z >= 0.0 {
        1.0 / (1.0 + (-z).exp())
    } else {
        let e = z.exp();
        e / (1.0 + e)
    }
}

fn entropy_term(q: f64) -> f64 {
    if q > 0.0 { q * q.ln() } else { 0.0 }
}
