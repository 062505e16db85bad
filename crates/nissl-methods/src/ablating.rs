//! What a model loses without sets of neurons: single ones, heads, layers, the top of a ranking.
//!
//! Every prompt is run as it is and without each set, from the set's first layer on, many sets together. What is
//! compared is the prediction at the prompt's place: the loss of the target (its negative log-probability, in nats),
//! whether it comes first of all tokens, whether it comes before the foil, the divergence KL(p ‖ p') of the whole
//! prediction, and whether another token comes first than before (a flip).
//!
//! The relative loss is that of Li, Monroe and Jurafsky 2016 ("Understanding Neural Networks through Representation
//! Erasure", arXiv:1612.08220): the mean of `(ℓ' - ℓ) / ℓ`; the paper's formula has the other sign. Where ℓ is near 0 it
//! says little, and the difference of losses more.

use std::collections::BTreeMap;

use nissl_core::{Context, EditSpec, HookPlan, HookPoint, MethodError, Model, NeuronId, Prompt};
use serde::{Deserialize, Serialize};

use crate::kept::{keep, kept};
pub use crate::replacement::{Removal, Replacement};
use crate::study::Study;

mod sets;
#[cfg(test)]
mod tests;

pub use sets::{random_like, random_of, steps_of};

/// What errors call it.
pub const NAME: &str = "ablate";

/// Sets that are run together, between two looks at whether to stop.
const TOGETHER: usize = 256;
/// Losses below this are taken as this where one is divided by them.
const LEAST: f64 = 1e-8;

/// What a model predicts at the place of a prompt.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outcome {
    /// Negative log-probability of the target.
    pub loss: f64,
    /// 1 if the target comes first of all tokens, else 0; over several draws the mean, as all that follows.
    pub correct: f64,
    /// 1 if the target comes before the foil; none without a foil.
    pub agrees: Option<f64>,
    /// By how much the target's logit is above that of the foil.
    pub difference: Option<f64>,
    /// How far the prediction is from that of the whole model, in nats.
    pub divergence: f64,
    /// 1 if another token comes first than in the whole model.
    pub flipped: f64,
}

/// What became of every prompt.
#[derive(Clone, Debug, PartialEq)]
pub struct Ablated {
    /// With the whole model, one a prompt.
    pub whole: Vec<Outcome>,
    /// Without each set, one a prompt.
    pub without: Vec<Vec<Outcome>>,
}

/// A mean and its standard error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mean {
    /// The mean.
    pub mean: f64,
    /// Its standard error; 0 of one value.
    pub error: f64,
}

impl Mean {
    /// Of some values; 0 of none.
    pub fn of(values: impl Iterator<Item = f64> + Clone) -> Self {
        let n = values.clone().count().max(1) as f64;
        let mean = values.clone().sum::<f64>() / n;
        let squares: f64 = values.map(|value| (value - mean) * (value - mean)).sum();
        let error = if n > 1.0 { (squares / (n - 1.0) / n).sqrt() } else { 0.0 };
        Self { mean, error }
    }
}

/// What a set does, over some prompts.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Effect {
    /// By how much the loss is higher without the set.
    pub loss: Mean,
    /// The same in parts of the whole model's loss.
    pub relative_loss: Mean,
    /// Share of prompts whose target comes first without the set.
    pub accuracy: f64,
    /// Share of prompts whose target comes before the foil without it; none without foils.
    pub agreement: Option<f64>,
    /// By how much the target's logit falls against the foil's.
    pub difference: Option<Mean>,
    /// Mean divergence of the prediction.
    pub divergence: Mean,
    /// Share of prompts for which another token comes first.
    pub flips: f64,
}

impl Effect {
    /// The effect over the prompts of these numbers.
    ///
    /// # Panics
    /// If there is no such prompt.
    pub fn of(whole: &[Outcome], without: &[Outcome], prompts: &[usize]) -> Self {
        let both = prompts.iter().map(|&prompt| (&whole[prompt], &without[prompt]));
        let share = |of: fn(&Outcome) -> f64| Mean::of(both.clone().map(|(_, without)| of(without))).mean;
        let foils = prompts.iter().all(|&prompt| whole[prompt].agrees.is_some());
        Self {
            loss: Mean::of(both.clone().map(|(whole, without)| without.loss - whole.loss)),
            relative_loss: Mean::of(
                both.clone().map(|(whole, without)| (without.loss - whole.loss) / whole.loss.max(LEAST)),
            ),
            accuracy: share(|outcome| outcome.correct),
            agreement: foils.then(|| share(|outcome| outcome.agrees.unwrap_or_default())),
            difference: foils.then(|| {
                let fall = |(whole, without): (&Outcome, &Outcome)| {
                    whole.difference.unwrap_or_default() - without.difference.unwrap_or_default()
                };
                Mean::of(both.clone().map(fall))
            }),
            divergence: Mean::of(both.clone().map(|(_, without)| without.divergence)),
            flips: share(|outcome| outcome.flipped),
        }
    }
}

