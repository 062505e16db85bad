//! `nissl ablate MODEL [PROMPTS]`.

use std::io;
use std::path::PathBuf;

use clap::ValueEnum;
use nissl_tasks::tasks::ablate::{self, Curve, Joined, Report, SetReport, Whole};
use serde::Serialize;

use crate::commands::ask::{One, Read, left_out};
use crate::commands::read::Load;
use crate::door::{Door, Page};
use crate::progress::thousands;
use crate::style;
use crate::table::{Align, Table};

/// Sets in the terminal's table.
const SHOWN: usize = 40;

/// Remove sets of neurons and measure what the predictions of a model lose
#[derive(Debug, clap::Args, Serialize)]
// Not doc comments: rustdoc would take the brackets for links.
#[command(long_about = "\
Remove sets of neurons and measure what the predictions of a model lose

A set is a site and units: '3.mlp_post[42]', '3.mlp_post[1,5-9]', '0.attn_z[h3]' (a head), '5.mlp_post' (all of them), or several joined by ' + '. Every set is removed by itself. What is told: by how much the target's loss rises (with its standard error), how often the target still comes first, how often it comes before the foil, how far the prediction moves, and how often another token comes first.")]
#[command(after_help = "\
Examples:
  nissl ablate MODEL agreement.txt --set '8.mlp_post[42]' --random 20
  nissl ablate MODEL agreement.txt --layers mlp_post --heads --value mean
  nissl ablate MODEL pararel --only P36 --ranking facts/integrated-gradients.parquet --top 10,100 --random 20
  nissl ablate MODEL prompts.jsonl --clusters clusters.json --value mean --grow 5
  nissl ablate MODEL pararel --only P36 --ranking facts/integrated-gradients.parquet --steps 20 --out curve.json")]
pub(crate) struct Args {
    /// Folder or file of a model, or its name on the Hugging Face Hub
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    /// Prompts: JSONL, BLiMP, agreement pairs, professions, winobias, or a folder of ParaRel
    #[arg(value_name = "PROMPTS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<PathBuf>,
    #[command(flatten)]
    #[serde(skip)]
    one: One,
    /// A set of neurons; may be given again
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
    /// Clusters, the file of nissl cluster --out: each of several neurons is a set
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    clusters: Option<PathBuf>,
    /// The largest N of them [default: 100]
    #[arg(long, value_name = "N", requires = "clusters")]
    #[serde(skip_serializing_if = "Option::is_none")]
    most_clusters: Option<usize>,
    /// Join so many of the sets, the one that costs most first
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    grow: Option<usize>,
    /// Joined sets that are kept at each step [default: 1, a greedy search]
    #[arg(long, value_name = "N", requires = "grow")]
    #[serde(skip_serializing_if = "Option::is_none")]
    beam: Option<usize>,
    /// A ranking, the Parquet table of rank or attribute
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    ranking: Option<PathBuf>,
    /// The concept of the ranking [default: its first]
    #[arg(long, value_name = "NAME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    concept: Option<String>,
    /// Sets of so many neurons from the top of the ranking
    #[arg(long, value_delimiter = ',', value_name = "N", requires = "ranking")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    top: Vec<usize>,
    /// Steps of the erasure curve of the ranking: its top, its bottom and random parts
    #[arg(long, value_name = "N", requires = "ranking")]
    #[serde(skip_serializing_if = "Option::is_none")]
    steps: Option<usize>,
    /// Random sets of as many neurons of the same sites that each set is compared with
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    random: Option<usize>,
    #[command(flatten)]
    how: How,
    /// Prompts from which means, medians and values are taken [default: those that are asked]
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    reference: Option<PathBuf>,
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

/// What becomes of the neurons.
#[derive(Debug, clap::Args, Serialize)]
#[command(next_help_heading = "The removal")]
struct How {
    /// What becomes of a neuron [default: zero]
    #[arg(long, value_enum, value_name = "WHAT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Replacement>,
    /// What scale multiplies it with [default: 0.5]
    #[arg(long, value_name = "X")]
    #[serde(skip_serializing_if = "Option::is_none")]
    factor: Option<f32>,
    /// The concept whose prompts class-mean is of
    #[arg(long, value_name = "NAME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    class: Option<String>,
    /// How often resample draws [default: 5]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    draws: Option<usize>,
    /// Seed of all that is drawn [default: 0]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<u64>,
    /// The positions at which neurons are removed [default: all]
    #[arg(long, value_enum, value_name = "WHERE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    places: Option<Places>,
}

#[derive(Clone, Copy, Debug, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Replacement {
    /// 0
    Zero,
    /// Its mean over the reference
    Mean,
    /// Its median over the reference
    Median,
    /// What it is at a position of the reference that is drawn
    Resample,
    /// Its mean over the prompts of a concept
    ClassMean,
    /// It is multiplied with a factor
    Scale,
}

