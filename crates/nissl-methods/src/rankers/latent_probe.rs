//! Latent-variable probe: one linear probe for all sets of neurons, and the sets with which it does best.
//!
//! ## Computes
//! A linear probe is fitted on activations of which a random set of neurons is left, another in every row, while the
//! distribution of the sets moves to where the probe does best: minimized is the mean cross-entropy under drawn sets less
//! `eta` times the distribution's entropy plus the penalties. Then, on held-out rows, the neuron is picked with which,
//! together with those before, the same weights tell most of the class: the mutual information `I = H(V) + mean log2
//! p(v | h)`, a lower bound. Nothing is fitted anew for a set.
//! ## Input
//! Activations `[n_tokens, n_neurons]`, standardized here; at most one label a row. A single concept is told from the rows
//! without it. Fitted on six tenths of the sentences, a tenth of them to stop by; picked on two tenths.
//! ## Output
//! The same scores for every concept, as neurons are picked for all of them at once: a picked neuron has 1 plus the
//! number of those picked after it, any other candidate its own mutual information over the entropy of the classes, 0 to
//! 1; a neuron that was no candidate has 0. The provenance has the curve of what the first 1, 2, … neurons tell.
//! ## Parameters
//! | name | default | range | meaning |
//! |---|---|---|---|
//! | `masks` | poisson | poisson, conditional_poisson, all | how sets are drawn: each neuron by itself; so many at once, all numbers alike; always all neurons |
//! | `candidates` | 768 | ≥ 1 | neurons that take part: those with the largest F statistic of the classes |
//! | `pick` | 50 | ≥ 1 | neurons that are picked at most |
//! | `min_gain` | 0.001 | ≥ 0 | bits that a pick must add |
//! | `eta` | 0.01 | ≥ 0 | weight of the distribution's entropy |
//! | `lambda1` | 0.00001 | ≥ 0 | penalty of the sizes of the weights |
//! | `lambda2` | 0.00001 | ≥ 0 | penalty of the squares of the weights |
//! | `rate` | 0.05 | > 0 | length of a step (Adam) |
//! | `steps` | 400 | ≥ 1 | steps at most |
//! | `batch` | 256 | ≥ 1 | rows of a step, each with two sets |
//! | `patience` | 20 | ≥ 1 | looks at the held-out tenth, one every ten steps, without a better objective after which to stop |
//! | `min_count` | 2 | ≥ 1 | concepts with fewer rows are left out, and named |
//! | `seed` | 0 | | another seed is another split and other sets |
//! ## Cost
//! O(steps · batch · candidates · n_concepts), for `conditional_poisson` O(candidates²) a step more; then O(pick ·
//! candidates · n_concepts · n_tokens). The candidates are held in memory where they fit.
//! ## Errors
//! `TooFewConcepts`, `TooFewRows`, `NotExclusive`, `NotFinite`, `Parameter`, `Cancelled`.
//! ## Differs
//! The reference normalizes conditional sets by one constant for all sizes, so that what it calls a density sums up to
//! the number of neurons, and stops by an objective whose entropy is not scaled. It draws five sets a row and step for
//! each of the two expectations, here the rows of a batch share what they draw; and goes through all rows 5,000 times.
//! Chances are compared with the mean of the batch's other rows. Sets are drawn by what is in the rows and columns, not by
//! where they stand.
//! ## Source
//! Stańczak, Torroba Hennigen, Williams, Cotterell and Augenstein 2023, A Latent-Variable Model for Intrinsic Probing,
//! AAAI, arXiv:2201.08214; reference: copenlu/flexible-probing.

