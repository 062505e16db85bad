//! Minimization without a penalty of sizes, where no weight is 0: all neurons at once.
//!
//! Steps minimize the penalty plus a quadratic whose curvature is the neurons' Gram matrix (in blocks) times each output's
//! mean curvature, by coordinate descent; steps are extrapolated, and start over where that fails.

use std::ops::Range;

use ndarray::{Array2, s};
use nissl_core::MethodError;
use rayon::prelude::*;

use super::coordinate::coordinate_descent;
use super::loss::Sums;
use super::products::{add_outputs, gram};
use super::solver::{Penalty, Point, Solver};
use crate::probes::design::{PIECE, view};

/// Neurons whose Gram matrix is known; those of different blocks count as uncorrelated.
const BLOCK: usize = 16 * PIECE;

impl Solver<'_> {
    /// The Gram matrix of each block of neurons, over N.
    pub(super) fn grams(&self) -> Result<Vec<Array2<f64>>, MethodError> {
        let n_pieces = self.design.n_pieces();
        let per_block = BLOCK / PIECE;
        (0..n_pieces)
            .step_by(per_block)
            .map(|first| {
                self.design.go_on()?;
                self.gram(first..n_pieces.min(first + per_block))
            })
            .collect()
    }

    /// Products of the columns of some pieces with one another, over N.
    fn gram(&self, pieces: Range<usize>) -> Result<Array2<f64>, MethodError> {
        let width = self.design.n_columns().min(pieces.end * PIECE) - pieces.start * PIECE;
        let pairs: Vec<(usize, usize)> = pieces.clone().flat_map(|a| (a..pieces.end).map(move |b| (a, b))).collect();
        let product = |&(a, b): &(usize, usize)| -> Result<Array2<f64>, MethodError> {
            let (a, b) = (self.design.piece(a)?, self.design.piece(b)?);
            let (a, b) = (view(&a, self.design.n_rows()), view(&b, self.design.n_rows()));
            Ok(gram(&a, &b, self.design.n_fit()))
        };
        let products: Vec<Result<Array2<f64>, MethodError>> = if self.design.is_held() {
            pairs.par_iter().map(product).collect()
        } else {
            pairs.iter().map(product).collect()
        };
        let mut gram = Array2::zeros((width, width));
        for (&(a, b), product) in pairs.iter().zip(products) {
            let product = product?;
            let (a, b) = ((a - pieces.start) * PIECE, (b - pieces.start) * PIECE);
            gram.slice_mut(s![a..a + product.nrows(), b..b + product.ncols()]).assign(&product);
            gram.slice_mut(s![b..b + product.ncols(), a..a + product.nrows()]).assign(&product.t());
        }
        Ok(gram)
    }

    /// Steps until the gap is small enough, or after so many.
    pub(super) fn descend(
        &self,
        grams: &[Array2<f64>],
        start: Point,
        penalty: Penalty,
        (gap, max_steps): (f64, usize),
        scale: &mut f64,
    ) -> Result<(Point, usize), MethodError> {
        let mut now = start.clone();
        let mut before = start;
        let mut value = f64::INFINITY;
        let (mut momentum, mut small) = (1.0_f64, 0);
        for step in 0..max_steps {
            self.design.go_on()?;
            let next_momentum = 0.5 * (1.0 + (1.0 + 4.0 * momentum * momentum).sqrt());
            let beta = (momentum - 1.0) / next_momentum;
            let y = now.extrapolated(&before, beta);
            let (sums, slopes) = self.slopes(&y.z);
            let g = self.gradient(&slopes)?;
            let at_y = sums.loss + penalty.of(&y.w);
            if step % 5 == 4 {
                // The bound holds where the slopes of the bias are 0; what they lack of it is taken off.
                let unsettled: f64 = sums.slope.iter().zip(&y.b).map(|(slope, b)| slope.abs() * (1.0 + b.abs())).sum();
                let bound = self.dual(&y.z, &g, penalty, false);
                if bound.is_some_and(|bound| at_y - bound + unsettled <= gap * at_y) {
                    // The point at which the gap is small is the one to go on with.
                    return Ok((if at_y <= value { y } else { now }, step));
                }
            }
            let next = self.step(grams, &y, &sums, &g, penalty, scale)?;
            let (loss, _) = self.slopes(&next.z);
            let next_value = loss.loss + penalty.of(&next.w);
            if next_value > value {
                if beta == 0.0 {
                    small += 1;
                    *scale *= 4.0;
                    if small >= 3 {
                        return Ok((now, step));
                    }
                }
                momentum = 1.0;
                before = now.clone();
                continue;
            }
            small = if value - next_value <= 1e-12 * value { small + 1 } else { 0 };
            if small >= 3 {
                return Ok((next, step));
            }
            value = next_value;
            before = std::mem::replace(&mut now, next);
            momentum = next_momentum;
            *scale *= 0.9;
        }
        Ok((now, max_steps))
    }

    /// Minimizes the quadratic at `y` plus the penalty; its curvature is raised until it bounds the loss.
    fn step(
        &self,
        grams: &[Array2<f64>],
        y: &Point,
        sums: &Sums,
        g: &[f64],
        penalty: Penalty,
        scale: &mut f64,
    ) -> Result<Point, MethodError> {
        loop {
            let curvature: Vec<f64> = sums.curvature.iter().map(|c| *scale * c.max(1e-9)).collect();
            let (w, quadratic) = self.quadratic(grams, y, g, &curvature, penalty);
            let delta: Vec<f64> = w.iter().zip(&y.w).map(|(w, y)| w - y).collect();
            let shift: Vec<f64> = sums.slope.iter().zip(&curvature).map(|(slope, c)| -slope / c).collect();
            let mut moved = vec![0.0; y.z.len()];
            self.move_outputs(&delta, &mut moved)?;
            let mut z = y.z.clone();
            for (z, moved) in z.chunks_mut(self.k).zip(moved.chunks(self.k)) {
                for ((z, moved), shift) in z.iter_mut().zip(moved).zip(&shift) {
                    *z += *moved as f64 + shift;
                }
            }
            let b = y.b.iter().zip(&shift).map(|(b, shift)| b + shift).collect();
            let (next, _) = self.slopes(&z);
            let linear: f64 = g.iter().zip(&delta).map(|(g, d)| g * d).sum();
            let of_bias: f64 = sums.slope.iter().zip(&shift).map(|(slope, shift)| 0.5 * slope * shift).sum();
            let bound = sums.loss + linear + quadratic + of_bias;
            // Slopes are in single precision: so much of the model of the loss is noise.
            let noise = 1e-12 * sums.loss.abs() + 1e-6 * quadratic.abs();
            if next.loss <= bound + noise || *scale > 1e12 {
                return Ok(Point { w, b, z });
            }
            *scale *= 2.0;
        }
    }

    fn move_outputs(&self, delta: &[f64], moved: &mut [f32]) -> Result<(), MethodError> {
        let delta: Vec<f32> = delta.iter().map(|&d| d as f32).collect();
        for (piece, delta) in delta.chunks(PIECE * self.k).enumerate() {
            if delta.iter().any(|&d| d != 0.0) {
                add_outputs(&view(&self.design.piece(piece)?, self.design.n_rows()), delta, moved);
            }
        }
        Ok(())
    }

    /// The weights `[A, K]` that minimize the quadratic plus the penalty, and the quadratic's curved part there.
    fn quadratic(
        &self,
        grams: &[Array2<f64>],
        y: &Point,
        g: &[f64],
        curvature: &[f64],
        penalty: Penalty,
    ) -> (Vec<f64>, f64) {
        let k = self.k;
        let tasks: Vec<(usize, usize)> =
            (0..grams.len()).flat_map(|block| (0..k).map(move |output| (block, output))).collect();
        let solved: Vec<(Vec<f64>, f64)> = tasks
            .par_iter()
            .map(|&(block, output)| {
                let gram = &grams[block];
                let column = |of: &[f64]| -> Vec<f64> {
                    (0..gram.nrows()).map(|j| of[(block * BLOCK + j) * k + output]).collect()
                };
                coordinate_descent(gram, &column(g), column(&y.w), curvature[output], penalty)
            })
            .collect();
        let mut w = vec![0.0; g.len()];
        let mut quadratic = 0.0;
        for (&(block, output), (of_task, curved)) in tasks.iter().zip(&solved) {
            quadratic += curved;
            for (j, value) in of_task.iter().enumerate() {
                w[(block * BLOCK + j) * k + output] = *value;
            }
        }
        (w, quadratic)
    }
}
