//! Linguistic Correlation Analysis: an elastic-net probe whose penalties keep what matters and little else.
//!
//! ## Computes
//! For every pair of penalties of the grid a linear probe is fitted; A_l is its accuracy, A_t and A_b its accuracies
//! with all but the top and the bottom `share` of the neurons set to their means, A_z the accuracy without penalties.
//! The pair with the largest `alpha` (A_t - A_b) - `beta` (A_z - A_l) is taken; of equal ones the largest. A pair that
//! leaves no weight ranks no neuron and is passed over, if another leaves one. The score is a
//! neuron's share of its class: `|W[c, n]| / Σ_n |W[c, n]|`.
//! ## Input
//! Activations `[n_tokens, n_neurons]`, standardized here; at most one label a row. Fitted on six tenths of the sentences,
//! chosen on two tenths, both drawn by their content.
//! ## Output
//! Scores from 0 to 1, and the signs of the weights. The provenance has the penalties that were chosen.
//! ## Parameters
//! | name | default | range | meaning |
//! |---|---|---|---|
//! | `lambda_max` | 0.1 | > 0 | largest penalty of the grid, which goes down in tens |
//! | `lambda_min` | 0.001 | > 0 | smallest penalty of the grid |
//! | `zero` | false | | whether either penalty may also be 0 |
//! | `share` | 0.2 | 0 to 1 | share of the neurons that are kept for A_t and A_b |
//! | `alpha` | 0.5 | ≥ 0 | weight of telling top from bottom neurons |
//! | `beta` | 0.5 | ≥ 0 | weight of the accuracy that the penalties cost |
//! | `tolerance` | 0.001 | ≥ 0 | duality gap at which a fit stops, as a share of the objective |
//! | `min_count` | 2 | ≥ 1 | concepts with fewer rows are left out, and named |
//! | `seed` | 0 | | another seed is another split |
//! ## Cost
//! A linear probe for each pair of the grid, 9 by default, each starting from the one before, and one without penalties.
//! ## Errors
//! `TooFewConcepts`, `TooFewRows`, `NotExclusive`, `NotFinite`, `Parameter`, `Cancelled`.
//! ## Differs
//! The order of all neurons is that of the masses, ties by their largest share and then by their place; NeuroX leaves
//! neurons of one step in arbitrary order and those without weight out. The published grid goes down to 1e-7 and has
//! 0: `lambda_min = 1e-7` with `zero`, 64 fits.
//! ## Source
//! Dalvi, Durrani, Sajjad, Belinkov, Bau and Glass 2019, What Is One Grain of Sand in the Desert?, AAAI,
//! arXiv:1812.09355; reference: NeuroX.

use nissl_core::{Context, Describe, LabeledActivations, MethodCard, MethodError, Provenance, Ranker, Scores};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::catalog::params_of;
use crate::probes::classes::Classes;
use crate::probes::design::Design;
use crate::probes::linear::solver::{Fit, Penalty, Solver, Stop, outputs};
use crate::probes::linear::{sizes, summary};
use crate::probes::metrics::right;
use crate::probes::ordering;
use crate::probes::parts::{Parts, split};
use crate::probes::{CARD, Loss, Part, SplitOptions, at_least_1};

/// Ranks neurons by their share of an elastic-net probe whose penalties are chosen on held-out rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Lca {
    /// Largest penalty of the grid, which goes down in tens.
    #[schemars(range(min = 0.0))]
    pub lambda_max: f64,
    /// Smallest penalty of the grid.
    #[schemars(range(min = 0.0))]
    pub lambda_min: f64,
    /// Whether either penalty may also be 0.
    pub zero: bool,
    /// Share of the neurons that are kept when top and bottom are compared.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub share: f64,
    /// Weight of telling top from bottom neurons.
    #[schemars(range(min = 0.0))]
    pub alpha: f64,
    /// Weight of the accuracy that the penalties cost.
    #[schemars(range(min = 0.0))]
    pub beta: f64,
    /// Duality gap at which a fit stops, as a share of the objective.
    #[schemars(range(min = 0.0))]
    pub tolerance: f64,
    /// Concepts with fewer rows are left out, and named.
    #[schemars(range(min = 1))]
    pub min_count: usize,
    /// Another seed is another split.
    pub seed: u64,
}

impl Default for Lca {
    fn default() -> Self {
        Self {
            lambda_max: 0.1,
            lambda_min: 1e-3,
            zero: false,
            share: 0.2,
            alpha: 0.5,
            beta: 0.5,
            tolerance: 1e-3,
            min_count: 2,
            seed: 0,
        }
    }
}

