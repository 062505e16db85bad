//! Greedy regression: the smallest set of neurons from which a number can be told.
//!
//! ## Computes
//! The neuron is picked with which a least-squares fit explains most of the number's variance, then the one that adds
//! most to it, and so on: a length, a place in the line, a depth. Neurons are picked on six tenths of the sentences;
//! picking ends where two tenths that were held out gain less than `min_gain`.
//! ## Input
//! Activations `[n_tokens, n_neurons]`, standardized here. Where the names of all labels are numbers (`length=12`), the
//! number itself is what is told, of the rows that have one; else it is 1 in the rows of a concept and 0 in all others,
//! for one concept after the other.
//! ## Output
//! A picked neuron has 2 plus the number of those picked after it, any other the share of the variance that it explains
//! by itself, 0 to 1. The sign is that of its correlation with the number. The provenance has the curve of what the first
//! 1, 2, … explain.
//! ## Parameters
//! | name | default | range | meaning |
//! |---|---|---|---|
//! | `max_neurons` | 10 | ≥ 1 | neurons that are picked at most |
//! | `min_gain` | 0.001 | ≥ 0 | share of the variance that a pick must add on held-out rows |
//! | `ridge` | 1e-6 | ≥ 0 | share of its variance that is added to what is left of a neuron, against copies |
//! | `min_count` | 2 | ≥ 1 | concepts with fewer rows are left out, and named; not where the labels are numbers |
//! | `seed` | 0 | | another seed is another split |
//! ## Cost
//! O(max_neurons · n_neurons · n_tokens) a concept: a pass for each neuron that is picked.
//! ## Errors
//! `TooFewConcepts`, `TooFewRows`, `NotFinite`, `Parameter`, `Cancelled`.
//! ## Differs
//! The paper adds neurons as long as it likes, on the rows that it fits on.
//! ## Source
//! Shi, Knight and Yuret 2016, Why Neural Translations are the Right Length, EMNLP.

use ndarray::Array2;
use nissl_core::{
    Concept, Context, Describe, LabeledActivations, Labels, MethodCard, MethodError, Provenance, Ranker, Scores,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::catalog::params_of;
use crate::probes::classes::ConceptSets;
use crate::probes::design::Design;
use crate::probes::greedy::{Greedy, GreedyOptions, greedy};
use crate::probes::parts::{Parts, split};
use crate::probes::{CARD, Part, SplitOptions, at_least_1};

/// Ranks neurons by what they add to a least-squares fit of a number, picked one by one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct GreedyRegression {
    /// Neurons that are picked at most.
    #[schemars(range(min = 1))]
    pub max_neurons: usize,
    /// Share of the variance that a pick must add on held-out rows.
    #[schemars(range(min = 0.0))]
    pub min_gain: f64,
    /// Share of its variance that is added to what is left of a neuron, against copies.
    #[schemars(range(min = 0.0))]
    pub ridge: f64,
    /// Concepts with fewer rows are left out, and named; not where the labels are numbers.
    #[schemars(range(min = 1))]
    pub min_count: usize,
    /// Another seed is another split.
    pub seed: u64,
}

impl Default for GreedyRegression {
    fn default() -> Self {
        Self { max_neurons: 10, min_gain: 1e-3, ridge: 1e-6, min_count: 2, seed: 0 }
    }
}

impl Describe for GreedyRegression {
    const NAME: &'static str = "greedy-regression";
    const SUMMARY: &'static str =
        "Ranks neurons by what they add to a least-squares fit of a number, picked one by one.";
    const SOURCE: &'static str = "Shi, Knight and Yuret 2016, EMNLP";
    const CARD: MethodCard = CARD;
}

impl GreedyRegression {
    fn check(&self) -> Result<(), MethodError> {
        at_least_1(Self::NAME, "max_neurons", self.max_neurons)?;
        at_least_1(Self::NAME, "min_count", self.min_count)?;
        for (name, value) in [("min_gain", self.min_gain), ("ridge", self.ridge)] {
            if !(value >= 0.0 && value.is_finite()) {
                let (value, expected) = (value.to_string(), "a finite number, 0 or more");
                return Err(MethodError::Parameter { method: Self::NAME, name, value, expected });
            }
        }
        Ok(())
    }
}

