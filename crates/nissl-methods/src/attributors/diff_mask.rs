//! Differentiable masking: the fewest neurons of a layer that keep what the model predicts.
//!
//! ## Computes
//! For each layer by itself a gate for every neuron, one for all prompts of a concept: a neuron is `z·a + (1 - z)·b` at
//! the positions that count, b being what it is while it is away. Gates are drawn: u is even in 0 to 1, s is
//! `σ((ln u/(1 - u) + θ)/β)` with β = ⅔, and z is 1.2 s less 0.1, clipped to 0 and 1, so that gates are often exactly 0 or
//! 1 and yet have slopes. Trained are the θ: the expected number of open gates, Σ P(z > 0), falls, while the divergence of
//! the prediction, in nats, is held at most at the margin by a multiplier that grows while it is more.
//! ## Input
//! A model with gradients; prompts.
//! ## Output
//! For each concept the probability that a neuron's gate is open, 0 to 1, with sign 1. The report tells how many are
//! above ½ and how far the prediction is off with every gate at what it mostly is.
//! ## Parameters
//! | name | default | range | meaning |
//! |---|---|---|---|
//! | `site` | mlp_post | | whose neurons |
//! | `layers` | [] | | only these layers; all if empty |
//! | `places` | all | target, all | the positions at which neurons are masked |
//! | `value` | mean | zero, mean, median | what a neuron is while it is away |
//! | `tokens` | 10 | ≥ 1 | the prediction is that of so many tokens, the most probable ones, and of the target |
//! | `margin` | 0.1 | ≥ 0 | nats by which it may be off, on average over the prompts of a concept |
//! | `steps` | 200 | ≥ 1 | of training |
//! | `rate` | 0.1 | above 0 | of the gates (Adam) |
//! | `multiplier_rate` | 1 | above 0 | by how much the multiplier grows for every nat above the margin |
//! | `seed` | 0 | | of the draws |
//! ## Cost
//! steps + 1 forward and backward passes a layer and prompt. The activations of a layer on all prompts are in memory.
//! ## Errors
//! `Parameter`, `Prompt`, `TooFewConcepts` without prompts, `Model`, `Cancelled`.
//! ## Differs
//! The paper predicts gates from the hidden states by a small network, for texts it has not seen, and learns b; here they
//! belong to the prompts. The divergence is `KL(p‖q)` with p the model's probabilities of the tokens, made to sum to 1,
//! less what it is with all gates open: with all tokens of the vocabulary, the paper's.
//! ## Source
//! De Cao et al. 2020, How do Decisions Emerge across Layers in Neural Models? Interpretation with Differentiable
//! Masking, arXiv:2004.14992; Louizos, Welling and Kingma 2018, Learning Sparse Neural Networks through L0
//! Regularization, arXiv:1712.01312.

use ndarray::{Array2, ArrayView1, Axis};
use nissl_core::{
    Attributor, Context, Describe, Edit, EditSpec, Gradients, HookPlan, HookPoint, MethodCard, MethodError, Model,
    Objective, Output, Positions, Prompt, Scope, Scores, Units, Weighted,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::shapley::Away;
use crate::ablating::Predicted;
use crate::adam::Adam;
use crate::catalog::params_of;
use crate::probes::linear::loss::sigmoid;
use crate::random::{Random, mix};
use crate::replacement::Remover;
use crate::study::{Places, Study};

/// How soft gates are, and how far they are stretched beyond 0 and 1 before they are clipped.
const BETA: f64 = 2.0 / 3.0;
const STRETCH: (f64, f64) = (-0.1, 1.1);
/// Where the θ begin: nearly all gates are open.
const OPEN: f64 = 3.0;

/// Ranks neurons by how surely a mask that keeps the prediction needs them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DiffMask {
    /// Whose neurons.
    pub site: String,
    /// Only these layers; all if empty.
    pub layers: Vec<u16>,
    /// The positions at which neurons are masked.
    pub places: Places,
    /// What a neuron is while it is away.
    pub value: Away,
    /// The prediction is that of so many tokens, the most probable ones, and of the target.
    #[schemars(range(min = 1))]
    pub tokens: usize,
    /// Nats by which it may be off, on average over the prompts of a concept.
    #[schemars(range(min = 0.0))]
    pub margin: f64,
    /// Steps of training.
    #[schemars(range(min = 1))]
    pub steps: usize,
    /// Rate of the gates.
    #[schemars(range(min = 0.0))]
    pub rate: f64,
    /// By how much the multiplier grows for every nat above the margin.
    #[schemars(range(min = 0.0))]
    pub multiplier_rate: f64,
    /// Seed of the draws.
    pub seed: u64,
}

