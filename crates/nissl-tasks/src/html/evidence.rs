//! How far methods agree, how much is more than chance, and what few neurons tell: what makes a ranking believable.

use nissl_methods::probes::Judged;
use nissl_methods::probes::inference::Interval;

use super::markup::{Markup, bar, count, esc, percent};
use super::truth::{Panel, Panels, draw};

/// What is drawn.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Evidence {
    /// The methods.
    pub(crate) methods: Vec<String>,
    /// Neurons that were ranked.
    pub(crate) neurons: usize,
    /// Neurons a concept that are compared.
    pub(crate) top: usize,
    /// Share of them that two methods both have.
    pub(crate) agreement: Vec<Vec<f64>>,
    /// That of random neurons.
    pub(crate) chance: f64,
    /// The concepts.
    pub(crate) concepts: Vec<String>,
    /// Neurons that each method finds for each concept, where chances were told.
    pub(crate) found: Vec<Vec<Option<usize>>>,
    /// What few neurons tell.
    pub(crate) judged: Judged,
}

/// Draws the sections.
pub(super) fn sections(out: &mut Markup, evidence: &Evidence) {
    few(out, evidence);
    agreement(out, evidence);
    found(out, evidence);
}

fn few(out: &mut Markup, evidence: &Evidence) {
    let judged = &evidence.judged;
    let share = |at: Interval| format!("{} ({} to {})", percent(at.value), percent(at.low), percent(at.high));
    out.add(format_args!(
        "<section id=\"few\">\n<h2>What few neurons tell</h2>\n<p>Fresh probes on the first k neurons of each method (the \
         best of each concept, then the second of each) tell the concepts of {} words of sentences that they have not \
         seen. All {} neurons reach <b>{}</b>{}, the most frequent concept alone {}; the dotted line is the mean of draws of k \
         random neurons.</p>\n",
        count(judged.rows[2] as u64),
        count(evidence.neurons as u64),
        share(judged.all),
        judged.selectivity.map_or_else(String::new, |s| format!(", selectivity {}", percent(s))),
        percent(judged.majority),
    ));
    let sizes: Vec<usize> = judged.orders.first().map_or_else(Vec::new, |of| of.iter().map(|first| first.k).collect());
    let accuracy = |order: &Vec<nissl_methods::probes::First>| order.iter().map(|first| Some(first.accuracy)).collect();
    let selectivity = |order: &Vec<nissl_methods::probes::First>| {
        let of = |value: f64| Interval { value, low: value, high: value };
        order.iter().map(|first| first.selectivity.map(|value| of(value.max(0.0)))).collect()
    };
    draw(
        out,
        &Panels {
            title: "What few neurons tell".to_owned(),
            y: "accuracy; selectivity".to_owned(),
            names: evidence.methods.clone(),
            panels: vec![
                Panel {
                    title: "accuracy, by number of neurons".to_owned(),
                    ticks: sizes.iter().map(ToString::to_string).collect(),
                    chance: judged.random.iter().map(|random| random.mean).collect(),
                    lines: judged.orders.iter().map(accuracy).collect(),
                },
                Panel {
                    title: "selectivity, by number of neurons".to_owned(),
                    ticks: sizes.iter().map(ToString::to_string).collect(),
                    chance: Vec::new(),
                    lines: judged.orders.iter().map(selectivity).collect(),
                },
            ],
        },
    );
    out.add("<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Accuracy of few neurons\">\n<table class=\"concepts\">\n<thead><tr><th scope=\"col\">neurons</th>");
    for size in &sizes {
        out.add(format_args!("<th scope=\"col\" class=\"n\">{size}</th>"));
    }
    out.add("</tr></thead>\n<tbody>\n");
    for (method, order) in evidence.methods.iter().zip(&judged.orders) {
        out.add(format_args!("<tr><th scope=\"row\">{}</th>", esc(method)));
        for first in order {
            let (low, high) = (percent(first.accuracy.low), percent(first.accuracy.high));
            out.add(format_args!(
                "<td class=\"n\">{}<small>{low} to {high}</small></td>",
                percent(first.accuracy.value)
            ));
        }
        out.add("</tr>\n");
    }
    out.add("<tr><th scope=\"row\">random neurons</th>");
    for random in &judged.random {
        let (low, high) = (percent(random.low), percent(random.high));
        out.add(format_args!("<td class=\"n\">{}<small>{low} to {high}</small></td>", percent(random.mean)));
    }
    out.add("</tr>\n</tbody>\n</table>\n</div>\n</section>\n");
}

fn agreement(out: &mut Markup, evidence: &Evidence) {
    out.add(format_args!(
        "<section id=\"agree\">\n<h2>How far the methods agree</h2>\n<p>Of a concept's {} best neurons, the share that two \
         methods both have, in the mean over concepts. Random orders would share {}.</p>\n<div class=\"scroll\" \
         tabindex=\"0\" role=\"region\" aria-label=\"Agreement\">\n<table class=\"concepts\">\n<thead><tr><th></th>",
        evidence.top,
        percent(evidence.chance),
    ));
    for method in &evidence.methods {
        out.add(format_args!("<th scope=\"col\">{}</th>", esc(method)));
    }
    out.add("</tr></thead>\n<tbody>\n");
    for (method, row) in evidence.methods.iter().zip(&evidence.agreement) {
        out.add(format_args!("<tr><th scope=\"row\">{}</th>", esc(method)));
        for &share in row {
            out.add(format_args!("<td><div class=\"measure\">{}</div></td>", bar(share, &percent(share))));
        }
        out.add("</tr>\n");
    }
    out.add("</tbody>\n</table>\n</div>\n</section>\n");
}

fn found(out: &mut Markup, evidence: &Evidence) {
    if !evidence.found.iter().flatten().any(Option::is_some) {
        return;
    }
    out.add(format_args!(
        "<section id=\"found\">\n<h2>How many neurons are more than chance</h2>\n<p>Of {} neurons, those whose score shuffled \
         labels seldom give: with these counts, about one in twenty of them is a false discovery. Labels are shuffled by \
         sentence.</p>\n<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Found\">\n<table \
         class=\"concepts\">\n<thead><tr><th scope=\"col\">concept</th>",
        count(evidence.neurons as u64)
    ));
    for method in &evidence.methods {
        out.add(format_args!("<th scope=\"col\" class=\"n\">{}</th>", esc(method)));
    }
    out.add("</tr></thead>\n<tbody>\n");
    for (idx, concept) in evidence.concepts.iter().enumerate() {
        out.add(format_args!("<tr><th scope=\"row\">{}</th>", esc(concept)));
        for of_method in &evidence.found {
            let shown = of_method[idx].map_or_else(|| "\u{2013}".to_owned(), |n| count(n as u64));
            out.add(format_args!("<td class=\"n\">{shown}</td>"));
        }
        out.add("</tr>\n");
    }
    out.add("</tbody>\n</table>\n</div>\n</section>\n");
}
