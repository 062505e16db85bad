//! Top contexts: the places in the text where a neuron is highest, each with the words before it.
//!
//! ## Computes
//! For every neuron the k rows with the highest activation, each shown as the word of the row and the words before
//! it, up to `window` words, inside the sentence.
//! ## Input
//! Activations `[n_tokens, n_neurons]` and the word of each row.
//! ## Output
//! For every neuron contexts with row, sentence, position and activation, highest first; with `bottom` also the
//! lowest, lowest first; with `random_bins` five of each bin of equally many rows too, from the lowest bin to the
//! highest. Of equal activations the earlier row comes first. A constant neuron has none.
//! ## Parameters
//! | name | default | range | meaning |
//! |---|---|---|---|
//! | `k` | 20 | ≥ 1 | contexts a neuron |
//! | `window` | 5 | ≥ 1 | words of a context, the row's own included |
//! | `dedup` | exact | exact, none | keep a context that reads the same once, where it is highest |
//! | `bottom` | false | | also the lowest |
//! | `random_bins` | 0 | ≥ 0 | also contexts of every height, five from each of so many bins of values |
//! ## Cost
//! O(n_tokens · n_neurons): one comparison a value, as almost none enters the list; O(k) each that does. Streams
//! blocks of columns; the result holds n_neurons · k contexts.
//! ## Errors
//! `NotFinite`, `Parameter`, `Cancelled`.
//! ## Differs
//! The paper looks at the end of five-grams of a caption; shorter contexts at the start of a sentence are kept here.
//! ## Source
//! Kádár, Chrupała and Alishahi 2017, Representation of Linguistic Form and Function in Recurrent Neural Networks,
//! Computational Linguistics 43(4).

use std::collections::HashMap;

use nissl_core::{Context, Describe, Excerpt, MethodCard, MethodError, Profile, Profiler, TextActivations, TextRows};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::columns::ColumnPass;
use crate::groups::is_constant;

mod sample;

use sample::Sampler;

/// Finds the places in the text where a neuron is highest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TopContexts {
    /// Contexts a neuron.
    #[schemars(range(min = 1))]
    pub k: usize,
    /// Words of a context, the row's own included.
    #[schemars(range(min = 1))]
    pub window: usize,
    /// Whether a context that reads the same is kept once.
    pub dedup: Dedup,
    /// Also the lowest.
    pub bottom: bool,
    /// Also contexts of every height, five from each of so many bins of values.
    pub random_bins: usize,
}

/// Whether contexts that read the same are kept once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Dedup {
    /// Once, where the neuron is furthest out.
    #[default]
    Exact,
    /// Every time.
    None,
}

impl Default for TopContexts {
    fn default() -> Self {
        Self { k: 20, window: 5, dedup: Dedup::Exact, bottom: false, random_bins: 0 }
    }
}

impl Describe for TopContexts {
    const NAME: &'static str = "top-contexts";
    const SUMMARY: &'static str = "Finds the places in the text where a neuron is highest.";
    const SOURCE: &'static str = "Kádár, Chrupała and Alishahi 2017, Computational Linguistics 43(4)";
    const CARD: MethodCard = MethodCard { scalability: "low", ..MethodCard::PROFILE };
}

impl TopContexts {
    fn check(&self) -> Result<(), MethodError> {
        for (name, value) in [("k", self.k), ("window", self.window)] {
            if value == 0 {
                let (method, expected) = (Self::NAME, "at least 1");
                return Err(MethodError::Parameter { method, name, value: "0".to_owned(), expected });
            }
        }
        Ok(())
    }
}

