//! Gaussian probe: neurons picked one by one for what they tell of the classes together with those before.
//!
//! ## Computes
//! Each class is a normal distribution with mean and covariance estimated on six tenths of the sentences. On two tenths
//! of them that were held out, the neuron is picked that with those before it raises the criterion most: the mutual
//! information `I = H(V) + mean log2 p(v | h)`, a lower bound, or the accuracy. A subset of neurons is judged by dropping
//! the others from the distributions; nothing is fitted anew.
//! ## Input
//! Activations `[n_tokens, n_neurons]`, standardized here; at most one label a row. A single concept is told from the
//! rows without it.
//! ## Output
//! The same scores for every concept, as neurons are picked for all of them at once: a picked neuron has 1 plus the
//! number of those picked after it, any other its own mutual information over the entropy of the classes, or its
//! accuracy beyond that of the most frequent class, 0 to 1. The provenance has the curve of what is told by the first 1,
//! 2, … neurons. For scores of each concept compare it with the rest: `--one-vs-rest`.
//! ## Parameters
//! | name | default | range | meaning |
//! |---|---|---|---|
//! | `steps` | 50 | ≥ 1 | neurons that are picked at most |
//! | `criterion` | information | information, accuracy | what a picked neuron is to raise |
//! | `min_gain` | 0.001 | | picking ends where the criterion rises by less: bits, or a share of the rows |
//! | `prior` | chosen | chosen, all, none | what covariances are drawn towards; `all` as published, for as many neurons as there are |
//! | `diagonal` | false | | neurons are independent within a class |
//! | `min_count` | 10 | ≥ 2 | concepts with fewer rows are left out, and named |
//! | `seed` | 0 | | another seed is another split |
//! ## Cost
//! O(steps · n_neurons · n_concepts · n_tokens) with one exponential for each; a multiplication more for every neuron
//! picked. A pass over the matrix for each picked neuron; 4 bytes for each neuron, picked neuron and concept.
//! ## Errors
//! `TooFewConcepts`, `TooFewRows`, `NotExclusive`, `NotFinite`, `Parameter`, `Cancelled`.
//! ## Differs
//! The prior counts the picked neurons, not all: `prior = all` gives the published one, whose variances shrink by
//! n / (n + 2 · n_neurons + 4). Picking ends where nothing is gained; `min_gain = 0` goes on as long as nothing is lost,
//! far below 0 to the last step. NeuroX picks on the rows that it fits on and divides bits by nats. The criterion of the
//! reference, the likelihood, picks as the information does.
//! ## Source
//! Torroba Hennigen, Williams and Cotterell 2020, Intrinsic Probing through Dimension Selection, EMNLP,
//! arXiv:2010.02812; reference: rycolab/intrinsic-probing.

use ndarray::Array2;
use nissl_core::{Context, Describe, LabeledActivations, MethodCard, MethodError, Provenance, Ranker, Scores};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::catalog::params_of;
use crate::probes::classes::Classes;
use crate::probes::design::Design;
use crate::probes::gaussian::{GaussianOptions, most_frequent, pick};
use crate::probes::parts::{Parts, split};
use crate::probes::{CARD, Criterion, Part, Prior, SplitOptions, at_least_1};

/// Ranks neurons by what they add to a Gaussian probe, picked one by one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct GaussianProbe {
    /// Neurons that are picked at most.
    #[schemars(range(min = 1))]
    pub steps: usize,
    /// What a picked neuron is to raise.
    pub criterion: Criterion,
    /// Picking ends where the criterion rises by less: bits, or a share of the rows.
    pub min_gain: f64,
    /// What covariances are drawn towards.
    pub prior: Prior,
    /// Neurons are independent within a class.
    pub diagonal: bool,
    /// Concepts with fewer rows are left out, and named.
    #[schemars(range(min = 2))]
    pub min_count: usize,
    /// Another seed is another split.
    pub seed: u64,
}

impl Default for GaussianProbe {
    fn default() -> Self {
        Self {
            steps: 50,
            criterion: Criterion::Information,
            min_gain: 1e-3,
            prior: Prior::Chosen,
            diagonal: false,
            min_count: 10,
            seed: 0,
        }
    }
}

impl Describe for GaussianProbe {
    const NAME: &'static str = "gaussian-probe";
    const SUMMARY: &'static str = "Ranks neurons by what they add to a Gaussian probe, picked one by one.";
    const SOURCE: &'static str =
        "Torroba Hennigen et al. 2020, EMNLP, arXiv:2010.02812; reference: rycolab/intrinsic-probing";
    const CARD: MethodCard = CARD;
}

impl GaussianProbe {
    fn check(&self) -> Result<(), MethodError> {
        at_least_1(Self::NAME, "steps", self.steps)?;
        let refuse = |name, value, expected| Err(MethodError::Parameter { method: Self::NAME, name, value, expected });
        if self.min_count < 2 {
            return refuse("min_count", self.min_count.to_string(), "at least 2");
        }
        if !self.min_gain.is_finite() {
            return refuse("min_gain", self.min_gain.to_string(), "a finite number");
        }
        Ok(())
    }
}

impl Ranker for GaussianProbe {
    fn score(&self, data: LabeledActivations<'_>, ctx: Context<'_>) -> Result<Scores, MethodError> {
        self.check()?;
        let classes = Classes::new(data.labels, Self::NAME, self.min_count, ctx)?;
        let options = SplitOptions { seed: self.seed, ..SplitOptions::default() };
        let split = split(data, options, ctx, Self::NAME)?;
        let has = |row: usize| classes.of[row].is_some();
        let parts = Parts::new(&split, has, &[Part::Train, Part::Dev], Self::NAME)?;
        let rows = parts.rows[..parts.range(Part::Dev).end].to_vec();
        let of: Vec<u32> = rows.iter().filter_map(|&row| classes.of[row]).collect();
        let design = Design::new(data.x, ctx, Self::NAME, rows, parts.n_train)?;
        let Self { steps, criterion, prior, diagonal, min_gain, .. } = *self;
        let options = GaussianOptions { steps, criterion, prior, diagonal, min_gain };
        let picked = pick(&design, &of, classes.n, options)?;
        let mut provenance = Provenance::of_method(Self::NAME, params_of(self));
        provenance.seed = Some(self.seed);
        let neurons = data.x.neurons().to_vec();
        if let Value::Object(params) = &mut provenance.params {
            let names: Vec<String> = picked.order.iter().map(|&neuron| neurons[neuron].to_string()).collect();
            params.insert("picked".to_owned(), json!({ "neurons": names, "curve": picked.curve }));
        }
        let judged = &of[parts.n_train..];
        let floor = most_frequent(judged, classes.n);
        let entropy = picked.entropy;
        let mut scores: Vec<f32> = picked
            .alone
            .iter()
            .map(|alone| {
                let share = match (alone, criterion) {
                    (None, _) => 0.0,
                    (Some(value), Criterion::Information) => value / entropy.max(f64::MIN_POSITIVE),
                    (Some(value), Criterion::Accuracy) => (value - floor) / (1.0 - floor).max(f64::MIN_POSITIVE),
                };
                share.clamp(0.0, 1.0) as f32
            })
            .collect();
        for (place, &neuron) in picked.order.iter().enumerate() {
            scores[neuron] = (picked.order.len() - place) as f32;
        }
        let values = Array2::from_shape_fn((classes.concepts.len(), neurons.len()), |(_, neuron)| scores[neuron]);
        Scores::new(values, classes.concepts, neurons, provenance)?.with_constant(design.constant())
    }
}
