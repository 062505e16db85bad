//! Sheets for people: contexts of neurons, real and random ones mixed, to say which fit an explanation; and what their
//! ratings say.

use std::path::PathBuf;

use nissl_core::{NeuronId, Progress};
use nissl_methods::evaluation::rating::{Rating, rating, shown};
use nissl_store::Store;
use serde::{Deserialize, Serialize};

use crate::error::TaskError;
use crate::html::{SheetPage, SheetRow, render_sheet};
use crate::output::{write_json, write_whole};
use crate::report::{Head, head};
use crate::tasks::extract::StoreSummary;
use crate::tasks::inspect::{Passage, Text, columns};
use crate::tasks::rank::open_store;

mod file;

/// One sentence about the task.
pub const SUMMARY: &str = "Let people rate explanations: blinded sheets of contexts, and their ratings";

/// Words that are shown before and behind the one that is rated.
const AROUND: usize = 20;

/// What is rated.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Folder of the store.
    pub store: PathBuf,
    /// The neurons.
    pub neurons: Vec<NeuronId>,
    /// What they should fire on, one text for all of them or one each.
    pub explanations: Vec<String>,
    /// Contexts where a neuron is highest.
    pub contexts: usize,
    /// Random contexts among them.
    pub random: usize,
    /// Seed of the random contexts and of the order.
    pub seed: u64,
    /// Sheets that were rated, one a rater; they must be of this config.
    pub ratings: Vec<PathBuf>,
    /// Draws of the contexts for intervals.
    pub draws: usize,
    /// The file of the sheet, `.csv` or `.html`; where ratings are read that of the report, JSON.
    pub out: Option<PathBuf>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            store: PathBuf::new(),
            neurons: Vec::new(),
            explanations: Vec::new(),
            contexts: 10,
            random: 10,
            seed: 0,
            ratings: Vec::new(),
            draws: 1000,
            out: None,
        }
    }
}

/// The sheet, or what raters said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Task, version and config.
    #[serde(flatten)]
    pub head: Head<Config>,
    /// The store.
    pub store: StoreSummary,
    /// Rows of the sheet.
    pub rows: usize,
    /// One entry a neuron; nothing where no ratings were read.
    pub neurons: Vec<NeuronRating>,
    /// Of all neurons together; none where no ratings were read.
    pub all: Option<Rating>,
}

/// What raters said of a neuron's explanation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NeuronRating {
    /// The neuron.
    pub name: NeuronId,
    /// Its explanation.
    pub explanation: String,
    /// What they said.
    pub rating: Rating,
}

/// A row of the sheet, with what raters do not see.
struct Row {
    neuron: usize,
    real: bool,
    shown: SheetRow,
}

/// Makes the sheet, or reads its ratings.
///
/// # Errors
/// If the store cannot be read, no neuron is named or one is not recorded, there is not one explanation for all or one
/// each, there is no file to write to, or a rated sheet lacks rows or was changed.
pub fn run(config: &Config, _progress: &dyn Progress) -> Result<Report, TaskError> {
    if config.neurons.is_empty() {
        return Err(TaskError::config("neurons", "a neuron such as 3.mlp_post[1207]", "none"));
    }
    let n = config.explanations.len();
    if n != 1 && n != config.neurons.len() {
        let expected = format!("one, or one for each of {} neurons", config.neurons.len());
        return Err(TaskError::config("explanations", expected, n.to_string()));
    }
    let store = open_store(&config.store)?;
    let rows = rows(config, &store)?;
    let mut report = Report {
        head: head("sheet", config),
        store: StoreSummary::of(&config.store, &store),
        rows: rows.len(),
        neurons: Vec::new(),
        all: None,
    };
    if config.ratings.is_empty() {
        write(config, &rows)?;
        return Ok(report);
    }
    let sheet: Vec<&SheetRow> = rows.iter().map(|row| &row.shown).collect();
    let raters = config.ratings.iter().map(|path| file::read(path, &sheet)).collect::<Result<Vec<_>, _>>()?;
    let rated = |wanted: &dyn Fn(&Row) -> bool| {
        let own: Vec<usize> = (0..rows.len()).filter(|&row| wanted(&rows[row])).collect();
        let real: Vec<bool> = own.iter().map(|&row| rows[row].real).collect();
        let raters: Vec<Vec<bool>> =
            raters.iter().map(|ratings| own.iter().map(|&row| ratings[row]).collect()).collect();
        rating(&real, &raters, config.draws, config.seed)
    };
    let of_neuron = |(idx, &name): (usize, &NeuronId)| NeuronRating {
        name,
        explanation: config.explanation(idx).to_owned(),
        rating: rated(&|row| row.neuron == idx),
    };
    report.neurons = config.neurons.iter().enumerate().map(of_neuron).collect();
    report.all = Some(rated(&|_| true));
    if let Some(out) = &config.out {
        write_json(out, &report)?;
    }
    Ok(report)
}

impl Config {
    fn explanation(&self, neuron: usize) -> &str {
        &self.explanations[if self.explanations.len() == 1 { 0 } else { neuron }]
    }
}

/// The rows of the sheet: the same for the same store and config.
fn rows(config: &Config, store: &Store) -> Result<Vec<Row>, TaskError> {
    let (text, passages) = (store.text()?, Text::read(store)?);
    let mut rows = Vec::new();
    for (neuron, &name) in config.neurons.iter().enumerate() {
        let values = columns(store, &[name])?.values().column(0).to_vec();
        let seed = config.seed.wrapping_add(neuron as u64);
        for one in shown(&text, &values, (config.contexts, config.random), seed) {
            let context = context(&passages.passage(one.row, &text, &values));
            let explanation = config.explanation(neuron).to_owned();
            let item = (rows.len() + 1).to_string();
            rows.push(Row { neuron, real: one.real, shown: SheetRow { item, explanation, context } });
        }
    }
    Ok(rows)
}

/// The sentence in one line, the word in brackets, what is far from it left out.
fn context(passage: &Passage) -> String {
    let (first, last) = (passage.at.saturating_sub(AROUND), (passage.at + AROUND).min(passage.words.len() - 1));
    let mut text = String::from(if first > 0 { "… " } else { "" });
    for (idx, word) in passage.words.iter().enumerate().take(last + 1).skip(first) {
        text.push_str(if idx == first { "" } else { &word.before });
        let (open, close) = if idx == passage.at { ("[", "]") } else { ("", "") };
        text.extend([open, word.name.as_str(), close]);
    }
    if last + 1 < passage.words.len() {
        text.push_str(" …");
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn write(config: &Config, rows: &[Row]) -> Result<(), TaskError> {
    let Some(path) = &config.out else {
        return Err(TaskError::config("out", "a file for the sheet, .csv or .html", "none"));
    };
    let rows: Vec<SheetRow> = rows.iter().map(|row| row.shown.clone()).collect();
    let bytes = match path.extension().and_then(|suffix| suffix.to_str()) {
        Some("csv") => file::csv(&rows),
        Some("html") => {
            let title = format!("{} contexts to rate", rows.len());
            render_sheet(&SheetPage { title, columns: file::COLUMNS.map(str::to_owned), rows }).into_bytes()
        }
        _ => return Err(TaskError::config("out", "a file that ends in .csv or .html", path.display().to_string())),
    };
    write_whole(path, |file| std::io::Write::write_all(file, &bytes))
}

#[cfg(test)]
mod tests;