impl Profiler for TopContexts {
    fn profile(&self, data: TextActivations<'_>, ctx: Context<'_>) -> Result<Vec<Profile>, MethodError> {
        self.check()?;
        let contexts = Contexts::new(data.text, self.window, self.dedup);
        let sampler = Sampler::new(&contexts, self.random_bins);
        let scratch_per_row = if sampler.is_some() { size_of::<f32>() } else { 0 };
        let pass = ColumnPass { x: data.x, ctx, method: Self::NAME, stage: "top contexts", scratch_per_row };
        let scratch = || (Vec::new(), Vec::new());
        pass.map(scratch, |(best, values), column_idx, column| {
            let mut profile = Profile::new(data.x.neurons()[column_idx]);
            if is_constant(column) {
                return Ok(profile);
            }
            highest(column, self.k, contexts.same.as_deref(), |value| value, best);
            profile.top = best.iter().map(|found| contexts.excerpt(found.row, column)).collect();
            if self.bottom {
                highest(column, self.k, contexts.same.as_deref(), |value| -value, best);
                profile.bottom = best.iter().map(|found| contexts.excerpt(found.row, column)).collect();
            }
            if let Some(sampler) = &sampler {
                profile.sampled = sampler.sample(&contexts, column, values);
            }
            Ok(profile)
        })
    }
}

/// The context of every row.
struct Contexts<'a> {
    text: &'a TextRows,
    window: usize,
    /// A number for each row, the same for contexts that read the same, `[n_tokens]`; none if they are all kept.
    same: Option<Vec<u32>>,
}

impl<'a> Contexts<'a> {
    fn new(text: &'a TextRows, window: usize, dedup: Dedup) -> Self {
        let mut contexts = Self { text, window, same: None };
        if dedup == Dedup::Exact {
            let mut seen: HashMap<String, u32> = HashMap::new();
            let number = |row| {
                let next = seen.len() as u32;
                *seen.entry(contexts.words(row).0).or_insert(next)
            };
            contexts.same = Some((0..text.n_tokens()).map(number).collect());
        }
        contexts
    }

    /// The context of a row and its position in the sentence.
    fn words(&self, row: usize) -> (String, usize) {
        let start = self.text.sentence_rows(row).start;
        let first = start.max((row + 1).saturating_sub(self.window));
        let words: Vec<&str> = (first..=row).map(|row| self.text.word(row)).collect();
        (words.join(" "), row - start)
    }

    fn excerpt(&self, row: usize, column: &[f32]) -> Excerpt {
        let (context, position) = self.words(row);
        Excerpt { row, sentence: self.text.sentence_of()[row], position, activation: column[row], context }
    }
}

/// A row in the list of the best.
#[derive(Clone, Copy)]
struct Found {
    height: f32,
    row: usize,
}

/// Fills `best` with the `k` rows of the highest `height`, highest first, earlier rows before later ones of the same
/// height, and of rows with the same number only the first in that order.
fn highest(column: &[f32], k: usize, same: Option<&[u32]>, height: impl Fn(f32) -> f32, best: &mut Vec<Found>) {
    /// Values compared together with the bar, before any is looked at alone.
    const CHUNK: usize = 64;
    best.clear();
    // Nothing at or below the bar can enter; it rises as the list improves.
    let mut bar = f32::NEG_INFINITY;
    for (chunk_idx, chunk) in column.chunks(CHUNK).enumerate() {
        if !chunk.iter().fold(false, |any, &value| any | (height(value) > bar)) {
            continue;
        }
        for (place, &value) in chunk.iter().enumerate() {
            let found = Found { height: height(value), row: chunk_idx * CHUNK + place };
            if found.height > bar {
                enter(found, k, same, best);
                if best.len() == k {
                    bar = best[k - 1].height;
                }
            }
        }
    }
}

fn enter(found: Found, k: usize, same: Option<&[u32]>, best: &mut Vec<Found>) {
    if let Some(same) = same
        && let Some(twin) = best.iter().position(|other| same[other.row] == same[found.row])
    {
        if best[twin].height >= found.height {
            return;
        }
        best.remove(twin);
    }
    // Rows come in order: behind all that are at least as high.
    let place = best.partition_point(|other| other.height >= found.height);
    best.insert(place, found);
    best.truncate(k);
}

#[cfg(test)]
mod tests;
