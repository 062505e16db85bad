//! Ablation of single neurons: what the model loses without each.
//!
//! ## Computes
//! `M - M without n` for every neuron by itself, M the metric: the neuron is set to zero or to its mean, or scaled, at
//! the positions that count. Averaged over the prompts of a concept.
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
//! | `value` | zero | zero, mean, scale | what becomes of a neuron; its mean is over all positions of all prompts |
//! | `factor` | 0.5 | finite | what `scale` multiplies it with |
//! ## Cost
//! A forward pass a neuron and prompt, from the neuron's layer on, many together.
//! ## Errors
//! `Parameter`, `Prompt`, `TooFewConcepts` without prompts, `Model`, `Cancelled`.
//! ## Differs
//! Zero is far from what a neuron with a large mean ever is; and of two neurons either of which suffices, neither has an
//! effect by itself.
//! ## Source
//! Li, Monroe and Jurafsky 2016, Understanding Neural Networks through Representation Erasure, arXiv:1612.08220;
//! Lakretz et al. 2019, The Emergence of Number and Syntax Units in LSTM Language Models, arXiv:1903.07435.

use nissl_core::{
    Attributor, Context, Describe, Edit, EditSpec, HookPlan, HookPoint, MethodCard, MethodError, Model, Positions,
    Prompt, Scope, Scores, Units,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::catalog::params_of;
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
}

/// What becomes of an ablated neuron.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Replacement {
    /// 0.
    #[default]
    Zero,
    /// Its mean over all positions of all prompts.
    Mean,
    /// It is multiplied with a factor.
    Scale,
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
    /// Means of the neurons of each point over all positions of all prompts.
    fn means(&self, study: &Study<'_>) -> Result<Vec<Vec<f32>>, MethodError> {
        if self.value != Replacement::Mean {
            return Ok(Vec::new());
        }
        let plan = HookPlan::capture(study.hook_points());
        let mut sums: Vec<Vec<f64>> = study.points.iter().map(|(_, width)| vec![0.0; *width]).collect();
        let mut n_tokens = 0;
        for chunk in study.chunks(1) {
            study.go_on()?;
            let batch = study.batch(chunk);
            let trace = study.model.run(&batch, &plan)?;
            for ((point, _), sums) in study.points.iter().zip(&mut sums) {
                for row in trace.sites[point].outer_iter() {
                    sums.iter_mut().zip(row).for_each(|(sum, &value)| *sum += f64::from(value));
                }
            }
            n_tokens += batch.n_tokens();
        }
        Ok(sums.into_iter().map(|sums| sums.into_iter().map(|sum| (sum / n_tokens as f64) as f32).collect()).collect())
    }

    fn edit(&self, means: Option<&Vec<f32>>, unit: usize) -> Edit {
        match (self.value, means) {
            (Replacement::Scale, _) => Edit::Scale { factor: self.factor },
            (Replacement::Mean, Some(means)) => Edit::Set { value: means[unit] },
            _ => Edit::Zero,
        }
    }

    fn edits(&self, study: &Study<'_>, prompt: usize, idx: usize, means: &[Vec<f32>]) -> Vec<Vec<EditSpec>> {
        let (point, width): (HookPoint, usize) = study.points[idx];
        let positions = match self.places {
            Places::All => Positions::All,
            Places::Target => Positions::InSentence(vec![study.places[prompt] as i64]),
        };
        let of_unit = |unit| {
            let (units, edit) = (Units::Some(vec![unit as u32]), self.edit(means.get(idx), unit));
            vec![EditSpec { point, units, positions: positions.clone(), edit, when: None }]
        };
        (0..width).map(of_unit).collect()
    }
}

impl Attributor for Ablation {
    fn score(&self, model: &dyn Model, prompts: &[Prompt], ctx: Context<'_>) -> Result<Scores, MethodError> {
        if !self.factor.is_finite() {
            let (name, value, expected) = ("factor", self.factor.to_string(), "a finite number");
            return Err(MethodError::Parameter { method: Self::NAME, name, value, expected });
        }
        let study = Study::new(Self::NAME, (model, prompts, ctx), &self.site, &self.layers)?;
        let means = self.means(&study)?;
        let mut effects = study.effects();
        let n_steps = (prompts.len() * study.points.len()) as u64;
        ctx.progress.stage("ablation", Some(n_steps), "layers of prompts");
        let mut done = 0;
        for (prompt, Prompt { tokens, .. }) in prompts.iter().enumerate() {
            let logits = study.logits(prompt, tokens, &HookPlan::default())?;
            let whole = study.measure(self.metric, prompt, &logits)?;
            for (idx, start) in study.starts().into_iter().enumerate() {
                study.go_on()?;
                let without = study.variants(prompt, tokens, &self.edits(&study, prompt, idx, &means), |logits| {
                    study.measure(self.metric, prompt, logits)
                })?;
                study.add(&mut effects, prompt, start, without.into_iter().map(|without| whole - without));
                done += 1;
                ctx.progress.step(done);
            }
        }
        study.scores(effects, params_of(self))
    }
}

#[cfg(test)]
mod tests;
