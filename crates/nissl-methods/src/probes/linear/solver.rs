//! Minimizes mean loss + λ1·|w| + λ2·w² over all neurons, and says how far from the minimum it is at most.
//!
//! N rows, K outputs, A neurons of the working set. A working set of neurons grows until no neuron outside of it should
//! be in. On it, steps minimize the penalty plus a quadratic whose curvature is the neurons' Gram matrix (in blocks)
//! times each output's mean curvature, by coordinate descent; steps are extrapolated, and start over where that fails.
//! The dual objective at the scaled slopes bounds the minimum from below: the distance is the duality gap.

use std::borrow::Cow;
use std::ops::Range;

use ndarray::{Array2, s};
use nissl_core::MethodError;
use rayon::prelude::*;

use super::coordinate::coordinate_descent;
use super::loss::{CHUNK, Loss, Objective, Sums, softmax};
pub(crate) use super::products::outputs;
use super::products::{add_outputs, gradient, gram};
use crate::probes::design::{Design, PIECE, view};
use crate::probes::targets::Targets;

/// Neurons whose Gram matrix is known; those of different blocks count as uncorrelated.
const BLOCK: usize = 16 * PIECE;

/// What the solver stops at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stop {
    /// Duality gap, as a share of the objective.
    pub(crate) gap: f64,
    /// Steps at most.
    pub(crate) steps: usize,
}

/// A minimum, or what was reached on the way to it.
#[derive(Clone, Debug)]
pub(crate) struct Fit {
    /// Weights of the standardized neurons, `[n_neurons, n_outputs]`.
    pub(crate) weights: Vec<f64>,
    /// One for each output.
    pub(crate) bias: Vec<f64>,
    /// Mean loss plus penalties.
    pub(crate) objective: f64,
    /// How far the objective is above the minimum at most; `None` where there is no penalty to bound it by.
    pub(crate) gap: Option<f64>,
    /// Steps taken.
    pub(crate) steps: usize,
    /// Whether the gap asked for was reached; without penalties, whether the slopes are near 0.
    pub(crate) converged: bool,
}

/// The penalties.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Penalty {
    pub(crate) l1: f64,
    pub(crate) l2: f64,
}

impl Penalty {
    fn of(self, weights: &[f64]) -> f64 {
        weights.iter().map(|w| self.l1 * w.abs() + self.l2 * w * w).sum()
    }

    /// Its convex conjugate at slopes `v`, none where that is infinite.
    fn conjugate(self, v: &[f64], share: f64) -> Option<f64> {
        let over = |v: &f64| (v.abs() * share - self.l1).max(0.0);
        if self.l2 > 0.0 {
            return Some(v.iter().map(over).map(|over| over * over / (4.0 * self.l2)).sum());
        }
        v.iter().all(|v| over(v) <= 1e-9 * self.l1).then_some(0.0)
    }
}

/// A problem with everything that does not depend on the penalty.
pub(crate) struct Solver<'a> {
    design: &'a Design<'a>,
    objective: Objective<'a>,
    k: usize,
}

/// A point: weights of the working set `[A, K]`, bias, and the outputs they give `[N, K]`.
#[derive(Clone)]
struct Point {
    w: Vec<f64>,
    b: Vec<f64>,
    z: Vec<f64>,
}

impl Point {
    /// `self + beta (self - before)`.
    fn extrapolated(&self, before: &Self, beta: f64) -> Self {
        let go = |now: &[f64], before: &[f64]| {
            now.iter().zip(before).map(|(now, before)| now + beta * (now - before)).collect()
        };
        Self { w: go(&self.w, &before.w), b: go(&self.b, &before.b), z: go(&self.z, &before.z) }
    }
}

/// The working set.
struct Working<'a> {
    columns: Vec<usize>,
    /// Pieces of the columns where they fit into memory.
    held: Option<Vec<Cow<'a, [f32]>>>,
    /// The Gram matrix of each block, `[BLOCK, BLOCK]`, over N.
    gram: Vec<Array2<f64>>,
}

impl<'a> Solver<'a> {
    /// `targets` are of the rows that `design` is fitted on.
    pub(crate) fn new(
        design: &'a Design<'a>,
        loss: Loss,
        targets: &'a Targets,
        row_weights: Option<&'a [f64]>,
    ) -> Self {
        Self { design, objective: Objective { loss, targets, row_weights }, k: targets.n_outputs() }
    }

    /// The smallest λ1 at which every weight is 0.
    pub(crate) fn l1_of_nothing(&self) -> Result<f64, MethodError> {
        let nothing = self.nothing();
        let (_, slopes) = self.slopes(&nothing.z);
        Ok(largest(&self.gradient(&slopes)?))
    }

