//! The published page of the truth benchmark: tables and the drawing, as Markdown.

use std::fmt::Write as _;

use nissl_methods::probes::inference::Interval;

use super::{AxisReport, CausalMethod, CausalReport, KindReport, Level, Report, axes};
use crate::html::truth::Table;

/// The page.
pub(super) fn markdown(report: &Report) -> String {
    let mut page = format!(
        "\
# Which methods find the neurons they should

Made by `nissl bench truth{}`; the numbers are in `truth.json`, which holds the config that makes them again.
",
        flags(report)
    );
    if report.planted() {
        page += &planted(report);
    }
    for table in tables(report) {
        let _ = write!(page, "\n## {}\n\n{}\n\n| |", table.title, table.lead);
        table.columns.iter().for_each(|column| _ = write!(page, " {column} |"));
        let _ = write!(page, "\n|---|{}\n", "---|".repeat(table.columns.len()));
        for (name, cells) in &table.rows {
            let _ = writeln!(page, "| {name} | {} |", cells.join(" | "));
        }
    }
    let failed: Vec<_> = report.failed.iter().chain(report.causal.iter().flat_map(|causal| &causal.failed)).collect();
    if !failed.is_empty() {
        page += "\n## What could not be run\n\n";
        for failure in failed {
            let _ = writeln!(page, "- {}: {}", failure.name, failure.error);
        }
    }
    page
}

/// What is planted, and the drawing.
fn planted(report: &Report) -> String {
    let base = &report.base;
    format!(
        "
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
        neurons = base.neurons,
        rows = base.rows,
        seeds = report.seeds,
        concepts = base.concepts,
        signal = base.signal,
        share = axes::shown("share", base.share),
        copies = base.copies,
        correlation = base.correlation,
        confound = base.confound,
    )
}

/// The flags that make the numbers again, where no config was given beside them.
fn flags(report: &Report) -> String {
    let config = &report.head.config;
    let quick = if config.quick { " --quick" } else { "" };
    let level = match config.levels[..] {
        [Level::Planted] => " --level planted",
        [Level::Causal] => " --level causal",
        _ => "",
    };
    let seeds = config.seeds.map_or_else(String::new, |seeds| format!(" --seeds {seeds}"));
    format!("{level}{quick}{seeds}")
}

/// The tables of the page.
pub(super) fn tables(report: &Report) -> Vec<Table> {
    let acting = report.causal.as_ref().map(of_causal);
    if !report.planted() {
        return acting.into_iter().collect();
    }
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
    tables.extend(acting);
    tables
}

/// Which neurons each method takes for those that hold a fact.
fn of_causal(causal: &CausalReport) -> Table {
    let columns = ["before copies", "copies first"].into_iter().chain(causal.mechanisms.iter().map(|of| of.name()));
    let row = |method: &CausalMethod| {
        let found = [method.before, method.copies].into_iter().chain(method.precision.iter().copied());
        let what = if method.runs_model { "runs the model" } else { "reads activations" };
        (format!("{} ({what})", method.name), found.map(with_interval).collect())
    };
    let none = |at: usize| if at < 2 { String::new() } else { format!("{:.2}", causal.chance) };
    let chance = ("random order".to_owned(), (0..2 + causal.mechanisms.len()).map(none).collect());
    Table {
        title: "Neurons that act, and copies that do not".to_owned(),
        lead: format!(
            "Transformers of two blocks and {} neurons with weights written by hand, {} draws: after a filler, a relation \
             and a subject of a known fact comes its object. A fact is held by a single neuron; by two halves; by two \
             neurons either of which suffices, as two of the next block see to (backup); or by a neuron of the subject and \
             one of the next block that reads it (chain). For every fact there are two copies that are active just where \
             it is true, one three times as much, and that nothing reads: encoded, not used. Of every method: how often a \
             neuron that holds a fact is before a copy of it (0.5: it cannot tell them apart), the share of copies among the \
             first k, k the number of neurons that hold the fact, and for each way to hold it the share of the first k that do.",
            causal.neurons, causal.seeds
        ),
        columns: columns.map(str::to_owned).collect(),
        rows: causal.methods.iter().map(row).chain([chance]).collect(),
    }
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