impl Describe for Lca {
    const NAME: &'static str = "lca";
    const SUMMARY: &'static str =
        "Ranks neurons by their share of an elastic-net probe whose penalties are chosen on held-out rows.";
    const SOURCE: &'static str = "Dalvi et al. 2019, AAAI, arXiv:1812.09355; reference: NeuroX";
    const CARD: MethodCard = CARD;
}

const STEPS: usize = 500;

impl Lca {
    fn check(&self) -> Result<(), MethodError> {
        let refuse = |name, value: f64, expected| {
            Err(MethodError::Parameter { method: Self::NAME, name, value: value.to_string(), expected })
        };
        if !(self.lambda_max > 0.0 && self.lambda_max.is_finite()) {
            return refuse("lambda_max", self.lambda_max, "a finite number above 0");
        }
        if !(self.lambda_min >= 1e-12 && self.lambda_min <= self.lambda_max) {
            return refuse("lambda_min", self.lambda_min, "a number from 1e-12 to lambda_max");
        }
        if !(self.share > 0.0 && self.share <= 1.0) {
            return refuse("share", self.share, "a share above 0, at most 1");
        }
        for (name, value) in [("alpha", self.alpha), ("beta", self.beta), ("tolerance", self.tolerance)] {
            if !(value >= 0.0 && value.is_finite()) {
                return refuse(name, value, "a finite number, 0 or more");
            }
        }
        at_least_1(Self::NAME, "min_count", self.min_count)
    }

    /// The penalties of the grid, the largest first.
    fn grid(&self) -> Vec<f64> {
        let step = |n: &i32| self.lambda_max * 10_f64.powi(-n);
        let tens = (0..13).map(|n| step(&n)).take_while(|&lambda| lambda >= self.lambda_min * (1.0 - 1e-9));
        tens.chain(self.zero.then_some(0.0)).collect()
    }
}

/// The accuracies by which a pair of penalties is judged.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Accuracies {
    pub(crate) top: f64,
    pub(crate) bottom: f64,
    pub(crate) without_penalty: f64,
    pub(crate) all: f64,
}

impl Accuracies {
    /// What is to be as large as possible.
    pub(crate) fn value(self, alpha: f64, beta: f64) -> f64 {
        alpha * (self.top - self.bottom) - beta * (self.without_penalty - self.all)
    }
}

/// Rows to choose by, and what is asked of them.
struct Dev<'a> {
    design: &'a Design<'a>,
    rows: std::ops::Range<usize>,
    of: Vec<u32>,
}

impl Dev<'_> {
    /// Accuracy with the weights of some neurons only.
    fn accuracy(&self, fit: &Fit, kept: Option<&[usize]>) -> Result<f64, MethodError> {
        let k = fit.bias.len();
        let weights = match kept {
            None => fit.weights.clone(),
            Some(kept) => {
                let mut weights = vec![0.0; fit.weights.len()];
                for &neuron in kept {
                    let of = neuron * k..(neuron + 1) * k;
                    weights[of.clone()].copy_from_slice(&fit.weights[of]);
                }
                weights
            }
        };
        let right = right(&outputs(self.design, &weights, &fit.bias, self.rows.clone())?, &self.of);
        Ok(right.iter().filter(|&&right| right).count() as f64 / right.len().max(1) as f64)
    }
}

/// The weights of a fit, `[n_outputs][n_neurons]`.
fn by_class(fit: &Fit) -> Vec<Vec<f64>> {
    let k = fit.bias.len();
    (0..k).map(|class| fit.weights.iter().skip(class).step_by(k).copied().collect()).collect()
}

