//! The heat map: the best score of every site for every concept.

use super::markup::{Markup, anchor, esc, number, panels, short_name};
use super::{Best, HeatMap, Page, Scale};

/// Number of colors.
const LEVELS: f32 = 9.0;

const CELL_H: usize = 27;
const LABEL_W: usize = 104;
const CHAR_W: usize = 6;

/// Width that a map takes where its cells can be made to fit.
const FITTING_W: usize = 880;

/// Draws the section.
pub(super) fn section(out: &mut Markup, page: &Page) {
    if page.methods.is_empty() || page.concepts.is_empty() {
        return;
    }
    out.add(
        "<section id=\"layers\">\n<h2>Where the concepts are</h2>\n<p>The score of the best neuron of each site, from \
         the first block to the last. A frame marks the best site of a concept. A cell leads to its neuron, if the \
         neuron is shown below.</p>\n",
    );
    panels(out, page, true, |out, method| {
        let heat = &page.methods[method].heat;
        legend(out, heat);
        out.add("<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Heat map\">\n");
        picture(out, page, heat);
        out.add("</div>\n");
        table(out, page, heat);
    });
    out.add("</section>\n");
}

fn legend(out: &mut Markup, heat: &HeatMap) {
    let (low, high) = match heat.scale {
        Scale::PerConcept => ("lowest of the concept".to_owned(), "highest".to_owned()),
        Scale::Fixed { from, to } => (number(f64::from(from)), number(f64::from(to))),
    };
    out.add(format_args!("<p class=\"legend\"><span>{low}</span>"));
    for level in 0..=LEVELS as usize {
        out.add(format_args!("<i class=\"h{level}\"></i>"));
    }
    out.add(format_args!("<span>{high}</span></p>\n"));
}

fn picture(out: &mut Markup, page: &Page, heat: &HeatMap) {
    let n_columns = page.concepts.len();
    let cell_w = (FITTING_W / n_columns).clamp(40, 56);
    let longest = page.concepts.iter().map(|concept| concept.name.chars().count()).max().unwrap_or(0).min(24);
    let head = 22 + longest * CHAR_W * 7 / 10;
    let width = LABEL_W + n_columns * cell_w + longest * CHAR_W * 3 / 4;
    let height = head + heat.rows.len() * CELL_H + 6;
    out.add(format_args!(
        "<svg class=\"heat\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" role=\"group\" \
         aria-label=\"Best score of each site for each concept; the same as a table below\">\n"
    ));
    for (column, concept) in page.concepts.iter().enumerate() {
        let (x, y) = (LABEL_W + column * cell_w + cell_w / 2 - 4, head - 8);
        out.add(format_args!(
            "<a href=\"#c-{column}\"><text class=\"col\" transform=\"translate({x} {y}) rotate(-42)\">{}<title>{}</title>\
             </text></a>\n",
            esc(&clipped(&concept.name, 24)),
            esc(&concept.name),
        ));
    }
    let ranges: Vec<Option<(f32, f32)>> = (0..n_columns).map(|column| range(heat, column)).collect();
    let winners: Vec<Option<usize>> = (0..n_columns).map(|column| winner(heat, column)).collect();
    for (row, site) in heat.rows.iter().enumerate() {
        let top = head + row * CELL_H;
        out.add(format_args!(
            "<text class=\"row\" x=\"{}\" y=\"{}\">{}</text>\n",
            LABEL_W - 10,
            top + CELL_H / 2 + 4,
            esc(&clipped(&site.name, 16)),
        ));
        for (column, range) in ranges.iter().enumerate() {
            let (Some(Some(best)), Some(range)) = (site.cells.get(column), range) else { continue };
            let level = level(best.score, *range);
            let frame = if winners[column] == Some(row) { " win" } else { "" };
            let (x, y) = (LABEL_W + column * cell_w, top);
            let cell = format!(
                "<g class=\"h{level}{frame}\"><rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" rx=\"3\"/><text x=\"{}\" \
                 y=\"{}\">{}</text><title>{}, {}: {} at {}</title></g>",
                x + 1,
                y + 1,
                cell_w - 2,
                CELL_H - 2,
                x + cell_w / 2,
                y + CELL_H / 2 + 4,
                number(f64::from(best.score)),
                esc(&page.concepts[column].name),
                esc(&site.name),
                number(f64::from(best.score)),
                best.neuron,
            );
            out.add(linked(page, best, &cell));
        }
    }
    out.add("</svg>\n");
}

/// A cell as a link to its neuron's card, if there is one.
fn linked(page: &Page, best: &Best, cell: &str) -> String {
    if page.neurons.iter().any(|card| card.neuron == best.neuron) {
        format!("<a href=\"#{}\">{cell}</a>\n", anchor(best.neuron))
    } else {
        format!("{cell}\n")
    }
}

/// The same numbers as a table, for those who do not see the picture and those who copy from it.
fn table(out: &mut Markup, page: &Page, heat: &HeatMap) {
    out.add(
        "<details class=\"numbers\"><summary>The same as a table</summary>\n<div class=\"scroll\" tabindex=\"0\">\n",
    );
    out.add("<table>\n<thead><tr><th scope=\"col\">site</th>");
    for concept in &page.concepts {
        out.add(format_args!("<th scope=\"col\">{}</th>", esc(&concept.name)));
    }
    out.add("</tr></thead>\n<tbody>\n");
    for site in &heat.rows {
        out.add(format_args!("<tr><th scope=\"row\">{}</th>", esc(&site.name)));
        for column in 0..page.concepts.len() {
            match site.cells.get(column) {
                Some(Some(best)) => out.add(format_args!(
                    "<td>{}<small>{}</small></td>",
                    number(f64::from(best.score)),
                    short_name(best.neuron)
                )),
                _ => out.add("<td>\u{2013}</td>"),
            }
        }
        out.add("</tr>\n");
    }
    out.add("</tbody>\n</table>\n</div>\n</details>\n");
}

/// The scores of the palest and the strongest color of a column; `None` if it has no score.
fn range(heat: &HeatMap, column: usize) -> Option<(f32, f32)> {
    let scores = column_scores(heat, column);
    let (low, high) = scores.fold(None, |range: Option<(f32, f32)>, (_, score)| {
        Some(range.map_or((score, score), |(low, high)| (low.min(score), high.max(score))))
    })?;
    Some(match heat.scale {
        Scale::PerConcept => (low, high),
        Scale::Fixed { from, to } => (from, to),
    })
}

/// The row with the highest score of a column, the first of equals.
fn winner(heat: &HeatMap, column: usize) -> Option<usize> {
    let mut best: Option<(usize, f32)> = None;
    for (row, score) in column_scores(heat, column) {
        if best.is_none_or(|(_, highest)| score > highest) {
            best = Some((row, score));
        }
    }
    best.map(|(row, _)| row)
}

fn column_scores(heat: &HeatMap, column: usize) -> impl Iterator<Item = (usize, f32)> {
    heat.rows.iter().enumerate().filter_map(move |(row, site)| Some((row, site.cells.get(column)?.as_ref()?.score)))
}

/// The color of a score, 0 to 9.
fn level(score: f32, (from, to): (f32, f32)) -> usize {
    let share = if to > from { (score - from) / (to - from) } else { 1.0 };
    (share.clamp(0.0, 1.0) * LEVELS).round() as usize // a score that is not a number becomes 0
}

/// The first characters of a name, with an ellipsis if some are left out.
fn clipped(name: &str, n: usize) -> String {
    if name.chars().count() <= n {
        name.to_owned()
    } else {
        name.chars().take(n - 1).chain(std::iter::once('\u{2026}')).collect()
    }
}