use ndarray::Array2;
use nissl_core::{
    Activations, Context, Describe, LabeledActivations, MethodCard, MethodError, Provenance, Ranker, Scores,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::catalog::params_of;
use crate::columns::ColumnPass;
use crate::groups::is_constant;
use crate::probes::classes::Classes;
use crate::probes::design::{Design, row_keys};
use crate::probes::latent::{Fitting, LatentOptions, Masks, Ordered, pick};
use crate::probes::parts::{Parts, split};
use crate::probes::{CARD, ChosenNeurons, Part, SplitOptions, at_least_1};

/// Ranks neurons by what they add to a probe that was fitted for all sets of neurons at once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LatentProbe {
    /// How sets are drawn.
    pub masks: Masks,
    /// Neurons that take part: those with the largest F statistic of the classes.
    #[schemars(range(min = 1))]
    pub candidates: usize,
    /// Neurons that are picked at most.
    #[schemars(range(min = 1))]
    pub pick: usize,
    /// Bits that a pick must add.
    #[schemars(range(min = 0.0))]
    pub min_gain: f64,
    /// Weight of the distribution's entropy.
    #[schemars(range(min = 0.0))]
    pub eta: f64,
    /// Penalty of the sizes of the weights.
    #[schemars(range(min = 0.0))]
    pub lambda1: f64,
    /// Penalty of the squares of the weights.
    #[schemars(range(min = 0.0))]
    pub lambda2: f64,
    /// Length of a step.
    #[schemars(range(min = 0.0))]
    pub rate: f64,
    /// Steps at most.
    #[schemars(range(min = 1))]
    pub steps: usize,
    /// Rows of a step, each with two sets.
    #[schemars(range(min = 1))]
    pub batch: usize,
    /// Looks at the held-out tenth without a better objective after which to stop.
    #[schemars(range(min = 1))]
    pub patience: usize,
    /// Concepts with fewer rows are left out, and named.
    #[schemars(range(min = 1))]
    pub min_count: usize,
    /// Another seed is another split and other sets.
    pub seed: u64,
}

impl Default for LatentProbe {
    fn default() -> Self {
        Self {
            masks: Masks::Poisson,
            candidates: 768,
            pick: 50,
            min_gain: 1e-3,
            eta: 1e-2,
            lambda1: 1e-5,
            lambda2: 1e-5,
            rate: 0.05,
            steps: 400,
            batch: 256,
            patience: 20,
            min_count: 2,
            seed: 0,
        }
    }
}

impl Describe for LatentProbe {
    const NAME: &'static str = "latent-probe";
    const SUMMARY: &'static str =
        "Ranks neurons by what they add to a probe that was fitted for all sets of neurons at once.";
    const SOURCE: &'static str = "Stańczak et al. 2023, AAAI, arXiv:2201.08214; reference: copenlu/flexible-probing";
    const CARD: MethodCard = MethodCard { scalability: "medium", ..CARD };
}

impl LatentProbe {
    fn check(&self) -> Result<(), MethodError> {
        let counts = [
            ("candidates", self.candidates),
            ("pick", self.pick),
            ("steps", self.steps),
            ("batch", self.batch),
            ("patience", self.patience),
            ("min_count", self.min_count),
        ];
        counts.into_iter().try_for_each(|(name, value)| at_least_1(Self::NAME, name, value))?;
        let refuse =
            |name, value: String, expected| Err(MethodError::Parameter { method: Self::NAME, name, value, expected });
        if !(self.rate > 0.0 && self.rate.is_finite()) {
            return refuse("rate", self.rate.to_string(), "a finite number above 0");
        }
        let numbers =
            [("min_gain", self.min_gain), ("eta", self.eta), ("lambda1", self.lambda1), ("lambda2", self.lambda2)];
        match numbers.into_iter().find(|(_, value)| !(*value >= 0.0 && value.is_finite())) {
            Some((name, value)) => refuse(name, value.to_string(), "a finite number, 0 or more"),
            None => Ok(()),
        }
    }

    fn options(&self) -> LatentOptions {
        let Self { masks, steps, batch, rate, eta, lambda1, lambda2, patience, seed, .. } = *self;
        LatentOptions { masks, steps, batch, rate, eta, lambda1, lambda2, patience, seed }
    }

    /// The columns that take part, ascending, and whether each column is constant in the rows to fit on.
    fn candidates(
        &self,
        x: &dyn Activations,
        (rows, of): (&[usize], &[u32]),
        n_classes: usize,
        ctx: Context<'_>,
    ) -> Result<(Vec<usize>, Vec<bool>), MethodError> {
        let mut counts = vec![0.0_f64; n_classes];
        for &class in of {
            counts[class as usize] += 1.0;
        }
        let scratch_per_row = size_of::<f32>();
        let pass = ColumnPass { x, ctx, method: Self::NAME, stage: "choosing candidates", scratch_per_row };
        let told = pass.map(Vec::new, |chosen: &mut Vec<f32>, _, column| {
            chosen.clear();
            chosen.extend(rows.iter().map(|&row| column[row]));
            Ok((between(chosen, of, &counts), is_constant(chosen)))
        })?;
        let mut order: Vec<usize> = (0..told.len()).collect();
        order.sort_by(|&a, &b| told[b].0.total_cmp(&told[a].0).then_with(|| a.cmp(&b)));
        order.truncate(self.candidates);
        order.sort_unstable();
        Ok((order, told.into_iter().map(|(_, constant)| constant).collect()))
    }
}