/// The number that each label names, and what they are numbers of; `None` if a name is no number.
fn numbers(labels: &Labels) -> Option<(Concept, Vec<f64>)> {
    let number = |concept: &Concept| {
        let text = concept.name.rsplit('=').next().unwrap_or(&concept.name);
        text.trim().parse::<f64>().ok().filter(|value| value.is_finite())
    };
    let of: Vec<f64> = labels.concepts().iter().map(number).collect::<Option<_>>()?;
    let (first, _) = labels.concepts().first()?.name.rsplit_once('=').unwrap_or(("number", ""));
    Some((Concept::new(first.trim()), of))
}

/// What is to be told: its name, and the number of each row that has one.
type Target = (Concept, Vec<Option<f64>>);

impl GreedyRegression {
    fn targets(&self, labels: &Labels, ctx: Context<'_>) -> Result<Vec<Target>, MethodError> {
        let n = labels.n_tokens();
        if let Some((concept, of)) = numbers(labels) {
            let of_row = labels.exclusive(Self::NAME)?;
            return Ok(vec![(concept, of_row.iter().map(|label| label.map(|label| of[label as usize])).collect())]);
        }
        let sets = ConceptSets::new(labels, Self::NAME, self.min_count, ctx)?;
        let masks = sets.masks(labels, &(0..n).collect::<Vec<_>>());
        let indicator = |mask: Vec<bool>| mask.into_iter().map(|has| Some(f64::from(u8::from(has)))).collect();
        Ok(sets.concepts.into_iter().zip(masks.into_iter().map(indicator)).collect())
    }
}

/// Scores and directions by what was picked.
fn scores(found: &Greedy) -> Vec<(f32, i8)> {
    let direction = |value: f64| i8::from(value > 0.0) - i8::from(value < 0.0);
    let alone = |&value: &f64| ((value * value).min(1.0) as f32, direction(value));
    let mut scores: Vec<(f32, i8)> = found.correlation.iter().map(alone).collect();
    for (place, &neuron) in found.order.iter().enumerate() {
        scores[neuron].0 = (1 + found.order.len() - place) as f32;
    }
    scores
}

impl Ranker for GreedyRegression {
    fn score(&self, data: LabeledActivations<'_>, ctx: Context<'_>) -> Result<Scores, MethodError> {
        self.check()?;
        let targets = self.targets(data.labels, ctx)?;
        let options = SplitOptions { seed: self.seed, ..SplitOptions::default() };
        let split = split(data, options, ctx, Self::NAME)?;
        // All targets have their numbers in the same rows.
        let has = |row: usize| targets[0].1[row].is_some();
        let parts = Parts::new(&split, has, &[Part::Train, Part::Dev], Self::NAME)?;
        let rows = parts.rows[..parts.range(Part::Dev).end].to_vec();
        let design = Design::new(data.x, ctx, Self::NAME, rows.clone(), parts.n_train)?;
        let options = GreedyOptions { max_neurons: self.max_neurons, min_gain: self.min_gain, ridge: self.ridge };
        ctx.progress.stage("picking neurons", Some(targets.len() as u64), "concepts");
        let neurons = data.x.neurons().to_vec();
        let (mut all, mut told) = (Vec::new(), Vec::new());
        for (done, (concept, of)) in targets.iter().enumerate() {
            let of: Vec<f64> = rows.iter().filter_map(|&row| of[row]).collect();
            let found = greedy(&design, &of, options)?;
            let names: Vec<String> = found.order.iter().map(|&neuron| neurons[neuron].to_string()).collect();
            told.push(json!({ "concept": concept.name, "neurons": names, "explained": found.curve }));
            all.push(scores(&found));
            ctx.progress.step(done as u64 + 1);
        }
        let mut provenance = Provenance::of_method(Self::NAME, params_of(self));
        provenance.seed = Some(self.seed);
        if let Value::Object(params) = &mut provenance.params {
            params.insert("picked".to_owned(), told.into());
        }
        let shape = (targets.len(), neurons.len());
        let values = Array2::from_shape_fn(shape, |(concept, neuron)| all[concept][neuron].0);
        let sign = Array2::from_shape_fn(shape, |(concept, neuron)| all[concept][neuron].1);
        let concepts = targets.into_iter().map(|(concept, _)| concept).collect();
        Scores::new(values, concepts, neurons, provenance)?.with_sign(sign)?.with_constant(design.constant())
    }
}