impl Default for DiffMask {
    fn default() -> Self {
        Self {
            site: "mlp_post".to_owned(),
            layers: Vec::new(),
            places: Places::All,
            value: Away::Mean,
            tokens: 10,
            margin: 0.1,
            steps: 200,
            rate: 0.1,
            multiplier_rate: 1.0,
            seed: 0,
        }
    }
}

impl Describe for DiffMask {
    const NAME: &'static str = "diff-mask";
    const SUMMARY: &'static str = "Ranks neurons by how surely a mask that keeps the prediction needs them.";
    const SOURCE: &'static str =
        "De Cao et al. 2020, arXiv:2004.14992; Louizos, Welling and Kingma 2018, arXiv:1712.01312";
    const CARD: MethodCard =
        MethodCard { scope: Scope::Both, input: "class", scalability: "medium", ..MethodCard::CAUSAL };
}

/// What the model predicts of a prompt, which masks should keep.
struct Prediction {
    /// The log-probabilities of its tokens, weighted with their probabilities.
    objective: Objective,
    /// What that is with all gates open.
    whole: f64,
}

/// The neurons of a point.
struct Layer {
    point: HookPoint,
    /// What they are while they are away, `[width]`.
    away: Vec<f32>,
    /// What they are: of each prompt the rows that count, `[n_rows, width]`.
    values: Vec<Array2<f32>>,
}

impl Layer {
    /// The rows of a prompt with gates `[width]`.
    fn gated(&self, prompt: usize, gates: &[f64]) -> Vec<f32> {
        let row = |row: ArrayView1<'_, f32>| -> Vec<f32> {
            let pairs = row.into_iter().zip(&self.away).zip(gates);
            pairs.map(|((&value, &away), gate)| away + *gate as f32 * (value - away)).collect()
        };
        self.values[prompt].outer_iter().flat_map(row).collect()
    }
}

/// What gates do to the prompts of a concept.
#[derive(Clone)]
struct Effect {
    /// Nats by which predictions are off on average.
    off: f64,
    /// How that changes with each gate.
    slopes: Vec<f64>,
}

/// The gates of a concept in training.
struct Mask {
    /// θ.
    open: Vec<f64>,
    multiplier: f64,
    adam: Adam,
}

impl Mask {
    fn new(width: usize, rate: f64) -> Self {
        Self { open: vec![OPEN; width], multiplier: 1.0, adam: Adam::new(width, rate) }
    }

    /// Gates for some noise, `ln u/(1 - u)`.
    fn gates(&self, noise: &[f64]) -> Vec<f64> {
        self.open.iter().zip(noise).map(|(open, noise)| gate(open + noise).0).collect()
    }

    fn step(&mut self, how: &DiffMask, noise: &[f64], effect: &Effect) {
        let slope = |((open, noise), slope): ((&f64, &f64), &f64)| {
            let kept = is_open(*open);
            kept * (1.0 - kept) + self.multiplier * slope * gate(open + noise).1
        };
        let slopes: Vec<f64> = self.open.iter().zip(noise).zip(&effect.slopes).map(slope).collect();
        self.adam.step(&mut self.open, &slopes);
        self.multiplier = (self.multiplier + how.multiplier_rate * (effect.off - how.margin)).max(0.0);
    }
}

/// A gate, and its slope by θ.
fn gate(sum: f64) -> (f64, f64) {
    let (low, high) = STRETCH;
    let soft = sigmoid(sum / BETA);
    let stretched = low + (high - low) * soft;
    let is_inside = stretched > 0.0 && stretched < 1.0;
    (stretched.clamp(0.0, 1.0), if is_inside { (high - low) * soft * (1.0 - soft) / BETA } else { 0.0 })
}

/// The probability that a gate is not 0.
fn is_open(open: f64) -> f64 {
    sigmoid(open - BETA * (-STRETCH.0 / STRETCH.1).ln())
}

/// What the gate of that probability mostly is: that without noise.
fn usual_gate(is_open: f64) -> f64 {
    gate((is_open / (1.0 - is_open)).ln() + BETA * (-STRETCH.0 / STRETCH.1).ln()).0
}

impl DiffMask {
    fn check(&self) -> Result<(), MethodError> {
        let refuse =
            |name, value: String, expected| Err(MethodError::Parameter { method: Self::NAME, name, value, expected });
        for (name, count) in [("tokens", self.tokens), ("steps", self.steps)] {
            if count == 0 {
                return refuse(name, "0".to_owned(), "at least 1");
            }
        }
        if !(self.margin >= 0.0 && self.margin.is_finite()) {
            return refuse("margin", self.margin.to_string(), "nats, 0 or more");
        }
        for (name, rate) in [("rate", self.rate), ("multiplier_rate", self.multiplier_rate)] {
            if !(rate > 0.0 && rate.is_finite()) {
                return refuse(name, rate.to_string(), "a number above 0");
            }
        }
        Ok(())
    }

