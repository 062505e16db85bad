//! `nissl bench methods`.

use std::io;
use std::path::PathBuf;

use nissl_tasks::tasks::bench_methods::{self, MethodReport, Report};
use serde::Serialize;
use serde_json::Value;

use crate::commands::evaluate::{Judging, accuracies, unjudged};
use crate::commands::rank::{as_object, assignment};
use crate::door::{Door, Page};
use crate::style;
use crate::table::{Align, Table};

/// Run methods on a store side by side: cost, accuracy, agreement, consistency
///
/// Every method ranks one part of the store's sentences; on the others fresh classifiers are fitted on its best, worst and
/// random neurons, beside control tasks. How much its best neurons are those of the other methods is told, and how much its
/// rankings of samples that share no sentence, or with other seeds, have in common. A method that ranks for all concepts at
/// once ranks for each by itself here.
#[derive(Debug, clap::Args, Serialize)]
#[command(after_help = "\
Examples:
  nissl bench methods minilm.store --by upos --disjoint-words --out methods --plots
  nissl bench methods my.store --by 'tense: past, present' --method probeless,lca --samples 5 --seeds 1")]
pub(crate) struct Args {
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
    /// Rankers, see `nissl methods` [default: all]
    #[arg(long = "method", short, value_delimiter = ',', value_name = "METHODS")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    methods: Vec<String>,
    /// A parameter of the methods, min_count=5, or of one, lca.stride=10; may be given again
    #[arg(long, value_name = "NAME=VALUE", value_parser = assignment)]
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "as_object")]
    set: Vec<(String, Value)>,
    /// Only these sites [default: all that are recorded]
    #[arg(long, value_delimiter = ',', value_name = "SITES")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    sites: Vec<String>,
    /// Share of the rows to rank on; the others are to judge on [default: 0.5]
    #[arg(long, value_name = "SHARE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    share: Option<f64>,
    /// Samples of the rows to rank on that are ranked by themselves too; 0 for none [default: 3]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    samples: Option<usize>,
    /// Seeds that methods with one rank with; 1 for their own alone [default: 3]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    seeds: Option<usize>,
    #[command(flatten)]
    judging: Judging,
    /// Folder for the report, its page and the rankings
    #[arg(long, short, value_name = "DIR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    out: Option<PathBuf>,
    /// Write the figures of the page too, each as SVG and as PNG
    #[arg(long)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    plots: bool,
}

pub(crate) fn run(args: &Args, door: &Door) -> anyhow::Result<()> {
    let mut config: bench_methods::Config = door.config_with_memory("bench-methods", args)?;
    args.judging.lay_over(&mut config.judging);
    // They are judged both ways.
    config.disjoint_words |= args.judging.disjoint_words;
    door.show(&bench_methods::run(&config, door.progress())?, text)
}

fn text(report: &Report, page: &mut Page<'_>) -> io::Result<()> {
    let [to_rank, to_judge] = report.rows;
    writeln!(page.out, "ranked on {to_rank} rows, judged on {to_judge} of other sentences\n")?;
    writeln!(page.out, "{}", style::head("cost, and overlap with itself on other sentences and with other seeds"))?;
    let heads = ["seconds", "MB", "above random", "samples", "seeds"].map(|head| (head, Align::Right));
    let mut table = Table::new(&[&[("method", Align::Left)], &heads[..]].concat());
    let shown = |of: Option<String>| of.unwrap_or_default();
    for MethodReport { name, cost, area, samples, seeds, .. } in &report.methods {
        table.row([
            name.clone(),
            format!("{:.2}", cost.seconds),
            shown(cost.peak.map(|bytes| (bytes >> 20).to_string())),
            area.to_string(),
            shown(samples.map(|of| of.to_string())),
            shown(seeds.map(|of| of.to_string())),
        ]);
    }
    let random = shown(report.random_samples.map(|random| format!("{random:.2}")));
    table.row(["random order", "", "", "", random.as_str(), ""]);
    table.print(page.out, page.width)?;
    writeln!(page.out)?;
    accuracies(&report.judged, page)?;
    if let Some(disjoint) = &report.disjoint {
        writeln!(page.out, "\nno word type both in rows to fit on and in rows to report on:")?;
        accuracies(disjoint, page)?;
    }
    for failure in &report.failed {
        writeln!(page.out, "failed: {}: {}", failure.name, failure.error)?;
    }
    unjudged(&report.judged, &report.files, page)
}
