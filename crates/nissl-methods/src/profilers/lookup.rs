//! Lookup simulator: how well a neuron's activation can be told from the word alone.
//!
//! ## Computes
//! The sentences are cut into two halves. On one the mean activation of each word type is looked up in a table; on the
//! other it is compared with the activations themselves, words that the table has not standing for its overall mean; and
//! the other way round. With `previous` the table has pairs of words first, where a pair occurs `min_count` times.
//! ## Input
//! Activations `[n_tokens, n_neurons]` and the word of each row.
//! ## Output
//! For every neuron the numbers `correlation` (of simulated and true activations, over the rows of both halves, each
//! simulated by the other) and `explained` (1 - squared error / variance), and the words whose mean over all rows is
//! furthest from the neuron's. A neuron that is an indicator of words has correlation 1; one that looks at more than the
//! word has less. A constant neuron has nothing.
//! ## Parameters
//! | name | default | range | meaning |
//! |---|---|---|---|
//! | `previous` | false | | look up the word together with the one before it |
//! | `min_count` | 2 | ≥ 1 | words and pairs with fewer occurrences in a half are not in its table |
//! | `num` | 10 | ≥ 0 | words that are listed |
//! ## Cost
//! O(n_tokens · n_neurons), two looks at each column.
//! ## Errors
//! `NotFinite`, `Parameter`, `Cancelled`.
//! ## Differs
//! The paper has a language model write an explanation and another one simulate the neuron from it; a table is the
//! simulator that needs neither, and a bound for explanations that name words alone. Halves are told apart by what the
//! sentences say, not by chance, so that every run has the same.
//! ## Source
//! Bills et al. 2023, Language models can explain neurons in language models; reference:
//! openai/automated-interpretability.

use std::collections::HashMap;

use nissl_core::{
    Context, Describe, MethodCard, MethodError, Number, Profile, Profiler, TextActivations, TextRows, WordScore,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::columns::ColumnPass;
use crate::groups::{RowGroups, mean_and_deviation};

/// Tells how well a neuron's activation can be told from the word alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Lookup {
    /// Look up the word together with the one before it.
    pub previous: bool,
    /// Words and pairs with fewer occurrences in a half are not in its table.
    #[schemars(range(min = 1))]
    pub min_count: usize,
    /// Words that are listed.
    pub num: usize,
}

impl Default for Lookup {
    fn default() -> Self {
        Self { previous: false, min_count: 2, num: 10 }
    }
}

impl Describe for Lookup {
    const NAME: &'static str = "lookup";
    const SUMMARY: &'static str = "Tells how well a neuron's activation can be told from the word alone.";
    const SOURCE: &'static str = "Bills et al. 2023; reference: openai/automated-interpretability";
    const CARD: MethodCard = MethodCard { human_in_the_loop: false, ..MethodCard::PROFILE };
}

/// Which half each sentence is in, by what it says, `[n_tokens]`.
fn halves(text: &TextRows) -> Vec<bool> {
    let mut halves = Vec::with_capacity(text.n_tokens());
    for rows in text.sentences() {
        // FNV-1a, whose last bit alone would be a parity of letters.
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        for byte in rows.clone().flat_map(|row| text.word(row).bytes().chain([b' '])) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        halves.extend(rows.map(|_| (hash >> 32).count_ones() % 2 == 1));
    }
    halves
}

/// What is looked up: for each half the rows of each entry of its table, and the entry for each row of the other half.
struct Tables {
    /// Rows of each entry, both halves' entries side by side.
    entries: RowGroups,
    /// Rows of either half.
    halves: RowGroups,
    is_second: Vec<bool>,
    /// The entry that simulates each row, `[n_tokens]`; `None` if the other half's table has not its word.
    entry_of: Vec<Option<u32>>,
    /// Rows of each word type.
    types: RowGroups,
}

impl Tables {
    fn new(text: &TextRows, method: &Lookup) -> Self {
        let is_second = halves(text);
        let sentences = text.sentence_of();
        let key = |row: usize, pair: bool| {
            let before = pair && row > 0 && sentences[row - 1] == sentences[row];
            let before = before.then(|| text.type_of()[row - 1]);
            (text.type_of()[row], if pair { before.map_or(1, |word| u64::from(word) + 2) } else { 0 })
        };
        let mut counts: HashMap<(bool, (u32, u64)), usize> = HashMap::new();
        let kinds = if method.previous { &[true, false][..] } else { &[false] };
        for (row, &second) in is_second.iter().enumerate() {
            for &pair in kinds {
                *counts.entry((second, key(row, pair))).or_default() += 1;
            }
        }
        // An entry is numbered where it is first met; rows of both kinds of entries are listed apart.
        let mut number: HashMap<(bool, (u32, u64)), u32> = HashMap::new();
        let mut of_kind: Vec<Vec<Option<u32>>> = Vec::new();
        for &pair in kinds {
            let entry = |row: usize| {
                let key = (is_second[row], key(row, pair));
                let next = number.len() as u32;
                (counts[&key] >= method.min_count).then(|| *number.entry(key).or_insert(next))
            };
            of_kind.push((0..text.n_tokens()).map(entry).collect());
        }
        let simulates =
            |row: usize| kinds.iter().find_map(|&pair| number.get(&(!is_second[row], key(row, pair))).copied());
        let entry_of = (0..text.n_tokens()).map(simulates).collect();
        let members = of_kind.iter().flatten().copied();
        let types = text.type_of().iter().map(|&word| Some(word));
        Self {
            entries: RowGroups::new(number.len(), members),
            halves: RowGroups::new(2, is_second.iter().map(|&second| Some(u32::from(second)))),
            is_second,
            entry_of,
            types: RowGroups::new(text.types().len(), types),
        }
    }