    /// What is predicted of each prompt.
    fn predictions(&self, study: &Study<'_>) -> Result<Vec<Prediction>, MethodError> {
        let mut predictions = Vec::with_capacity(study.prompts.len());
        for chunk in study.chunks(1) {
            study.go_on()?;
            let batch = study.batch(chunk.clone());
            let plan = HookPlan { output: Output::All, ..HookPlan::default() };
            let logits = study.model.run(&batch, &plan)?.logits.unwrap_or_default();
            for (sentence, prompt) in chunk.enumerate() {
                let row = logits.row(batch.rows(sentence).start + study.places[prompt]).to_vec();
                predictions.push(self.prediction(study, prompt, &Predicted::new(study, prompt, &row)?.0));
            }
        }
        Ok(predictions)
    }

    /// What is predicted of a prompt, given the log-probabilities of all tokens.
    fn prediction(&self, study: &Study<'_>, prompt: usize, known: &[f64]) -> Prediction {
        let mut tokens: Vec<u32> = (0..known.len() as u32).collect();
        tokens.sort_by(|&a, &b| known[b as usize].total_cmp(&known[a as usize]));
        let target = study.prompts[prompt].target;
        let is_far = tokens.iter().skip(self.tokens).any(|&token| token == target);
        tokens.truncate(self.tokens);
        tokens.extend(is_far.then_some(target));
        let sum: f64 = tokens.iter().map(|&token| known[token as usize].exp()).sum();
        let position = study.places[prompt] as i64;
        let part = |&token: &u32| Weighted {
            weight: known[token as usize].exp() / sum,
            objective: Objective::LogProb { token, position },
        };
        let parts: Vec<Weighted> = tokens.iter().map(part).collect();
        let whole = parts.iter().zip(&tokens).map(|(part, &token)| part.weight * known[token as usize]).sum();
        Prediction { objective: Objective::Sum { parts }, whole }
    }

    /// What the neurons of the `idx`th point are.
    fn layer(&self, study: &Study<'_>, idx: usize, remover: &Remover<'_>) -> Result<Layer, MethodError> {
        let (point, width) = study.points[idx];
        let n_rows: usize = match self.places {
            Places::All => study.prompts.iter().map(|prompt| prompt.tokens.len()).sum(),
            Places::Target => study.prompts.len(),
        };
        if n_rows * width * size_of::<f32>() > study.ctx.memory {
            return Err(MethodError::Parameter {
                method: Self::NAME,
                name: "memory",
                value: format!("{} bytes", study.ctx.memory),
                expected: "room for a layer's activations on all prompts",
            });
        }
        let mut values = Vec::with_capacity(study.prompts.len());
        for chunk in study.chunks(1) {
            study.go_on()?;
            let batch = study.batch(chunk.clone());
            let trace = study.model.run(&batch, &HookPlan::capture([point]))?;
            let of_prompt = |(sentence, prompt)| {
                let rows = study.rows(&batch, sentence, prompt, self.places);
                trace.sites[&point].slice_axis(Axis(0), rows.into()).to_owned()
            };
            values.extend(chunk.enumerate().map(of_prompt));
        }
        Ok(Layer { point, away: remover.usual(point, width), values })
    }

    /// What gates, `[n_concepts][width]`, do to the prompts of each concept.
    fn effects(
        &self,
        study: &Study<'_>,
        layer: &Layer,
        predictions: &[Prediction],
        gates: &[Vec<f64>],
    ) -> Result<Vec<Effect>, MethodError> {
        let n_prompts: Vec<usize> = study.by_concept().iter().map(|(_, own)| own.len()).collect();
        let mut effects = vec![Effect { off: 0.0, slopes: vec![0.0; layer.away.len()] }; gates.len()];
        for chunk in study.chunks(1) {
            study.go_on()?;
            let batch = study.batch(chunk.clone());
            let rows = |sentence, prompt| study.rows(&batch, sentence, prompt, self.places);
            let edit = |(sentence, prompt)| EditSpec {
                point: layer.point,
                units: Units::All,
                positions: Positions::Rows(rows(sentence, prompt).collect()),
                edit: Edit::Patch { values: layer.gated(prompt, &gates[study.concept_of[prompt]]) },
                when: None,
            };
            let plan = HookPlan { edits: chunk.clone().enumerate().map(edit).collect(), ..HookPlan::default() };
            let objectives: Vec<Objective> =
                predictions[chunk.clone()].iter().map(|prediction| prediction.objective.clone()).collect();
            let Gradients { values, sites, .. } = study.model.gradients(&batch, &plan, &objectives, &[layer.point])?;
            for (sentence, prompt) in chunk.enumerate() {
                let concept = study.concept_of[prompt];
                let (effect, share) = (&mut effects[concept], 1.0 / n_prompts[concept] as f64);
                effect.off += share * (predictions[prompt].whole - values[sentence]);
                let slopes = sites[&layer.point].slice_axis(Axis(0), rows(sentence, prompt).into());
                for (row, slopes) in layer.values[prompt].outer_iter().zip(slopes.outer_iter()) {
                    let moved = row.into_iter().zip(&layer.away).map(|(&value, &away)| f64::from(value - away));
                    for ((sum, moved), &slope) in effect.slopes.iter_mut().zip(moved).zip(slopes) {
                        *sum -= share * f64::from(slope) * moved;
                    }
                }
            }
        }
        Ok(effects)
    }

