//! `nissl probe train STORE --by CONCEPT`, `nissl probe apply PROBE STORE`.

use std::io;
use std::path::PathBuf;

use nissl_tasks::tasks::probe::{self, Applied, Report};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::commands::rank::shown;
use crate::door::{Door, Page};
use crate::progress::thousands;
use crate::style;
use crate::table::{Align, Table};

/// Neurons a concept in the terminal's table.
const SHOWN: usize = 5;

/// Fit a linear probe on a store and judge it, or apply one to another store
///
/// Rows are split by sentence into those the probe is fitted on, those by which anything is chosen, and those it is
/// reported on. Beside the accuracy stand what word types alone would reach, the accuracy on control tasks, and that of
/// fresh probes on few neurons: the best, random ones, the worst.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  nissl probe train minilm.store --by upos --out upos.probe
  nissl probe train minilm.store --by upos --path 12 --disjoint-words
  nissl probe apply upos.probe other.store --by upos --out predictions")]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    Train(Box<Train>),
    Apply(Apply),
}

/// Fit a probe and judge it
#[derive(Debug, clap::Args, Serialize)]
pub(crate) struct Train {
    /// Folder of the store
    #[serde(skip_serializing_if = "Option::is_none")]
    store: Option<PathBuf>,
    /// The concepts, as for nissl rank; may be given again
    #[arg(long = "by", value_name = "CONCEPT")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    concepts: Vec<String>,
    /// A file of concepts, one a line or as JSON
    #[arg(long = "concepts", value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    concepts_file: Option<PathBuf>,
    /// The labels are numbers, to be predicted as such
    #[arg(long)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    numeric: bool,
    /// Only these sites [default: all that are recorded]
    #[arg(long, value_delimiter = ',', value_name = "SITES")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    sites: Vec<String>,
    /// Penalty of the sizes of the weights [default: 0.001]
    #[arg(long, value_name = "X")]
    #[serde(skip_serializing_if = "Option::is_none")]
    lambda1: Option<f64>,
    /// Penalty of the squares of the weights [default: 0.001]
    #[arg(long, value_name = "X")]
    #[serde(skip_serializing_if = "Option::is_none")]
    lambda2: Option<f64>,
    /// Try so many values of lambda1 and take the one that is best on held-out rows
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<usize>,
    /// What is minimized: softmax, sigmoid or squared_hinge [default: softmax]
    #[arg(long, value_name = "LOSS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    loss: Option<String>,
    /// Every class weighs the same, however many rows it has
    #[arg(long)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    balanced: bool,
    /// Keep words apart too: no word type is in two parts of the split
    #[arg(long)]
    #[serde(skip)]
    disjoint_words: bool,
    /// Another seed is another split [default: 0]
    #[arg(long, value_name = "N")]
    #[serde(skip)]
    seed: Option<u64>,
    /// Leave out concepts with fewer rows [default: 2]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    min_count: Option<usize>,
    /// Control tasks to fit [default: 1]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    controls: Option<usize>,
    /// Numbers of best neurons to fit fresh probes on [default: 1,5,10,50,100]
    #[arg(long, value_delimiter = ',', value_name = "K")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    k: Vec<usize>,
    /// Folder for the probe and the report
    #[arg(long, short, value_name = "DIR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    out: Option<PathBuf>,
}

/// Apply a saved probe
#[derive(Debug, clap::Args, Serialize)]
pub(crate) struct Apply {
    /// Folder of the probe
    #[serde(skip_serializing_if = "Option::is_none")]
    probe: Option<PathBuf>,
    /// Folder of the store
    #[serde(skip_serializing_if = "Option::is_none")]
    store: Option<PathBuf>,
    /// Concepts to compare the predictions with; may be given again
    #[arg(long = "by", value_name = "CONCEPT")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    concepts: Vec<String>,
    /// Folder for the predictions and the report
    #[arg(long, short, value_name = "DIR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    out: Option<PathBuf>,
}

pub(crate) fn run(args: &Args, door: &Door) -> anyhow::Result<()> {
    let flags = match &args.action {
        Action::Train(train) => {
            let mut flags = serde_json::to_value(train)?;
            let mut split = Map::new();
            if let Some(seed) = train.seed {
                split.insert("seed".to_owned(), seed.into());
            }
            if train.disjoint_words {
                split.insert("disjoint_words".to_owned(), true.into());
            }
            if let (Value::Object(fields), false) = (&mut flags, split.is_empty()) {
                fields.insert("split".to_owned(), json!(split));
            }
            flags
        }
        Action::Apply(apply) => serde_json::to_value(apply)?,
    };
    let report = probe::run(&door.config_with_memory("probe", &flags)?, door.progress())?;
    door.show(&report, text)
}

