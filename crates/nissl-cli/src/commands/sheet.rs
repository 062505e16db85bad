//! `nissl sheet STORE NEURON`.

use std::io;
use std::path::PathBuf;

use nissl_core::NeuronId;
use nissl_tasks::tasks::sheet::{self, Report};
use serde::Serialize;

use crate::commands::claim::shown;
use crate::door::{Door, Page};
use crate::neuron;
use crate::progress::thousands;
use crate::table::{Align, Table};

/// Let people rate explanations: blinded sheets of contexts, and their ratings
///
/// A sheet has the contexts where a neuron is highest and as many random ones, in an order that tells nothing; raters say
/// of each whether the word in brackets fits the explanation, in the last column of the table or on the page, which saves
/// such a table. With --ratings the same command reads what they said: the share of real contexts that fit, beside that
/// of random ones, and how far the raters agree.
#[derive(Debug, clap::Args, Serialize)]
#[command(after_help = "\
Examples:
  nissl sheet my.store '3.mlp_post[1207]' --explanation 'plural nouns' --out sheet.csv
  nissl sheet my.store '3.mlp_post[7]' '3.mlp_post[9]' --explanation names --explanation dates --out sheet.html
  nissl sheet my.store '3.mlp_post[1207]' --explanation 'plural nouns' --ratings anne.csv,bert.csv")]
pub(crate) struct Args {
    /// Folder of the store
    #[serde(skip_serializing_if = "Option::is_none")]
    store: Option<PathBuf>,
    // Not a doc comment: rustdoc would take the brackets for links.
    #[arg(value_name = "NEURON", help = "The neurons: '3.mlp_post[1207]'")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    neurons: Vec<NeuronId>,
    /// What the neurons should fire on; given again for each, or once for all
    #[arg(long = "explanation", value_name = "TEXT")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    explanations: Vec<String>,
    /// Contexts where a neuron is highest [default: 10]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    contexts: Option<usize>,
    /// Random contexts among them [default: 10]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    random: Option<usize>,
    /// Seed of the random contexts and of the order [default: 0]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<u64>,
    /// Read rated sheets, one a rater
    #[arg(long, value_delimiter = ',', value_name = "FILES")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ratings: Vec<PathBuf>,
    /// Draws of the contexts for intervals [default: 1000]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    draws: Option<usize>,
    /// The file of the sheet, .csv or .html; with --ratings that of the report, JSON
    #[arg(long, short, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    out: Option<PathBuf>,
}

pub(crate) fn run(args: &Args, door: &Door) -> anyhow::Result<()> {
    let report = sheet::run(&door.config("sheet", args)?, door.progress())?;
    door.show(&report, text)
}

fn text(report: &Report, page: &mut Page<'_>) -> io::Result<()> {
    let Some(all) = &report.all else {
        let out = report.head.config.out.as_ref().map_or_else(String::new, |path| path.display().to_string());
        return writeln!(page.out, "{} contexts to rate: {out}", thousands(report.rows as u64));
    };
    let heads = [
        ("neuron", Align::Left),
        ("real contexts that fit", Align::Right),
        ("random ones", Align::Right),
        ("kappa", Align::Right),
        ("explanation", Align::Left),
    ];
    let mut table = Table::new(&heads);
    let kappa = |kappa: Option<f64>| kappa.map_or_else(|| "-".to_owned(), |kappa| format!("{kappa:.2}"));
    let neurons = report.neurons.iter().map(|of| (neuron::short(of.name), &of.rating, of.explanation.as_str()));
    for (name, rating, explanation) in neurons.chain([("all".to_owned(), all, "")]) {
        let (precision, random) = (shown(&rating.precision), shown(&rating.random));
        table.row([name, precision, random, kappa(rating.kappa), explanation.to_owned()]);
    }
    table.print(page.out, page.width)
}
