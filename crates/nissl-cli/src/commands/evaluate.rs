//! `nissl evaluate STORE RANKING...`.

use std::io;
use std::path::PathBuf;

use clap::ValueEnum;
use nissl_tasks::tasks::evaluate::{self, RankingReport, Report, SideBySide};
use serde::Serialize;

use crate::commands::ablate::Replacement;
use crate::commands::read::Load;
use crate::door::{Door, Page};
use crate::style;
use crate::table::{Align, Table};

/// Numbers of neurons in the terminal's table.
const SHOWN: usize = 4;

/// Judge rankings side by side: what few of their neurons tell, what they have in common
///
/// For every concept a fresh classifier is fitted on the best, the worst and random neurons, rows split by sentence;
/// accuracies are balanced, so that 50% is what knows nothing. Rankings should be judged on a store of other text than
/// they were made on; the report says where they are not. With --model the best neurons are removed inside the recorded
/// model too, while it predicts words with the concept and others from the text around them: what a classifier finds
/// need not be what the model uses.
#[derive(Debug, clap::Args, Serialize)]
#[command(after_help = "\
Examples:
  nissl evaluate test.store ranks/probeless.parquet ranks/average-precision.parquet --by upos
  nissl evaluate test.store ranks/*.parquet --by upos --disjoint-words --out judged --plots
  nissl evaluate test.store ranks/*.parquet --by upos --model MODEL --remove 10,50 --value mean
  nissl evaluate test.store ranks/*.parquet --by upos --description 10 --json")]
pub(crate) struct Args {
    /// Folder of the store to judge on
    #[serde(skip_serializing_if = "Option::is_none")]
    store: Option<PathBuf>,
    /// Tables of rankings, as nissl rank writes them
    #[arg(value_name = "RANKING")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    rankings: Vec<PathBuf>,
    /// The concepts, as for nissl rank; may be given again
    #[arg(long = "by", value_name = "CONCEPT")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    concepts: Vec<String>,
    /// A file of concepts, one a line or as JSON
    #[arg(long = "concepts", value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    concepts_file: Option<PathBuf>,
    #[command(flatten)]
    judging: Judging,
    /// Folder for the report and its page
    #[arg(long, short, value_name = "DIR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    out: Option<PathBuf>,
    /// Write the figures of the page too, each as SVG and as PNG
    #[arg(long)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    plots: bool,
    #[command(flatten)]
    inside: Inside,
}

/// How rankings are judged.
#[derive(Debug, clap::Args, Serialize)]
pub(super) struct Judging {
    /// Numbers of neurons [default: 1,2,5,10,30,50,70,100]
    #[arg(long, value_delimiter = ',', value_name = "N")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    k: Vec<usize>,
    /// Random lists of neurons to compare with [default: 5]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    random_sets: Option<usize>,
    /// No word type both in rows to fit on and in rows to report on
    #[arg(long)]
    #[serde(skip)]
    pub(super) disjoint_words: bool,
    /// Fit no control task
    #[arg(long)]
    #[serde(skip)]
    no_control: bool,
    /// Draws of the sentences for intervals [default: 1000]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    draws: Option<usize>,
    /// Best neurons of a ranking that get points in the vote [default: 100]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    depth: Option<usize>,
    /// What two sets have in common [default: jaccard]
    #[arg(long, value_enum, value_name = "WHAT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    overlap: Option<Overlap>,
    /// Measure the description length of the labels by so many best neurons
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<usize>,
    /// Seed of the split, the random lists, the control tasks and the draws [default: 0]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<u64>,
}

impl Judging {
    /// What is said in words other than the config's.
    pub(super) fn lay_over(&self, judging: &mut evaluate::Judging) {
        judging.control &= !self.no_control;
        if let Some(seed) = self.seed {
            judging.split.seed = seed;
        }
    }
}

/// What is removed inside the model.
#[derive(Debug, clap::Args, Serialize)]
#[command(next_help_heading = "Inside the model")]
struct Inside {
    /// The recorded model: its folder, its file, or its name on the Hugging Face Hub
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    /// Words with a concept that it is to predict, and as many without [default: 30]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    words: Option<usize>,
    /// Numbers of neurons that are removed [default: 10,50]
    #[arg(long, value_delimiter = ',', value_name = "N")]
    #[serde(rename = "k", skip_serializing_if = "Vec::is_empty")]
    remove: Vec<usize>,
    #[command(flatten)]
    how: How,
    #[command(flatten)]
    #[serde(skip_serializing_if = "Load::is_default")]
    load: Load,
}

/// What becomes of removed neurons.
#[derive(Debug, clap::Args, Serialize)]
struct How {
    /// What becomes of a neuron [default: zero]
    #[arg(long, value_enum, value_name = "WHAT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Replacement>,
}

#[derive(Clone, Copy, Debug, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
enum Overlap {
    /// Shared neurons over all neurons of both
    Jaccard,
    /// Shared neurons over the mean number of both
    Dice,
    /// Shared neurons over the smaller number of both
    Coefficient,
}

pub(crate) fn run(args: &Args, door: &Door) -> anyhow::Result<()> {
    let mut config: evaluate::Config = door.config_with_memory("evaluate", args)?;
    args.judging.lay_over(&mut config.judging);
    config.judging.split.disjoint_words |= args.judging.disjoint_words;
    let report = evaluate::run(&config, door.progress())?;
    door.show(&report, text)
}

pub(super) fn percent(share: f64) -> String {
    format!("{:.1}%", 100.0 * share)
}

/// The places of the numbers of neurons that are shown: the first, the last, and some between.
fn places(n: usize) -> Vec<usize> {
    let shown = n.min(SHOWN);
    (0..shown).map(|i| if shown > 1 { i * (n - 1) / (shown - 1) } else { 0 }).collect()
}

fn text(report: &Report, page: &mut Page<'_>) -> io::Result<()> {
    let judged = &report.judged;
    accuracies(judged, page)?;
    inside(judged, page)?;
    if judged.rankings.iter().any(|ranking| ranking.same_text) {
        writeln!(page.out, "rankings marked * were made on this very text: their accuracies flatter them")?;
    }
    unjudged(judged, &report.files, page)
}

/// What could not be judged, and what was written.
pub(super) fn unjudged(report: &SideBySide, files: &[PathBuf], page: &mut Page<'_>) -> io::Result<()> {
    for left in &report.left_out {
        writeln!(page.out, "left out: {} ({})", left.name, left.why)?;
    }
    for file in files {
        writeln!(page.out, "written: {}", file.display())?;
    }
    Ok(())
}

/// What few neurons tell, and what the rankings have in common.
pub(super) fn accuracies(report: &SideBySide, page: &mut Page<'_>) -> io::Result<()> {
    let places = places(report.k.len());
    let of_k: Vec<String> = places.iter().map(|&place| format!("best {}", report.k[place])).collect();
    let last = *report.k.last().unwrap_or(&0);
    let (worst, selective) = (format!("worst {last}"), format!("selectivity {last}"));
    let mut heads = vec![("ranking", Align::Left)];
    heads.extend(of_k.iter().map(|head| (head.as_str(), Align::Right)));
    heads.extend([(worst.as_str(), Align::Right), (selective.as_str(), Align::Right)]);
    let several = report.rankings.len() > 1;
    if several {
        heads.extend([("overlap", Align::Right), ("vote", Align::Right)]);
    }
    let compressed = report.rankings.iter().any(|ranking| ranking.compression.is_some());
    if compressed {
        heads.push(("compression", Align::Right));
    }
    let n_concepts = report.concepts.len();
    writeln!(page.out, "{}, mean of {n_concepts} concepts", style::head("balanced accuracy"))?;
    let mut table = Table::new(&heads);
    for ranking in &report.rankings {
        table.row(cells(ranking, &places, several, compressed));
    }
    if !report.random.is_empty() {
        let mut row = vec!["random neurons".to_owned()];
        row.extend(places.iter().map(|&place| percent(report.random[place])));
        row.resize(heads.len(), String::new());
        table.row(row);
    }
    table.print(page.out, page.width)
}

/// What the model loses without the best neurons.
fn inside(report: &SideBySide, page: &mut Page<'_>) -> io::Result<()> {
    let Some(first) = report.rankings.iter().find_map(|ranking| ranking.inside.as_ref()) else { return Ok(()) };
    let heads: Vec<String> = first.k.iter().map(|k| format!("without {k}")).collect();
    let mut columns = vec![("ranking", Align::Left), ("words", Align::Left)];
    columns.extend(heads.iter().map(|head| (head.as_str(), Align::Right)));
    writeln!(
        page.out,
        "\n{}, mean of {} concepts, nats",
        style::head("rise of the loss in the model"),
        first.concepts
    )?;
    let mut table = Table::new(&columns);
    for ranking in &report.rankings {
        let Some(inside) = &ranking.inside else { continue };
        let rows = [
            (ranking.name.as_str(), "with the concept", &inside.own),
            ("", "others", &inside.others),
            ("", "with the concept, random neurons", &inside.random),
        ];
        for (name, words, rises) in rows.into_iter().filter(|(_, _, rises)| !rises.is_empty()) {
            let rises = rises.iter().map(|rise| format!("{rise:+.3}"));
            table.row([name.to_owned(), words.to_owned()].into_iter().chain(rises));
        }
    }
    table.print(page.out, page.width)
}

fn cells(ranking: &RankingReport, places: &[usize], several: bool, compressed: bool) -> Vec<String> {
    let mut cells = vec![format!("{}{}", ranking.name, if ranking.same_text { " *" } else { "" })];
    cells.extend(places.iter().map(|&place| percent(ranking.best[place])));
    cells.push(ranking.worst.last().copied().map_or_else(String::new, percent));
    let selectivity = ranking.selectivity.as_ref().and_then(|all| all.last().copied());
    cells.push(selectivity.map_or_else(String::new, percent));
    if several {
        let last = ranking.agreement.last();
        cells.push(last.map_or_else(String::new, |of_k| format!("{:.2}", of_k.average_overlap)));
        cells.push(last.map_or_else(String::new, |of_k| format!("{:.2}", of_k.compatibility)));
    }
    if compressed {
        cells.push(ranking.compression.map_or_else(String::new, |times| format!("{times:.2}x")));
    }
    cells
}