fn percent(share: f64) -> String {
    format!("{:.1}%", 100.0 * share)
}

fn text(report: &Report, page: &mut Page<'_>) -> io::Result<()> {
    if let Some(applied) = &report.applied {
        return said(report, applied, page);
    }
    if let Some(regression) = &report.regression {
        let r2 = regression.r2;
        writeln!(page.out, "explained variance  {:.3} ({:.3} to {:.3})", r2.value, r2.low, r2.high)?;
    }
    if report.evaluation.is_some() {
        judged(report, page)?;
    }
    writeln!(page.out)?;
    let mut table = Table::new(&[("concept", Align::Left), ("neurons and weights, largest first", Align::Left)]);
    for top in &report.top {
        let best: Vec<String> = top.neurons.iter().take(SHOWN).map(|best| shown(best, true)).collect();
        table.row([top.name.clone(), best.join("  ")]);
    }
    table.print(page.out, page.width)?;
    files(report, page)
}

fn judged(report: &Report, page: &mut Page<'_>) -> io::Result<()> {
    let Some(evaluation) = &report.evaluation else { return Ok(()) };
    let accuracy = evaluation.accuracy;
    let [train, _, test] = evaluation.rows.map(|n| thousands(n as u64));
    writeln!(page.out, "{} on {test} rows of other sentences than the {train} fitted on", style::head("accuracy"))?;
    let interval = format!("{} to {}", percent(accuracy.low), percent(accuracy.high));
    writeln!(page.out, "  probe             {} ({interval})", percent(accuracy.value))?;
    writeln!(page.out, "  majority          {}", percent(evaluation.majority))?;
    if let Some(leakage) = evaluation.leakage {
        let known = percent(leakage.known_words);
        writeln!(
            page.out,
            "  word types alone  {} ({known} of the rows have a known word)",
            percent(leakage.lookup_accuracy)
        )?;
    }
    if let Some(control) = evaluation.control {
        let selectivity = percent(control.selectivity);
        writeln!(page.out, "  control task      {} (selectivity {selectivity})", percent(control.accuracy))?;
    }
    let total = thousands(report.neurons as u64);
    writeln!(page.out, "{} of {total} neurons have a weight", thousands(evaluation.neurons as u64))?;
    if let Some(minimal) = evaluation.minimal {
        writeln!(page.out, "{} suffice: {}", thousands(minimal.k as u64), percent(minimal.accuracy.value))?;
    }
    if let Some(gap) = evaluation.gap {
        writeln!(page.out, "objective {:.5}, at most {gap:.1e} above its minimum", evaluation.objective)?;
    }
    if !evaluation.few.is_empty() {
        writeln!(page.out)?;
        let heads = ["neurons", "best", "random", "worst", "selectivity"].map(|head| (head, Align::Right));
        let mut table = Table::new(&heads);
        for few in &evaluation.few {
            let selectivity = few.selectivity.map_or_else(String::new, percent);
            let shares = [few.best.value, few.random, few.worst].map(percent);
            table.row([thousands(few.k as u64)].into_iter().chain(shares).chain([selectivity]));
        }
        table.print(page.out, page.width)?;
    }
    Ok(())
}

fn said(report: &Report, applied: &Applied, page: &mut Page<'_>) -> io::Result<()> {
    let mut table = Table::new(&[("concept", Align::Left), ("predicted", Align::Right)]);
    for (name, &rows) in report.concepts.iter().zip(&applied.predicted) {
        table.row([name.clone(), thousands(rows as u64)]);
    }
    table.print(page.out, page.width)?;
    if let Some(accuracy) = applied.accuracy {
        let interval = format!("{} to {}", percent(accuracy.low), percent(accuracy.high));
        let labeled = thousands(applied.labeled as u64);
        writeln!(page.out, "accuracy on {labeled} labeled rows: {} ({interval})", percent(accuracy.value))?;
    }
    files(report, page)
}

fn files(report: &Report, page: &mut Page<'_>) -> io::Result<()> {
    for file in &report.files {
        writeln!(page.out, "written: {}", file.display())?;
    }
    Ok(())
}
