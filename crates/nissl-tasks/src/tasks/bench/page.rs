//! The published page of the truth benchmark: tables and the drawing, as Markdown.

use std::fmt::Write as _;

use nissl_methods::probes::inference::Interval;

use super::{AxisReport, KindReport, Report, axes};
use crate::html::truth::Table;

/// The page.
pub(super) fn markdown(report: &Report) -> String {
    let base = &report.base;
    let mut page = format!(
        "\
# Which methods find planted neurons

Made by `nissl bench truth{flags}`; the numbers are in `truth.json`, which holds the config that makes them again.

{neurons} neurons over {rows} rows, {seeds} draws. Each of {concepts} concepts has neurons that carry it (focused ones, \
noisy copies of them that are scaled, shifted or negated, polysemous ones of two concepts, switches that rise for one \
and fall for another), neurons that carry it only together (distributed, a quarter of the signal each), and neurons that \
carry something correlated with it (confounded). Beside them are decoys: position, word frequency, loud, heavy-tailed \
and shared noise, a dead neuron. A method is asked for each concept's k best neurons, k the number of those that carry it \
by themselves; its precision is the share of them that carry the concept at all. Intervals are those of the mean over \
draws (95%, Student's t).

Where nothing else is said: a carrier is higher by {signal} deviations of its noise on the concept's rows, which are \
{share} of all; {copies} copies a focused neuron, whose noise correlates by {correlation}; what goes along with a concept \
correlates with it by {confound}.

![Precision at k by difficulty](truth.svg)
",
        flags = flags(report),
        neurons = base.neurons,
        rows = base.rows,
        seeds = report.seeds,
        concepts = base.concepts,
        signal = base.signal,
        share = axes::shown("share", base.share),
        copies = base.copies,
        correlation = base.correlation,
        confound = base.confound,
    );
    for table in tables(report) {
        let _ = write!(page, "\n## {}\n\n{}\n\n| |", table.title, table.lead);
        table.columns.iter().for_each(|column| _ = write!(page, " {column} |"));
        let _ = write!(page, "\n|---|{}\n", "---|".repeat(table.columns.len()));
        for (name, cells) in &table.rows {
            let _ = writeln!(page, "| {name} | {} |", cells.join(" | "));
        }
    }
    if !report.failed.is_empty() {
        page += "\n## What could not be run\n\n";
        for failure in &report.failed {
            let _ = writeln!(page, "- {}: {}", failure.name, failure.error);
        }
    }
    page
}

/// The flags that make the numbers again, where no config was given beside them.
fn flags(report: &Report) -> String {
    let config = &report.head.config;
    let quick = if config.quick { " --quick" } else { "" };
    let seeds = config.seeds.map_or_else(String::new, |seeds| format!(" --seeds {seeds}"));
    format!("{quick}{seeds}")
}

/// The tables of the page.
pub(super) fn tables(report: &Report) -> Vec<Table> {
    let mut tables = Vec::new();
    let carries = |kind: &&KindReport| kind.kind.is_strong();
    let of_kinds =
        |title: &str, lead: &str, kinds: Vec<&KindReport>, of: fn(&KindReport, usize) -> Option<f64>| Table {
            title: title.to_owned(),
            lead: lead.to_owned(),
            columns: kinds.iter().map(|kind| kind.kind.name().to_owned()).collect(),
            rows: (0..report.methods.len())
                .map(|m| (report.methods[m].clone(), kinds.iter().map(|kind| percent(of(kind, m))).collect()))
                .collect(),
        };
    tables.push(of_kinds(
        "What is found",
        "Of each kind of neuron that carries a concept by itself, the share that is among the k best.",
        report.kinds.iter().filter(carries).collect(),
        |kind, method| kind.found[method],
    ));
    tables.push(of_kinds(
        "What is taken for it",
        "What the other places among the k best go to.",
        report.kinds.iter().filter(|kind| !carries(kind)).collect(),
        |kind, method| kind.taken[method],
    ));
    tables.extend(report.axes.iter().map(|axis| of_axis(report, axis)));
    tables
}

fn of_axis(report: &Report, axis: &AxisReport) -> Table {
    let row = |method: usize| {
        let cells = axis.points.iter().map(|point| with_interval(point.precision[method]));
        (report.methods[method].clone(), cells.collect())
    };
    let chance = axis.points.iter().map(|point| format!("{:.2}", point.chance)).collect();
    Table {
        title: format!("By {}", axis.what),
        lead: "Precision at k.".to_owned(),
        columns: axis.points.iter().map(|point| axes::shown(&axis.name, point.value)).collect(),
        rows: (0..report.methods.len()).map(row).chain([("random order".to_owned(), chance)]).collect(),
    }
}

fn with_interval(at: Option<Interval>) -> String {
    at.map_or_else(|| "failed".to_owned(), |at| format!("{:.2} ({:.2} to {:.2})", at.value, at.low, at.high))
}

fn percent(share: Option<f64>) -> String {
    share.map_or_else(|| "failed".to_owned(), |share| format!("{:.0}%", 100.0 * share))
}
