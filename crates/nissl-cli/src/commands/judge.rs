//! `nissl judge STORE NEURON`.

use std::io;
use std::path::PathBuf;

use clap::ValueEnum;
use nissl_core::NeuronId;
use nissl_tasks::tasks::judge::{self, NeuronReport, Report};
use serde::Serialize;

use crate::commands::claim::{Claim, Fires};
use crate::door::{Door, Page};
use crate::neuron;
use crate::progress::thousands;
use crate::style;
use crate::table::{Align, Table};

/// Score explanations of neurons: simulation, detection, fuzzing
///
/// A judge who knows the explanation alone foretells how active the neuron is on each word of some texts (simulation),
/// in which texts it fires (detection), and whether marked words are those on which it fires (fuzzing). The judge is the
/// rule itself (--is, --formula, --table), a language model behind an endpoint of chat completions (--url), which
/// explains the neuron first if no --explanation is given, or whoever answers the items that --export writes: a line
/// {"id": ..., "answer": ...} an item, a number from 0 to 1, for simulations one a word.
#[derive(Debug, clap::Args, Serialize)]
#[command(after_help = "\
Examples:
  nissl judge test.store '3.mlp_post[1207]' --is 'upos: NOUN' --quantile 0.95
  nissl judge test.store '3.mlp_post[1207]' --table train.store --calibration linear
  nissl judge test.store '3.mlp_post[1207]' --url http://localhost:8080/v1 --model llama
  nissl judge test.store '3.mlp_post[1207]' --explanation 'plural nouns' --export items.jsonl
  nissl judge test.store '3.mlp_post[1207]' --explanation 'plural nouns' --answers answers.jsonl")]
pub(crate) struct Args {
    /// Folder of the store
    #[serde(skip_serializing_if = "Option::is_none")]
    store: Option<PathBuf>,
    // Not a doc comment: rustdoc would take the brackets for links.
    #[arg(value_name = "NEURON", help = "The neurons: '3.mlp_post[1207]'")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    neurons: Vec<NeuronId>,
    /// The explanation as a text
    #[arg(long, value_name = "TEXT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    explanation: Option<String>,
    /// A file of answers to exported items, JSONL
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    answers: Option<PathBuf>,
    /// Write the items to a file, JSONL, and judge nothing
    #[arg(long, value_name = "FILE", conflicts_with = "answers")]
    #[serde(skip_serializing_if = "Option::is_none")]
    export: Option<PathBuf>,
    /// What is asked [default: all]
    #[arg(long = "ask", value_enum, value_delimiter = ',', value_name = "QUESTIONS")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    questions: Vec<Question>,
    #[command(flatten)]
    #[serde(flatten)]
    fires: Fires,
    /// Texts on which activations are foretold [default: 20]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    sequences: Option<usize>,
    /// Which they are [default: top-and-random]
    #[arg(long, value_enum, value_name = "WHICH")]
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<Kind>,
    /// How what is foretold becomes activations [default: none]
    #[arg(long, value_enum, value_name = "HOW")]
    #[serde(skip_serializing_if = "Option::is_none")]
    calibration: Option<Calibration>,
    /// Texts of each kind, where it fires and where it does not, that are told apart [default: 50]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    each: Option<usize>,
    /// Texts with the highest activations that an explainer reads [default: 10]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    excerpts: Option<usize>,
    /// Seed of the texts [default: 0]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<u64>,
    /// A file for the report, JSON
    #[arg(long, short, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    out: Option<PathBuf>,
    #[command(flatten)]
    claim: Claim,
    #[command(flatten)]
    endpoint: Endpoint,
}