impl Removal {
    /// Removes each set of neurons from every prompt. What is usual is learned from `reference`, or from the prompts if
    /// that is empty.
    ///
    /// # Errors
    /// If a parameter is out of its range, there is no prompt, a neuron is not the model's, the model cannot run, or the
    /// user stops it.
    pub fn ablate(
        &self,
        (model, prompts, reference): (&dyn Model, &[Prompt], &[Prompt]),
        sets: &[Vec<NeuronId>],
        ctx: Context<'_>,
    ) -> Result<Ablated, MethodError> {
        let points = points(NAME, model, sets)?;
        let reference = if reference.is_empty() { prompts } else { reference };
        let remover = self.learn(NAME, &Study::of_points(NAME, (model, reference, ctx), points.clone())?)?;
        let study = Study::of_points(NAME, (model, prompts, ctx), points)?;
        let n_draws = self.n_draws();
        let edits = |prompt: usize, idx: usize| remover.edits(&study, prompt, &sets[idx / n_draws], idx % n_draws);
        let (whole, each) = outcomes(&study, sets.len() * n_draws, edits)?;
        let mut without: Vec<Vec<Outcome>> = vec![Vec::with_capacity(prompts.len()); sets.len()];
        for of_prompt in each {
            for (without, draws) in without.iter_mut().zip(of_prompt.chunks(n_draws)) {
                without.push(Outcome::mean(draws));
            }
        }
        Ok(Ablated { whole, without })
    }
}

/// The points of some neurons with their widths, in order of the forward pass.
pub(crate) fn points(
    method: &'static str,
    model: &dyn Model,
    sets: &[Vec<NeuronId>],
) -> Result<Vec<(HookPoint, usize)>, MethodError> {
    let known: BTreeMap<HookPoint, usize> = model.info().points().collect();
    let mut points = BTreeMap::new();
    for neuron in sets.iter().flatten() {
        match known.get(&neuron.point) {
            Some(&width) if (neuron.idx as usize) < width && !neuron.point.site().is_ragged() => {
                points.insert(neuron.point, width);
            }
            _ => {
                let (name, value, expected) = ("sets", neuron.to_string(), "neurons of the model");
                return Err(MethodError::Parameter { method, name, value, expected });
            }
        }
    }
    Ok(points.into_iter().collect())
}

/// What becomes of every prompt as it is, and with each of `n` edits.
pub(crate) fn outcomes(
    study: &Study<'_>,
    n: usize,
    edits: impl Fn(usize, usize) -> Vec<EditSpec>,
) -> Result<(Vec<Outcome>, Vec<Vec<Outcome>>), MethodError> {
    study.ctx.progress.stage("run the prompts", Some((study.prompts.len() * n) as u64), "texts");
    let (progress, n_prompts) = (study.ctx.progress, study.prompts.len());
    // Of every prompt that is done the outcome as it is, then those of the edits.
    let fits = |prompts: u64| {
        let prompts = usize::try_from(prompts).ok().filter(|prompts| *prompts <= n_prompts)?;
        prompts.checked_mul((n + 1) * NUMBERS)
    };
    let (first, numbers) = kept(progress, NAME, fits).unwrap_or_default();
    let mut all: Vec<Outcome> = numbers.chunks_exact(NUMBERS).map(Outcome::of_numbers).collect();
    for (prompt, Prompt { tokens, .. }) in study.prompts.iter().enumerate().skip(first as usize) {
        study.go_on()?;
        let expected = Predicted::new(study, prompt, &study.logits(prompt, tokens, &HookPlan::default())?)?;
        let mut of_prompt = Vec::with_capacity(n + 1);
        of_prompt.push(expected.outcome(study, prompt, &expected)?);
        for first in (0..n).step_by(TOGETHER) {
            study.go_on()?;
            let edits: Vec<Vec<EditSpec>> = (first..n.min(first + TOGETHER)).map(|idx| edits(prompt, idx)).collect();
            of_prompt.extend(study.variants(prompt, tokens, &edits, |logits| {
                Predicted::new(study, prompt, logits)?.outcome(study, prompt, &expected)
            })?);
            progress.step((prompt * n + of_prompt.len() - 1) as u64);
        }
        all.extend(of_prompt);
        keep(progress, NAME, prompt as u64 + 1, &|| all.iter().flat_map(Outcome::numbers).collect());
    }
    let of_prompts = all.chunks_exact(n + 1);
    Ok(of_prompts.map(|of_prompt| (of_prompt[0], of_prompt[1..].to_vec())).unzip())
}

