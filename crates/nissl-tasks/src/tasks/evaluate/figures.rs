//! The report as figures and as a page.

use nissl_methods::probes::inference::Interval;

use super::{COMMAND, ConceptReport, RankingReport, Report, SideBySide};
use crate::html::truth::Table;
use crate::html::{Band, Curve, Figure, FigurePage, Grid, Line, render_figures};
use crate::report::Head;

/// What stands under every figure of a report: what made it, and what makes it again.
pub(crate) fn note<C>(head: &Head<C>, command: &str) -> String {
    format!("nissl {}, {}: {command}", head.version, head.task)
}

/// The figures, each with the name of its file.
pub(crate) fn figures(report: &SideBySide, note: &str) -> Vec<(String, Figure)> {
    let several = report.rankings.len() > 1;
    let mut figures = vec![("accuracy".to_owned(), accuracy(report, mean_of(report), note).figure())];
    figures.push(("area".to_owned(), area(report, note).figure()));
    if several {
        let overlap = |pair: &super::Pair| pair.rank_biased_overlap;
        figures.push(("overlap".to_owned(), pairs(report, "Rank-biased overlap", overlap, note).figure()));
        let k = report.k.last().copied().unwrap_or(1);
        let shared = |pair: &super::Pair| pair.shared as f64 / pair.k.max(1) as f64;
        figures.push(("shared".to_owned(), pairs(report, &format!("Shared of the best {k}"), shared, note).figure()));
    }
    if report.rankings.iter().any(|ranking| ranking.inside.is_some()) {
        figures.push(("damage".to_owned(), damage(report, note).figure()));
    }
    for (idx, concept) in report.concepts.iter().enumerate() {
        let slug: String = concept.name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        figures.push((format!("accuracy-{}-{slug}", idx + 1), of_concept(report, concept, note).figure()));
    }
    figures
}

/// The page: what all concepts say together, and every figure.
pub(super) fn page(report: &Report, figures: &[(String, Figure)]) -> String {
    let judged = &report.judged;
    let names: Vec<&str> = judged.concepts.iter().map(|concept| concept.name.as_str()).collect();
    let mut lead = vec![
        format!(
            "Fresh classifiers on the best neurons of each ranking, rows split by sentence: balanced accuracy, where 50% is \
             what knows nothing. Judged on {} rows of {}, on {} concepts: {}.",
            report.store.rows,
            report.store.path.display(),
            names.len(),
            names.join(", ")
        ),
        "Intervals are of 95 in 100 draws of the sentences; those of random neurons are from the lowest to the highest \
         list."
            .to_owned(),
    ];
    if judged.rankings.iter().any(|ranking| ranking.same_text) {
        lead.push("Rankings marked * were made on this very text: their accuracies flatter them.".to_owned());
    }
    lead.extend(judged.left_out.iter().map(|left| format!("Left out: {} ({}).", left.name, left.why)));
    let config = serde_json::to_string_pretty(&report.head.config).expect("configs are plain structs with text keys");
    render_figures(&FigurePage {
        title: format!("{} rankings of neurons, judged", judged.rankings.len()),
        lead,
        tables: vec![table(judged)],
        figures: figures.iter().map(|(_, figure)| figure.clone()).collect(),
        again: Some((COMMAND.to_owned(), config)),
    })
}

fn percent(share: f64) -> String {
    format!("{:.1}%", 100.0 * share)
}

fn name(ranking: &RankingReport) -> String {
    format!("{}{}", ranking.name, if ranking.same_text { " *" } else { "" })
}

pub(crate) fn table(report: &SideBySide) -> Table {
    let mut columns: Vec<String> = report.k.iter().map(|k| format!("best {k}")).collect();
    columns.extend(["worst", "selectivity", "overlap", "vote"].map(str::to_owned));
    let number = |value: Option<f64>| value.map_or_else(String::new, |value| format!("{value:.2}"));
    let row = |ranking: &RankingReport| {
        let last = ranking.agreement.last();
        let mut cells: Vec<String> = ranking.best.iter().copied().map(percent).collect();
        cells.push(ranking.worst.last().copied().map_or_else(String::new, percent));
        let selectivity = ranking.selectivity.as_ref().and_then(|all| all.last().copied());
        cells.push(selectivity.map_or_else(String::new, percent));
        cells.push(number(last.map(|of_k| of_k.average_overlap)));
        cells.push(number(last.map(|of_k| of_k.compatibility)));
        (name(ranking), cells)
    };
    let mut rows: Vec<(String, Vec<String>)> = report.rankings.iter().map(row).collect();
    let mut random: Vec<String> = report.random.iter().copied().map(percent).collect();
    random.resize(columns.len(), String::new());
    rows.push(("random neurons".to_owned(), random));
    Table {
        title: "Balanced accuracy from few neurons".to_owned(),
        lead: "Means over concepts. Worst, selectivity (accuracy less that of a control task), overlap with the other \
               rankings and with their vote are those of the largest number of neurons."
            .to_owned(),
        columns,
        rows,
    }
}

