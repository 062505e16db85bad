//! `nissl patch MODEL [PROMPTS]`.

use std::io;
use std::path::PathBuf;

use clap::ValueEnum;
use nissl_tasks::tasks::patch::{self, PlaceReport, Report, SetReport};
use serde::Serialize;

use crate::commands::ask::{One, Read, left_out};
use crate::commands::read::Load;
use crate::door::{Door, Page};
use crate::progress::thousands;
use crate::style;
use crate::table::{Align, Table};

/// Sets in the terminal's table.
const SHOWN: usize = 40;

/// Move activations from another text and measure what that does to predictions
#[derive(Debug, clap::Args, Serialize)]
// Not doc comments: rustdoc would take the brackets for links.
#[command(long_about = "\
Move activations from another text and measure what that does to predictions

Every prompt has another text of as many tokens. What is told is by how much the metric changes if some neurons are as they are after the other text, as a share of the whole change from one text to the other: 1 means that the neurons carry all of it. A set is a site and units: '3.mlp_post[42]', '0.attn_z[h3]' (a head), '5.mlp_post' (all of them), or several joined by ' + '.")]
#[command(after_help = "\
Examples:
  nissl patch MODEL --prompt 'The capital of France is' --other 'The capital of Italy is' --target Paris
  nissl patch MODEL professions.json --heads --where differing --metric difference
  nissl patch MODEL prompts.jsonl --units 8.mlp_post --where target --out patch.json")]
pub(crate) struct Args {
    /// Folder or file of a model, or its name on the Hugging Face Hub
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    /// Prompts with another text each: JSONL, professions, winobias
    #[arg(value_name = "PROMPTS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<PathBuf>,
    #[command(flatten)]
    #[serde(skip)]
    one: One,
    /// A set of neurons; may be given again [default: every layer of the residual stream]
    #[arg(long = "set", short, value_name = "NEURONS")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    sets: Vec<String>,
    /// Every layer of these sites is a set
    #[arg(long, value_delimiter = ',', value_name = "SITES")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    layers: Vec<String>,
    /// Every attention head is a set
    #[arg(long)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    heads: bool,
    /// Every neuron of these sites is a set
    #[arg(long, value_delimiter = ',', value_name = "SITES")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    units: Vec<String>,
    /// What is measured of the target [default: log-prob]
    #[arg(long, value_enum, value_name = "WHAT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    metric: Option<Metric>,
    /// At which positions activations are moved [default: each]
    #[arg(long = "where", value_enum, value_name = "WHERE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    places: Option<Where>,
    #[command(flatten)]
    read: Read,
    /// A file for the report, JSON
    #[arg(long, short, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    out: Option<PathBuf>,
    #[command(flatten)]
    #[serde(skip_serializing_if = "Load::is_default")]
    load: Load,
}

#[derive(Clone, Copy, Debug, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
enum Metric {
    /// Its probability
    Probability,
    /// Its log-probability
    LogProb,
    /// Its logit
    Logit,
    /// How much its logit is above that of the foil
    Difference,
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
    /// Each by itself
    Each,
}

pub(crate) fn run(args: &Args, door: &Door) -> anyhow::Result<()> {
    let flags = args.one.flags(args)?;
    let report = patch::run(&door.config_with_memory("patch", &flags)?, door.progress())?;
    door.show(&report, text)
}

fn text(report: &Report, page: &mut Page<'_>) -> io::Result<()> {
    let (own, other) = (report.own.mean, report.other.mean);
    let n = thousands(report.prompts.used as u64);
    writeln!(
        page.out,
        "{}: {n} prompts, {own:.4} and with the other text {other:.4}",
        style::head(&report.model.name)
    )?;
    left_out(&report.prompts, page)?;
    writeln!(page.out)?;
    let several = report.sets.iter().any(|set| set.places.len() > 1);
    if several { by_position(report, page) } else { by_set(report, page) }
}

fn percent(place: &PlaceReport) -> String {
    place.share.map_or_else(|| "-".to_owned(), |share| format!("{:.1}%", 100.0 * share))
}

fn size(set: &SetReport) -> f64 {
    set.places.iter().map(|place| place.change.mean.abs()).fold(0.0, f64::max)
}

/// The sets that do most, as they come where there are few.
fn shown(report: &Report) -> Vec<&SetReport> {
    let mut sets: Vec<&SetReport> = report.sets.iter().collect();
    if sets.len() > SHOWN {
        sets.sort_by(|a, b| size(b).total_cmp(&size(a)));
        sets.truncate(SHOWN);
    }
    sets
}

fn by_set(report: &Report, page: &mut Page<'_>) -> io::Result<()> {
    let heads = [
        ("moved", Align::Left),
        ("neurons", Align::Right),
        ("changes it by", Align::Right),
        ("of the whole", Align::Right),
    ];
    let mut table = Table::new(&heads);
    for set in shown(report) {
        for place in &set.places {
            let change = format!("{:.4} ±{:.4}", place.change.mean, place.change.error);
            table.row([set.name.clone(), thousands(set.neurons as u64), change, percent(place)]);
        }
    }
    table.print(page.out, page.width)?;
    more(report, page)
}

/// A line a set, with its share at every position.
fn by_position(report: &Report, page: &mut Page<'_>) -> io::Result<()> {
    let mut table = Table::new(&[("moved", Align::Left), ("of the whole, by position from the end", Align::Left)]);
    for set in shown(report) {
        let place = |place: &PlaceReport| format!("{}: {}", place.position.unwrap_or_default(), percent(place));
        table.row([set.name.clone(), set.places.iter().map(place).collect::<Vec<_>>().join("  ")]);
    }
    table.print(page.out, page.width)?;
    more(report, page)
}

fn more(report: &Report, page: &mut Page<'_>) -> io::Result<()> {
    match report.sets.len() {
        n if n > SHOWN => writeln!(page.out, "and {} more sets", n - SHOWN),
        _ => Ok(()),
    }
}
