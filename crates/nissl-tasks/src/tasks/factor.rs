//! From a store to factors: neurons that fire together, and the words on which they do.

use std::path::PathBuf;

use nissl_core::{Activations, Context, HookPoint, NeuronId, Progress};
use nissl_methods::factorization::{Factorization, Factors};
use nissl_store::Selection;
use serde::{Deserialize, Serialize};

use crate::error::TaskError;
use crate::output::write_json;
use crate::report::{Head, head};
use crate::select::select;
use crate::tasks::extract::StoreSummary;
use crate::tasks::rank::open_store;

/// One sentence about the task.
pub const SUMMARY: &str = "Find factors of neurons that fire together, and the words on which they do";

/// What to factor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Folder of the store.
    pub store: PathBuf,
    /// Only these sites; all that are recorded if empty.
    pub sites: Vec<String>,
    /// Only the first so many words.
    pub words: Option<usize>,
    /// How.
    pub how: Factorization,
    /// Words and neurons of a factor in the report.
    pub top: usize,
    /// A file for the factors in full, JSON.
    pub out: Option<PathBuf>,
    /// Bytes for activations.
    pub memory: usize,
}

impl Default for Config {
    fn default() -> Self {
        let (sites, how) = (Vec::new(), Factorization::default());
        Self { store: PathBuf::new(), sites, words: None, how, top: 10, out: None, memory: Context::MEMORY }
    }
}

/// The factors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Task, version and config.
    #[serde(flatten)]
    pub head: Head<Config>,
    /// The store.
    pub store: StoreSummary,
    /// Words.
    pub words: usize,
    /// Neurons.
    pub neurons: usize,
    /// The length of what the factors miss, as a share of the length of all, after each round.
    pub errors: Vec<f64>,
    /// One entry a factor, the one that is there most first.
    pub factors: Vec<FactorReport>,
}

/// A factor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FactorReport {
    /// Its share of all strengths.
    pub share: f64,
    /// The words in which it is strongest.
    pub words: Vec<Strength>,
    /// Its neurons, largest first.
    pub neurons: Vec<Part>,
}

/// How strongly a factor is in a word.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Strength {
    /// The row.
    pub row: usize,
    /// The word.
    pub word: String,
    /// How strongly.
    pub strength: f64,
}

/// A neuron's part in a factor.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// The neuron.
    pub name: NeuronId,
    /// Its weight; those of a factor have length 1 together.
    pub weight: f64,
}

/// What is written into the file.
#[derive(Serialize)]
struct Written<'a> {
    neurons: &'a [NeuronId],
    /// `[n_words][n_factors]`.
    strengths: Vec<Vec<f64>>,
    /// `[n_factors][n_neurons]`.
    weights: Vec<Vec<f64>>,
}

/// Factors.
///
/// # Errors
/// If the store cannot be read, a site is not there, memory is short of the activations, or the user stops it.
pub fn run(config: &Config, progress: &dyn Progress) -> Result<Report, TaskError> {
    let store = open_store(&config.store)?;
    let all: Selection = if config.sites.is_empty() {
        store.all()
    } else {
        let points: Vec<HookPoint> = store.points().map(|(point, _)| point).collect();
        store.select(&select(&config.store.display().to_string(), &points, &config.sites)?)?
    };
    let n_words = config.words.unwrap_or(usize::MAX).min(all.n_tokens());
    let x = First { all: &all, n_words };
    let found = config.how.factor(&x, Context { memory: config.memory, progress })?;
    if let Some(out) = &config.out {
        let rows = |values: &ndarray::Array2<f64>| values.outer_iter().map(|row| row.to_vec()).collect();
        write_json(
            out,
            &Written { neurons: all.neurons(), strengths: rows(&found.words), weights: rows(&found.neurons) },
        )?;
    }
    let text = store.text()?;
    let total: f64 = found.words.sum();
    let factor = |idx: usize| {
        let (strengths, weights) = (found.words.column(idx).to_owned(), found.neurons.row(idx).to_owned());
        let word = |row: usize| Strength { row, word: text.word(row).to_owned(), strength: strengths[row] };
        let part = |column: usize| Part { name: all.neurons()[column], weight: weights[column] };
        FactorReport {
            share: if total > 0.0 { strengths.sum() / total } else { 0.0 },
            words: Factors::largest(&strengths, config.top).into_iter().map(word).collect(),
            neurons: Factors::largest(&weights, config.top).into_iter().map(part).collect(),
        }
    };
    let mut factors: Vec<FactorReport> = (0..found.words.ncols()).map(factor).collect();
    factors.sort_by(|a, b| b.share.total_cmp(&a.share));
    let (store, neurons) = (StoreSummary::of(&config.store, &store), all.neurons().len());
    Ok(Report { head: head("factor", config), store, words: n_words, neurons, errors: found.errors, factors })
}

/// The first words of a store.
struct First<'a> {
    all: &'a Selection,
    n_words: usize,
}

impl Activations for First<'_> {
    fn n_tokens(&self) -> usize {
        self.n_words
    }

    fn neurons(&self) -> &[NeuronId] {
        self.all.neurons()
    }

    fn read(
        &self,
        rows: std::ops::Range<usize>,
        columns: std::ops::Range<usize>,
        out: ndarray::ArrayViewMut2<'_, f32>,
    ) -> Result<(), nissl_core::ActivationsError> {
        self.all.read(rows, columns, out)
    }
}

#[cfg(test)]
mod tests;