/// Share of the variance that lies between the classes, which rises with the F statistic.
fn between(column: &[f32], of: &[u32], counts: &[f64]) -> f64 {
    let n = column.len().max(1) as f64;
    let mean = column.iter().map(|&value| f64::from(value)).sum::<f64>() / n;
    let mut sums = vec![0.0; counts.len()];
    let mut total = 0.0;
    for (&value, &class) in column.iter().zip(of) {
        let off = f64::from(value) - mean;
        sums[class as usize] += off;
        total += off * off;
    }
    let of_classes: f64 = sums.iter().zip(counts).filter(|(_, n)| **n > 0.0).map(|(sum, n)| sum * sum / n).sum();
    if total > 0.0 { of_classes / total } else { 0.0 }
}

impl Ranker for LatentProbe {
    fn score(&self, data: LabeledActivations<'_>, ctx: Context<'_>) -> Result<Scores, MethodError> {
        self.check()?;
        let classes = Classes::new(data.labels, Self::NAME, self.min_count, ctx)?;
        let options = SplitOptions { seed: self.seed, ..SplitOptions::default() };
        let split = split(data, options, ctx, Self::NAME)?;
        let has = |row: usize| classes.of[row].is_some();
        let parts = Parts::new(&split, has, &[Part::Train, Part::Dev], Self::NAME)?;
        let class = |&row: &usize| classes.of[row].expect("only rows with a class are in the parts");
        let train: Vec<u32> = parts.of(Part::Train).iter().map(class).collect();
        let (columns, constant) = self.candidates(data.x, (parts.of(Part::Train), &train), classes.n, ctx)?;
        let x = ChosenNeurons::new(data.x, &columns);
        // In the order of what is in them, which is as good as any other.
        let keys = row_keys(&x, ctx, Self::NAME)?;
        let mut rows = parts.rows[..parts.range(Part::Dev).end].to_vec();
        let (to_fit, to_pick) = rows.split_at_mut(parts.n_train);
        for part in [to_fit, to_pick] {
            part.sort_by_key(|&row| (keys[row], classes.of[row], row));
        }
        let of: Vec<u32> = rows.iter().map(class).collect();
        let design = Design::new(&x, ctx, Self::NAME, rows, parts.n_train)?;
        let columns_of = Ordered::new(&design)?;
        let (to_fit, to_pick) = of.split_at(parts.n_train);
        ctx.progress.stage("fitting a probe for all sets", None, "steps");
        let fitting = Fitting { columns: &columns_of, of: to_fit, n_classes: classes.n, options: self.options() };
        let fitted = fitting.run()?;
        let picked = pick(&columns_of, &fitted, to_pick, (self.pick, self.min_gain))?;
        let neurons = data.x.neurons().to_vec();
        let mut provenance = Provenance::of_method(Self::NAME, params_of(self));
        provenance.seed = Some(self.seed);
        if let Value::Object(params) = &mut provenance.params {
            let names: Vec<String> = picked.order.iter().map(|&place| x.neurons()[place].to_string()).collect();
            params.insert("picked".to_owned(), json!({ "neurons": names, "curve": picked.curve }));
            params.insert("fit".to_owned(), json!({ "steps": fitted.steps, "objective": fitted.objective }));
        }
        let mut scores = vec![0.0_f32; neurons.len()];
        for (place, bits) in picked.alone.iter().enumerate() {
            let share = bits.unwrap_or(0.0) / picked.entropy.max(f64::MIN_POSITIVE);
            scores[columns[place]] = share.clamp(0.0, 1.0) as f32;
        }
        for (place, &picked_place) in picked.order.iter().enumerate() {
            scores[columns[picked_place]] = (picked.order.len() - place) as f32;
        }
        let values = Array2::from_shape_fn((classes.concepts.len(), neurons.len()), |(_, neuron)| scores[neuron]);
        Scores::new(values, classes.concepts, neurons, provenance)?.with_constant(constant)
    }
}