/// A line over numbers of neurons.
fn line(name: String, k: &[usize], values: impl Iterator<Item = f64>) -> Line {
    let points = k.iter().zip(values).map(|(&k, value)| (k as f64, value)).collect();
    Line { name, points, bands: Vec::new() }
}

/// The same with intervals.
fn with_bands(name: String, k: &[usize], of_k: &[Interval]) -> Line {
    let band = |(&k, of_k): (&usize, &Interval)| Band { x: k as f64, low: of_k.low, high: of_k.high };
    let bands = k.iter().zip(of_k).map(band).collect();
    Line { bands, ..line(name, k, of_k.iter().map(|of_k| of_k.value)) }
}

fn over_neurons(title: String, y: &str, lines: Vec<Line>, note: &str) -> Curve {
    Curve { title, note: note.to_owned(), x: "neurons".to_owned(), log_x: true, y: y.to_owned(), lines }
}

fn mean_of(report: &SideBySide) -> String {
    format!("Mean of {} concepts", report.concepts.len())
}

/// Accuracy over numbers of neurons, all concepts together.
pub(crate) fn accuracy(report: &SideBySide, title: String, note: &str) -> Curve {
    let of = |ranking: &RankingReport| line(name(ranking), &report.k, ranking.best.iter().copied());
    let mut lines: Vec<Line> = report.rankings.iter().map(of).collect();
    if !report.random.is_empty() {
        lines.push(line("random neurons".to_owned(), &report.k, report.random.iter().copied()));
    }
    over_neurons(title, "balanced accuracy", lines, note)
}

fn of_concept(report: &SideBySide, concept: &ConceptReport, note: &str) -> Curve {
    let curves = &concept.curves;
    let of = |(ranking, curve): (&RankingReport, &nissl_methods::evaluation::few::RankingCurve)| {
        with_bands(name(ranking), &curves.k, &curve.best)
    };
    let mut lines: Vec<Line> = report.rankings.iter().zip(&curves.rankings).map(of).collect();
    if !curves.random.is_empty() {
        lines.push(with_bands("random neurons".to_owned(), &curves.k, &curves.random));
    }
    over_neurons(concept.name.clone(), "balanced accuracy", lines, note)
}

fn area(report: &SideBySide, note: &str) -> Grid {
    let row = |(idx, ranking): (usize, &RankingReport)| {
        let areas = report.concepts.iter().map(|concept| Some(concept.curves.rankings[idx].area)).collect();
        (name(ranking), areas)
    };
    Grid {
        title: "Accuracy above that of random neurons, mean over numbers of neurons".to_owned(),
        note: note.to_owned(),
        columns: report.concepts.iter().map(|concept| concept.name.clone()).collect(),
        rows: report.rankings.iter().enumerate().map(row).collect(),
    }
}

/// What every two rankings have in common, mean of the concepts; a ranking has all in common with itself.
fn pairs(report: &SideBySide, title: &str, of: fn(&super::Pair) -> f64, note: &str) -> Grid {
    let value = |a: usize, b: usize| {
        if a == b {
            return Some(1.0);
        }
        let own = |concept: &ConceptReport| concept.pairs.iter().find(|pair| pair.of == [a.min(b), a.max(b)]).map(of);
        let values: Option<Vec<f64>> = report.concepts.iter().map(own).collect();
        values.map(|values| values.iter().sum::<f64>() / values.len() as f64)
    };
    let n = report.rankings.len();
    Grid {
        title: format!("{title}, mean of {} concepts", report.concepts.len()),
        note: note.to_owned(),
        columns: report.rankings.iter().map(name).collect(),
        rows: (0..n).map(|a| (name(&report.rankings[a]), (0..n).map(|b| value(a, b)).collect())).collect(),
    }
}

fn damage(report: &SideBySide, note: &str) -> Curve {
    let inside = report.rankings.iter().filter_map(|ranking| Some((ranking, ranking.inside.as_ref()?)));
    let of = |(ranking, inside): (&RankingReport, &super::InsideReport)| {
        let random = line(format!("{}, random neurons", name(ranking)), &inside.k, inside.random.iter().copied());
        [line(name(ranking), &inside.k, inside.own.iter().copied()), random]
    };
    let lines: Vec<Line> = inside.flat_map(of).filter(|line| !line.points.is_empty()).collect();
    let title = "Words with the concept, without the best neurons inside the model".to_owned();
    over_neurons(title, "rise of the loss, nats", lines, note)
}
