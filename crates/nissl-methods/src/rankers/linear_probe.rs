//! Linear probe: the weight that a neuron has in a linear model of the concepts.
//!
//! ## Computes
//! `|W[c, n]|` of the weights that minimize mean loss + `lambda1` Σ|W| + `lambda2` ΣW² on standardized activations; the
//! bias is not penalized. `lambda1` alone keeps one of several neurons that know the same, `lambda2` alone spreads over
//! all of them, both together keep all that know and drop the rest. The minimum is found to a duality gap of
//! `tolerance` times the objective; the gap is in the provenance.
//! ## Input
//! Activations `[n_tokens, n_neurons]`, standardized here with the statistics of the rows that are fitted on: six tenths
//! of the sentences, drawn by their content. At most one label a row with `softmax`, any number with the other losses.
//! A single concept is told from the rows without it.
//! ## Output
//! Sizes of the weights, ≥ 0, and their signs.
//! ## Parameters
//! | name | default | range | meaning |
//! |---|---|---|---|
//! | `loss` | softmax | softmax, sigmoid, squared, squared_hinge | classes that exclude each other; or each concept by itself |
//! | `lambda1` | 0.001 | ≥ 0 | penalty of the sizes of the weights |
//! | `lambda2` | 0.001 | ≥ 0 | penalty of the squares of the weights |
//! | `balanced` | false | | every class weighs the same; with `softmax` |
//! | `tolerance` | 0.0001 | ≥ 0 | duality gap at which to stop, as a share of the objective |
//! | `max_steps` | 500 | ≥ 1 | steps at most |
//! | `min_count` | 2 | ≥ 1 | concepts with fewer rows are left out, and named |
//! | `seed` | 0 | | another seed is another split |
//! ## Cost
//! With a penalty of sizes ten steps or some more, each the products of a concept's neurons with a weight with one another,
//! and about as many passes over all neurons; without, two passes a step and up to some hundred. What does not fit into
//! memory is read again at every pass. Beside it 40 bytes a row and concept, and 4 for each two neurons with a weight.
//! ## Errors
//! `TooFewConcepts`, `TooFewRows`, `NotExclusive`, `NotFinite`, `Parameter`, `Cancelled`.
//! ## Differs
//! NeuroX runs ten epochs of Adam, which come near no minimum and give no zeros, and penalizes the norm of the weights
//! instead of its square.
//! ## Source
//! Dalvi et al. 2019, What Is One Grain of Sand in the Desert?, AAAI, arXiv:1812.09355; Radford et al. 2017,
//! arXiv:1704.01444; reference: NeuroX.

use nissl_core::{Context, Describe, LabeledActivations, MethodCard, MethodError, Provenance, Ranker, Scores};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::catalog::params_of;
use crate::probes::classes::{Classes, ConceptSets};
use crate::probes::design::Design;
use crate::probes::linear::solver::Solver;
use crate::probes::linear::{sizes, summary};
use crate::probes::parts::{Parts, split};
use crate::probes::{CARD, LinearOptions, Loss, Part, SplitOptions, at_least_1};

/// Ranks neurons by their weight in a linear model of the concepts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LinearProbe {
    /// What is minimized: classes that exclude each other, or each concept by itself.
    pub loss: Loss,
    /// Penalty of the sizes of the weights.
    #[schemars(range(min = 0.0))]
    pub lambda1: f64,
    /// Penalty of the squares of the weights.
    #[schemars(range(min = 0.0))]
    pub lambda2: f64,
    /// Every class weighs the same, however many rows it has; with softmax.
    pub balanced: bool,
    /// Duality gap at which to stop, as a share of the objective.
    #[schemars(range(min = 0.0))]
    pub tolerance: f64,
    /// Steps at most.
    #[schemars(range(min = 1))]
    pub max_steps: usize,
    /// Concepts with fewer rows are left out, and named.
    #[schemars(range(min = 1))]
    pub min_count: usize,
    /// Another seed is another split.
    pub seed: u64,
}

impl Default for LinearProbe {
    fn default() -> Self {
        let LinearOptions { loss, lambda1, lambda2, balanced, tolerance, max_steps } = LinearOptions::default();
        Self { loss, lambda1, lambda2, balanced, tolerance, max_steps, min_count: 2, seed: 0 }
    }
}

impl Describe for LinearProbe {
    const NAME: &'static str = "linear-probe";
    const SUMMARY: &'static str = "Ranks neurons by their weight in a linear model of the concepts.";
    const SOURCE: &'static str =
        "Dalvi et al. 2019, AAAI, arXiv:1812.09355; Radford et al. 2017, arXiv:1704.01444; reference: NeuroX";
    const CARD: MethodCard = CARD;
}

impl LinearProbe {
    fn options(&self) -> LinearOptions {
        let Self { loss, lambda1, lambda2, balanced, tolerance, max_steps, .. } = *self;
        LinearOptions { loss, lambda1, lambda2, balanced, tolerance, max_steps }
    }

    fn check(&self) -> Result<(), MethodError> {
        self.options().check(Self::NAME)?;
        at_least_1(Self::NAME, "min_count", self.min_count)
    }
}

impl Ranker for LinearProbe {
    fn score(&self, data: LabeledActivations<'_>, ctx: Context<'_>) -> Result<Scores, MethodError> {
        self.check()?;
        let labels = data.labels;
        let split_options = SplitOptions { seed: self.seed, ..SplitOptions::default() };
        let (concepts, targets, rows) = if self.loss == Loss::Softmax {
            let classes = Classes::new(labels, Self::NAME, self.min_count, ctx)?;
            let split = split(data, split_options, ctx, Self::NAME)?;
            let parts = Parts::new(&split, |row| classes.of[row].is_some(), &[Part::Train], Self::NAME)?;
            let rows = parts.of(Part::Train).to_vec();
            (classes.concepts.clone(), classes.targets(&rows), rows)
        } else {
            let sets = ConceptSets::new(labels, Self::NAME, self.min_count, ctx)?;
            let split = split(data, split_options, ctx, Self::NAME)?;
            let rows = Parts::new(&split, |_| true, &[Part::Train], Self::NAME)?.of(Part::Train).to_vec();
            let targets = sets.targets(labels, &rows);
            (sets.concepts, targets, rows)
        };
        targets.check(Self::NAME)?;
        let n_fit = rows.len();
        let design = Design::new(data.x, ctx, Self::NAME, rows, n_fit)?;
        let weights = targets.balanced().filter(|_| self.balanced);
        let solver = Solver::new(&design, self.loss, &targets, weights.as_deref());
        ctx.progress.stage("fitting a linear probe", None, "steps");
        let options = self.options();
        let tell = |steps: usize| ctx.progress.step(steps as u64);
        let fit = solver.fit_telling(options.penalty(), options.stop(), None, &tell)?;
        if !fit.converged {
            ctx.progress.note(&format!("{} stopped after {} steps above its tolerance", Self::NAME, fit.steps));
        }
        let mut provenance = Provenance::of_method(Self::NAME, params_of(self));
        provenance.seed = Some(self.seed);
        if let Value::Object(params) = &mut provenance.params {
            params.insert("fit".to_owned(), summary(&fit));
        }
        let neurons = data.x.neurons().to_vec();
        let (values, sign) = sizes(&fit.weights, concepts.len(), targets.n_outputs());
        Scores::new(values, concepts, neurons, provenance)?.with_sign(sign)?.with_constant(design.constant())
    }
}
