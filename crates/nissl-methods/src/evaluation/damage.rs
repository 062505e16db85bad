//! What a model loses of a concept's words without the best neurons of a ranking: whether what is encoded is used.
//!
//! That a classifier finds a concept in some neurons does not say that the model reads it there (Antverg and Belinkov
//! 2022, "On the Pitfalls of Analyzing Individual Neurons in Language Models", arXiv:2110.07483). Here the neurons are
//! removed inside the model while it predicts words with the concept, and words without it, from the text around them;
//! beside them as many random neurons of the same sites are removed.

use nissl_core::{Context, MethodError, Model, NeuronId, Prompt, Ranking};
use serde::{Deserialize, Serialize};

use crate::ablating::{Mean, Outcome, Removal, random_like};
use crate::probes::inference::Interval;
use crate::random::Random;

const NAME: &str = "damage";

/// What is removed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DamageOptions {
    /// Numbers of neurons.
    pub k: Vec<usize>,
    /// Random sets that every set is compared with.
    pub random_sets: usize,
    /// What becomes of the neurons, and at which positions.
    pub how: Removal,
}

impl Default for DamageOptions {
    fn default() -> Self {
        Self { k: vec![10, 50], random_sets: 5, how: Removal::default() }
    }
}

/// What is lost without the best neurons of some rankings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Damage {
    /// Words with the concept, and without.
    pub words: [usize; 2],
    /// Their loss in the whole model: the negative log-probability of the word, in nats.
    pub loss: [Mean; 2],
    /// Numbers of neurons, ascending, none above the number of ranked ones.
    pub k: Vec<usize>,
    /// Of each ranking.
    pub rankings: Vec<DamageCurve>,
}

/// By how much losses rise without the best neurons of a ranking, for each number of neurons.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DamageCurve {
    /// On words with the concept.
    pub own: Vec<Mean>,
    /// On words without it.
    pub others: Vec<Mean>,
    /// On words with it, without as many random neurons of the same sites: mean, least and most over the sets.
    pub random: Vec<Interval>,
    /// Mean over the numbers of neurons of `own` less `random`.
    pub area: f64,
}

/// The rows with a concept and those without, each in an order that is drawn.
pub fn drawn_rows(has: &[bool], seed: u64) -> [Vec<usize>; 2] {
    let mut random = Random::new(seed);
    [true, false].map(|kind| {
        let mut rows: Vec<usize> = (0..has.len()).filter(|&row| has[row] == kind).collect();
        random.shuffle(&mut rows);
        rows
    })
}

/// Removes the best neurons of rankings of one concept, each number of them by itself, and random ones.
///
/// Of the prompts the first `n_own` are to predict words with the concept, the others words without it.
///
/// # Errors
/// If there is no number of neurons that are ranked, a neuron is not the model's, a parameter is out of its range, the
/// model cannot run, or the user stops it.
///
/// # Panics
/// If there are fewer prompts than `n_own`.
pub fn damage(
    (model, prompts, n_own): (&dyn Model, &[Prompt], usize),
    rankings: &[&Ranking],
    options: &DamageOptions,
    ctx: Context<'_>,
) -> Result<Damage, MethodError> {
    let DamageOptions { random_sets, ref how, .. } = *options;
    let ranked = rankings.iter().map(|ranking| ranking.neurons.len()).min().unwrap_or(0);
    let mut k: Vec<usize> = options.k.iter().copied().filter(|&k| k > 0 && k <= ranked).collect();
    k.sort_unstable();
    k.dedup();
    if k.is_empty() {
        let (value, expected) = (format!("{:?}", options.k), "a number of neurons that are ranked");
        return Err(MethodError::Parameter { method: NAME, name: "k", value, expected });
    }
    // Every set is followed by the random ones that it is compared with.
    let mut sets: Vec<Vec<NeuronId>> = Vec::new();
    for ranking in rankings {
        for &k in &k {
            let best = ranking.top(k).to_vec();
            let random = random_like(model.info(), &best, random_sets, how.seed.wrapping_add(k as u64));
            sets.push(best);
            sets.extend(random);
        }
    }
    let found = how.ablate((model, prompts, &[]), &sets, ctx)?;
    let (own, others) = (0..n_own, n_own..prompts.len());
    let rise = |without: &[Outcome], words: &std::ops::Range<usize>| {
        let both = found.whole[words.clone()].iter().zip(&without[words.clone()]);
        Mean::of(both.map(|(whole, without)| without.loss - whole.loss))
    };
    let of_ranking = |sets: &[Vec<Outcome>]| {
        let each = || sets.chunks(1 + random_sets);
        let rises = |sets: &[Vec<Outcome>]| {
            Interval::across(&sets[1..].iter().map(|set| rise(set, &own).mean).collect::<Vec<_>>())
        };
        let own_rises: Vec<Mean> = each().map(|sets| rise(&sets[0], &own)).collect();
        let random: Vec<Interval> = each().filter_map(rises).collect();
        let above = own_rises.iter().zip(&random).map(|(own, random)| own.mean - random.value);
        DamageCurve {
            area: above.sum::<f64>() / k.len() as f64,
            others: each().map(|sets| rise(&sets[0], &others)).collect(),
            own: own_rises,
            random,
        }
    };
    let loss = |words: &std::ops::Range<usize>| Mean::of(found.whole[words.clone()].iter().map(|whole| whole.loss));
    Ok(Damage {
        words: [own.len(), others.len()],
        loss: [loss(&own), loss(&others)],
        rankings: found.without.chunks(k.len() * (1 + random_sets)).map(of_ranking).collect(),
        k,
    })
}

#[cfg(test)]
mod tests;