#[derive(Clone, Copy, Debug, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
enum Places {
    /// The one whose logits predict the target
    Target,
    /// All of them
    All,
}

pub(crate) fn run(args: &Args, door: &Door) -> anyhow::Result<()> {
    let flags = args.one.flags(args)?;
    let report = ablate::run(&door.config_with_memory("ablate", &flags)?, door.progress())?;
    door.show(&report, text)
}

fn text(report: &Report, page: &mut Page<'_>) -> io::Result<()> {
    let prompts = &report.prompts;
    let whole = shown(&report.whole);
    writeln!(page.out, "{}: {} prompts, {whole}", style::head(&report.model.name), thousands(prompts.used as u64))?;
    left_out(prompts, page)?;
    writeln!(page.out)?;
    if !report.sets.is_empty() {
        sets(&report.sets, page)?;
    }
    if let Some(joined) = &report.joined {
        together(joined, page)?;
    }
    report.curve.as_ref().map_or(Ok(()), |curve| steps(curve, page))
}

/// The sets that cost most together.
fn together(joined: &Joined, page: &mut Page<'_>) -> io::Result<()> {
    let mut table = Table::new(&[("sets", Align::Right), ("loss rises by", Align::Right), ("joined", Align::Left)]);
    for step in &joined.steps {
        table.row([thousands(step.names.len() as u64), format!("{:.4}", step.loss), step.names.join(" + ")]);
    }
    table.print(page.out, page.width)?;
    writeln!(page.out, "most together: {:.4} without {}\n", joined.loss, joined.names.join(" + "))
}

/// Loss, accuracy, and agreement where there are foils.
fn shown(whole: &Whole) -> String {
    let agreement = whole.agreement.map(|share| format!(", before the foil {}", percent(share))).unwrap_or_default();
    format!("loss {:.3}, first of all {}{agreement}", whole.loss.mean, percent(whole.accuracy))
}

fn percent(share: f64) -> String {
    format!("{:.1}%", 100.0 * share)
}

fn sets(sets: &[SetReport], page: &mut Page<'_>) -> io::Result<()> {
    let mut order: Vec<&SetReport> = sets.iter().collect();
    order.sort_by(|a, b| b.effect.loss.mean.total_cmp(&a.effect.loss.mean));
    let heads = [
        ("without", Align::Left),
        ("neurons", Align::Right),
        ("loss rises by", Align::Right),
        ("first of all", Align::Right),
        ("before the foil", Align::Right),
        ("moved by", Align::Right),
        ("other first", Align::Right),
        ("random sets: loss, 95% of them", Align::Left),
    ];
    let mut table = Table::new(&heads);
    for set in order.iter().take(SHOWN) {
        let effect = &set.effect;
        let random = set
            .random
            .map_or_else(String::new, |random| format!("{:.4}, {:.4} to {:.4}", random.loss, random.low, random.high));
        table.row([
            set.name.clone(),
            thousands(set.neurons as u64),
            format!("{:.4} ±{:.4}", effect.loss.mean, effect.loss.error),
            percent(effect.accuracy),
            effect.agreement.map(percent).unwrap_or_default(),
            format!("{:.4}", effect.divergence.mean),
            percent(effect.flips),
            random,
        ]);
    }
    table.print(page.out, page.width)?;
    match sets.len() {
        n if n > SHOWN => writeln!(page.out, "and {} more sets", n - SHOWN),
        _ => Ok(()),
    }
}

fn steps(curve: &Curve, page: &mut Page<'_>) -> io::Result<()> {
    let heads = [
        ("removed", Align::Right),
        ("neurons", Align::Right),
        ("loss without the top", Align::Right),
        ("the bottom", Align::Right),
        ("at random", Align::Right),
    ];
    let mut table = Table::new(&heads);
    for step in &curve.steps {
        let loss = |whole: &Whole| format!("{:.3}", whole.loss.mean);
        let neurons = thousands(step.neurons as u64);
        table.row([percent(step.share), neurons, loss(&step.top), loss(&step.bottom), loss(&step.random)]);
    }
    table.print(page.out, page.width)?;
    writeln!(page.out, "area between top and random: {:.3}", curve.area)
}
