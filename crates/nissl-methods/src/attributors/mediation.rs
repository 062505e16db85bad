//! Causal mediation: how much of what a change of the text does passes through each neuron.
//!
//! ## Computes
//! With y the odds of the target against the foil after the text: the **indirect** effect of a neuron is `y' / y - 1`,
//! y' with the neuron as it is in the other text; its **direct** effect is the same for the other text with the neuron
//! as it is in the text. The total effect, `y of the other text / y - 1`, is told. Averaged over the prompts of a
//! concept. A neuron is moved at the positions at which the two texts differ.
//! ## Input
//! A model; prompts with a foil and another text of as many tokens: "The nurse said that", "The man said that".
//! ## Output
//! For each concept the size of the mean effect and its sign: 1 if it raises the odds of the target.
//! ## Parameters
//! | name | default | range | meaning |
//! |---|---|---|---|
//! | `site` | mlp_out | | whose neurons |
//! | `layers` | [] | | only these layers; all if empty |
//! | `effect` | indirect | indirect, direct | which effect |
//! | `min_prob` | 0.01 | 0 to 1 | prompts whose target and foil together are less probable are left out, and counted |
//! ## Cost
//! A forward pass a neuron and prompt, from the neuron's layer on, many together.
//! ## Errors
//! `Parameter`, `Prompt`, `TooFewConcepts` if no prompt is left, `Model`, `Cancelled`.
//! ## Differs
//! The reference drops prompts of which either probability is below .01.
//! ## Source
//! Vig et al. 2020, Investigating Gender Bias in Language Models Using Causal Mediation Analysis, arXiv:2004.12265;
//! reference: sebastianGehrmann/CausalMediationAnalysis.

use nissl_core::{
    Attributor, Batch, Context, Describe, Edit, EditSpec, HookPlan, MethodCard, MethodError, Model, Positions, Prompt,
    Scope, Scores, Units,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::catalog::params_of;
use crate::study::{Metric, Study};

/// Ranks neurons by how much of the effect of a changed text passes through each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Mediation {
    /// Whose neurons.
    pub site: String,
    /// Only these layers; all if empty.
    pub layers: Vec<u16>,
    /// Which effect.
    pub effect: Effect,
    /// Prompts whose target and foil together are less probable are left out, and counted.
    #[schemars(range(min = 0, max = 1))]
    pub min_prob: f64,
}

/// The effect of a changed text that is measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Effect {
    /// Through the neuron alone.
    #[default]
    Indirect,
    /// With the neuron held as it was.
    Direct,
}

impl Default for Mediation {
    fn default() -> Self {
        Self { site: "mlp_out".to_owned(), layers: Vec::new(), effect: Effect::Indirect, min_prob: 0.01 }
    }
}

impl Describe for Mediation {
    const NAME: &'static str = "mediation";
    const SUMMARY: &'static str = "Ranks neurons by how much of the effect of a changed text passes through each.";
    const SOURCE: &'static str =
        "Vig et al. 2020, arXiv:2004.12265; reference: sebastianGehrmann/CausalMediationAnalysis";
    const CARD: MethodCard = MethodCard {
        scope: Scope::Both,
        input: "contrast",
        scalability: "medium",
        supervision: true,
        ..MethodCard::CAUSAL
    };
}

/// The odds of the target after the text and after the other.
struct Odds {
    own: f64,
    other: f64,
}

impl Mediation {
    /// The odds of a prompt; none if what they compare is too improbable.
    fn odds(&self, study: &Study<'_>, prompt: usize) -> Result<Option<Odds>, MethodError> {
        let measure = |tokens| {
            let logits = study.logits(prompt, tokens, &HookPlan::default())?;
            let of = |metric| study.measure(metric, prompt, &logits);
            let (difference, probability) = (of(Metric::Difference)?, of(Metric::Probability)?);
            // The foil's is that of the target by the odds.
            Ok::<_, MethodError>((difference.exp(), probability * (1.0 + (-difference).exp())))
        };
        let (own, probable) = measure(&study.prompts[prompt].tokens)?;
        let (other, _) = measure(study.other(prompt)?)?;
        Ok((probable >= self.min_prob).then_some(Odds { own, other }))
    }
}

