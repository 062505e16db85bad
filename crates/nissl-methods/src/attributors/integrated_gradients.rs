//! Integrated gradients of the neurons of a layer: what they do to a prediction together, shared out among them.
//!
//! ## Computes
//! `A[n] = a[n] ∫₀¹ ∂M(αa)/∂a[n] dα` for each layer by itself: all its neurons at the positions that count are scaled
//! from 0 to what they are, M is the metric. The sum over a layer is `M(a) - M(0)`, the effect of the layer's neurons
//! together (completeness); how far the sums are from it is told. Averaged over the prompts of a concept.
//! ## Input
//! A model with gradients; prompts.
//! ## Output
//! For each concept the size of the mean attribution and its sign: 1 if the neuron speaks for the target.
//! ## Parameters
//! | name | default | range | meaning |
//! |---|---|---|---|
//! | `site` | mlp_post | | whose neurons |
//! | `layers` | [] | | only these layers; all if empty |
//! | `metric` | probability | probability, log_prob, logit, difference | what is measured |
//! | `places` | target | target, all | the positions whose neurons are scaled |
//! | `steps` | 20 | ≥ 1 | points of the path |
//! | `rule` | midpoint | midpoint, left, both_ends | where they lie: (k + ½)/m, k/m, or k/(m - 1) with equal weights |
//! ## Cost
//! steps + 1 forward and backward passes a layer and prompt, in batches.
//! ## Errors
//! `Parameter`, `Prompt`, `TooFewConcepts` without prompts, `Model`, `Cancelled`.
//! ## Differs
//! The published sums take the left points (`rule = left`), another implementation both ends; midpoints are more exact
//! by an order of magnitude.
//! ## Source
//! Dai et al. 2022, Knowledge Neurons in Pretrained Transformers, arXiv:2104.08696; Sundararajan, Taly and Yan 2017,
//! Axiomatic Attribution for Deep Networks, arXiv:1703.01365.

use nissl_core::{
    Attributor, Batch, Context, Describe, Edit, EditSpec, HookPlan, HookPoint, MethodCard, MethodError, Model, Output,
    Positions, Prompt, Scores, Units,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::catalog::params_of;
use crate::study::{Metric, Places, Study};

/// Effects below this share of the metric's own size say nothing about completeness.
const SMALL: f64 = 1e-3;

/// Ranks neurons by integrated gradients along a path that scales their layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct IntegratedGradients {
    /// Whose neurons.
    pub site: String,
    /// Only these layers; all if empty.
    pub layers: Vec<u16>,
    /// What is measured.
    pub metric: Metric,
    /// The positions whose neurons are scaled.
    pub places: Places,
    /// Points of the path.
    #[schemars(range(min = 1))]
    pub steps: usize,
    /// Where they lie.
    pub rule: Rule,
}

/// Where the points of a path lie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Rule {
    /// In the middle of each part.
    #[default]
    Midpoint,
    /// At the beginning of each part.
    Left,
    /// From one end to the other, both included, with equal weights.
    BothEnds,
}

impl Default for IntegratedGradients {
    fn default() -> Self {
        Self {
            site: "mlp_post".to_owned(),
            layers: Vec::new(),
            metric: Metric::Probability,
            places: Places::Target,
            steps: 20,
            rule: Rule::Midpoint,
        }
    }
}

impl Describe for IntegratedGradients {
    const NAME: &'static str = "integrated-gradients";
    const SUMMARY: &'static str = "Ranks neurons by integrated gradients along a path that scales their layer.";
    const SOURCE: &'static str = "Dai et al. 2022, arXiv:2104.08696; Sundararajan, Taly and Yan 2017, arXiv:1703.01365";
    const CARD: MethodCard = MethodCard::CAUSAL;
}

/// The attribution of a prompt, and what completeness says of it.
pub(super) struct Attribution {
    pub(super) prompt: usize,
    /// One value a neuron.
    pub(super) values: Vec<f64>,
}

/// The layer whose attributions sum to its effect worst.
#[derive(Clone, Copy)]
struct Worst {
    share: f64,
    prompt: usize,
    point: HookPoint,
    sum: f64,
    effect: f64,
}

impl IntegratedGradients {
    fn fractions(&self) -> Vec<f64> {
        let m = self.steps as f64;
        let at = |k: usize| match self.rule {
            Rule::Midpoint => (k as f64 + 0.5) / m,
            Rule::Left => k as f64 / m,
            Rule::BothEnds => k as f64 / (m - 1.0).max(1.0),
        };
        (0..self.steps).map(at).collect()
    }