    /// The simulated activations.
    fn simulate(&self, column: &[f32], scratch: &mut Scratch) {
        // Rows of the second kind of entries are numbered on behind those of the first.
        scratch.twice.clear();
        scratch.twice.extend(column.iter().chain(column));
        self.entries.means(&scratch.twice, f64::from, &mut scratch.entries);
        self.halves.means(column, f64::from, &mut scratch.halves);
        let mean = |row: usize| match self.entry_of[row] {
            Some(entry) => scratch.entries[entry as usize],
            None => scratch.halves[usize::from(!self.is_second[row])],
        };
        scratch.simulated.clear();
        scratch.simulated.extend((0..column.len()).map(mean));
    }
}

#[derive(Default)]
struct Scratch {
    twice: Vec<f32>,
    entries: Vec<f64>,
    halves: Vec<f64>,
    simulated: Vec<f64>,
    types: Vec<f64>,
}

impl Lookup {
    fn numbers(column: &[f32], simulated: &[f64], (mean, deviation): (f64, f64)) -> Vec<Number> {
        let n = column.len() as f64;
        let mean_simulated = simulated.iter().sum::<f64>() / n;
        let (mut covariance, mut variance, mut error) = (0.0, 0.0, 0.0);
        for (&value, simulated) in column.iter().zip(simulated) {
            let value = f64::from(value);
            covariance += (value - mean) * (simulated - mean_simulated);
            variance += (simulated - mean_simulated) * (simulated - mean_simulated);
            error += (value - simulated) * (value - simulated);
        }
        let scale = (variance / n).sqrt() * deviation;
        // A table that says the same of every word tells nothing.
        let correlation = if scale > 0.0 { (covariance / n / scale).clamp(-1.0, 1.0) } else { 0.0 };
        let explained = 1.0 - error / n / (deviation * deviation);
        let number = |name: &str, value: f64| Number { name: name.to_owned(), value: value as f32 };
        vec![number("correlation", correlation), number("explained", explained)]
    }

    fn words(&self, text: &TextRows, tables: &Tables, means: &[f64], (mean, deviation): (f64, f64)) -> Vec<WordScore> {
        let z = |word: usize| (means[word] - mean) / deviation;
        let mut words: Vec<usize> =
            (0..means.len()).filter(|&word| tables.types.rows(word).len() >= self.min_count).collect();
        words.sort_by(|&a, &b| z(b).abs().total_cmp(&z(a).abs()).then_with(|| text.types()[a].cmp(&text.types()[b])));
        words.truncate(self.num);
        let largest = words.first().map_or(1.0, |&word| z(word).abs());
        let score = |word: usize| WordScore {
            name: text.types()[word].clone(),
            score: if largest > 0.0 { (z(word) / largest) as f32 } else { 0.0 },
            deviation: z(word) as f32,
            count: tables.types.rows(word).len() as u32,
        };
        words.into_iter().map(score).collect()
    }
}

impl Profiler for Lookup {
    fn profile(&self, data: TextActivations<'_>, ctx: Context<'_>) -> Result<Vec<Profile>, MethodError> {
        if self.min_count == 0 {
            let (value, expected) = ("0".to_owned(), "at least 1");
            return Err(MethodError::Parameter { method: Self::NAME, name: "min_count", value, expected });
        }
        let tables = Tables::new(data.text, self);
        let pass = ColumnPass { x: data.x, ctx, method: Self::NAME, stage: "words looked up", scratch_per_row: 16 };
        pass.map(Scratch::default, |scratch, idx, column| {
            let mut profile = Profile::new(data.x.neurons()[idx]);
            let moments = mean_and_deviation(column);
            if moments.1 > 0.0 {
                tables.simulate(column, scratch);
                profile.numbers = Self::numbers(column, &scratch.simulated, moments);
                tables.types.means(column, f64::from, &mut scratch.types);
                profile.words = self.words(data.text, &tables, &scratch.types, moments);
            }
            Ok(profile)
        })
    }
}

#[cfg(test)]
mod tests;