impl Ranker for Lca {
    fn score(&self, data: LabeledActivations<'_>, ctx: Context<'_>) -> Result<Scores, MethodError> {
        self.check()?;
        let classes = Classes::new(data.labels, Self::NAME, self.min_count, ctx)?;
        let options = SplitOptions { seed: self.seed, ..SplitOptions::default() };
        let split = split(data, options, ctx, Self::NAME)?;
        let has = |row: usize| classes.of[row].is_some();
        let parts = Parts::new(&split, has, &[Part::Train, Part::Dev], Self::NAME)?;
        let targets = classes.targets(parts.of(Part::Train));
        targets.check(Self::NAME)?;
        let dev = parts.range(Part::Dev);
        let design = Design::new(data.x, ctx, Self::NAME, parts.rows[..dev.end].to_vec(), parts.n_train)?;
        let of = parts.of(Part::Dev).iter().filter_map(|&row| classes.of[row]).collect();
        let dev = Dev { design: &design, rows: dev, of };
        let solver = Solver::new(&design, Loss::Softmax, &targets, None);
        let (fit, penalty) = self.search(&solver, &dev, ctx)?;
        let mut provenance = Provenance::of_method(Self::NAME, params_of(self));
        provenance.seed = Some(self.seed);
        if let Value::Object(params) = &mut provenance.params {
            params.insert("chosen".to_owned(), json!({ "lambda1": penalty.l1, "lambda2": penalty.l2 }));
            params.insert("fit".to_owned(), summary(&fit));
        }
        let k = fit.bias.len();
        let mut shares = fit.weights.clone();
        for class in 0..k {
            let total: f64 = shares.iter().skip(class).step_by(k).map(|w| w.abs()).sum();
            shares.iter_mut().skip(class).step_by(k).for_each(|w| *w /= total.max(f64::MIN_POSITIVE));
        }
        let (values, sign) = sizes(&shares, classes.concepts.len(), k);
        let neurons = data.x.neurons().to_vec();
        Scores::new(values, classes.concepts, neurons, provenance)?.with_sign(sign)?.with_constant(design.constant())
    }
}

impl Lca {
    /// The best fit of the grid and its penalties.
    fn search(&self, solver: &Solver<'_>, dev: &Dev<'_>, ctx: Context<'_>) -> Result<(Fit, Penalty), MethodError> {
        let grid = self.grid();
        let n_kept = ((self.share * dev.design.n_columns() as f64).round() as usize).max(1);
        ctx.progress.stage("searching penalties", Some((grid.len() * grid.len() + 1) as u64), "fits");
        let free = Stop { gap: 0.01, steps: STEPS / 5 };
        let without_penalty = dev.accuracy(&solver.fit(Penalty { l1: 0.0, l2: 0.0 }, free, None)?, None)?;
        let mut best: Option<(f64, bool, Fit, Penalty)> = None;
        let mut done = 1;
        ctx.progress.step(done);
        for &l2 in &grid {
            let mut start: Option<Fit> = None;
            for &l1 in &grid {
                let penalty = Penalty { l1, l2 };
                let stop = if l1 + l2 > 0.0 { Stop { gap: self.tolerance, steps: STEPS } } else { free };
                let fit = solver.fit(penalty, stop, start.as_ref())?;
                let order = ordering::ordering(&by_class(&fit), 100).order;
                let n_kept = n_kept.min(order.len());
                let accuracies = Accuracies {
                    top: dev.accuracy(&fit, Some(&order[..n_kept]))?,
                    bottom: dev.accuracy(&fit, Some(&order[order.len() - n_kept..]))?,
                    without_penalty,
                    all: dev.accuracy(&fit, None)?,
                };
                let value = accuracies.value(self.alpha, self.beta);
                let ranks = fit.weights.iter().any(|&w| w != 0.0);
                let better = best.as_ref().is_none_or(|(most, ranked, _, before)| {
                    let larger = l1 + l2 > before.l1 + before.l2;
                    if ranks == *ranked { value > most + 1e-12 || (value > most - 1e-12 && larger) } else { ranks }
                });
                if better {
                    best = Some((value, ranks, fit.clone(), penalty));
                }
                start = Some(fit);
                done += 1;
                ctx.progress.step(done);
            }
        }
        let (_, _, fit, penalty) = best.expect("the grid has its largest penalty at least");
        Ok((fit, penalty))
    }
}

#[cfg(test)]
mod tests {
    use nissl_testing::{Tol, assert_close};

    use super::*;

    #[test]
    fn accuracies_are_weighed_as_published() {
        let accuracies = Accuracies { top: 0.9, bottom: 0.2, without_penalty: 0.95, all: 0.93 };
        assert_close("value", &accuracies.value(0.5, 0.5), &0.34, Tol::abs(1e-12));
    }

    #[test]
    fn the_grid_goes_down_in_tens() {
        let lca = Lca { lambda_max: 0.1, lambda_min: 1e-3, ..Lca::default() };
        assert_close("grid", &lca.grid(), &[0.1, 0.01, 0.001][..], Tol::rel(1e-12));
        let published = Lca { lambda_min: 1e-7, zero: true, ..Lca::default() }.grid();
        assert_eq!(published.len(), 8);
        assert_close("its end", &published[7], &0.0, Tol::EXACT);
    }
}
