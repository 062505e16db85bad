//! `nissl cluster STORE`.

use std::io;
use std::path::PathBuf;

use clap::ValueEnum;
use nissl_tasks::tasks::cluster::{self, Report};
use serde::Serialize;

use crate::door::{Door, Page};
use crate::neuron;
use crate::progress::thousands;
use crate::style;
use crate::table::{Align, Table};

/// Members of a cluster in the terminal.
const SHOWN: usize = 6;

/// Group the neurons of a store that say the same
///
/// The distance of two neurons is 1 less the size of their correlation. What is left if one neuron stands for each
/// cluster is how little redundant a model is.
#[derive(Debug, clap::Args, Serialize)]
#[command(after_help = "\
Examples:
  nissl cluster minilm.store --sites resid_post --threshold 0.3
  nissl cluster minilm.store --sites mlp_post -k 81 --out clusters.json
  nissl cluster minilm.store --linkage complete --memory 2GB --out clusters.json")]
pub(crate) struct Args {
    /// Folder of the store
    #[serde(skip_serializing_if = "Option::is_none")]
    store: Option<PathBuf>,
    /// Only these sites [default: all that are recorded]
    #[arg(long, value_delimiter = ',', value_name = "SITES")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    sites: Vec<String>,
    /// Distance up to which groups are joined [default: 0.5]
    #[arg(long, value_name = "DISTANCE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    threshold: Option<f64>,
    /// Keep neurons of opposite sign apart
    #[arg(long)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    signed: bool,
    /// How far apart two groups are [default: average]
    #[arg(long, value_enum, value_name = "HOW")]
    #[serde(skip_serializing_if = "Option::is_none")]
    linkage: Option<Linkage>,
    /// So many clusters by k-means instead, of standardized activations
    #[arg(short, long, value_name = "K", conflicts_with_all = ["threshold", "signed", "linkage"])]
    #[serde(skip_serializing_if = "Option::is_none")]
    k: Option<usize>,
    /// Beginnings of k-means [default: 10]
    #[arg(long, value_name = "N", requires = "k")]
    #[serde(skip_serializing_if = "Option::is_none")]
    restarts: Option<usize>,
    /// Seed of k-means [default: 0]
    #[arg(long, value_name = "N", requires = "k")]
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<u64>,
    /// Largest clusters in the report [default: 10]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    top: Option<usize>,
    /// A file for all clusters, their representatives and the tree of joins, as JSON
    #[arg(long, short, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    out: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
enum Linkage {
    /// By the mean distance of their members
    Average,
    /// By the largest
    Complete,
    /// By the smallest
    Single,
}

pub(crate) fn run(args: &Args, door: &Door) -> anyhow::Result<()> {
    let report = cluster::run(&door.config_with_memory("cluster", args)?, door.progress())?;
    door.show(&report, text)
}

fn text(report: &Report, page: &mut Page<'_>) -> io::Result<()> {
    let count = |n: usize| thousands(n as u64);
    writeln!(
        page.out,
        "{} neurons in {} clusters: {:.1}% say something of their own, {} are alone",
        style::head(&count(report.neurons)),
        count(report.clusters),
        100.0 * report.clusters as f64 / report.neurons.max(1) as f64,
        count(report.alone)
    )?;
    if let Some(inertia) = report.inertia {
        writeln!(page.out, "inertia {inertia:.1}")?;
    }
    let windows: Vec<String> =
        report.windows.iter().map(|window| format!("{}: {}", window.layers, count(window.clusters))).collect();
    if !windows.is_empty() {
        writeln!(page.out, "clusters of several neurons by the layers they reach over: {}\n", windows.join(", "))?;
    }
    let heads = [("neuron that stands for it", Align::Left), ("neurons", Align::Right), ("members", Align::Left)];
    let mut table = Table::new(&heads);
    for cluster in &report.largest {
        let members: Vec<String> = cluster.members.iter().take(SHOWN).map(|&member| neuron::short(member)).collect();
        let more = if cluster.members.len() > SHOWN { " ..." } else { "" };
        table.row([neuron::short(cluster.name), count(cluster.members.len()), format!("{}{more}", members.join("  "))]);
    }
    table.print(page.out, page.width)
}
