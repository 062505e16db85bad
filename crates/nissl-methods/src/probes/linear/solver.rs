//! Minimizes mean loss + λ1·|w| + λ2·w² over all neurons, and says how far from the minimum it is at most.
//!
//! N rows, K outputs. With a penalty of sizes most weights are 0: `newton.rs` finds the others, output by output, with
//! penalties that come down to the one asked for. Without, all neurons move at once, `dense.rs`. The dual objective at the
//! scaled slopes of all neurons bounds the minimum from below: the distance is the duality gap.

use ndarray::Array2;
use nissl_core::MethodError;
use rayon::prelude::*;

use super::loss::{CHUNK, Loss, Objective, Sums, softmax};
use super::newton::Newton;
use super::products::gradient_of_some;
pub(crate) use super::products::outputs;
use crate::probes::design::{Design, view};
use crate::probes::targets::Targets;

/// How far the penalty of sizes comes down at once.
const DOWN: f64 = 0.3;
/// On the way one chunk in so many is looked at, where there are more than [`MANY`].
const PART: usize = 4;
const MANY: usize = 12;

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
    pub(super) fn of(self, weights: &[f64]) -> f64 {
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
    pub(super) design: &'a Design<'a>,
    pub(super) objective: Objective<'a>,
    pub(super) k: usize,
}

/// A point: weights `[n_neurons, K]`, bias, and the outputs they give `[N, K]`.
#[derive(Clone)]
pub(super) struct Point {
    pub(super) w: Vec<f64>,
    pub(super) b: Vec<f64>,
    pub(super) z: Vec<f64>,
}

impl Point {
    /// `self + beta (self - before)`.
    pub(super) fn extrapolated(&self, before: &Self, beta: f64) -> Self {
        let go = |now: &[f64], before: &[f64]| {
            now.iter().zip(before).map(|(now, before)| now + beta * (now - before)).collect()
        };
        Self { w: go(&self.w, &before.w), b: go(&self.b, &before.b), z: go(&self.z, &before.z) }
    }
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
        self.fit_telling(penalty, stop, start, &|_| ())
    }

    /// The same; `tell` is called with the steps taken, now and then.
    ///
    /// # Errors
    /// As [`Solver::fit`].
    pub(crate) fn fit_telling(
        &self,
        penalty: Penalty,
        stop: Stop,
        start: Option<&Fit>,
        tell: &dyn Fn(usize),
    ) -> Result<Fit, MethodError> {
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
        let mut newton = Newton::new(self);
        let mut grams = Vec::new();
        let (mut scale, mut first_slope) = (1.0, None);
        // A start is near already.
        let mut l1 = if start.is_some() { penalty.l1 } else { f64::INFINITY };
        loop {
            self.design.go_on()?;
            let mut z = if penalty.l1 > 0.0 {
                newton.outputs(&fit)?
            } else {
                outputs(self.design, &fit.weights, &fit.bias, 0..self.design.n_fit())?
            };
            self.settle_bias(&mut fit.bias, &mut z);
            let (sums, slopes) = self.slopes(&z);
            fit.objective = sums.loss + penalty.of(&fit.weights);
            let last = fit.steps >= stop.steps;
            let on_the_way = l1 > penalty.l1 && penalty.l1 > 0.0 && !last;
            // On the way down a part of the rows says well enough which neurons are to come.
            let every = if on_the_way && self.design.n_fit() > MANY * CHUNK { PART } else { 1 };
            let v = self.gradient_of_some(&slopes, every)?;
            if !on_the_way {
                let bound = self.dual(&z, &v, penalty, true);
                fit.gap = bound.map(|bound| (fit.objective - bound).max(0.0));
                let first = *first_slope.get_or_insert(largest(&v));
                fit.converged = match fit.gap {
                    Some(gap) => gap <= stop.gap * fit.objective,
                    None => largest(&v) <= stop.gap * first,
                };
                if fit.converged || last {
                    return Ok(fit);
                }
            }
            let left = stop.steps - fit.steps;
            let (more, steps) = if penalty.l1 > 0.0 {
                l1 = (DOWN * l1.min(largest(&v))).max(penalty.l1);
                let (new, rest) = newton.grow(&v, &fit.weights, l1)?;
                // On the way down no minimum is needed.
                let (decrease, most) = if rest || l1 > penalty.l1 { (0.01, left.min(2)) } else { (inner, left) };
                let steps = newton.descend(&mut fit, &z, Penalty { l1, ..penalty }, (decrease, most))?;
                (new || l1 > penalty.l1, steps)
            } else {
                let first = grams.is_empty();
                if first {
                    grams = self.grams()?;
                }
                let point = Point { w: std::mem::take(&mut fit.weights), b: std::mem::take(&mut fit.bias), z };
                let (point, steps) = self.descend(&grams, point, penalty, (inner, left), &mut scale)?;
                (fit.weights, fit.bias) = (point.w, point.b);
                (first, steps)
            };
            fit.steps += steps.max(1);
            tell(fit.steps);
            if !more {
                inner *= 0.1;
                if inner < 1e-4 * stop.gap {
                    // Single precision gives no better.
                    return Ok(fit);
                }
            }
        }
    }

    /// Weights 0 and the bias that is best with them.
    fn nothing(&self) -> Point {
        let mut point = Point { w: Vec::new(), b: vec![0.0; self.k], z: vec![0.0; self.design.n_fit() * self.k] };
        self.settle_bias(&mut point.b, &mut point.z);
        point
    }

    pub(super) fn slopes(&self, z: &[f64]) -> (Sums, Vec<f32>) {
        let mut slopes = vec![0.0; z.len()];
        (self.objective.evaluate(z, &mut slopes), slopes)
    }

    /// Slope of the mean loss by every weight, `[n_neurons, K]`.
    pub(super) fn gradient(&self, slopes: &[f32]) -> Result<Vec<f64>, MethodError> {
        self.gradient_of_some(slopes, 1)
    }

    /// The same over every so many-th chunk of the rows.
    fn gradient_of_some(&self, slopes: &[f32], every: usize) -> Result<Vec<f64>, MethodError> {
        let n = self.design.n_rows();
        let pieces = self.design.map_pieces(|_, values| gradient_of_some(&view(values, n), slopes, self.k, every))?;
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
    pub(super) fn dual(&self, z: &[f64], v: &[f64], penalty: Penalty, search: bool) -> Option<f64> {
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
}

pub(super) fn largest(values: &[f64]) -> f64 {
    values.iter().fold(0.0, |most, value| most.max(value.abs()))
}
