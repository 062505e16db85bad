//! The report as figures and as a page.

use super::{COMMAND, MethodReport, Report};
use crate::html::truth::Table;
use crate::html::{Figure, FigurePage, Grid, render_figures};
use crate::tasks::evaluate::figures as judged;

/// The figures, each with the name of its file.
pub(super) fn figures(report: &Report, note: &str) -> Vec<(String, Figure)> {
    let mut figures = vec![("consistency".to_owned(), consistency(report, note).figure())];
    figures.extend(judged::figures(&report.judged, note));
    if let Some(disjoint) = &report.disjoint {
        let title = format!("Mean of {} concepts, no word type on both sides", disjoint.concepts.len());
        figures.push(("accuracy-disjoint".to_owned(), judged::accuracy(disjoint, title, note).figure()));
    }
    figures
}

/// The page: the tables, and every figure.
pub(super) fn page(report: &Report, figures: &[(String, Figure)]) -> String {
    let [to_rank, to_judge] = report.rows;
    let mut lead = vec![
        format!(
            "Ranked on {to_rank} rows of {}, judged on {to_judge} of other sentences: fresh classifiers on the best neurons \
             of each method, balanced accuracy, where 50% is what knows nothing.",
            report.store.path.display()
        ),
        "Consistency is the rank-biased overlap (p = 0.98) of rankings of samples that share no sentence, or with other \
         seeds. Behind ± is half of the 95% interval of the mean over concepts. Time and memory are of ranking once; \
         memory is that of the whole process."
            .to_owned(),
    ];
    lead.extend(report.failed.iter().map(|failure| format!("{}: {}.", failure.name, failure.error)));
    lead.extend(report.judged.left_out.iter().map(|left| format!("Left out: {} ({}).", left.name, left.why)));
    let disjoint = report
        .disjoint
        .as_ref()
        .map(|disjoint| Table { title: "No word type on both sides".to_owned(), ..judged::table(disjoint) });
    let config = serde_json::to_string_pretty(&report.head.config).expect("configs are plain structs with text keys");
    render_figures(&FigurePage {
        title: format!("{} methods side by side", report.methods.len()),
        lead,
        tables: [costs(report), judged::table(&report.judged)].into_iter().chain(disjoint).collect(),
        figures: figures.iter().map(|(_, figure)| figure.clone()).collect(),
        again: Some((COMMAND.to_owned(), config)),
    })
}

/// What methods cost, and whether they say the same again.
fn costs(report: &Report) -> Table {
    let last = report.judged.k.last().copied().unwrap_or_default();
    let columns = ["seconds", "MB", &format!("best {last}"), "above random", "selectivity", "samples", "seeds"];
    let row = |method: &MethodReport| {
        let or_nothing = |value: Option<String>| value.unwrap_or_default();
        let cells = vec![
            format!("{:.2}", method.cost.seconds),
            or_nothing(method.cost.peak.map(|bytes| (bytes >> 20).to_string())),
            or_nothing(method.best.last().map(ToString::to_string)),
            method.area.to_string(),
            or_nothing(method.selectivity.as_ref().and_then(|of| Some(of.last()?.to_string()))),
            or_nothing(method.samples.map(|of| of.to_string())),
            or_nothing(method.seeds.map(|of| of.to_string())),
        ];
        (method.name.clone(), cells)
    };
    Table {
        title: "Methods".to_owned(),
        lead: report
            .random_samples
            .map_or_else(String::new, |random| format!("Random orders of the neurons overlap by {random:.3}.")),
        columns: columns.map(str::to_owned).to_vec(),
        rows: report.methods.iter().map(row).collect(),
    }
}

/// How far methods say the same again.
fn consistency(report: &Report, note: &str) -> Grid {
    let row = |method: &MethodReport| {
        let value = |of: Option<crate::Interval>| of.map(|of| of.value);
        (method.name.clone(), vec![value(method.samples), value(method.seeds)])
    };
    Grid {
        title: "Overlap of a method's rankings of other sentences, and with other seeds".to_owned(),
        note: note.to_owned(),
        columns: ["samples", "seeds"].map(str::to_owned).to_vec(),
        rows: report.methods.iter().map(row).collect(),
    }
}
