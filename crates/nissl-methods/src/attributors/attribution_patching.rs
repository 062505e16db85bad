//! Attribution patching: what moving each neuron's activation from another text would do, to first order.
//!
//! ## Computes
//! `(a_other[n] - a[n]) · ∂M/∂a[n]`, summed over the positions that count, averaged over the prompts of a concept: the
//! effect on the metric M of giving a neuron the activation that it has in the other text, if M were linear in it. With
//! more `steps` the gradient is the mean of those at the midpoints of the way of the whole layer from one text to the
//! other.
//! ## Input
//! A model with gradients; prompts with another text of as many tokens.
//! ## Output
//! For each concept the size of the mean effect and its sign: 1 if the other text's activation speaks for the target.
//! ## Parameters
//! | name | default | range | meaning |
//! |---|---|---|---|
//! | `site` | mlp_post | | whose neurons |
//! | `layers` | [] | | only these layers; all if empty |
//! | `metric` | difference | probability, log_prob, logit, difference | what is measured |
//! | `places` | all | target, all | the positions that are moved |
//! | `differing` | false | | of these only the positions where the texts differ |
//! | `steps` | 1 | ≥ 1 | gradients of the way; 1 is the text's own |
//! ## Cost
//! Two forward passes and one backward pass a batch of prompts for all neurons; with more steps, `steps` of both a layer.
//! ## Errors
//! `Parameter`, `Prompt` without another text of as many tokens or a foil, `TooFewConcepts` without prompts, `Model`,
//! `Cancelled`.
//! ## Differs
//! Where a softmax or norm is saturated the first order says too little: measure logits (`difference`), or take steps.
//! ## Source
//! Nanda 2023, Attribution Patching; Syed, Rager and Conmy 2023, Attribution Patching Outperforms Automated Circuit
//! Discovery, arXiv:2310.10348.

use std::collections::BTreeMap;
use std::ops::Range;

use ndarray::Array2;
use nissl_core::{
    Attributor, Batch, Context, Describe, Edit, EditSpec, HookPlan, HookPoint, MethodCard, MethodError, Model,
    Positions, Prompt, Scope, Scores, Units,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::catalog::params_of;
use crate::study::{Metric, Places, Study};

/// Ranks neurons by what moving their activation from another text would do, to first order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AttributionPatching {
    /// Whose neurons.
    pub site: String,
    /// Only these layers; all if empty.
    pub layers: Vec<u16>,
    /// What is measured.
    pub metric: Metric,
    /// The positions that are moved.
    pub places: Places,
    /// Of these only the positions where the texts differ.
    pub differing: bool,
    /// Gradients of the way; 1 is the text's own.
    #[schemars(range(min = 1))]
    pub steps: usize,
}

impl Default for AttributionPatching {
    fn default() -> Self {
        let (layers, metric) = (Vec::new(), Metric::Difference);
        let (places, differing) = (Places::All, false);
        Self { site: "mlp_post".to_owned(), layers, metric, places, differing, steps: 1 }
    }
}

impl Describe for AttributionPatching {
    const NAME: &'static str = "attribution-patching";
    const SUMMARY: &'static str =
        "Ranks neurons by what moving their activation from another text would do, to first order.";
    const SOURCE: &'static str = "Nanda 2023; Syed, Rager and Conmy 2023, arXiv:2310.10348";
    const CARD: MethodCard =
        MethodCard { scope: Scope::Both, input: "contrast", supervision: true, ..MethodCard::CAUSAL };
}

impl AttributionPatching {
    /// The rows of a prompt in a batch that are moved.
    fn rows(
        &self,
        study: &Study<'_>,
        batch: &Batch,
        sentence: usize,
        prompt: usize,
    ) -> Result<Vec<usize>, MethodError> {
        let (own, other) = (&study.prompts[prompt].tokens, study.other(prompt)?);
        let first = batch.rows(sentence).start;
        let moves = |row: &usize| !self.differing || own[row - first] != other[row - first];
        Ok(study.rows(batch, sentence, prompt, self.places).filter(moves).collect())
    }

