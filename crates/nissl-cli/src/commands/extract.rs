//! `nissl extract MODEL TEXT --out STORE`.

use std::io;
use std::path::PathBuf;

use nissl_tasks::tasks::extract::{self, Report};
use serde::Serialize;

use crate::commands::read::{Load, Read, Running};
use crate::door::{Door, Page};
use crate::progress::thousands;
use crate::size;

/// Record what every neuron does on a text
///
/// The store keeps one row a word (or token) and one column a neuron, with sentences, words and labels beside them.
/// A run that was stopped goes on where it was when the same command is given again.
#[derive(Debug, clap::Args, Serialize)]
#[command(after_help = "\
Examples:
  nissl extract sentence-transformers/all-MiniLM-L6-v2 en_ewt-ud-test.conllu --out minilm.store
  nissl extract ./model text.txt --out s --sites 2-4.mlp,resid_post --aggregate last --dtype bf16
  nissl extract ./model book.csv --text-column body --concept 'city := {Paris, London}' --out s")]
pub(crate) struct Args {
    /// Folder of a model, or its name on the Hugging Face Hub
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    /// The corpus: CoNLL-U, word/label text, CSV, TSV, JSONL or plain text
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<PathBuf>,
    /// Folder of the store
    #[arg(long, short, value_name = "STORE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    out: Option<PathBuf>,
    /// Sites to record: groups (resid, mlp, attn, mixer, lstm, all), sites (mlp_post), layers (2-4.mlp),
    /// hook points (blocks.3.mlp.hook_post) [default: resid,mlp]
    #[arg(long, value_delimiter = ',', value_name = "SITES")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    sites: Vec<String>,
    /// A concept that becomes a label column of its own, such as 'city := {Paris, London}'; may be given again
    #[arg(long = "concept", value_name = "CONCEPT")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    concepts: Vec<String>,
    /// A file of such concepts, one a line or as JSON
    #[arg(long = "concepts", value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    concepts_file: Option<PathBuf>,
    /// Overwrite a store that was made with another config
    #[arg(long)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    force: bool,
    #[command(flatten)]
    #[serde(flatten)]
    running: Running,
    #[command(flatten)]
    read: Read,
    #[command(flatten)]
    #[serde(skip_serializing_if = "Load::is_default")]
    load: Load,
}

pub(crate) fn run(args: &Args, door: &Door) -> anyhow::Result<()> {
    let report = extract::run(&door.config_with_memory("extract", args)?, door.progress())?;
    door.show(&report, text)
}

fn text(report: &Report, page: &mut Page<'_>) -> io::Result<()> {
    let (store, out) = (&report.store, &mut *page.out);
    let from = report.resumed_at.map_or_else(String::new, |n| format!(" (went on at sentence {})", thousands(n + 1)));
    writeln!(
        out,
        "{} rows x {} neurons of {} sentences in {}, {}{from}",
        thousands(store.rows),
        thousands(store.neurons as u64),
        thousands(store.sentences),
        store.path.display(),
        size::show(store.bytes),
    )?;
    let (first, last) = (report.sites.first(), report.sites.last());
    if let (Some(first), Some(last)) = (first, last) {
        writeln!(out, "sites: {} from {} to {}", report.sites.len(), first.name, last.name)?;
    }
    let columns: Vec<&str> = report.columns.iter().map(|column| column.name.as_str()).collect();
    writeln!(out, "labels: {}", if columns.is_empty() { "none".to_owned() } else { columns.join(", ") })?;
    for (number, what) in left_out(report) {
        if number > 0 {
            writeln!(out, "note: {} {what}", thousands(number as u64))?;
        }
    }
    for failure in report.failed.iter().take(5) {
        writeln!(out, "failed: sentence {} (line {}): {}", failure.name, failure.line, failure.error)?;
    }
    if report.failed.len() > 5 {
        writeln!(out, "failed: {} more sentences, see extract.json in the store", report.failed.len() - 5)?;
    }
    Ok(())
}

/// What a reader of the numbers must know.
fn left_out(report: &Report) -> [(usize, &'static str); 9] {
    let (corpus, alignment) = (&report.corpus, &report.alignment);
    [
        (corpus.empty, "sentences without a word were left out"),
        (corpus.texts_mismatched, "sentences whose text does not consist of their words were put together anew"),
        (corpus.multiword_shared, "multiword tokens whose words share one activation"),
        (alignment.words_without_token, "words that the tokenizer drops have no row"),
        (alignment.words_truncated, "words were truncated and have no row"),
        (alignment.words_sharing_token, "words share a token with another word"),
        (alignment.words_clipped, "words are longer than the context and were clipped"),
        (alignment.sentences_windowed, "sentences are longer than the context and were read in windows"),
        (report.not_finite as usize, "values are infinite or not a number"),
    ]
}
