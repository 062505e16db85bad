//! Integrated gradients of the neurons of a layer: what they do to a prediction together, shared out among them.
//!
//! ## Computes
//! `A[n] = a[n] ∫₀¹ ∂M(αa)/∂a[n] dα` for each layer by itself: all its neurons at the positions that count are scaled
//! from 0 to what they are, M is the metric. The sum over a layer is `M(a) - M(0)`, the effect of the layer's neurons
//! together (completeness); how far the sums are from it is told. Where a prediction tips over on the way, few points
//! miss it: parts of the path across which the metric changes otherwise than the slopes say are split in three, until a
//! layer's sum is within 1% of its effect (midpoints alone). Averaged over the prompts of a concept.
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
//! | `refine` | 5 | | how often parts of a path of midpoints may be split; 0 for the points as they are |
//! ## Cost
//! steps + 1 forward and backward passes a layer and prompt, in batches; two more a part that is split.
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
use crate::completeness::Completeness;
use crate::study::{Metric, Places, Study};

/// Effects below this share of the metric's own size say nothing about completeness.
const SMALL: f64 = 1e-3;
/// A sum of attributions is complete if it is off the effect by no more than this share of it.
const COMPLETE: f64 = 0.01;

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
    /// How often parts of a path of midpoints may be split; 0 for the points as they are.
    pub refine: usize,
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
            refine: 5,
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
    /// Their sum over each layer, by its place, and the effect that it should be, where that says something.
    sums: Vec<(usize, f64, f64)>,
}

impl Attribution {
    /// Adds what completeness says.
    pub(super) fn check(&self, completeness: &mut Completeness) {
        for &(layer, sum, effect) in &self.sums {
            completeness.see((self.prompt, layer), sum, effect);
        }
    }
}

