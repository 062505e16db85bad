//! Conductance: what of a text's effect on a prediction flows through each neuron.
//!
//! ## Computes
//! The text's embeddings grow from a baseline to what they are, x' + α(x - x'). Along the way
//! `C[n] = ∫₀¹ ∂M/∂a[n] · da[n]/dα dα`: how much the neuron moves, times how much that moves the metric M; by
//! trapezoids, Σ ½(g₍ₖ₊₁₎ + gₖ)(a₍ₖ₊₁₎ - aₖ), summed over all positions. Steps across which the gradient turns are halved
//! until it makes less than 1% of the layer's sum. Averaged over the prompts of a concept. A layer through which
//! everything flows (`resid_pre`, `resid_post`) sums to M(x) - M(x'): then it is told how nearly it does.
//! ## Input
//! A model with gradients; prompts.
//! ## Output
//! For each concept the size of the mean conductance and its sign: 1 if the neuron speaks for the target.
//! ## Parameters
//! | name | default | range | meaning |
//! |---|---|---|---|
//! | `site` | mlp_post | | whose neurons |
//! | `layers` | [] | | only these layers; all if empty |
//! | `metric` | probability | probability, log_prob, logit, difference | what is measured |
//! | `baseline` | mean | mean, zero | where embeddings begin: their mean over all prompts, or 0 |
//! | `steps` | 50 | ≥ 1 | parts of the way |
//! | `refine` | 5 | | how often parts may be halved; 0 for the parts as they are |
//! ## Cost
//! steps + 1 forward and backward passes a prompt, for all layers at once; one more a part that is halved.
//! ## Errors
//! `Parameter`, `Prompt`, `TooFewConcepts` without prompts, `Model`, `Cancelled`.
//! ## Differs
//! A common implementation takes the gradient at one end of each part, which is off by O(1/steps); trapezoids are off by
//! its square. From 0 the first norm of a model turns over within a tiny part of the way; the mean does not have that.
//! ## Source
//! Dhamdhere, Sundararajan and Yan 2019, How Important Is a Neuron?, arXiv:1805.12233.

use ndarray::Array1;
use nissl_core::{
    Attributor, Batch, Context, Describe, Edit, EditSpec, HookPlan, HookPoint, MethodCard, MethodError, Model,
    Positions, Prompt, Scores, Site, Units,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::catalog::params_of;
use crate::study::{Metric, Study};

/// Share of a layer's sum below which a turn of the gradient does not matter.
const TURN: f64 = 0.01;

/// Ranks neurons by conductance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Conductance {
    /// Whose neurons.
    pub site: String,
    /// Only these layers; all if empty.
    pub layers: Vec<u16>,
    /// What is measured.
    pub metric: Metric,
    /// Where embeddings begin.
    pub baseline: Baseline,
    /// Parts of the way.
    #[schemars(range(min = 1))]
    pub steps: usize,
    /// How often parts may be halved; 0 for the parts as they are.
    pub refine: usize,
}

/// Where embeddings begin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Baseline {
    /// At their mean over all positions of all prompts.
    #[default]
    Mean,
    /// At 0.
    Zero,
}

impl Default for Conductance {
    fn default() -> Self {
        Self {
            site: "mlp_post".to_owned(),
            layers: Vec::new(),
            metric: Metric::Probability,
            baseline: Baseline::Mean,
            steps: 50,
            refine: 5,
        }
    }
}

impl Describe for Conductance {
    const NAME: &'static str = "conductance";
    const SUMMARY: &'static str = "Ranks neurons by how much of a text's effect on a prediction flows through them.";
    const SOURCE: &'static str = "Dhamdhere, Sundararajan and Yan 2019, arXiv:1805.12233";
    const CARD: MethodCard = MethodCard::CAUSAL;
}

/// What is seen at a point of the way.
struct Look {
    /// How far.
    at: f64,
    /// The metric.
    value: f64,
    /// Of each point of the study: its neurons, and the metric's gradient, `[n_tokens * width]` in rows.
    sides: Vec<(Vec<f32>, Vec<f64>)>,
}

/// Where embeddings enter, and where they begin.
struct Start {
    point: HookPoint,
    baseline: Array1<f64>,
}

impl Conductance {
    /// Where embeddings begin.
    fn start(&self, study: &Study<'_>) -> Result<Start, MethodError> {
        let Some((point, width)) = study.model.info().points().find(|(point, _)| point.site() == Site::Embed) else {
            return Err(MethodError::Parameter {
                method: Self::NAME,
                name: "model",
                value: study.model.info().name.clone(),
                expected: "one that has embeddings",
            });
        };
        let (mut sum, mut n_rows) = (Array1::<f64>::zeros(width), 0_usize);
        if self.baseline == Baseline::Mean {
            for chunk in study.chunks(1) {
                study.go_on()?;
                let trace = study.model.run(&study.batch(chunk), &HookPlan::capture([point]))?;
                for row in trace.sites[&point].outer_iter() {
                    sum += &row.mapv(f64::from);
                    n_rows += 1;
                }
            }
        }
        Ok(Start { point, baseline: sum / n_rows.max(1) as f64 })
    }