    /// Trains the gates of a layer: the probability that each is open, `[n_concepts][width]`.
    fn train(
        &self,
        study: &Study<'_>,
        layer: &Layer,
        predictions: &[Prediction],
    ) -> Result<Vec<Vec<f64>>, MethodError> {
        let width = layer.away.len();
        let mut masks: Vec<Mask> = study.by_concept().iter().map(|_| Mask::new(width, self.rate)).collect();
        for step in 0..self.steps {
            let mut random = Random::new(mix(self.seed ^ mix(step as u64)));
            let noise = (0..width).map(|_| {
                let even = random.uniform().clamp(f64::EPSILON, 1.0 - f64::EPSILON);
                (even / (1.0 - even)).ln()
            });
            let noise: Vec<f64> = noise.collect();
            let gates: Vec<Vec<f64>> = masks.iter().map(|mask| mask.gates(&noise)).collect();
            let effects = self.effects(study, layer, predictions, &gates)?;
            masks.iter_mut().zip(&effects).for_each(|(mask, effect)| mask.step(self, &noise, effect));
        }
        Ok(masks.into_iter().map(|mask| mask.open.into_iter().map(is_open).collect()).collect())
    }

    /// Tells of each concept how many gates are `open`, `[n_concepts, n_neurons]`, and how far predictions are off.
    fn tell(
        &self,
        study: &Study<'_>,
        remover: &Remover<'_>,
        predictions: &[Prediction],
        open: &Array2<f64>,
    ) -> Result<(), MethodError> {
        let mut off: Vec<Vec<f64>> = vec![Vec::new(); open.nrows()];
        for (idx, start) in study.starts().into_iter().enumerate() {
            let layer = self.layer(study, idx, remover)?;
            let own = open.slice_axis(Axis(1), (start..start + layer.away.len()).into());
            let gates: Vec<Vec<f64>> =
                own.outer_iter().map(|row| row.iter().copied().map(usual_gate).collect()).collect();
            let effects = self.effects(study, &layer, predictions, &gates)?;
            off.iter_mut().zip(effects).for_each(|(off, effect)| off.push(effect.off));
        }
        for (((concept, _), off), open) in study.by_concept().into_iter().zip(&off).zip(open.outer_iter()) {
            let n_open = open.iter().filter(|&&open| open > 0.5).count();
            let mean = off.iter().sum::<f64>() / off.len() as f64;
            let most = off.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            study.ctx.progress.note(&format!(
                "{}: {n_open} of {} neurons are kept; with those of one layer alone, predictions are off by {mean:.4} \
                 nats, at most {most:.4}",
                concept.name,
                open.len()
            ));
        }
        Ok(())
    }
}

impl Attributor for DiffMask {
    fn score(&self, model: &dyn Model, prompts: &[Prompt], ctx: Context<'_>) -> Result<Scores, MethodError> {
        self.check()?;
        let study = Study::new(Self::NAME, (model, prompts, ctx), &self.site, &self.layers)?;
        let removal = self.value.removal(self.places);
        let (remover, predictions) = (removal.learn(Self::NAME, &study)?, self.predictions(&study)?);
        ctx.progress.stage("masks", Some(study.points.len() as u64), "layers");
        let (mut scores, first) = study.resumed(study.points.len());
        for (idx, start) in study.starts().into_iter().enumerate().skip(first) {
            let open = self.train(&study, &self.layer(&study, idx, &remover)?, &predictions)?;
            for ((_, own), open) in study.by_concept().iter().zip(open) {
                // Scores are means over the prompts of a concept, which share their gates.
                study.add(&mut scores, own[0], start, open.into_iter().map(|open| open * own.len() as f64));
            }
            study.done(&scores, idx + 1);
        }
        self.tell(&study, &remover, &predictions, &study.means(&scores))?;
        study.scores(&scores, params_of(self))
    }
}

#[cfg(test)]
mod tests;