/// What the sums of attributions should be.
pub(super) const COMPLETE_SUMS: &str = "the attributions of a layer sum to its effect";

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
    /// Those before the prompt `first` are known.
    pub(super) fn each(
        &self,
        study: &Study<'_>,
        first: usize,
        mut take: impl FnMut(Attribution),
    ) -> Result<(), MethodError> {
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
        let mut done = (first * study.points.len()) as u64;
        for chunk in chunks.into_iter().filter(|chunk| chunk.end > first) {
            let batch = study.batch(chunk.clone());
            let plan = HookPlan { output: Output::All, ..HookPlan::capture(study.hook_points()) };
            let whole = study.model.run(&batch, &plan)?;
            let logits = whole.logits.unwrap_or_default();
            let now = chunk.clone().enumerate().map(|(sentence, prompt)| {
                let place = batch.rows(sentence).start + study.places[prompt];
                study.measure(self.metric, prompt, &logits.row(place).to_vec())
            });
            let now = now.collect::<Result<Vec<f64>, MethodError>>()?;
            let new = |prompt| Attribution { prompt, values: Vec::with_capacity(study.n_neurons()), sums: Vec::new() };
            let mut attributions: Vec<Attribution> = chunk.clone().map(new).collect();
            for (layer, (point, width)) in study.points.iter().enumerate() {
                study.go_on()?;
                let rows = |(sentence, prompt)| study.rows(&batch, sentence, prompt, self.places);
                let own = |row: usize| whole.sites[point].row(row).to_vec();
                let layers = chunk.clone().enumerate().zip(&now).map(|((sentence, prompt), &now)| Layer {
                    prompt,
                    now,
                    values: rows((sentence, prompt)).flat_map(own).collect(),
                });
                let layers: Vec<Layer> = layers.collect();
                let paths = self.paths(study, *point, &layers)?;
                for (attribution, path) in attributions.iter_mut().zip(&paths) {
                    let values = &mut attribution.values;
                    let first = values.len();
                    values.resize(first + width, 0.0);
                    for (idx, value) in path.attributions().enumerate() {
                        values[first + idx % width] += value;
                    }
                    if path.tells() {
                        attribution.sums.push((layer, path.sum(), path.effect()));
                    }
                }
                done += chunk.len() as u64;
                study.ctx.progress.step(done);
            }
            attributions.into_iter().for_each(&mut take);
        }
        Ok(())
    }

    /// The paths of a layer, one a prompt, split where they need it.
    fn paths<'a>(
        &self,
        study: &Study<'_>,
        point: HookPoint,
        layers: &'a [Layer],
    ) -> Result<Vec<Path<'a>>, MethodError> {
        let mut fractions = self.fractions();
        // What is left without the layer's neurons: no part of the sum.
        fractions.push(0.0);
        let asked = |of: usize| fractions.iter().map(move |&fraction| (of, fraction));
        let found = self.look(study, point, layers, &(0..layers.len()).flat_map(asked).collect::<Vec<_>>())?;
        let mut found = found.into_iter();
        let mut paths: Vec<Path<'a>> = Vec::with_capacity(layers.len());
        for layer in layers {
            let parts =
                fractions.iter().zip(&mut found).map(|(&at, look)| Part { at, length: 1.0 / self.steps as f64, look });
            let mut parts: Vec<Part> = parts.collect();
            let without = parts.pop().expect("it was asked for").look.value;
            paths.push(Path { layer, without, parts });
        }
        for _ in 0..if self.rule == Rule::Midpoint { self.refine } else { 0 } {
            study.go_on()?;
            let split: Vec<Vec<usize>> = paths.iter().map(Path::to_split).collect();
            let thirds = |of: usize| {
                let parts = &paths[of].parts;
                split[of].iter().flat_map(move |&part| {
                    let Part { at, length, .. } = parts[part];
                    [(of, at - length / 3.0), (of, at + length / 3.0)]
                })
            };
            let asked: Vec<(usize, f64)> = (0..paths.len()).flat_map(thirds).collect();
            if asked.is_empty() {
                break;
            }
            let mut found = asked.iter().zip(self.look(study, point, layers, &asked)?);
            for (path, split) in paths.iter_mut().zip(&split) {
                for &part in split {
                    path.parts[part].length /= 3.0;
                    let length = path.parts[part].length;
                    let new = found.by_ref().take(2).map(|(&(_, at), look)| Part { at, length, look });
                    path.parts.extend(new);
                }
                path.parts.sort_by(|a, b| a.at.total_cmp(&b.at));
            }
        }
        Ok(paths)
    }

    /// The metric and its gradient where a layer is scaled by a fraction, for each pair of a layer and a fraction.
    fn look(
        &self,
        study: &Study<'_>,
        point: HookPoint,
        layers: &[Layer],
        asked: &[(usize, f64)],
    ) -> Result<Vec<Look>, MethodError> {
        let mut looks = Vec::with_capacity(asked.len());
        for asked in asked.chunks(layers.len() * (self.steps + 1)) {
            let prompt = |of: usize| layers[of].prompt;
            let batch = Batch::from_sentences(asked.iter().map(|&(of, _)| study.prompts[prompt(of)].tokens.as_slice()));
            let rows = |sentence: usize, of: usize| study.rows(&batch, sentence, prompt(of), self.places);
            let scale = |(sentence, &(of, fraction)): (usize, &(usize, f64))| EditSpec {
                point,
                units: Units::All,
                positions: Positions::Rows(rows(sentence, of).collect()),
                edit: Edit::Scale { factor: fraction as f32 },
                when: None,
            };
            let plan = HookPlan { edits: asked.iter().enumerate().map(scale).collect(), ..HookPlan::default() };
            let objectives = asked.iter().map(|&(of, _)| study.objective(self.metric, prompt(of)));
            let objectives = objectives.collect::<Result<Vec<_>, MethodError>>()?;
            let found = study.model.gradients(&batch, &plan, &objectives, &[point])?;
            for (sentence, &(of, _)) in asked.iter().enumerate() {
                let chain = self.metric.chain(found.values[sentence]);
                let of_row = |row| found.sites[&point].row(row).into_iter().copied().collect::<Vec<f32>>();
                let gradient = rows(sentence, of).flat_map(of_row).map(|slope| chain * f64::from(slope)).collect();
                looks.push(Look { value: self.metric.of(found.values[sentence]), gradient });
            }
        }
        Ok(looks)
    }
}