    /// What is seen at some points of the way of a prompt.
    fn look(&self, study: &Study<'_>, prompt: usize, start: &Start, at: &[f64]) -> Result<Vec<Look>, MethodError> {
        let tokens = &study.prompts[prompt].tokens;
        // Values and gradients of all points, in memory at once.
        let own = 16 * tokens.len() * study.n_neurons();
        let together = (study.ctx.memory / own.max(1)).clamp(1, at.len().max(1));
        let mut looks = Vec::with_capacity(at.len());
        for at in at.chunks(together) {
            study.go_on()?;
            let batch = Batch::from_sentences(vec![tokens; at.len()]);
            let mut edits = Vec::new();
            for (sentence, &share) in at.iter().enumerate() {
                let spec = |edit| EditSpec {
                    point: start.point,
                    units: Units::All,
                    positions: Positions::Rows(batch.rows(sentence).collect()),
                    edit,
                    when: None,
                };
                edits.push(spec(Edit::Scale { factor: share as f32 }));
                let rest = |value: &f64| (value * (1.0 - share)) as f32;
                edits.push(spec(Edit::Add { values: start.baseline.iter().map(rest).collect() }));
            }
            let plan = HookPlan { edits, ..HookPlan::capture(study.hook_points()) };
            let objective = study.objective(self.metric, prompt)?;
            let found = study.model.gradients(&batch, &plan, &[objective], &plan.capture)?;
            for (sentence, &at) in at.iter().enumerate() {
                let chain = self.metric.chain(found.values[sentence]);
                let side = |(point, _): &(HookPoint, usize)| {
                    let rows = || batch.rows(sentence);
                    let values = rows().flat_map(|row| found.trace.sites[point].row(row).to_vec()).collect();
                    let slopes = rows().flat_map(|row| found.sites[point].row(row).to_vec());
                    (values, slopes.map(|slope| chain * f64::from(slope)).collect())
                };
                let sides = study.points.iter().map(side).collect();
                looks.push(Look { at, value: self.metric.of(found.values[sentence]), sides });
            }
        }
        Ok(looks)
    }

    /// The way of a prompt, in order, halved where it turns.
    fn way(&self, study: &Study<'_>, prompt: usize, start: &Start) -> Result<Vec<Look>, MethodError> {
        let at: Vec<f64> = (0..=self.steps).map(|step| step as f64 / self.steps as f64).collect();
        let mut way = self.look(study, prompt, start, &at)?;
        for _ in 0..self.refine {
            let turns = turns(&way);
            let halves = way.windows(2).zip(&turns).filter(|(_, turns)| **turns);
            let at: Vec<f64> = halves.map(|(pair, _)| f64::midpoint(pair[0].at, pair[1].at)).collect();
            if at.is_empty() {
                break;
            }
            way.extend(self.look(study, prompt, start, &at)?);
            way.sort_by(|a, b| a.at.total_cmp(&b.at));
        }
        Ok(way)
    }
}

/// The conductance of each value of a point across a part of the way.
fn across<'a>(from: &'a Look, to: &'a Look, point: usize) -> impl Iterator<Item = f64> + 'a {
    let ((a, g), (b, h)) = (&from.sides[point], &to.sides[point]);
    let moved = a.iter().zip(b).map(|(a, b)| f64::from(*b) - f64::from(*a));
    moved.zip(g.iter().zip(h)).map(|(moved, (g, h))| moved * f64::midpoint(*g, *h))
}

/// The parts of a way across which the gradient turns so much that the sum of a layer may be off.
fn turns(way: &[Look]) -> Vec<bool> {
    let mut turns = vec![false; way.len() - 1];
    for point in 0..way[0].sides.len() {
        let size: f64 = way.windows(2).map(|pair| across(&pair[0], &pair[1], point).sum::<f64>().abs()).sum();
        for (turns, pair) in turns.iter_mut().zip(way.windows(2)) {
            let ((a, g), (b, h)) = (&pair[0].sides[point], &pair[1].sides[point]);
            let moved = a.iter().zip(b).map(|(a, b)| f64::from(*b) - f64::from(*a));
            let turn: f64 = moved.zip(g.iter().zip(h)).map(|(moved, (g, h))| 0.5 * moved * (h - g)).sum();
            *turns |= turn.abs() > TURN * size;
        }
    }
    turns
}

impl Attributor for Conductance {
    fn score(&self, model: &dyn Model, prompts: &[Prompt], ctx: Context<'_>) -> Result<Scores, MethodError> {
        if self.steps == 0 {
            let (name, value, expected) = ("steps", "0".to_owned(), "at least 1");
            return Err(MethodError::Parameter { method: Self::NAME, name, value, expected });
        }
        let study = Study::new(Self::NAME, (model, prompts, ctx), &self.site, &self.layers)?;
        let start = self.start(&study)?;
        ctx.progress.stage("conductance", Some(prompts.len() as u64), "prompts");
        let (mut effects, first) = study.resumed(prompts.len());
        for prompt in first..prompts.len() {
            let way = self.way(&study, prompt, &start)?;
            let effect = way[way.len() - 1].value - way[0].value;
            for (idx, ((point, width), first)) in study.points.iter().zip(study.starts()).enumerate() {
                let mut values = vec![0.0; *width];
                for pair in way.windows(2) {
                    across(&pair[0], &pair[1], idx).enumerate().for_each(|(at, value)| values[at % width] += value);
                }
                if matches!(point.site(), Site::ResidPre | Site::ResidMid | Site::ResidPost) {
                    effects.completeness.see((prompt, idx), values.iter().sum(), effect);
                }
                study.add(&mut effects, prompt, first, values.into_iter());
            }
            study.done(&effects, prompt + 1);
        }
        study.tell_completeness(&effects, "the conductances of a layer sum to the effect of the text");
        study.scores(&effects, params_of(self))
    }
}

#[cfg(test)]
mod tests;