    /// Mean gradients of the way from some prompts to their other texts, by point, `[n_tokens, width]`.
    fn slopes(
        &self,
        study: &Study<'_>,
        chunk: Range<usize>,
        own: &BTreeMap<HookPoint, Array2<f32>>,
        other: &BTreeMap<HookPoint, Array2<f32>>,
    ) -> Result<BTreeMap<HookPoint, Array2<f64>>, MethodError> {
        let batch = study.batch(chunk.clone());
        let objectives =
            chunk.clone().map(|prompt| study.objective(self.metric, prompt)).collect::<Result<Vec<_>, _>>()?;
        let gradients = |plan: &HookPlan, wrt: &[HookPoint]| {
            let found = study.model.gradients(&batch, plan, &objectives, wrt)?;
            let of_point = |(point, gradient): (HookPoint, Array2<f32>)| {
                let mut gradient = gradient.mapv(f64::from);
                for (sentence, &value) in found.values.iter().enumerate() {
                    for row in batch.rows(sentence) {
                        let mut row = gradient.row_mut(row);
                        row *= self.metric.chain(value);
                    }
                }
                (point, gradient)
            };
            Ok::<BTreeMap<_, _>, MethodError>(found.sites.into_iter().map(of_point).collect())
        };
        if self.steps == 1 {
            return gradients(&HookPlan::default(), &study.hook_points());
        }
        let mut slopes = BTreeMap::new();
        for &(point, width) in &study.points {
            let mut sum = Array2::zeros((batch.n_tokens(), width));
            for step in 0..self.steps {
                study.go_on()?;
                let share = (step as f32 + 0.5) / self.steps as f32;
                let mut values = own[&point].clone();
                for (sentence, prompt) in chunk.clone().enumerate() {
                    for row in self.rows(study, &batch, sentence, prompt)? {
                        let way = &other[&point].row(row) - &own[&point].row(row);
                        values.row_mut(row).scaled_add(share, &way);
                    }
                }
                let values = values.into_iter().collect();
                let edit = EditSpec {
                    point,
                    units: Units::All,
                    positions: Positions::All,
                    edit: Edit::Patch { values },
                    when: None,
                };
                let plan = HookPlan { edits: vec![edit], ..HookPlan::default() };
                sum += &gradients(&plan, &[point])?[&point];
            }
            slopes.insert(point, sum / self.steps as f64);
        }
        Ok(slopes)
    }
}

impl Attributor for AttributionPatching {
    fn score(&self, model: &dyn Model, prompts: &[Prompt], ctx: Context<'_>) -> Result<Scores, MethodError> {
        if self.steps == 0 {
            let (name, value, expected) = ("steps", "0".to_owned(), "at least 1");
            return Err(MethodError::Parameter { method: Self::NAME, name, value, expected });
        }
        let study = Study::new(Self::NAME, (model, prompts, ctx), &self.site, &self.layers)?;
        let plan = HookPlan::capture(study.hook_points());
        ctx.progress.stage("attribution patching", Some(prompts.len() as u64), "prompts");
        let (mut effects, first) = study.resumed(prompts.len());
        for chunk in study.chunks(2).into_iter().filter(|chunk| chunk.end > first) {
            study.go_on()?;
            let batch = study.batch(chunk.clone());
            let others = chunk.clone().map(|prompt| study.other(prompt)).collect::<Result<Vec<_>, _>>()?;
            let own = model.run(&batch, &plan)?.sites;
            let other = model.run(&Batch::from_sentences(others), &plan)?.sites;
            let slopes = self.slopes(&study, chunk.clone(), &own, &other)?;
            for (sentence, prompt) in chunk.clone().enumerate() {
                let rows = self.rows(&study, &batch, sentence, prompt)?;
                for ((point, width), start) in study.points.iter().zip(study.starts()) {
                    let of_unit = |unit| {
                        let way = |row| f64::from(other[point][[row, unit]]) - f64::from(own[point][[row, unit]]);
                        rows.iter().map(|&row| way(row) * slopes[point][[row, unit]]).sum::<f64>()
                    };
                    study.add(&mut effects, prompt, start, (0..*width).map(of_unit));
                }
            }
            study.done(&effects, chunk.end);
        }
        study.scores(&effects, params_of(self))
    }
}

#[cfg(test)]
mod tests;
