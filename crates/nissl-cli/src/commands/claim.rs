//! `nissl claim STORE NEURON`.

use std::io;
use std::path::PathBuf;

use clap::ValueEnum;
use nissl_core::NeuronId;
use nissl_tasks::Interval;
use nissl_tasks::tasks::claim::{self, InsideReport, NeuronReport, Report};
use serde::Serialize;

use crate::commands::ask::{One, Read, left_out, without_empty};
use crate::commands::inspect::passages;
use crate::commands::read::Load;
use crate::door::{Door, Page};
use crate::neuron;
use crate::progress::thousands;
use crate::style;
use crate::table::{Align, Table};

/// Test a claim of what neurons fire on, on other text and inside the model
///
/// The claim is that a neuron fires on all and only the words that a concept, a formula or a table says. On the text of
/// the store, which should not be the one that the claim was made from, precision, recall and F1 are told with their
/// intervals, and the words where it is wrong. With --model and pairs of texts the value of the neuron after the other
/// text (the source) is put into the text (the base): a neuron that carries the concept makes the foil come before the
/// target, as after the source.
#[derive(Debug, clap::Args, Serialize)]
#[command(after_help = "\
Examples:
  nissl claim test.store '3.mlp_post[1207]' --is 'upos: NOUN' --quantile 0.9
  nissl claim test.store '3.mlp_post[1207]' --formula \"(upos=ADJ OR upos=ADV) AND NOT 'very'\"
  nissl claim test.store '3.mlp_post[1207]' --table train.store
  nissl claim test.store '3.mlp_post[1207]' --is '/^she$/i' --model MODEL --pairs pairs.jsonl
  nissl claim test.store '3.mlp_post[1207]' --is 'upos: NOUN' --model MODEL --pairs pairs.jsonl \\
    --ranking ranks/probeless.parquet --concept NOUN --top 1,10,100")]
pub(crate) struct Args {
    /// Folder of the store; - for none, where claims are tested inside the model alone
    #[serde(skip_serializing_if = "Option::is_none")]
    store: Option<PathBuf>,
    // Not a doc comment: rustdoc would take the brackets for links.
    #[arg(value_name = "NEURON", help = "The neurons, each tested by itself: '3.mlp_post[1207]'")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    neurons: Vec<NeuronId>,
    #[command(flatten)]
    claim: Claim,
    #[command(flatten)]
    #[serde(flatten)]
    fires: Fires,
    /// Words of each kind of error to show [default: 5]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    cases: Option<usize>,
    /// Draws of the sentences, or pairs, for intervals [default: 1000]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    draws: Option<usize>,
    /// Random neurons, or sets, to compare with [default: 5]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    random: Option<usize>,
    /// Seed of random neurons and draws [default: 0]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<u64>,
    /// A file for the report, JSON
    #[arg(long, short, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    out: Option<PathBuf>,
    #[command(flatten)]
    #[serde(skip)]
    one: One,
    #[command(flatten)]
    inside: Inside,
}

/// When a neuron fires.
#[derive(Debug, clap::Args, Serialize)]
pub(crate) struct Fires {
    /// What a neuron must be above to fire [default: 0]
    #[arg(long, value_name = "VALUE", allow_negative_numbers = true, conflicts_with = "quantile")]
    #[serde(skip_serializing_if = "Option::is_none")]
    theta: Option<f32>,
    /// Its own quantile instead: 0.99 is the value that a hundredth of the words are above
    #[arg(long, value_name = "Q")]
    #[serde(skip_serializing_if = "Option::is_none")]
    quantile: Option<f64>,
}

/// What is claimed.
#[derive(Debug, clap::Args, Serialize)]
#[command(next_help_heading = "The claim")]
pub(crate) struct Claim {
    /// They fire on a concept: a label (upos: NOUN), a word list ({Paris, London}), a pattern (/ing$/) or a condition
    /// (upos=NOUN & Number=Plur)
    #[arg(id = "is", long, value_name = "CONCEPT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    concept: Option<String>,
    /// They fire on a formula, as nissl explain writes them
    #[arg(long, value_name = "FORMULA", conflicts_with = "is")]
    #[serde(skip_serializing_if = "Option::is_none")]
    formula: Option<String>,
    /// They are as a table of words says: a JSON object, or a store of other text to learn it from
    #[arg(long, value_name = "PATH", conflicts_with_all = ["is", "formula"])]
    #[serde(skip_serializing_if = "Option::is_none")]
    table: Option<PathBuf>,
    /// Concepts whose labels the formula names [default: every label column]; may be given again
    #[arg(long = "by", value_name = "CONCEPT", requires = "formula")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    labels: Vec<String>,
    /// A file of these concepts, one a line or as JSON
    #[arg(long = "by-file", value_name = "FILE", requires = "formula")]
    #[serde(skip_serializing_if = "Option::is_none")]
    labels_file: Option<PathBuf>,
}

