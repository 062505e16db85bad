//! `nissl bench`, and `nissl bench truth`.

use std::io;
use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};
use nissl_tasks::tasks::bench::{self, CausalReport, Report};
use serde::Serialize;
use serde_json::Value;

use crate::commands::bench_methods;
use crate::commands::rank::{as_object, assignment};
use crate::door::{Door, Page};
use crate::style;
use crate::table::{Align, Table};

/// Judge the methods: where the answer is known, or side by side on data of your own
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  nissl bench truth --quick
  nissl bench truth --method probeless,lca --axis signal,copies --seeds 20 --out truth
  nissl bench methods minilm.store --by upos --disjoint-words --out methods --plots")]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) what: What,
}

/// Where they are judged.
#[derive(Debug, Subcommand)]
pub(crate) enum What {
    Truth(Truth),
    Methods(bench_methods::Args),
}

/// Run all methods where the answer is known, and say how much of it each finds
///
/// Planted: neurons are planted that carry concepts (focused ones, copies, polysemous ones, switches, distributed ones),
/// that carry what goes along with them, and that carry none (position, frequency, noise of several kinds). How many of the
/// first k of a ranking carry the concept is told over strength of the signal, share of the rows, number of concepts,
/// copies, rows, and correlation with what goes along.
///
/// Causal: in transformers whose weights are written by hand some neurons hold facts, and copies of them are as active and do
/// nothing. How often a method, which may run the model here, puts the former first is told.
#[derive(Debug, clap::Args, Serialize)]
pub(crate) struct Truth {
    /// Less of everything: about a minute on two cores
    #[arg(long)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    quick: bool,
    /// What is known: of which activations neurons carry concepts, or which neurons of a model act [default: both]
    #[arg(long = "level", value_enum, value_delimiter = ',', value_name = "LEVELS")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    levels: Vec<Level>,
    /// Rankers, and attributors on the causal level, see `nissl methods` [default: all]
    #[arg(long = "method", short, value_delimiter = ',', value_name = "METHODS")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    methods: Vec<String>,
    /// A parameter of the methods, steps=20, or of one, lca.stride=10; may be given again
    #[arg(long, value_name = "NAME=VALUE", value_parser = assignment)]
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "as_object")]
    set: Vec<(String, Value)>,
    /// Kinds of difficulty: signal, share, concepts, copies, rows, confound [default: all]
    #[arg(long = "axis", value_delimiter = ',', value_name = "AXES")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    axes: Vec<String>,
    /// Draws of the planted neurons [default: 10; with --quick 3]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    seeds: Option<usize>,
    /// First of the seeds [default: 0]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<u64>,
    /// Folder for the report: truth.json, truth.html, truth.md, truth.svg
    #[arg(long, short, value_name = "DIR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    out: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
enum Level {
    /// Planted activations
    Planted,
    /// Compiled models
    Causal,
}

pub(crate) fn run(args: &Truth, door: &Door) -> anyhow::Result<()> {
    let report = bench::run(&door.config_with_memory("bench", args)?, door.progress())?;
    door.show(&report, text)
}

/// Which neurons of compiled models each method takes for those that act.
fn acting(causal: &CausalReport, page: &mut Page<'_>) -> io::Result<()> {
    writeln!(
        page.out,
        "{}",
        style::head("neurons that hold a fact: before copies that do nothing, and precision at k")
    )?;
    let heads = ["before", "copies"].into_iter().chain(causal.mechanisms.iter().map(|of| of.name()));
    let heads: Vec<(&str, Align)> =
        std::iter::once(("", Align::Left)).chain(heads.map(|head| (head, Align::Right))).collect();
    let mut table = Table::new(&heads);
    for method in &causal.methods {
        let found = [method.before, method.copies].into_iter().chain(method.precision.iter().copied());
        let shown = found.map(|at| at.map_or_else(|| "failed".to_owned(), |at| at.to_string()));
        table.row(std::iter::once(method.name.clone()).chain(shown));
    }
    table.print(page.out, page.width)?;
    writeln!(page.out)
}

fn text(report: &Report, page: &mut Page<'_>) -> io::Result<()> {
    for axis in &report.axes {
        writeln!(page.out, "{}: precision at k", style::head(&format!("by {}", axis.what)))?;
        let values = axis.points.iter().map(|point| (point.value.to_string(), Align::Right));
        let heads: Vec<(String, Align)> = std::iter::once((String::new(), Align::Left)).chain(values).collect();
        let mut table = Table::new(&heads);
        for (idx, name) in report.methods.iter().enumerate() {
            let shown = |point: &bench::PointReport| match point.precision[idx] {
                Some(at) => at.to_string(),
                None => "failed".to_owned(),
            };
            table.row(std::iter::once(name.clone()).chain(axis.points.iter().map(shown)));
        }
        let chance = axis.points.iter().map(|point| format!("{:.2}", point.chance));
        table.row(std::iter::once("random order".to_owned()).chain(chance));
        table.print(page.out, page.width)?;
        writeln!(page.out)?;
    }
    if let Some(causal) = &report.causal {
        acting(causal, page)?;
    }
    for failure in report.failed.iter().chain(report.causal.iter().flat_map(|causal| &causal.failed)) {
        writeln!(page.out, "failed: {}: {}", failure.name, failure.error)?;
    }
    if let Some(out) = &report.head.config.out {
        writeln!(page.out, "pages: {}", out.join("truth.html").display())?;
    }
    Ok(())
}