/// For each neuron of a point the edits that give it, where the texts differ, the values it has in `source`.
fn edits(study: &Study<'_>, idx: usize, source: &[u32], places: &[usize]) -> Result<Vec<Vec<EditSpec>>, MethodError> {
    let (point, width) = study.points[idx];
    let trace = study.model.run(&Batch::from_sentences([source]), &HookPlan::capture([point]))?;
    let values = &trace.sites[&point];
    let of_unit = |unit: usize| {
        let at = |&place: &usize| EditSpec {
            point,
            units: Units::Some(vec![unit as u32]),
            positions: Positions::InSentence(vec![place as i64]),
            edit: Edit::Set { value: values[[place, unit]] },
            when: None,
        };
        places.iter().map(at).collect()
    };
    Ok((0..width).map(of_unit).collect())
}

impl Attributor for Mediation {
    fn score(&self, model: &dyn Model, prompts: &[Prompt], ctx: Context<'_>) -> Result<Scores, MethodError> {
        if !(0.0..=1.0).contains(&self.min_prob) {
            let (name, value, expected) = ("min_prob", self.min_prob.to_string(), "0 to 1");
            return Err(MethodError::Parameter { method: Self::NAME, name, value, expected });
        }
        let study = Study::new(Self::NAME, (model, prompts, ctx), &self.site, &self.layers)?;
        let mut all = Vec::with_capacity(prompts.len());
        for prompt in 0..prompts.len() {
            study.go_on()?;
            all.push(self.odds(&study, prompt)?);
        }
        let kept: Vec<Prompt> =
            prompts.iter().zip(&all).filter(|(_, odds)| odds.is_some()).map(|(prompt, _)| prompt.clone()).collect();
        let odds: Vec<Odds> = all.into_iter().flatten().collect();
        if kept.len() < prompts.len() {
            let n = prompts.len() - kept.len();
            let dropped = format!("{n} prompts whose target and foil have less than {} together", self.min_prob);
            if kept.is_empty() {
                return Err(MethodError::TooFewConcepts { method: Self::NAME, expected: 1, got: 0, dropped });
            }
            ctx.progress.note(&format!("mediation left out {dropped}"));
        }
        let study = Study::new(Self::NAME, (model, &kept, ctx), &self.site, &self.layers)?;
        for (concept, of_concept) in study.by_concept() {
            let total: f64 = of_concept.iter().map(|&prompt| odds[prompt].other / odds[prompt].own - 1.0).sum();
            let mean = total / of_concept.len() as f64;
            ctx.progress.note(&format!("total effect of {}: {mean:.4}", concept.name));
        }
        let n_steps = kept.len() * study.points.len();
        ctx.progress.stage("mediation", Some(n_steps as u64), "layers of prompts");
        let (mut effects, mut done) = study.resumed(n_steps);
        let (n_points, first) = (study.points.len(), done);
        for (prompt, Prompt { tokens, .. }) in kept.iter().enumerate().skip(first / n_points.max(1)) {
            let other = study.other(prompt)?;
            let places: Vec<usize> = (0..tokens.len()).filter(|&place| tokens[place] != other[place]).collect();
            let (text, source) = match self.effect {
                Effect::Indirect => (tokens.as_slice(), other),
                Effect::Direct => (other, tokens.as_slice()),
            };
            let starts = study.starts().into_iter().enumerate();
            for (idx, start) in starts.skip(first.saturating_sub(prompt * n_points)) {
                study.go_on()?;
                let edits = edits(&study, idx, source, &places)?;
                let moved = study.variants(prompt, text, &edits, |logits| {
                    Ok(study.measure(Metric::Difference, prompt, logits)?.exp())
                })?;
                let effect = moved.into_iter().map(|moved| moved / odds[prompt].own - 1.0);
                study.add(&mut effects, prompt, start, effect);
                done += 1;
                study.done(&effects, done);
            }
        }
        study.scores(&effects, params_of(self))
    }
}

#[cfg(test)]
mod tests;
