//! Knowledge neurons: those on which all ways to ask for a fact depend.
//!
//! ## Computes
//! Integrated gradients of every prompt of a fact; a prompt keeps the neurons with at least `threshold` times its
//! largest attribution; a fact keeps those that at least `share` of its prompts keep. With `adapt`, `share` is lowered
//! by .05 as long as a fact has fewer than 2 neurons on average, and raised while it has more than 5, six times at most.
//! ## Input
//! A model with gradients; several prompts a fact (paraphrases), whose name is the concept.
//! ## Output
//! For each fact the share of its prompts that keep a neuron, 0 for the neurons that the fact does not keep.
//! ## Parameters
//! | name | default | range | meaning |
//! |---|---|---|---|
//! | `site` | mlp_post | | whose neurons |
//! | `layers` | [] | | only these layers; all if empty |
//! | `steps` | 20 | ≥ 1 | points of the path |
//! | `rule` | midpoint | midpoint, left, both_ends | where they lie |
//! | `threshold` | 0.2 | 0 to 1 | of a prompt's largest attribution |
//! | `share` | 0.7 | 0 to 1 | of a fact's prompts |
//! | `min_prompts` | 3 | ≥ 1 | facts with fewer prompts are left out, and named |
//! | `adapt` | true | | move `share` until facts have 2 to 5 neurons on average |
//! ## Cost
//! That of integrated gradients: steps + 1 forward and backward passes a layer and prompt.
//! ## Errors
//! `Parameter`, `Prompt`, `TooFewConcepts` if no fact has enough prompts, `Model`, `Cancelled`.
//! ## Differs
//! The published code takes left points (`rule = left`); another implementation keeps what is above .3 of the largest,
//! and half of the prompts (`threshold = 0.3, share = 0.5, adapt = false`).
//! ## Source
//! Dai et al. 2022, Knowledge Neurons in Pretrained Transformers, arXiv:2104.08696; reference: Hunter-DDM/knowledge-neurons.

use ndarray::{Array2, Axis};
use nissl_core::{Attributor, Context, Describe, MethodCard, MethodError, Model, Prompt, Scores};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::integrated_gradients::COMPLETE_SUMS;
use super::{IntegratedGradients, Rule};
use crate::catalog::params_of;
use crate::study::{Study, scores};

/// How far and how often the share of prompts is moved.
const STEP: f64 = 0.05;
const ROUNDS: usize = 6;
/// Shares are sums of parts: so little below is not below.
const HAIR: f64 = 1e-9;

/// Finds the neurons on which all ways to ask for a fact depend.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct KnowledgeNeurons {
    /// Whose neurons.
    pub site: String,
    /// Only these layers; all if empty.
    pub layers: Vec<u16>,
    /// Points of the path.
    #[schemars(range(min = 1))]
    pub steps: usize,
    /// Where they lie.
    pub rule: Rule,
    /// Of a prompt's largest attribution.
    #[schemars(range(min = 0, max = 1))]
    pub threshold: f64,
    /// Of a fact's prompts.
    #[schemars(range(min = 0, max = 1))]
    pub share: f64,
    /// Facts with fewer prompts are left out, and named.
    #[schemars(range(min = 1))]
    pub min_prompts: usize,
    /// Move `share` until facts have 2 to 5 neurons on average.
    pub adapt: bool,
}

impl Default for KnowledgeNeurons {
    fn default() -> Self {
        Self {
            site: "mlp_post".to_owned(),
            layers: Vec::new(),
            steps: 20,
            rule: Rule::Midpoint,
            threshold: 0.2,
            share: 0.7,
            min_prompts: 3,
            adapt: true,
        }
    }
}

impl Describe for KnowledgeNeurons {
    const NAME: &'static str = "knowledge-neurons";
    const SUMMARY: &'static str = "Finds the neurons on which all ways to ask for a fact depend.";
    const SOURCE: &'static str = "Dai et al. 2022, arXiv:2104.08696; reference: Hunter-DDM/knowledge-neurons";
    const CARD: MethodCard = MethodCard::CAUSAL;
}