/// The neurons of a layer for a prompt.
struct Layer {
    prompt: usize,
    /// The metric with the layer as it is.
    now: f64,
    /// What the neurons are, `[n_rows, width]` in rows.
    values: Vec<f32>,
}

/// What is seen at a point of a path.
struct Look {
    /// The metric.
    value: f64,
    /// Its gradient, `[n_rows, width]` in rows.
    gradient: Vec<f64>,
}

/// A part of a path, by its middle.
struct Part {
    at: f64,
    length: f64,
    look: Look,
}

/// The way of a layer from nothing to what it is.
struct Path<'a> {
    layer: &'a Layer,
    /// The metric where the layer's neurons are zero.
    without: f64,
    /// Its parts, in order.
    parts: Vec<Part>,
}

impl Path<'_> {
    /// What the neurons of the layer do together.
    fn effect(&self) -> f64 {
        self.layer.now - self.without
    }

    /// Whether the effect is large enough to say whether a sum is complete.
    fn tells(&self) -> bool {
        self.effect().abs() > SMALL * self.layer.now.abs()
    }

    /// The attribution of each value, `[n_rows * width]`.
    fn attributions(&self) -> impl Iterator<Item = f64> + '_ {
        let slope = |idx: usize| self.parts.iter().map(|part| part.length * part.look.gradient[idx]).sum::<f64>();
        self.layer.values.iter().enumerate().map(move |(idx, &value)| f64::from(value) * slope(idx))
    }

    /// What a part adds to the sum of attributions.
    fn gain(&self, part: &Part) -> f64 {
        let along = self.layer.values.iter().zip(&part.look.gradient).map(|(&value, slope)| f64::from(value) * slope);
        part.length * along.sum::<f64>()
    }

    fn sum(&self) -> f64 {
        self.parts.iter().map(|part| self.gain(part)).sum()
    }

    /// The parts beside which the metric changes otherwise than they say, if the sum is off the effect.
    ///
    /// From one part's middle to the next the metric should change by half of what both add; what it does not, summed,
    /// is what the sum is off. So there is a part to split while that is too much.
    fn to_split(&self) -> Vec<usize> {
        let allowed = COMPLETE * self.effect().abs();
        let gains: Vec<f64> = self.parts.iter().map(|part| self.gain(part)).collect();
        if !self.tells() || (gains.iter().sum::<f64>() - self.effect()).abs() <= allowed {
            return Vec::new();
        }
        let n = self.parts.len();
        let value = |idx: usize| self.parts[idx].look.value;
        let ends = (0..=n).map(|link| {
            let left = link.checked_sub(1).map_or((self.without, 0.0), |part| (value(part), gains[part]));
            let right = if link < n { (value(link), gains[link]) } else { (self.layer.now, 0.0) };
            (right.0 - left.0 - f64::midpoint(left.1, right.1)).abs() > allowed / (n + 1) as f64
        });
        let off: Vec<bool> = ends.collect();
        (0..n).filter(|&part| off[part] || off[part + 1]).collect()
    }
}

impl Attributor for IntegratedGradients {
    fn score(&self, model: &dyn Model, prompts: &[Prompt], ctx: Context<'_>) -> Result<Scores, MethodError> {
        let study = Study::new(Self::NAME, (model, prompts, ctx), &self.site, &self.layers)?;
        let (mut effects, first) = study.resumed(prompts.len());
        self.each(&study, first, |of| {
            // Prompts of a batch are attributed together, though some may be known.
            if of.prompt >= first {
                of.check(&mut effects.completeness);
                study.add(&mut effects, of.prompt, 0, of.values.into_iter());
                study.keep(&effects, of.prompt + 1);
            }
        })?;
        study.tell_completeness(&effects, COMPLETE_SUMS);
        study.scores(&effects, params_of(self))
    }
}

#[cfg(test)]
mod tests;
