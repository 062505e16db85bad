//! The page of the logit lens: what each layer predicts at each position, what the weights of neurons say.

use serde::{Deserialize, Serialize};

use super::markup::{Markup, esc, number, percent};
use super::{Page, document};

/// All that the page shows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LensPage {
    /// Heading, lead, facts, commands and notes.
    pub about: Page,
    /// The positions of the text that are shown; none if there was no text.
    pub positions: Vec<LensToken>,
    /// The layers, in the order of the forward pass.
    pub layers: Vec<LensRow>,
    /// The neurons.
    pub neurons: Vec<LensNeuron>,
}

/// A position of the text.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LensToken {
    /// Its number, from 0.
    pub position: usize,
    /// The token there.
    pub token: String,
    /// The token that should be predicted there, if the text has it.
    pub target: Option<String>,
}

/// What a layer predicts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LensRow {
    /// The site: `3 resid_post`.
    pub name: String,
    /// A cell a position.
    pub cells: Vec<LensCell>,
}

/// What a layer predicts at a position.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LensCell {
    /// The first tokens and their probabilities.
    pub top: Vec<(String, f64)>,
    /// The target's probability, and how many tokens are predicted before it.
    pub target: Option<(f64, usize)>,
}

/// A neuron and its lists.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LensNeuron {
    /// The neuron.
    pub name: String,
    /// What is known of it.
    pub lists: Vec<LensList>,
    /// What is not known, and why.
    pub notes: Vec<String>,
}

/// Names and weights.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LensList {
    /// What they are.
    pub name: String,
    /// Name and weight, strongest first.
    pub items: Vec<(String, f32)>,
    /// Whether the names are tokens.
    pub tokens: bool,
}

/// Number of colors but one.
const LEVELS: f64 = 9.0;

/// Draws the page.
pub fn render_lens(page: &LensPage) -> String {
    let mut sections = Vec::new();
    if !page.layers.is_empty() {
        sections.push(("layers", "What the layers predict"));
    }
    if !page.neurons.is_empty() {
        sections.push(("weights", "What weights say"));
    }
    if !page.about.commands.is_empty() || !page.about.notes.is_empty() {
        sections.push(("repeat", "How to repeat"));
    }
    document(&page.about, &sections, |out| {
        if !page.layers.is_empty() {
            layers(out, page);
        }
        if !page.neurons.is_empty() {
            neurons(out, page);
        }
    })
}

fn layers(out: &mut Markup, page: &LensPage) {
    out.add(
        "<section id=\"layers\">\n<h2>What the layers predict</h2>\n<p>The first token that each layer predicts at each \
         position, colored by its probability, which stands below it. A frame marks the token of the text. Point at a \
         cell for more.</p>\n<p class=\"legend\"><span>0%</span>",
    );
    for level in 0..=LEVELS as usize {
        out.add(format_args!("<i class=\"h{level}\"></i>"));
    }
    out.add(
        "<span>100%</span></p>\n<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Predictions\">\n<table \
         class=\"lens\">\n<thead><tr><th scope=\"col\">position</th>",
    );
    for token in &page.positions {
        out.add(format_args!(
            "<th scope=\"col\">{}<small>{}</small></th>",
            esc(&visible(&token.token)),
            token.position
        ));
    }
    out.add("</tr></thead>\n<tbody>\n");
    // The last layer on top, as the stream rises.
    for row in page.layers.iter().rev() {
        out.add(format_args!("<tr><th scope=\"row\">{}</th>", esc(&row.name)));
        for (cell, token) in row.cells.iter().zip(&page.positions) {
            layer_cell(out, cell, token);
        }
        out.add("</tr>\n");
    }
    out.add("</tbody>\n");
    if page.positions.iter().any(|token| token.target.is_some()) {
        out.add("<tfoot><tr><th scope=\"row\">the text has</th>");
        for token in &page.positions {
            out.add(format_args!("<td>{}</td>", esc(&token.target.as_deref().map_or_else(String::new, visible))));
        }
        out.add("</tr></tfoot>\n");
    }
    out.add("</table>\n</div>\n</section>\n");
}

fn layer_cell(out: &mut Markup, cell: &LensCell, token: &LensToken) {
    let Some((first, probability)) = cell.top.first() else {
        out.add("<td></td>");
        return;
    };
    let level = (probability.clamp(0.0, 1.0) * LEVELS).round() as usize;
    let hit = if cell.target.is_some_and(|(_, rank)| rank == 0) { " hit" } else { "" };
    let mut title: Vec<String> =
        cell.top.iter().map(|(token, probability)| format!("{} {}", visible(token), percent(*probability))).collect();
    if let (Some((probability, rank)), Some(target)) = (cell.target, &token.target) {
        title.push(format!("the text has {}: {}, place {}", visible(target), percent(probability), rank + 1));
    }
    out.add(format_args!(
        "<td class=\"h{level}{hit}\" title=\"{}\">{}<small>{}</small></td>",
        esc(&title.join("\n")),
        esc(&clipped(&visible(first))),
        percent(*probability),
    ));
}

fn neurons(out: &mut Markup, page: &LensPage) {
    out.add("<section id=\"weights\">\n<h2>What weights say</h2>\n");
    for neuron in &page.neurons {
        out.add(format_args!("<article class=\"card\">\n<header><h3>{}</h3></header>\n", esc(&neuron.name)));
        out.add("<div class=\"tables\">\n");
        for list in neuron.lists.iter().filter(|list| !list.items.is_empty()) {
            out.add(format_args!("<section><h4>{}</h4>\n<table>\n<tbody>\n", esc(&list.name)));
            for (name, weight) in &list.items {
                let name = if list.tokens {
                    format!("<span class=\"token\">{}</span>", esc(&visible(name)))
                } else {
                    format!("<span class=\"neuron\">{}</span>", esc(name))
                };
                let weight = number(f64::from(*weight));
                out.add(format_args!("<tr><th scope=\"row\">{name}</th><td class=\"num\">{weight}</td></tr>\n"));
            }
            out.add("</tbody>\n</table>\n</section>\n");
        }
        out.add("</div>\n");
        for note in &neuron.notes {
            out.add(format_args!("<p class=\"none\">{}</p>\n", esc(note)));
        }
        out.add("</article>\n");
    }
    out.add("</section>\n");
}

/// A token with its spaces and line ends to be seen.
fn visible(token: &str) -> String {
    let seen = |c: char| match c {
        '\n' => '\u{21b5}',
        '\t' => '\u{21e5}',
        c if c.is_whitespace() => '\u{2423}',
        c => c,
    };
    token.chars().map(seen).collect()
}

/// The first characters of a token.
fn clipped(token: &str) -> String {
    const SHOWN: usize = 14;
    if token.chars().count() <= SHOWN {
        return token.to_owned();
    }
    token.chars().take(SHOWN - 1).chain(std::iter::once('\u{2026}')).collect()
}