impl KnowledgeNeurons {
    fn check(&self) -> Result<(), MethodError> {
        let refuse =
            |name, value: String, expected| Err(MethodError::Parameter { method: Self::NAME, name, value, expected });
        for (name, value) in [("threshold", self.threshold), ("share", self.share)] {
            if !(0.0..=1.0).contains(&value) {
                return refuse(name, value.to_string(), "0 to 1");
            }
        }
        if self.min_prompts == 0 {
            return refuse("min_prompts", "0".to_owned(), "at least 1");
        }
        Ok(())
    }

    fn gradients(&self) -> IntegratedGradients {
        IntegratedGradients {
            site: self.site.clone(),
            layers: self.layers.clone(),
            steps: self.steps,
            rule: self.rule,
            ..IntegratedGradients::default()
        }
    }

    /// The share of prompts that a fact's neurons need, moved until facts have a few.
    fn share(&self, kept: &Array2<f64>) -> f64 {
        let mut share = self.share;
        for _ in 0..if self.adapt { ROUNDS } else { 0 } {
            let n_kept = kept.iter().filter(|&&of_prompts| of_prompts > 0.0 && of_prompts + HAIR >= share).count();
            match n_kept as f64 / kept.nrows() as f64 {
                ..2.0 => share -= STEP,
                n if n > 5.0 => share += STEP,
                _ => break,
            }
        }
        share
    }
}

impl Attributor for KnowledgeNeurons {
    fn score(&self, model: &dyn Model, prompts: &[Prompt], ctx: Context<'_>) -> Result<Scores, MethodError> {
        self.check()?;
        let study = Study::new(Self::NAME, (model, prompts, ctx), &self.site, &self.layers)?;
        let (mut concepts, mut rows, mut dropped) = (Vec::new(), Vec::new(), Vec::new());
        for (row, (concept, of_concept)) in study.by_concept().into_iter().enumerate() {
            if of_concept.len() < self.min_prompts {
                dropped.push(format!("{} ({} prompts)", concept.name, of_concept.len()));
            } else {
                concepts.push(concept.clone());
                rows.push(row);
            }
        }
        if concepts.is_empty() {
            let (expected, dropped) = (1, dropped.join(", "));
            return Err(MethodError::TooFewConcepts { method: Self::NAME, expected, got: 0, dropped });
        }
        if !dropped.is_empty() {
            let (n, least) = (dropped.len(), self.min_prompts);
            ctx.progress.note(&format!("{n} facts have fewer than {least} prompts: {}", dropped.join(", ")));
        }
        let (mut enough, first) = study.resumed(prompts.len());
        self.gradients().each(&study, first, |of| {
            // Prompts of a batch are attributed together, though some may be known.
            if of.prompt >= first {
                of.check(&mut enough.completeness);
                let most = of.values.iter().copied().fold(0.0, f64::max);
                let is_enough = |value: &f64| f64::from(u8::from(*value > 0.0 && *value >= self.threshold * most));
                study.add(&mut enough, of.prompt, 0, of.values.iter().map(is_enough));
                study.keep(&enough, of.prompt + 1);
            }
        })?;
        study.tell_completeness(&enough, COMPLETE_SUMS);
        let mut kept = study.means(&enough).select(Axis(0), &rows);
        let share = self.share(&kept);
        kept.mapv_inplace(|of_prompts| if of_prompts + HAIR >= share { of_prompts } else { 0.0 });
        let n_kept = kept.iter().filter(|&&of_prompts| of_prompts > 0.0).count();
        ctx.progress.note(&format!(
            "{:.2} neurons a fact, kept by at least {share:.2} of its prompts",
            n_kept as f64 / concepts.len() as f64
        ));
        scores(Self::NAME, &kept, concepts, study.neurons(), params_of(self))
    }
}

#[cfg(test)]
mod tests;
