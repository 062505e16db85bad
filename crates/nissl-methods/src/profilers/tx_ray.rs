//! TX-Ray: the words that each neuron wins, as a distribution.
//!
//! ## Computes
//! Each row belongs to the neuron with the largest activation there (of equal ones to the first). The words of a
//! neuron's rows are weighted by their activations, negative ones as 0, so that they sum to 1; if all are 0, by their
//! numbers. [`hellinger`] is the distance of two such distributions: of a neuron before and after a training, say.
//! ## Input
//! Activations `[n_tokens, n_neurons]` of comparable size and the word of each row.
//! ## Output
//! For every neuron its words with their share, most first, of equal ones in order of the word; the numbers `wins` (its
//! rows) and `length` (its distinct words). A neuron with fewer than `min_wins` rows has none, and a constant one wins
//! no row.
//! ## Parameters
//! | name | default | range | meaning |
//! |---|---|---|---|
//! | `min_wins` | 1 | ≥ 1 | neurons with fewer rows have no words |
//! | `num` | 20 | ≥ 0 | words that are listed; 0 lists all |
//! | `zscore` | false | | compare activations in deviations from each neuron's mean, so that large neurons do not win by size |
//! ## Cost
//! O(n_tokens · n_neurons), two looks at each column; 8 bytes a row.
//! ## Errors
//! `NotFinite`, `Parameter`, `Cancelled`.
//! ## Differs
//! The reference takes the mean of activations already divided by their total for each word, so that its shares do not
//! sum to 1, and divides the distance by the number of words of either neuron.
//! ## Source
//! Rethmeier, Saxena and Augenstein 2020, TX-Ray: Quantifying and Explaining Model-Knowledge Transfer in (Un-)Supervised
//! NLP, UAI; reference: copenlu/tx-ray.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use nissl_core::{Context, Describe, MethodCard, MethodError, Number, Profile, Profiler, TextActivations, WordScore};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::columns::ColumnPass;
use crate::groups::mean_and_deviation;

/// Gives each row to the neuron that is largest there, and each neuron the distribution of its words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TxRay {
    /// Neurons with fewer rows have no words.
    #[schemars(range(min = 1))]
    pub min_wins: usize,
    /// Words that are listed; 0 lists all.
    pub num: usize,
    /// Compare activations in deviations from each neuron's mean, so that large neurons do not win by size.
    pub zscore: bool,
}

impl Default for TxRay {
    fn default() -> Self {
        Self { min_wins: 1, num: 20, zscore: false }
    }
}

impl Describe for TxRay {
    const NAME: &'static str = "tx-ray";
    const SUMMARY: &'static str =
        "Gives each row to the neuron that is largest there, and each neuron the distribution of its words.";
    const SOURCE: &'static str = "Rethmeier, Saxena and Augenstein 2020, UAI; reference: copenlu/tx-ray";
    const CARD: MethodCard = MethodCard::PROFILE;
}

/// The Hellinger distance of two distributions of words, `‖√p - √q‖ / √2`: 0 if they are the same, 1 if they have no
/// word in common.
pub fn hellinger(p: &[WordScore], q: &[WordScore]) -> f64 {
    let shares = |words: &[WordScore]| -> BTreeMap<String, f64> {
        words.iter().map(|word| (word.name.clone(), f64::from(word.score))).collect()
    };
    let (p, q) = (shares(p), shares(q));
    let only_q = q.iter().filter(|(word, _)| !p.contains_key(*word)).map(|(_, share)| *share);
    let in_p = p.iter().map(|(word, share)| (share.sqrt() - q.get(word).copied().unwrap_or(0.0).sqrt()).powi(2));
    (in_p.chain(only_q).sum::<f64>() / 2.0).sqrt()
}

/// A value and the column that has it, as a number that is larger where the value is, and of equal values where the
/// column is earlier.
fn key(value: f32, column: usize) -> u64 {
    // Adding 0 makes -0 the same as 0; the bits of negative floats descend.
    let bits = (value + 0.0).to_bits();
    let height = if bits >> 31 == 1 { !bits } else { bits | 1 << 31 };
    u64::from(height) << 32 | u64::from(!(column as u32))
}

impl TxRay {
    /// The words of a neuron's rows, with their shares.
    fn words(data: &TextActivations<'_>, rows: &[usize], column: &[f32]) -> Vec<WordScore> {
        #[derive(Default)]
        struct Won {
            mass: f64,
            sum: f64,
            count: u32,
        }
        let (mean, deviation) = mean_and_deviation(column);
        let mut of_word: BTreeMap<&str, Won> = BTreeMap::new();
        for &row in rows {
            let won = of_word.entry(data.text.word(row)).or_default();
            won.mass += f64::from(column[row].max(0.0));
            won.sum += f64::from(column[row]);
            won.count += 1;
        }
        let total: f64 = of_word.values().map(|won| won.mass).sum();
        let share = |won: &Won| if total > 0.0 { won.mass / total } else { f64::from(won.count) / rows.len() as f64 };
        let score = |(name, won): (&&str, &Won)| WordScore {
            name: (*name).to_owned(),
            score: share(won) as f32,
            deviation: ((won.sum / f64::from(won.count) - mean) / deviation) as f32,
            count: won.count,
        };
        let mut words: Vec<WordScore> = of_word.iter().map(score).collect();
        words.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.name.cmp(&b.name)));
        words
    }
}

impl Profiler for TxRay {
    fn profile(&self, data: TextActivations<'_>, ctx: Context<'_>) -> Result<Vec<Profile>, MethodError> {
        if self.min_wins == 0 {
            let (value, expected) = ("0".to_owned(), "at least 1");
            return Err(MethodError::Parameter { method: Self::NAME, name: "min_wins", value, expected });
        }
        let winners: Vec<AtomicU64> = (0..data.text.n_tokens()).map(|_| AtomicU64::new(0)).collect();
        let pass = ColumnPass { x: data.x, ctx, method: Self::NAME, stage: "who wins each row", scratch_per_row: 8 };
        pass.map(
            || (),
            |(), idx, column| {
                let (mean, deviation) = mean_and_deviation(column);
                if deviation > 0.0 {
                    let height = |value: f32| {
                        if self.zscore { ((f64::from(value) - mean) / deviation) as f32 } else { value }
                    };
                    for (winner, &value) in winners.iter().zip(column) {
                        let key = key(height(value), idx);
                        // Most do not win: a look costs less than a write.
                        if key > winner.load(Ordering::Relaxed) {
                            winner.fetch_max(key, Ordering::Relaxed);
                        }
                    }
                }
                Ok(())
            },
        )?;
        let mut rows_of: Vec<Vec<usize>> = vec![Vec::new(); data.x.neurons().len()];
        for (row, winner) in winners.into_iter().map(AtomicU64::into_inner).enumerate() {
            if winner > 0 {
                rows_of[!(winner as u32) as usize].push(row);
            }
        }
        let pass = ColumnPass { stage: "the words of each winner", ..pass };
        pass.map(
            || (),
            |(), idx, column| {
                let mut profile = Profile::new(data.x.neurons()[idx]);
                let rows = &rows_of[idx];
                if rows.len() >= self.min_wins {
                    profile.words = Self::words(&data, rows, column);
                    let number = |name: &str, value| Number { name: name.to_owned(), value: value as f32 };
                    profile.numbers = vec![number("wins", rows.len()), number("length", profile.words.len())];
                    if self.num > 0 {
                        profile.words.truncate(self.num);
                    }
                }
                Ok(profile)
            },
        )
    }
}

#[cfg(test)]
mod tests;