    /// Minimizes, from `start` where there is one.
    ///
    /// # Errors
    /// If the activations cannot be read or the user stops it.
    pub(crate) fn fit(&self, penalty: Penalty, stop: Stop, start: Option<&Fit>) -> Result<Fit, MethodError> {
        let (d, k) = (self.design.n_columns(), self.k);
        let mut fit = match start {
            Some(start) => start.clone(),
            None => Fit {
                weights: vec![0.0; d * k],
                bias: self.nothing().b,
                objective: f64::INFINITY,
                gap: None,
                steps: 0,
                converged: false,
            },
        };
        fit.steps = 0;
        let mut inner = 0.3 * stop.gap;
        let mut working: Option<Working<'_>> = None;
        let (mut scale, mut first_slope) = (1.0, None);
        loop {
            self.design.go_on()?;
            let mut z = outputs(self.design, &fit.weights, &fit.bias, 0..self.design.n_fit())?;
            self.settle_bias(&mut fit.bias, &mut z);
            let (sums, slopes) = self.slopes(&z);
            let v = self.gradient(&slopes)?;
            fit.objective = sums.loss + penalty.of(&fit.weights);
            let bound = self.dual(&z, &v, penalty, true);
            fit.gap = bound.map(|bound| (fit.objective - bound).max(0.0));
            let first = *first_slope.get_or_insert(largest(&v));
            fit.converged = match fit.gap {
                Some(gap) => gap <= stop.gap * fit.objective,
                None => largest(&v) <= stop.gap * first,
            };
            if fit.converged || fit.steps >= stop.steps {
                return Ok(fit);
            }
            let mut columns = working.as_ref().map_or_else(Vec::new, |working| working.columns.clone());
            let before = columns.len();
            self.grow(&mut columns, &v, &fit.weights, penalty);
            if columns.len() > before {
                working = Some(self.working(columns)?);
            } else {
                inner *= 0.1;
                if inner < 1e-4 * stop.gap {
                    // Single precision gives no better.
                    return Ok(fit);
                }
            }
            let Some(working) = &working else { return Ok(fit) };
            let point = Point { w: pick(&fit.weights, &working.columns, k), b: fit.bias.clone(), z };
            let left = stop.steps - fit.steps;
            let (point, steps) = self.descend(working, point, penalty, (inner, left), &mut scale)?;
            fit.steps += steps.max(1);
            fit.weights = vec![0.0; d * k];
            for (place, &column) in working.columns.iter().enumerate() {
                fit.weights[column * k..(column + 1) * k].copy_from_slice(&point.w[place * k..(place + 1) * k]);
            }
            fit.bias = point.b;
        }
    }

    /// Weights 0 and the bias that is best with them.
    fn nothing(&self) -> Point {
        let mut point = Point { w: Vec::new(), b: vec![0.0; self.k], z: vec![0.0; self.design.n_fit() * self.k] };
        self.settle_bias(&mut point.b, &mut point.z);
        point
    }

    fn slopes(&self, z: &[f64]) -> (Sums, Vec<f32>) {
        let mut slopes = vec![0.0; z.len()];
        (self.objective.evaluate(z, &mut slopes), slopes)
    }

    /// Slope of the mean loss by every weight, `[n_neurons, K]`.
    fn gradient(&self, slopes: &[f32]) -> Result<Vec<f64>, MethodError> {
        let pieces =
            self.design.map_pieces(|_, values| gradient(&view(values, self.design.n_rows()), slopes, self.k))?;
        Ok(pieces.into_iter().flatten().collect())
    }

    /// Moves the bias to where the slopes of each output sum up to 0, and the outputs with it.
    fn settle_bias(&self, bias: &mut [f64], z: &mut [f64]) {
        for _ in 0..50 {
            let (sums, _) = self.slopes(z);
            if largest(&sums.slope) < 1e-13 {
                return;
            }
            let step = self.bias_step(&sums, z);
            bias.iter_mut().zip(&step).for_each(|(bias, step)| *bias += step);
            z.chunks_mut(self.k).for_each(|z| z.iter_mut().zip(&step).for_each(|(z, step)| *z += step));
        }
    }

    /// Newton's step of the bias, shortened where it is long.
    fn bias_step(&self, sums: &Sums, z: &[f64]) -> Vec<f64> {
        let k = self.k;
        let mut hessian = Array2::from_diag(&ndarray::Array1::from(sums.curvature.clone()));
        if self.objective.loss == Loss::Softmax {
            hessian = self.softmax_curvature(z);
            // The same for every class changes nothing: that direction is held.
            hessian += 1.0 / k as f64;
        }
        hessian.diag_mut().iter_mut().for_each(|value| *value += 1e-12);
        let step = crate::probes::cholesky::solve(&hessian, &sums.slope);
        let length = step.as_deref().map_or(f64::INFINITY, largest);
        match step {
            Some(step) if length.is_finite() => step.iter().map(|step| -step * (2.0 / length).min(1.0)).collect(),
            _ => sums.slope.iter().map(|slope| -slope).collect(),
        }
    }