/// A language model that judges.
#[derive(Debug, clap::Args, Serialize)]
#[command(next_help_heading = "An endpoint")]
struct Endpoint {
    /// The address before /chat/completions, such as `http://localhost:8080/v1`
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    /// The model's name there
    #[arg(long, value_name = "NAME", requires = "url")]
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    /// The environment variable with the key [default: `NISSL_API_KEY`]
    #[arg(long, value_name = "NAME", requires = "url")]
    #[serde(skip_serializing_if = "Option::is_none")]
    key_variable: Option<String>,
    /// Seconds for an answer [default: 120]
    #[arg(long, value_name = "N", requires = "url")]
    #[serde(skip_serializing_if = "Option::is_none")]
    seconds: Option<u64>,
    /// Texts that are judged together, where an answer is one number [default: 5]
    #[arg(long, value_name = "N", requires = "url")]
    #[serde(skip_serializing_if = "Option::is_none")]
    together: Option<usize>,
}

#[derive(Clone, Copy, Debug, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
enum Question {
    /// How active it is on each word
    Simulation,
    /// In which texts it fires
    Detection,
    /// Whether the marked words are those on which it fires
    Fuzzing,
}

#[derive(Clone, Copy, Debug, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    /// Those where the neuron is highest
    Top,
    /// Random ones
    Random,
    /// As many of both
    TopAndRandom,
}

#[derive(Clone, Copy, Debug, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
enum Calibration {
    /// As a share of the highest activation
    None,
    /// By a line, fitted on other texts
    Linear,
    /// By the order of activations on other texts
    Percentile,
}

pub(crate) fn run(args: &Args, door: &Door) -> anyhow::Result<()> {
    let report = judge::run(&door.config("judge", args)?, door.progress())?;
    door.show(&report, text)
}

fn text(report: &Report, page: &mut Page<'_>) -> io::Result<()> {
    if let Some(export) = &report.head.config.export {
        return writeln!(page.out, "{} items: {}", thousands(report.items as u64), export.display());
    }
    for neuron in &report.neurons {
        writeln!(page.out, "{}: {}", style::head(&neuron::short(neuron.name)), neuron.explanation)?;
        one(neuron, page)?;
    }
    Ok(())
}

fn one(report: &NeuronReport, page: &mut Page<'_>) -> io::Result<()> {
    let number = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.3}"));
    if let Some(simulation) = &report.simulation {
        let heads = ["simulation", "correlation", "R²", "centered R²", "absolute"];
        let aligns = [Align::Left, Align::Right, Align::Right, Align::Right, Align::Right];
        let mut table = Table::new(&heads.into_iter().zip(aligns).collect::<Vec<_>>());
        let of = [("as foretold", Some(&simulation.plain)), ("calibrated", simulation.calibrated.as_ref())];
        for (name, scores) in of.into_iter().filter_map(|(name, scores)| Some((name, scores?))) {
            let numbers = [scores.correlation, scores.r2, scores.centered_r2, scores.absolute].map(number);
            table.row(std::iter::once(name.to_owned()).chain(numbers));
        }
        table.print(page.out, page.width)?;
    }
    let told = [("detection", &report.detection), ("fuzzing", &report.fuzzing)];
    let told: Vec<_> = told.into_iter().filter_map(|(name, found)| Some((name, found.as_ref()?))).collect();
    if !told.is_empty() {
        let heads = ["told apart", "texts", "balanced accuracy", "precision", "recall", "F1", "AUC"];
        let align = |place: usize| if place == 0 { Align::Left } else { Align::Right };
        let heads: Vec<_> = heads.into_iter().enumerate().map(|(place, head)| (head, align(place))).collect();
        let mut table = Table::new(&heads);
        for (name, found) in told {
            let judged = found.judgement;
            let n = judged.hits + judged.missed + judged.spurious + judged.rejected;
            let numbers = [found.balanced_accuracy, found.precision, found.recall, found.f1, found.auc].map(number);
            table.row([name.to_owned(), thousands(n as u64)].into_iter().chain(numbers));
        }
        table.print(page.out, page.width)?;
    }
    for dropped in &report.dropped {
        writeln!(page.out, "dropped: {}: {}", thousands(dropped.items as u64), dropped.why)?;
    }
    Ok(())
}