/// The test inside the model.
#[derive(Debug, clap::Args, Serialize)]
#[command(next_help_heading = "Inside the model")]
struct Inside {
    /// The recorded model: its folder, its file, or its name on the Hugging Face Hub
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    /// Pairs: prompts with a target, a foil and another text each, as for nissl patch
    #[arg(long = "pairs", value_name = "FILE", requires = "model")]
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<PathBuf>,
    /// A set of neurons beside the single ones; may be given again
    #[arg(long = "set", value_name = "NEURONS", requires = "model")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    sets: Vec<String>,
    /// A ranking whose best are sets too
    #[arg(long, value_name = "FILE", requires = "model")]
    #[serde(skip_serializing_if = "Option::is_none")]
    ranking: Option<PathBuf>,
    /// The concept of the ranking [default: its first]
    #[arg(long, value_name = "NAME", requires = "ranking")]
    #[serde(skip_serializing_if = "Option::is_none")]
    concept: Option<String>,
    /// How many of the best [default: 1,10,100]
    #[arg(long, value_delimiter = ',', value_name = "N", requires = "ranking")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    top: Vec<usize>,
    /// At which positions values are moved [default: all]
    #[arg(long = "where", value_enum, value_name = "WHERE", requires = "model")]
    #[serde(skip_serializing_if = "Option::is_none")]
    places: Option<Where>,
    #[command(flatten)]
    read: Read,
    #[command(flatten)]
    #[serde(skip_serializing_if = "Load::is_default")]
    load: Load,
}

#[derive(Clone, Copy, Debug, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
enum Where {
    /// All together
    All,
    /// Those at which the texts differ, together
    Differing,
    /// The one whose logits predict the target
    Target,
}

pub(crate) fn run(args: &Args, door: &Door) -> anyhow::Result<()> {
    let mut flags = args.one.flags(args)?;
    // The one pair belongs to the test inside the model.
    if let Some(pairs) = flags.as_object_mut().and_then(|flags| flags.remove("prompts")) {
        flags["inside"]["prompts"] = pairs;
    }
    if let Some(inside) = flags.get_mut("inside") {
        without_empty(inside);
    }
    if flags["store"] == "-" {
        flags["store"] = "".into();
    }
    let report = claim::run(&door.config_with_memory("claim", &flags)?, door.progress())?;
    door.show(&report, text)
}

fn text(report: &Report, page: &mut Page<'_>) -> io::Result<()> {
    if !report.neurons.is_empty() {
        writeln!(page.out, "{}: {}", style::head("claim"), report.claim)?;
        firing(&report.neurons, page)?;
    }
    for neuron in &report.neurons {
        let highest = neuron.spurious.iter().chain(&neuron.missed).flat_map(|passage| &passage.words);
        let largest = highest.fold(0.0, |largest: f32, word| largest.max(word.activation.abs()));
        let name = neuron::short(neuron.name);
        let n = |n: usize| thousands(n as u64);
        let missed = format!("{name} is silent on {} claimed words", n(neuron.judgement().missed));
        passages(&missed, &neuron.missed, largest, page)?;
        let spurious = format!("{name} fires on {} other words", n(neuron.judgement().spurious));
        passages(&spurious, &neuron.spurious, largest, page)?;
    }
    if let Some(found) = &report.inside {
        inside(found, page)?;
    }
    Ok(())
}

fn firing(neurons: &[NeuronReport], page: &mut Page<'_>) -> io::Result<()> {
    let mut table = Table::new(&[
        ("neuron", Align::Left),
        ("fires above", Align::Right),
        ("claimed", Align::Right),
        ("fires", Align::Right),
        ("precision", Align::Right),
        ("recall", Align::Right),
        ("F1", Align::Right),
        ("F1 of random neurons", Align::Right),
    ]);
    for report in neurons {
        let judgement = report.judgement();
        let found = &report.firing;
        table.row([
            neuron::short(report.name),
            neuron::score(report.theta),
            thousands((judgement.hits + judgement.missed) as u64),
            thousands((judgement.hits + judgement.spurious) as u64),
            shown(&found.precision),
            shown(&found.recall),
            shown(&found.f1),
            shown(&report.random),
        ]);
    }
    table.print(page.out, page.width)
}

/// A number with its interval, or a dash.
pub(crate) fn shown<'a>(interval: impl Into<Option<&'a Interval>>) -> String {
    let shown = |of: &Interval| format!("{:.3} ({:.3} to {:.3})", of.value, of.low, of.high);
    interval.into().map_or_else(|| "-".to_owned(), shown)
}

fn inside(report: &InsideReport, page: &mut Page<'_>) -> io::Result<()> {
    let n = thousands(report.pairs as u64);
    writeln!(page.out, "\n{}: {n} pairs that {} tells apart", style::head("interchange"), report.model.name)?;
    left_out(&report.prompts, page)?;
    if report.left_out > 0 {
        writeln!(page.out, "left out: {}: the model does not tell them apart", thousands(report.left_out as u64))?;
    }
    let heads = [
        ("moved", Align::Left),
        ("neurons", Align::Right),
        ("success", Align::Right),
        ("share of the way", Align::Right),
        ("success of random ones", Align::Right),
    ];
    let mut table = Table::new(&heads);
    for set in &report.sets {
        let found = &set.found;
        let random = shown(&found.random);
        let n = thousands(found.neurons as u64);
        table.row([set.name.clone(), n, shown(&found.success), shown(&found.share), random]);
    }
    table.print(page.out, page.width)
}
