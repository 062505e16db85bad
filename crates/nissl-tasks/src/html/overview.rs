//! The parts of the page around the pictures: heading and facts, concepts, best neurons, how to repeat.

use super::markup::{Markup, bar, count, direction, esc, neuron_link, number, panels, percent};
use super::{Best, MethodResult, Page};

/// The sign of the project: a cell body with its granules.
const SIGN: &str = "<svg class=\"sign\" viewBox=\"0 0 40 40\" aria-hidden=\"true\"><path d=\"M20 3c2 6 4 7 9 7 4 0 6-3 \
    8-5-1 5-1 8 1 12 1 3-1 6-2 9-2 5 0 8 2 11-5-3-8-3-11-2-4 1-6 2-7 3-4-3-8-4-12-2-2 1-4 1-6 2 3-5 4-8 3-12-1-4-2-6-3-8 \
    4 1 8 0 10-3 2-3 4-7 8-12z\"/><circle cx=\"20\" cy=\"21\" r=\"5\"/><circle cx=\"12\" cy=\"18\" r=\"1.4\"/><circle \
    cx=\"14\" cy=\"27\" r=\"1.6\"/><circle cx=\"28\" cy=\"16\" r=\"1.5\"/><circle cx=\"29\" cy=\"25\" r=\"1.7\"/><circle \
    cx=\"22\" cy=\"13\" r=\"1.2\"/><circle cx=\"21\" cy=\"30\" r=\"1.3\"/></svg>";

/// The heading, the lead and the facts.
pub(super) fn masthead(out: &mut Markup, page: &Page) {
    out.add(format_args!(
        "<header class=\"masthead\">\n<div class=\"brand\">{SIGN}<span>nissl</span></div>\n<h1>{}</h1>\n<p \
         class=\"lead\">{}</p>\n",
        esc(&page.title),
        esc(&page.lead),
    ));
    if !page.facts.is_empty() {
        out.add("<div class=\"facts\">\n");
        for group in &page.facts {
            out.add(format_args!("<section><h2>{}</h2>\n<dl>\n", esc(&group.name)));
            for fact in &group.facts {
                out.add(format_args!("<div><dt>{}</dt><dd>{}</dd></div>\n", esc(&fact.name), esc(&fact.value)));
            }
            out.add("</dl></section>\n");
        }
        out.add("</div>\n");
    }
    out.add("</header>\n");
}

/// The concepts, each with its best neuron by every method.
pub(super) fn concepts(out: &mut Markup, page: &Page) {
    if page.concepts.is_empty() {
        return;
    }
    out.add(
        "<section id=\"concepts\">\n<h2>Concepts and their best neurons</h2>\n<div class=\"scroll\" tabindex=\"0\" \
         role=\"region\" aria-label=\"Concepts\">\n<table class=\"concepts\">\n<thead><tr><th scope=\"col\">concept</th>",
    );
    let counted = page.concepts.iter().any(|concept| concept.n_rows > 0);
    if counted {
        out.add("<th scope=\"col\" class=\"n\">words</th>");
    }
    for method in &page.methods {
        out.add(format_args!("<th scope=\"col\">best by {}</th>", esc(&method.name)));
    }
    out.add("</tr></thead>\n<tbody>\n");
    for (idx, concept) in page.concepts.iter().enumerate() {
        out.add(format_args!(
            "<tr><th scope=\"row\"><a href=\"#c-{idx}\">{}</a><small>{}</small></th>",
            esc(&concept.name),
            esc(&concept.source),
        ));
        if counted {
            let (n, share) = (count(concept.n_rows), percent(concept.share));
            out.add(format_args!("<td class=\"n\">{n}<small>{share}</small></td>"));
        }
        for method in &page.methods {
            match method.best.get(idx).and_then(|best| best.first()) {
                Some(best) => out.add(format_args!(
                    "<td>{} {}<div class=\"measure\">{}</div></td>",
                    neuron_link(page, best.neuron),
                    direction(best),
                    bar(share(method, best), &number(f64::from(best.score))),
                )),
                None => out.add("<td>\u{2013}</td>"),
            }
        }
        out.add("</tr>\n");
    }
    out.add("</tbody>\n</table>\n</div>\n</section>\n");
}

/// The best neurons of every concept, a small table each.
pub(super) fn best_neurons(out: &mut Markup, page: &Page) {
    if page.methods.is_empty() || page.concepts.is_empty() {
        return;
    }
    out.add("<section id=\"best\">\n<h2>Best neurons of each concept</h2>\n");
    panels(out, page, false, |out, i| {
        let method = &page.methods[i];
        out.add("<div class=\"tables\">\n");
        for (idx, concept) in page.concepts.iter().enumerate() {
            // Links lead to the first method's table; the script leads them on to the method that is shown.
            let id = if i == 0 { format!(" id=\"c-{idx}\"") } else { String::new() };
            out.add(format_args!(
                "<section class=\"best\"{id} data-concept=\"{idx}\" tabindex=\"-1\"><h4>{}</h4>\n",
                esc(&concept.name)
            ));
            let best = method.best.get(idx).map(Vec::as_slice).unwrap_or_default();
            if best.is_empty() {
                out.add("<p class=\"none\">No neuron was ranked: the concept has too few words.</p>\n");
            } else {
                table(out, page, best);
            }
            out.add("</section>\n");
        }
        out.add("</div>\n");
    });
    out.add("</section>\n");
}

fn table(out: &mut Markup, page: &Page, best: &[Best]) {
    let highest = best.iter().map(|best| best.score).fold(0.0, f32::max);
    out.add("<table>\n<thead class=\"hidden\"><tr><th scope=\"col\">neuron</th><th scope=\"col\">score</th></tr></thead>\n<tbody>\n");
    for best in best {
        let share = if highest > 0.0 { f64::from(best.score / highest) } else { 0.0 };
        out.add(format_args!(
            "<tr><th scope=\"row\">{} {}</th><td><div class=\"measure\">{}</div></td></tr>\n",
            neuron_link(page, best.neuron),
            direction(best),
            bar(share, &number(f64::from(best.score))),
        ));
    }
    out.add("</tbody>\n</table>\n");
}

/// The commands and the notes.
pub(super) fn repeat(out: &mut Markup, page: &Page) {
    if page.commands.is_empty() && page.notes.is_empty() {
        return;
    }
    out.add("<section id=\"repeat\">\n<h2>How to repeat</h2>\n");
    for command in &page.commands {
        out.add(format_args!(
            "<figure class=\"command\"><figcaption>{}</figcaption><pre><code>{}</code></pre></figure>\n",
            esc(&command.what),
            esc(&command.line),
        ));
    }
    if !page.notes.is_empty() {
        out.add("<h3>To know</h3>\n<ul class=\"notes\">\n");
        for note in &page.notes {
            out.add(format_args!("<li>{}</li>\n", esc(note)));
        }
        out.add("</ul>\n");
    }
    out.add("</section>\n");
}

/// A score as a share of the method's highest.
fn share(method: &MethodResult, best: &Best) -> f64 {
    let scores = method.best.iter().filter_map(|best| best.first()).map(|best| best.score);
    let highest = scores.fold(0.0, f32::max);
    if highest > 0.0 { f64::from(best.score / highest) } else { 0.0 }
}
