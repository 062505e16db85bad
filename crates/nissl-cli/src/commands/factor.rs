//! `nissl factor STORE`.

use std::io;
use std::path::PathBuf;

use nissl_tasks::tasks::factor::{self, Report};
use serde::Serialize;

use crate::commands::ask::without_empty;
use crate::door::{Door, Page};
use crate::neuron;
use crate::progress::thousands;
use crate::style;
use crate::table::{Align, Table};

/// Words and neurons of a factor in the terminal.
const SHOWN: usize = 6;

/// Find factors of neurons that fire together, and the words on which they do
///
/// Activations above 0 become a product of two matrices that are nowhere below 0: how strongly each factor is there in
/// each word, and which neurons it is made of.
#[derive(Debug, clap::Args, Serialize)]
#[command(after_help = "\
Examples:
  nissl factor gpt2.store --sites mlp_post --factors 20
  nissl factor gpt2.store --sites 4-8.mlp_post --words 2000 --out factors.json")]
pub(crate) struct Args {
    /// Folder of the store
    #[serde(skip_serializing_if = "Option::is_none")]
    store: Option<PathBuf>,
    /// Only these sites [default: all that are recorded]
    #[arg(long, value_delimiter = ',', value_name = "SITES")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    sites: Vec<String>,
    /// Only the first N words
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    words: Option<usize>,
    #[command(flatten)]
    how: How,
    /// Words and neurons of a factor in the report [default: 10]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    top: Option<usize>,
    /// A file for the factors in full, as JSON
    #[arg(long, short, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    out: Option<PathBuf>,
}

/// How.
#[derive(Debug, clap::Args, Serialize)]
struct How {
    /// Number of factors [default: 10]
    #[arg(long, short = 'k', value_name = "K")]
    #[serde(skip_serializing_if = "Option::is_none")]
    factors: Option<usize>,
    /// Rounds, at most [default: 500]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    rounds: Option<usize>,
    /// It ends when the error falls by less than this share of it [default: 0.0001]
    #[arg(long, value_name = "SHARE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    tolerance: Option<f64>,
    /// Seed of the numbers it begins with [default: 0]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<u64>,
}

pub(crate) fn run(args: &Args, door: &Door) -> anyhow::Result<()> {
    let mut flags = serde_json::to_value(args)?;
    without_empty(&mut flags);
    let report = factor::run(&door.config_with_memory("factor", &flags)?, door.progress())?;
    door.show(&report, text)
}

fn text(report: &Report, page: &mut Page<'_>) -> io::Result<()> {
    let count = |n: usize| thousands(n as u64);
    let missing = report.errors.last().copied().unwrap_or_default();
    writeln!(
        page.out,
        "{} factors of {} neurons over {} words: they miss {:.1}% of the length, after {} rounds\n",
        style::head(&count(report.factors.len())),
        count(report.neurons),
        count(report.words),
        100.0 * missing,
        count(report.errors.len())
    )?;
    let mut table =
        Table::new(&[("share", Align::Right), ("strongest words", Align::Left), ("largest neurons", Align::Left)]);
    for factor in &report.factors {
        let words: Vec<&str> = factor.words.iter().take(SHOWN).map(|word| word.word.as_str()).collect();
        let neurons: Vec<String> = factor.neurons.iter().take(SHOWN).map(|part| neuron::short(part.name)).collect();
        table.row([format!("{:.1}%", 100.0 * factor.share), words.join(" "), neurons.join("  ")]);
    }
    table.print(page.out, page.width)
}
