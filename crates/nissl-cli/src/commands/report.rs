//! `nissl report STORE --by CONCEPT`.

use std::io;
use std::path::PathBuf;

use nissl_tasks::tasks::report::{self, Report};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::commands::rank::{as_object, assignment};
use crate::door::{Door, Page};
use crate::style;
use crate::table::{Align, Table};

/// Report on the neurons of some concepts: by several methods, with what few of them tell
///
/// Ranks the neurons by each method, tells how far the methods agree and how many neurons are more than chance, fits
/// fresh probes on the first k neurons of each method and on random ones, and writes a page with all that and the best
/// neurons up close. The concepts must exclude each other: one label column, or some labels of one.
#[derive(Debug, clap::Args, Serialize)]
#[command(after_help = "\
Examples:
  nissl report minilm.store --by upos --out upos-report
  nissl report minilm.store --by 'upos: NOUN, VERB, ADJ' --sites resid_post --method probeless,lca")]
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
    /// Rankers, see `nissl methods` [default: average-precision,probeless,mean-select,linear-probe]
    #[arg(long = "method", short, value_delimiter = ',', value_name = "METHODS")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    methods: Vec<String>,
    /// A parameter of the methods, zscore=false, or of one, probeless.zscore=false; may be given again
    #[arg(long, value_name = "NAME=VALUE", value_parser = assignment)]
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "as_object")]
    set: Vec<(String, Value)>,
    /// Only these sites [default: all that are recorded]
    #[arg(long, value_delimiter = ',', value_name = "SITES")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    sites: Vec<String>,
    /// Leave out concepts with fewer rows [default: 50]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    min_count: Option<usize>,
    /// Numbers of neurons to fit fresh probes on [default: 1,3,10,30,100]
    #[arg(long, value_delimiter = ',', value_name = "K")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    k: Vec<usize>,
    /// Runs with shuffled labels, as of nissl rank
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    permutations: Option<usize>,
    /// Keep words apart too: no word type is in two parts of the split
    #[arg(long)]
    #[serde(skip)]
    disjoint_words: bool,
    /// Folder for report.html, report.json and the rankings [default: report]
    #[arg(long, short, value_name = "DIR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    out: Option<PathBuf>,
}

pub(crate) fn run(args: &Args, door: &Door) -> anyhow::Result<()> {
    let mut flags = serde_json::to_value(args)?;
    if let (Value::Object(fields), true) = (&mut flags, args.disjoint_words) {
        fields.insert("split".to_owned(), json!(Map::from_iter([("disjoint_words".to_owned(), Value::from(true))])));
    }
    let report = report::run(&door.config_with_memory("report", &flags)?, door.progress())?;
    door.show(&report, text)
}

fn text(report: &Report, page: &mut Page<'_>) -> io::Result<()> {
    let percent = |share: f64| format!("{:.1}%", 100.0 * share);
    let judged = &report.judged;
    writeln!(
        page.out,
        "{}: accuracy {} with all neurons, {} by the most frequent concept",
        style::head("few neurons"),
        percent(judged.all.value),
        percent(judged.majority)
    )?;
    let sizes = judged.orders.first().map_or(&[][..], Vec::as_slice);
    let heads = std::iter::once(("first neurons of".to_owned(), Align::Left));
    let heads: Vec<(String, Align)> = heads.chain(sizes.iter().map(|f| (f.k.to_string(), Align::Right))).collect();
    let mut table = Table::new(&heads);
    for (method, order) in report.methods.iter().zip(&judged.orders) {
        let cells = order.iter().map(|first| percent(first.accuracy.value));
        table.row(std::iter::once(method.name.clone()).chain(cells));
    }
    if judged.random.len() == sizes.len() {
        let cells = judged.random.iter().map(|random| percent(random.mean));
        table.row(std::iter::once("random".to_owned()).chain(cells));
    }
    table.print(page.out, page.width)?;
    writeln!(page.out)?;
    let heads = std::iter::once((format!("share of the {} best", report.head.config.top), Align::Left));
    let names = report.methods.iter().map(|method| (method.name.clone(), Align::Right));
    let mut table = Table::new(&heads.chain(names).collect::<Vec<_>>());
    for (method, shares) in report.methods.iter().zip(&report.agreement) {
        table.row(std::iter::once(method.name.clone()).chain(shares.iter().map(|&share| percent(share))));
    }
    table.print(page.out, page.width)?;
    for failure in &report.failed {
        writeln!(page.out, "failed: {}: {}", failure.name, failure.error)?;
    }
    writeln!(page.out, "page: {}", report.page.display())
}
