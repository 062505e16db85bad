//! `nissl compare STORE OTHER...`.

use std::io;
use std::path::PathBuf;

use clap::ValueEnum;
use nissl_tasks::tasks::compare::{self, OtherReport, Report, Whole};
use serde::Serialize;

use crate::commands::rank::shown;
use crate::door::{Door, Page};
use crate::neuron;
use crate::progress::thousands;
use crate::style;
use crate::table::{Align, Table};

/// Neurons and pairs in the terminal.
const SHOWN: usize = 5;

/// Find the neurons of a model again in other models, and how like their layers are
///
/// All stores have the same words as rows: the same text, read by other models, other seeds, a fine-tuned copy; models
/// with other tokenizers too. A neuron is universal if its highest correlation exceeds by the threshold what a random
/// rotation of the other model's layers would give.
#[derive(Debug, clap::Args, Serialize)]
#[command(after_help = "\
Examples:
  nissl compare seed1.store seed2.store seed3.store --sites mlp_post
  nissl compare base.store finetuned.store --words --out shared --top 50
  nissl compare minilm.store mpnet.store --baseline none --json")]
pub(crate) struct Args {
    /// Folder of the store whose neurons are looked for
    #[serde(skip_serializing_if = "Option::is_none")]
    store: Option<PathBuf>,
    /// Folders of the stores in which they are looked for
    #[arg(value_name = "OTHER")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    others: Vec<PathBuf>,
    /// Only these sites [default: all that are recorded]
    #[arg(long, value_delimiter = ',', value_name = "SITES")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    sites: Vec<String>,
    /// With what the highest correlations are compared [default: rotation]
    #[arg(long, value_enum, value_name = "WHAT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    baseline: Option<Baseline>,
    /// Seed of the random matrices [default: 0]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<u64>,
    /// Excess correlation above which a neuron is called universal [default: 0.5]
    #[arg(long, value_name = "EXCESS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    threshold: Option<f64>,
    /// Also compare layers as a whole: LinReg, SVCCA, PWCCA, RBF CKA
    #[arg(long)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    whole: bool,
    /// Also tell which words each neuron wins in one store and in the other: of a model and its fine-tuning
    #[arg(long)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    words: bool,
    /// Folder for the ranking of all neurons, a Parquet table, and the report
    #[arg(long, short, value_name = "DIR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    out: Option<PathBuf>,
    /// Best neurons in the report [default: 10]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    top: Option<usize>,
}

#[derive(Clone, Copy, Debug, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
enum Baseline {
    /// Nothing
    None,
    /// The other model's layers after a random rotation
    Rotation,
    /// The other model's layers times a Gaussian matrix, as published
    Gaussian,
}

pub(crate) fn run(args: &Args, door: &Door) -> anyhow::Result<()> {
    let report = compare::run(&door.config_with_memory("compare", args)?, door.progress())?;
    door.show(&report, text)
}

fn text(report: &Report, page: &mut Page<'_>) -> io::Result<()> {
    for other in &report.others {
        likeness(other, page)?;
    }
    let mut table = Table::new(&[
        ("layer", Align::Left),
        ("neurons", Align::Right),
        ("mean max-corr", Align::Right),
        ("universal", Align::Right),
    ]);
    for layer in &report.layers {
        let universal = layer.universal.map_or("-".to_owned(), |n| {
            format!("{} ({:.1}%)", thousands(n as u64), 100.0 * n as f64 / layer.neurons as f64)
        });
        table.row([
            neuron::point(layer.name),
            thousands(layer.neurons as u64),
            format!("{:.3}", layer.max_corr),
            universal,
        ]);
    }
    table.print(page.out, page.width)?;
    writeln!(page.out)?;
    for ranked in &report.rankings {
        let best: Vec<String> = ranked.top.iter().take(SHOWN).map(|best| shown(best, false)).collect();
        writeln!(page.out, "{}: {}", style::head(&ranked.name), best.join("  "))?;
    }
    if let Some(file) = &report.file {
        writeln!(page.out, "all of them: {}", file.display())?;
    }
    Ok(())
}

/// How like the layers of another store are: the best for each.
fn likeness(other: &OtherReport, page: &mut Page<'_>) -> io::Result<()> {
    writeln!(
        page.out,
        "{}: mean correlation with the best partner {:.3}",
        style::head(&other.store.path.display().to_string()),
        other.max_corr
    )?;
    let mut table = Table::new(&[
        ("layer", Align::Left),
        ("most like, neuron by neuron", Align::Left),
        ("as a whole (CKA)", Align::Left),
    ]);
    let mut own: Vec<_> = other.layers.iter().map(|pair| pair.own).collect();
    own.dedup();
    for point in own {
        let pairs = || other.layers.iter().filter(|pair| pair.own == point);
        let by_neuron = pairs().max_by(|a, b| a.max_corr.total_cmp(&b.max_corr));
        let as_a_whole = pairs().filter_map(|pair| Some((pair.other, pair.cka?))).max_by(|a, b| a.1.total_cmp(&b.1));
        table.row([
            neuron::point(point),
            by_neuron.map_or(String::new(), |pair| format!("{} {:.3}", neuron::point(pair.other), pair.max_corr)),
            as_a_whole.map_or("-".to_owned(), |(other, cka)| format!("{} {cka:.3}", neuron::point(other))),
        ]);
    }
    table.print(page.out, page.width)?;
    if !other.wholes.is_empty() {
        wholes(other, page)?;
    }
    if let Some(words) = &other.words {
        writeln!(
            page.out,
            "neurons that win words in both: {} (mean distance {:.3}), here alone: {}, there alone: {}",
            words.shared, words.distance, words.only_own, words.only_other
        )?;
        for moved in words.moved.iter().take(SHOWN) {
            let (name, own, there) = (neuron::short(moved.name), &moved.own_word, &moved.other_word);
            writeln!(
                page.out,
                "{name} {:.3}: {own} and {} more, there {there} and {} more",
                moved.distance,
                moved.own - 1,
                moved.other - 1
            )?;
        }
    }
    for pair in other.pairs.iter().take(SHOWN) {
        writeln!(page.out, "{} ~ {} {:+.3}", neuron::short(pair.name), neuron::short(pair.partner), pair.correlation)?;
    }
    writeln!(page.out)
}

/// The most like layer by each measure of layers as a whole.
fn wholes(other: &OtherReport, page: &mut Page<'_>) -> io::Result<()> {
    let heads = ["layer", "LinReg", "SVCCA", "PWCCA", "RBF CKA"].map(|head| (head, Align::Left));
    let mut table = Table::new(&heads);
    let mut own: Vec<_> = other.wholes.iter().map(|pair| pair.own).collect();
    own.dedup();
    for point in own {
        let best = |of: fn(&Whole) -> Option<f64>| {
            let pairs = other.wholes.iter().filter(|pair| pair.own == point);
            let best = pairs.filter_map(|pair| Some((pair.other, of(pair)?))).max_by(|a, b| a.1.total_cmp(&b.1));
            best.map_or_else(|| "-".to_owned(), |(other, value)| format!("{} {value:.3}", neuron::point(other)))
        };
        table.row([
            neuron::point(point),
            best(|pair| Some(pair.linreg)),
            best(|pair| Some(pair.svcca)),
            best(|pair| Some(pair.pwcca)),
            best(|pair| pair.rbf_cka),
        ]);
    }
    table.print(page.out, page.width)
}