    fn softmax_curvature(&self, z: &[f64]) -> Array2<f64> {
        let k = self.k;
        let of_chunk = |(chunk, z): (usize, &[f64])| {
            let (mut sum, mut p) = (Array2::zeros((k, k)), vec![0.0; k]);
            for (place, z) in z.chunks(k).enumerate() {
                softmax(z, &mut p);
                let weight = self.objective.row_weights.map_or(1.0, |weights| weights[chunk * CHUNK + place]);
                for a in 0..k {
                    sum[[a, a]] += weight * p[a];
                    for b in 0..k {
                        sum[[a, b]] -= weight * p[a] * p[b];
                    }
                }
            }
            sum
        };
        let sums: Vec<Array2<f64>> = z.par_chunks(CHUNK * k).enumerate().map(of_chunk).collect();
        sums.iter().fold(Array2::zeros((k, k)), |total, sum| total + sum) / self.design.n_fit() as f64
    }

    /// A bound of the minimum from below: the dual objective at a share of the slopes; `None` if there is none.
    fn dual(&self, z: &[f64], v: &[f64], penalty: Penalty, search: bool) -> Option<f64> {
        let value = |share: f64| {
            Some(-self.objective.conjugate(z, share) - penalty.conjugate(v, share)?).filter(|value| value.is_finite())
        };
        if penalty.l1 == 0.0 && penalty.l2 == 0.0 {
            return None;
        }
        let feasible = (penalty.l1 / largest(v).max(f64::MIN_POSITIVE)).min(1.0);
        if penalty.l2 == 0.0 {
            return value(feasible);
        }
        let mut best = [1.0, feasible].into_iter().filter_map(value).fold(f64::NEG_INFINITY, f64::max);
        if search {
            // Concave in the share: thirds close in on its maximum.
            let (mut low, mut high) = (feasible, 1.0);
            for _ in 0..8 {
                let (a, b) = (low + (high - low) / 3.0, high - (high - low) / 3.0);
                let (at_a, at_b) = (value(a)?, value(b)?);
                best = best.max(at_a).max(at_b);
                if at_a < at_b {
                    low = a;
                } else {
                    high = b;
                }
            }
        }
        Some(best)
    }

    /// Adds the neurons that should not be 0, the furthest first, as many as there are, at least a block's half.
    fn grow(&self, columns: &mut Vec<usize>, v: &[f64], weights: &[f64], penalty: Penalty) {
        let (d, k) = (self.design.n_columns(), self.k);
        if penalty.l1 == 0.0 {
            *columns = (0..d).collect();
            return;
        }
        let mut is_in = vec![false; d];
        for &column in &*columns {
            is_in[column] = true;
        }
        let nonzero = |column: usize| weights[column * k..(column + 1) * k].iter().any(|&w| w != 0.0);
        for column in (0..d).filter(|&column| nonzero(column)) {
            if !is_in[column] {
                is_in[column] = true;
                columns.push(column);
            }
        }
        let over = |column: usize| largest(&v[column * k..(column + 1) * k]) - penalty.l1;
        let mut wanted: Vec<(f64, usize)> = (0..d)
            .filter(|&column| !is_in[column])
            .map(|column| (over(column), column))
            .filter(|&(over, _)| over > 0.0)
            .collect();
        wanted.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
        wanted.truncate(columns.len().max(BLOCK / 2));
        columns.extend(wanted.into_iter().map(|(_, column)| column));
        columns.sort_unstable();
    }