    /// Attributes every prompt of a study, in order.
    pub(super) fn each(&self, study: &Study<'_>, mut take: impl FnMut(Attribution)) -> Result<(), MethodError> {
        if self.steps == 0 {
            return Err(MethodError::Parameter {
                method: Self::NAME,
                name: "steps",
                value: "0".to_owned(),
                expected: "at least 1",
            });
        }
        let chunks = study.chunks(self.steps + 1);
        let n_steps = (study.prompts.len() * study.points.len()) as u64;
        study.ctx.progress.stage("integrated gradients", Some(n_steps), "layers of prompts");
        let (mut done, mut worst) = (0, None::<Worst>);
        for chunk in chunks {
            let batch = study.batch(chunk.clone());
            let plan = HookPlan { output: Output::All, ..HookPlan::capture(study.hook_points()) };
            let whole = study.model.run(&batch, &plan)?;
            let logits = whole.logits.unwrap_or_default();
            let now = chunk.clone().enumerate().map(|(sentence, prompt)| {
                let place = batch.rows(sentence).start + study.places[prompt];
                study.measure(self.metric, prompt, &logits.row(place).to_vec())
            });
            let now = now.collect::<Result<Vec<f64>, MethodError>>()?;
            let mut values = vec![Vec::with_capacity(study.n_neurons()); chunk.len()];
            for (point, width) in &study.points {
                study.go_on()?;
                let activations = &whole.sites[point];
                let path = self.path(study, chunk.clone(), *point)?;
                for (sentence, prompt) in chunk.clone().enumerate() {
                    let rows = study.rows(&batch, sentence, prompt, self.places);
                    let first = values[sentence].len();
                    values[sentence].resize(first + width, 0.0);
                    for (row, slopes) in rows.zip(path.slopes[sentence].chunks_exact(*width)) {
                        for (unit, (sum, slope)) in values[sentence][first..].iter_mut().zip(slopes).enumerate() {
                            *sum += f64::from(activations[[row, unit]]) * slope / self.steps as f64;
                        }
                    }
                    let effect = now[sentence] - path.without[sentence];
                    let sum: f64 = values[sentence][first..].iter().sum();
                    let share = (sum - effect).abs() / effect.abs();
                    if effect.abs() > SMALL * now[sentence].abs() && worst.is_none_or(|worst| share > worst.share) {
                        worst = Some(Worst { share, prompt, point: *point, sum, effect });
                    }
                }
                done += chunk.len() as u64;
                study.ctx.progress.step(done);
            }
            for (prompt, values) in chunk.zip(values) {
                take(Attribution { prompt, values });
            }
        }
        if let Some(Worst { share, prompt, point, sum, effect }) = worst {
            study.ctx.progress.note(&format!(
                "completeness: the attributions of a layer sum to its effect within {:.2}% (worst: prompt {prompt}, \
                 {point}, sum {sum:.6}, effect {effect:.6})",
                100.0 * share
            ));
        }
        Ok(())
    }

    /// The gradients along the path of a layer, summed over it, for some prompts.
    fn path(&self, study: &Study<'_>, chunk: std::ops::Range<usize>, point: HookPoint) -> Result<Path, MethodError> {
        let mut fractions = self.fractions();
        // Its last point is no part of the sum, but what is left without the layer's neurons.
        fractions.push(0.0);
        let copies = |prompt: usize| std::iter::repeat_n(study.prompts[prompt].tokens.as_slice(), fractions.len());
        let batch = Batch::from_sentences(chunk.clone().flat_map(copies));
        let rows = |k: usize| {
            let of_prompt =
                |(idx, prompt): (usize, usize)| study.rows(&batch, idx * fractions.len() + k, prompt, self.places);
            chunk.clone().enumerate().flat_map(of_prompt).collect()
        };
        let scale = |(k, &fraction): (usize, &f64)| EditSpec {
            point,
            units: Units::All,
            positions: Positions::Rows(rows(k)),
            edit: Edit::Scale { factor: fraction as f32 },
            when: None,
        };
        let plan = HookPlan { edits: fractions.iter().enumerate().map(scale).collect(), ..HookPlan::default() };
        let mut objectives = Vec::with_capacity(batch.n_sentences());
        for prompt in chunk.clone() {
            objectives.extend(std::iter::repeat_n(study.objective(self.metric, prompt)?, fractions.len()));
        }
        let found = study.model.gradients(&batch, &plan, &objectives, &[point])?;
        let gradient = &found.sites[&point];
        let mut path = Path { slopes: Vec::new(), without: Vec::new() };
        for (idx, prompt) in chunk.enumerate() {
            let first = idx * fractions.len();
            let n_rows = study.rows(&batch, first, prompt, self.places).len();
            let mut slopes = vec![0.0; n_rows * gradient.ncols()];
            for sentence in first..first + self.steps {
                let chain = self.metric.chain(found.values[sentence]);
                let values = study
                    .rows(&batch, sentence, prompt, self.places)
                    .flat_map(|row| gradient.row(row).into_iter().copied());
                slopes.iter_mut().zip(values).for_each(|(sum, value)| *sum += chain * f64::from(value));
            }
            path.slopes.push(slopes);
            path.without.push(self.metric.of(found.values[first + self.steps]));
        }
        Ok(path)
    }
}

/// What was found along the path of a layer, for each prompt.
struct Path {
    /// Gradients, `[n_rows, width]`, summed over the points.
    slopes: Vec<Vec<f64>>,
    /// The metric where the layer's neurons are zero.
    without: Vec<f64>,
}

impl Attributor for IntegratedGradients {
    fn score(&self, model: &dyn Model, prompts: &[Prompt], ctx: Context<'_>) -> Result<Scores, MethodError> {
        let study = Study::new(Self::NAME, (model, prompts, ctx), &self.site, &self.layers)?;
        let mut effects = study.effects();
        self.each(&study, |of| study.add(&mut effects, of.prompt, 0, of.values.into_iter()))?;
        study.scores(effects, params_of(self))
    }
}

#[cfg(test)]
mod tests;
