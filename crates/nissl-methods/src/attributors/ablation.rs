//! Ablation of single neurons: what the model loses without each.
//!
//! ## Computes
//! `M - M without n` for every neuron by itself, M the metric: the neuron is set to zero, to its mean or median, to what
//! it is elsewhere, or scaled, at the positions that count. Averaged over the prompts of a concept.
//! ## Input
//! A model; prompts.
//! ## Output
//! For each concept the size of the mean effect and its sign: 1 if the neuron speaks for the target.
//! ## Parameters
//! | name | default | range | meaning |
//! |---|---|---|---|
//! | `site` | mlp_post | | whose neurons |
//! | `layers` | [] | | only these layers; all if empty |
//! | `metric` | log_prob | probability, log_prob, logit, difference | what is measured |
//! | `places` | all | target, all | the positions at which neurons are ablated |
//! | `value` | zero | zero, mean, median, resample, class_mean, scale | what becomes of a neuron, from all positions of all prompts |
//! | `factor` | 0.5 | finite | what `scale` multiplies it with |
//! | `class` |  | | the concept whose prompts `class_mean` is of |
//! | `draws` | 5 | ≥ 1 | how often `resample` draws a position; the effect is the mean |
//! | `seed` | 0 | | of the draws |
//! ## Cost
//! A forward pass a neuron, prompt and draw, from the neuron's layer on, many together.
//! ## Errors
//! `Parameter`, `Prompt`, `TooFewConcepts` without prompts, `Model`, `Cancelled`.
//! ## Differs
//! Zero is far from what a neuron with a large mean ever is; and of two neurons either of which suffices, neither has an
//! effect by itself.
//! ## Source
//! Li, Monroe and Jurafsky 2016, Understanding Neural Networks through Representation Erasure, arXiv:1612.08220;
//! Lakretz et al. 2019, The Emergence of Number and Syntax Units in LSTM Language Models, arXiv:1903.07435.

use nissl_core::{
    Attributor, Context, Describe, EditSpec, HookPlan, MethodCard, MethodError, Model, Prompt, Scope, Scores,
    site_columns,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::catalog::params_of;
pub use crate::replacement::Replacement;
use crate::replacement::{Removal, Remover};
use crate::study::{Metric, Places, Study};

/// Ranks neurons by what the model loses without each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Ablation {
    /// Whose neurons.
    pub site: String,
    /// Only these layers; all if empty.
    pub layers: Vec<u16>,
    /// What is measured.
    pub metric: Metric,
    /// The positions at which neurons are ablated.
    pub places: Places,
    /// What becomes of a neuron.
    pub value: Replacement,
    /// What `scale` multiplies it with.
    pub factor: f32,
    /// The concept whose prompts `class_mean` is of.
    pub class: String,
    /// How often `resample` draws a position; the effect is the mean.
    #[schemars(range(min = 1))]
    pub draws: usize,
    /// Seed of the draws.
    pub seed: u64,
}

impl Default for Ablation {
    fn default() -> Self {
        Self {
            site: "mlp_post".to_owned(),
            layers: Vec::new(),
            metric: Metric::LogProb,
            places: Places::All,
            value: Replacement::Zero,
            factor: 0.5,
            class: String::new(),
            draws: 5,
            seed: 0,
        }
    }
}

impl Describe for Ablation {
    const NAME: &'static str = "ablation";
    const SUMMARY: &'static str = "Ranks neurons by what the model loses without each.";
    const SOURCE: &'static str =
        "Li, Monroe and Jurafsky 2016, arXiv:1612.08220; Lakretz et al. 2019, arXiv:1903.07435";
    const CARD: MethodCard =
        MethodCard { scope: Scope::Both, input: "class", scalability: "medium", ..MethodCard::CAUSAL };
}

impl Ablation {
    fn removal(&self) -> Removal {
        let Self { value, factor, draws, seed, places, .. } = *self;
        Removal { value, factor, class: self.class.clone(), draws, seed, places }
    }

    /// What a prompt loses without each neuron of a point.
    fn lost(
        &self,
        study: &Study<'_>,
        remover: &Remover<'_>,
        (prompt, idx): (usize, usize),
        whole: f64,
    ) -> Result<Vec<f64>, MethodError> {
        let neurons = site_columns(&study.points[idx..=idx]);
        let n_draws = self.removal().n_draws();
        let mut lost = vec![0.0; neurons.len()];
        for draw in 0..n_draws {
            study.go_on()?;
            let edits: Vec<Vec<EditSpec>> =
                neurons.iter().map(|&neuron| remover.edits(study, prompt, &[neuron], draw)).collect();
            let tokens = &study.prompts[prompt].tokens;
            let without =
                study.variants(prompt, tokens, &edits, |logits| study.measure(self.metric, prompt, logits))?;
            lost.iter_mut().zip(without).for_each(|(lost, without)| *lost += (whole - without) / n_draws as f64);
        }
        Ok(lost)
    }
}

impl Attributor for Ablation {
    fn score(&self, model: &dyn Model, prompts: &[Prompt], ctx: Context<'_>) -> Result<Scores, MethodError> {
        let study = Study::new(Self::NAME, (model, prompts, ctx), &self.site, &self.layers)?;
        let removal = self.removal();
        let remover = removal.learn(Self::NAME, &study)?;
        let n_steps = prompts.len() * study.points.len();
        ctx.progress.stage("ablation", Some(n_steps as u64), "layers of prompts");
        let (mut effects, mut done) = study.resumed(n_steps);
        let (n_points, first) = (study.points.len(), done);
        for (prompt, Prompt { tokens, .. }) in prompts.iter().enumerate().skip(first / n_points.max(1)) {
            let logits = study.logits(prompt, tokens, &HookPlan::default())?;
            let whole = study.measure(self.metric, prompt, &logits)?;
            let starts = study.starts().into_iter().enumerate();
            for (idx, start) in starts.skip(first.saturating_sub(prompt * n_points)) {
                let lost = self.lost(&study, &remover, (prompt, idx), whole)?;
                study.add(&mut effects, prompt, start, lost.into_iter());
                done += 1;
                study.done(&effects, done);
            }
        }
        study.scores(&effects, params_of(self))
    }
}

#[cfg(test)]
mod tests;