/// The log-probabilities of a prediction.
pub(crate) struct Predicted(pub(crate) Vec<f64>);

impl Predicted {
    /// Of a prompt's place.
    ///
    /// # Errors
    /// If the target or the foil is not in the vocabulary.
    pub(crate) fn new(study: &Study<'_>, prompt: usize, logits: &[f32]) -> Result<Self, MethodError> {
        let known = |token: u32| (token as usize) < logits.len();
        let Prompt { target, foil, .. } = study.prompts[prompt];
        if let Some(token) = [Some(target), foil].into_iter().flatten().find(|&token| !known(token)) {
            let why = format!("token {token} is not among the {} that the model predicts", logits.len());
            return Err(MethodError::Prompt { prompt, why });
        }
        let most = logits.iter().fold(f64::NEG_INFINITY, |most, &logit| most.max(f64::from(logit)));
        let log_sum = most + logits.iter().map(|&logit| (f64::from(logit) - most).exp()).sum::<f64>().ln();
        Ok(Self(logits.iter().map(|&logit| f64::from(logit) - log_sum).collect()))
    }

    /// The token that comes first, the lower of two.
    fn first(&self) -> usize {
        let better = |best: usize, token: usize| if self.0[token] > self.0[best] { token } else { best };
        (0..self.0.len()).fold(0, better)
    }

    fn outcome(&self, study: &Study<'_>, prompt: usize, whole: &Self) -> Result<Outcome, MethodError> {
        let Prompt { target, foil, .. } = study.prompts[prompt];
        let own = self.0[target as usize];
        let difference = foil.map(|foil| own - self.0[foil as usize]);
        let one = |holds: bool| f64::from(u8::from(holds));
        let divergence: f64 = whole.0.iter().zip(&self.0).map(|(p, q)| p.exp() * (p - q)).sum();
        if !own.is_finite() || !divergence.is_finite() {
            return Err(MethodError::Prompt { prompt, why: "its prediction is not finite".to_owned() });
        }
        Ok(Outcome {
            loss: -own,
            correct: one(self.first() == target as usize),
            agrees: difference.map(|difference| one(difference > 0.0)),
            difference,
            divergence: divergence.max(0.0),
            flipped: one(self.first() != whole.first()),
        })
    }
}

/// Numbers of an outcome.
const NUMBERS: usize = 6;

impl Outcome {
    /// As numbers; NaN for what is not there.
    fn numbers(&self) -> [f64; NUMBERS] {
        let Self { loss, correct, agrees, difference, divergence, flipped } = *self;
        [loss, correct, agrees.unwrap_or(f64::NAN), difference.unwrap_or(f64::NAN), divergence, flipped]
    }

    fn of_numbers(numbers: &[f64]) -> Self {
        let there = |number: f64| (!number.is_nan()).then_some(number);
        let (agrees, difference) = (there(numbers[2]), there(numbers[3]));
        Self { loss: numbers[0], correct: numbers[1], agrees, difference, divergence: numbers[4], flipped: numbers[5] }
    }

    /// The mean over draws.
    fn mean(draws: &[Self]) -> Self {
        let mean = |of: fn(&Self) -> f64| draws.iter().map(of).sum::<f64>() / draws.len() as f64;
        let foil = draws.iter().all(|draw| draw.agrees.is_some());
        Self {
            loss: mean(|draw| draw.loss),
            correct: mean(|draw| draw.correct),
            agrees: foil.then(|| mean(|draw| draw.agrees.unwrap_or_default())),
            difference: foil.then(|| mean(|draw| draw.difference.unwrap_or_default())),
            divergence: mean(|draw| draw.divergence),
            flipped: mean(|draw| draw.flipped),
        }
    }
}
