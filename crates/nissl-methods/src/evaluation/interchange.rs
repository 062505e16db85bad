//! The interventional test of a claim "this neuron mediates that": its value from one text (the source) is put into
//! another (the base), and the prediction should become what the source implies (Huang et al. 2023, arXiv:2309.10312;
//! Geiger et al. 2021, "Causal Abstractions of Neural Networks", arXiv:2106.02997).
//!
//! A prompt is a pair: its text is the base and its target what the base implies; its other text is the source, and its
//! foil what that implies, or the token that the model itself puts first there. Pairs that the whole model does not tell
//! apart, the one token before the other after the base and the other before the one after the source, say nothing of
//! its neurons and are left out.

use nissl_core::{Context, HookPlan, MethodError, Model, NeuronId, Prompt};
use serde::{Deserialize, Serialize};

use crate::ablating::random_like;
use crate::patching::{Patched, Patching, Where};
use crate::probes::inference::{Interval, bootstrap};
use crate::study::{Metric, Study};

#[cfg(test)]
mod tests;

/// What errors call it.
pub const NAME: &str = "interchange";

/// How values are interchanged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct InterchangeOptions {
    /// At which positions; all of them together unless said otherwise, never each by itself.
    pub places: Where,
    /// Random sets that every set is compared with.
    pub random_sets: usize,
    /// Draws of the pairs for intervals.
    pub draws: usize,
    /// Seed of random sets and draws.
    pub seed: u64,
}

impl Default for InterchangeOptions {
    fn default() -> Self {
        Self { places: Where::All, random_sets: 5, draws: 1000, seed: 0 }
    }
}

/// What became of the pairs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Interchange {
    /// Pairs that the whole model tells apart.
    pub pairs: usize,
    /// Those that it does not, which are left out.
    pub left_out: usize,
    /// One entry a set; none without pairs.
    pub sets: Vec<Interchanged>,
}

/// What a set carries from source to base.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Interchanged {
    /// Number of its neurons.
    pub neurons: usize,
    /// Share of pairs whose base becomes what the source implies.
    pub success: Interval,
    /// By how much the difference of the two tokens' logits goes from its value after the base to that after the source,
    /// as a share of the whole way: the sum over pairs.
    pub share: Interval,
    /// Success of as many random neurons of the same sites: mean, least and most over the sets; none without them, or
    /// where there are not as many.
    pub random: Option<Interval>,
}

/// Interchanges each set of neurons, and random ones, in every pair.
///
/// # Errors
/// If there is no prompt, one has no other text of as many tokens, a neuron is not the model's, values are to be moved at
/// each position by itself, the model cannot run, or the user stops it.
pub fn interchange(
    (model, prompts): (&dyn Model, &[Prompt]),
    sets: &[Vec<NeuronId>],
    options: &InterchangeOptions,
    ctx: Context<'_>,
) -> Result<Interchange, MethodError> {
    let InterchangeOptions { places, random_sets, draws, seed } = *options;
    if places == Where::Each {
        let (value, expected) = ("each".to_owned(), "all, differing or target");
        return Err(MethodError::Parameter { method: NAME, name: "places", value, expected });
    }
    let patching = Patching { metric: Metric::Difference, places, both: false };
    let pairs = with_foils(model, prompts, ctx)?;
    let whole = patching.patch(model, &pairs, &[], ctx)?;
    let told = |patched: &Patched| patched.own > 0.0 && patched.other < 0.0;
    let pairs: Vec<Prompt> =
        pairs.into_iter().zip(&whole).filter(|(_, whole)| told(whole)).map(|(pair, _)| pair).collect();
    let left_out = prompts.len() - pairs.len();
    if pairs.is_empty() {
        return Ok(Interchange { pairs: 0, left_out, sets: Vec::new() });
    }
    // Every set is followed by the random ones that it is compared with.
    let drawn = |(idx, set): (usize, &Vec<NeuronId>)| {
        let random = random_like(model.info(), set, random_sets, seed.wrapping_add(idx as u64));
        std::iter::once(set.clone()).chain(random)
    };
    let all: Vec<Vec<NeuronId>> = sets.iter().enumerate().flat_map(drawn).collect();
    let found = patching.patch(model, &pairs, &all, ctx)?;
    let success = |set: usize| {
        let became = found.iter().filter(|patched| patched.patched[set][0] < 0.0).count();
        became as f64 / found.len() as f64
    };
    let of_set = |idx: usize| {
        let set = idx * (1 + random_sets);
        let one = |patched: &Patched| {
            let moved = patched.patched[set][0];
            vec![f64::from(u8::from(moved < 0.0)), 1.0, patched.own - moved, patched.own - patched.other]
        };
        let groups: Vec<Vec<f64>> = found.iter().map(one).collect();
        // Where a set is most of a site there are not as many others.
        let as_many = |&random: &usize| all[random].len() == all[set].len();
        Interchanged {
            neurons: all[set].len(),
            success: bootstrap(&groups, |sums| sums[0] / sums[1], draws, seed),
            share: bootstrap(&groups, |sums| sums[2] / sums[3], draws, seed),
            random: Interval::across(&(set + 1..=set + random_sets).filter(as_many).map(success).collect::<Vec<_>>()),
        }
    };
    Ok(Interchange { pairs: pairs.len(), left_out, sets: (0..sets.len()).map(of_set).collect() })
}

/// The prompts, each with what its source implies.
fn with_foils(model: &dyn Model, prompts: &[Prompt], ctx: Context<'_>) -> Result<Vec<Prompt>, MethodError> {
    let study = Study::of_points(NAME, (model, prompts, ctx), Vec::new())?;
    let with_foil = |(idx, prompt): (usize, &Prompt)| {
        let mut prompt = prompt.clone();
        if prompt.foil.is_none() {
            let logits = study.logits(idx, study.other(idx)?, &HookPlan::default())?;
            let first = (0..logits.len()).max_by(|&a, &b| logits[a].total_cmp(&logits[b]).then(b.cmp(&a)));
            prompt.foil = first.map(|token| token as u32);
        }
        Ok(prompt)
    };
    prompts.iter().enumerate().map(with_foil).collect()
}