    fn working(&self, columns: Vec<usize>) -> Result<Working<'a>, MethodError> {
        let mut working = Working { columns, held: None, gram: Vec::new() };
        let n_pieces = working.columns.len().div_ceil(PIECE);
        let copied = if working.columns.len() == self.design.n_columns() { 0 } else { working.columns.len() };
        let fits = copied * self.design.n_rows() * size_of::<f32>() <= self.design.ctx().memory / 5 * 2;
        if fits && (copied > 0 || self.design.is_held()) {
            let held: Result<Vec<_>, _> =
                working.columns.par_chunks(PIECE).map(|columns| self.design.gathered(columns)).collect();
            working.held = Some(held?);
        }
        let per_block = BLOCK / PIECE;
        for first in (0..n_pieces).step_by(per_block) {
            self.design.go_on()?;
            let pieces = first..n_pieces.min(first + per_block);
            working.gram.push(self.gram(&working, pieces)?);
        }
        Ok(working)
    }

    /// Products of the columns of some pieces with one another, over N.
    fn gram(&self, working: &Working<'a>, pieces: Range<usize>) -> Result<Array2<f64>, MethodError> {
        let width = working.columns.len().min(pieces.end * PIECE) - pieces.start * PIECE;
        let pairs: Vec<(usize, usize)> = pieces.clone().flat_map(|a| (a..pieces.end).map(move |b| (a, b))).collect();
        let product = |&(a, b): &(usize, usize)| -> Result<Array2<f64>, MethodError> {
            let (a, b) = (working.piece(self.design, a)?, working.piece(self.design, b)?);
            let (a, b) = (view(&a, self.design.n_rows()), view(&b, self.design.n_rows()));
            Ok(gram(&a, &b, self.design.n_fit()))
        };
        let products: Vec<Result<Array2<f64>, MethodError>> = if working.held.is_some() {
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

    /// Slope of the mean loss by the weights of the working set, `[A, K]`.
    fn working_gradient(&self, working: &Working<'a>, slopes: &[f32]) -> Result<Vec<f64>, MethodError> {
        let pieces: Vec<Vec<f64>> =
            working.map(self.design, |values| gradient(&view(values, self.design.n_rows()), slopes, self.k))?;
        Ok(pieces.into_iter().flatten().collect())
    }

    /// Steps on the working set until the gap there is small enough, or after so many.
    fn descend(
        &self,
        working: &Working<'a>,
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
            let g = self.working_gradient(working, &slopes)?;
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
            let next = self.step(working, &y, &sums, &g, penalty, scale)?;
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
        working: &Working<'a>,
        y: &Point,
        sums: &Sums,
        g: &[f64],
        penalty: Penalty,
        scale: &mut f64,
    ) -> Result<Point, MethodError> {
        loop {
            let curvature: Vec<f64> = sums.curvature.iter().map(|c| *scale * c.max(1e-9)).collect();
            let (w, quadratic) = self.quadratic(working, y, g, &curvature, penalty);
            let delta: Vec<f64> = w.iter().zip(&y.w).map(|(w, y)| w - y).collect();
            let shift: Vec<f64> = sums.slope.iter().zip(&curvature).map(|(slope, c)| -slope / c).collect();
            let mut moved = vec![0.0; y.z.len()];
            self.move_outputs(working, &delta, &mut moved)?;
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

    fn move_outputs(&self, working: &Working<'a>, delta: &[f64], moved: &mut [f32]) -> Result<(), MethodError> {
        let delta: Vec<f32> = delta.iter().map(|&d| d as f32).collect();
        for (piece, delta) in delta.chunks(PIECE * self.k).enumerate() {
            if delta.iter().any(|&d| d != 0.0) {
                add_outputs(&view(&working.piece(self.design, piece)?, self.design.n_rows()), delta, moved);
            }
        }
        Ok(())
    }

    /// The weights `[A, K]` that minimize the quadratic plus the penalty, and the quadratic's curved part there.
    fn quadratic(
        &self,
        working: &Working<'a>,
        y: &Point,
        g: &[f64],
        curvature: &[f64],
        penalty: Penalty,
    ) -> (Vec<f64>, f64) {
        let k = self.k;
        let tasks: Vec<(usize, usize)> =
            (0..working.gram.len()).flat_map(|block| (0..k).map(move |output| (block, output))).collect();
        let solved: Vec<(Vec<f64>, f64)> = tasks
            .par_iter()
            .map(|&(block, output)| {
                let gram = &working.gram[block];
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

impl<'a> Working<'a> {
    fn piece(&self, design: &'a Design<'a>, piece: usize) -> Result<Cow<'_, [f32]>, MethodError> {
        if let Some(held) = &self.held {
            return Ok(Cow::Borrowed(&held[piece]));
        }
        let columns = &self.columns[piece * PIECE..self.columns.len().min((piece + 1) * PIECE)];
        design.gathered(columns)
    }

    fn map<T: Send>(
        &self,
        design: &'a Design<'a>,
        map: impl Fn(&[f32]) -> T + Send + Sync,
    ) -> Result<Vec<T>, MethodError> {
        let n = self.columns.len().div_ceil(PIECE);
        let one = |piece| Ok(map(&self.piece(design, piece)?));
        if self.held.is_some() { (0..n).into_par_iter().map(one).collect() } else { (0..n).map(one).collect() }
    }
}

fn pick(weights: &[f64], columns: &[usize], k: usize) -> Vec<f64> {
    columns.iter().flat_map(|&column| weights[column * k..(column + 1) * k].iter().copied()).collect()
}

fn largest(values: &[f64]) -> f64 {
    values.iter().fold(0.0, |most, value| most.max(value.abs()))
}
