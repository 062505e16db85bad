//! Gradient times activation: what a neuron contributes, to first order.
//!
//! ## Computes
//! `a[n] · ∂M/∂a[n]`, summed over the positions that count, averaged over the prompts of a concept: the effect on the
//! metric M of taking the neuron away, if M were linear in it. With `absolute` the mean of absolute contributions
//! (prompts of opposed signs do not cancel then).
//! ## Input
//! A model with gradients; prompts.
//! ## Output
//! For each concept the size of the mean contribution and its sign: 1 if the neuron speaks for the target.
//! ## Parameters
//! | name | default | range | meaning |
//! |---|---|---|---|
//! | `site` | mlp_post | | whose neurons |
//! | `layers` | [] | | only these layers; all if empty |
//! | `metric` | log_prob | probability, log_prob, logit, difference | what is measured |
//! | `places` | all | target, all | the positions that count |
//! | `absolute` | false | | average absolute contributions |
//! ## Cost
//! One forward and one backward pass a batch of prompts, for all neurons at once.
//! ## Errors
//! `Parameter`, `Prompt`, `TooFewConcepts` without prompts, `Model`, `Cancelled`.
//! ## Differs
//! The importance of Gu et al. is the absolute value of the mean (the default); with `metric = log_prob` of the true
//! next token it is theirs for the loss, with the other sign.
//! ## Source
//! Gu et al. 2021, Pruning-then-Expanding Model for Domain Adaptation of Neural Machine Translation, arXiv:2103.13678.

use nissl_core::{Attributor, Context, Describe, HookPlan, MethodCard, MethodError, Model, Prompt, Scores};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::catalog::params_of;
use crate::study::{Metric, Places, Study};

/// Ranks neurons by gradient times activation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct GradientActivation {
    /// Whose neurons.
    pub site: String,
    /// Only these layers; all if empty.
    pub layers: Vec<u16>,
    /// What is measured.
    pub metric: Metric,
    /// The positions that count.
    pub places: Places,
    /// Average absolute contributions.
    pub absolute: bool,
}

impl Default for GradientActivation {
    fn default() -> Self {
        let (layers, metric) = (Vec::new(), Metric::LogProb);
        Self { site: "mlp_post".to_owned(), layers, metric, places: Places::All, absolute: false }
    }
}

impl Describe for GradientActivation {
    const NAME: &'static str = "gradient-activation";
    const SUMMARY: &'static str = "Ranks neurons by gradient times activation: their contribution to first order.";
    const SOURCE: &'static str = "Gu et al. 2021, arXiv:2103.13678";
    const CARD: MethodCard = MethodCard { input: "class", ..MethodCard::CAUSAL };
}

impl Attributor for GradientActivation {
    fn score(&self, model: &dyn Model, prompts: &[Prompt], ctx: Context<'_>) -> Result<Scores, MethodError> {
        let study = Study::new(Self::NAME, (model, prompts, ctx), &self.site, &self.layers)?;
        let plan = HookPlan::capture(study.hook_points());
        ctx.progress.stage("gradients", Some(prompts.len() as u64), "prompts");
        let (mut effects, first) = study.resumed(prompts.len());
        for chunk in study.chunks(1).into_iter().filter(|chunk| chunk.end > first) {
            study.go_on()?;
            let batch = study.batch(chunk.clone());
            let objectives =
                chunk.clone().map(|prompt| study.objective(self.metric, prompt)).collect::<Result<Vec<_>, _>>()?;
            let found = model.gradients(&batch, &plan, &objectives, &plan.capture)?;
            for (sentence, prompt) in chunk.clone().enumerate() {
                let rows = study.rows(&batch, sentence, prompt, self.places);
                let chain = self.metric.chain(found.values[sentence]);
                for ((point, width), start) in study.points.iter().zip(study.starts()) {
                    let (values, slopes) = (&found.trace.sites[point], &found.sites[point]);
                    let of_unit = |unit| {
                        let at = |row| f64::from(values[[row, unit]]) * f64::from(slopes[[row, unit]]);
                        let sum = chain * rows.clone().map(at).sum::<f64>();
                        if self.absolute { sum.abs() } else { sum }
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
