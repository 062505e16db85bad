//! The report as one HTML page: a pure function of plain values.
//!
//! [`render`] draws a [`Page`]. The page loads nothing (style and script are in it, and its content policy forbids all
//! requests), works without script and without color, follows the reader's light or dark setting, and can be printed.
//! Every text of a [`Page`] may come from a stranger: all of it is escaped.

mod cards;
mod charts;
pub(crate) mod evidence;
mod figure;
mod figures;
mod heat_map;
mod lens;
mod markup;
mod overview;
mod passage;
mod sheet;
pub(crate) mod truth;
mod view;

use nissl_core::NeuronId;
use serde::{Deserialize, Serialize};

pub use figure::{Anchor, Band, Color, Curve, Figure, Grid, Line, Shape};
pub(crate) use figures::{FigurePage, render_figures};
pub use lens::{LensCell, LensList, LensNeuron, LensPage, LensRow, LensToken, render_lens};
pub(crate) use markup::count;
use markup::{Markup, esc};
pub use sheet::{SheetPage, SheetRow, render_sheet};
pub(crate) use view::{draw_views, render_views};

/// All that the page shows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Page {
    /// The heading: what was looked at.
    pub title: String,
    /// One or two sentences below it.
    pub lead: String,
    /// Facts in groups: the model, the text, the run.
    pub facts: Vec<FactGroup>,
    /// What the neurons were ranked for.
    pub concepts: Vec<Concept>,
    /// A result a method; the first is shown first.
    pub methods: Vec<MethodResult>,
    /// Neurons looked at closely, in the order in which they are shown.
    pub neurons: Vec<NeuronCard>,
    /// How to get the same page again, and how to go on from it.
    pub commands: Vec<Command>,
    /// What a careful reader must know: what was dropped, cut, or not computed.
    pub notes: Vec<String>,
}

/// Facts that belong together.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FactGroup {
    /// `Model`, `Text`, `Run`.
    pub name: String,
    /// Names and values, in order.
    pub facts: Vec<Fact>,
}

/// A name and a value.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fact {
    /// What it is.
    pub name: String,
    /// What it is equal to, as it is shown.
    pub value: String,
}

/// A concept that neurons were ranked for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Concept {
    /// Its name.
    pub name: String,
    /// How it was made: `the words of a list`, `upos = NOUN`.
    pub source: String,
    /// Number of rows that bear it; 0 in all concepts of a page whose rows were not counted.
    pub n_rows: u64,
    /// Share of all rows, 0 to 1.
    pub share: f64,
}

/// What one method found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MethodResult {
    /// The method's name.
    pub name: String,
    /// What its score means, in a sentence.
    pub summary: String,
    /// The best score of every site for every concept.
    pub heat: HeatMap,
    /// The best neurons of each concept, in the order of [`Page::concepts`].
    pub best: Vec<Vec<Best>>,
}

/// The best score of every site (rows) for every concept (columns).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeatMap {
    /// How scores become colors.
    pub scale: Scale,
    /// The sites, in the order of the forward pass.
    pub rows: Vec<HeatRow>,
}

/// How scores become colors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Scale {
    /// Each concept by itself, from its lowest to its highest score: for scores without a common unit.
    #[default]
    PerConcept,
    /// From one score to another: for scores that can be compared between concepts.
    Fixed {
        /// The score of the palest color.
        from: f32,
        /// The score of the strongest color.
        to: f32,
    },
}

/// A row of a heat map: one site.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeatRow {
    /// The site: `2 mlp_post`.
    pub name: String,
    /// The best neuron of the site for each concept, in the order of [`Page::concepts`]; `None` where there is none.
    pub cells: Vec<Option<Best>>,
}

/// A neuron and its score for a concept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Best {
    /// The neuron.
    pub neuron: NeuronId,
    /// Its score, higher is more important.
    pub score: f32,
    /// Whether it is higher (`Some(true)`) or lower on the concept's rows, where the method says so.
    #[serde(default)]
    pub rises: Option<bool>,
}

/// One neuron, looked at closely.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NeuronCard {
    /// The neuron.
    pub neuron: NeuronId,
    /// Mean activation over all rows.
    pub mean: f64,
    /// Standard deviation over all rows.
    pub std: f64,
    /// Smallest activation.
    pub min: f32,
    /// Largest activation.
    pub max: f32,
    /// How its activations are spread.
    pub histogram: Histogram,
    /// Its best concepts, best first.
    pub concepts: Vec<ConceptScore>,
    /// Words by how strongly it reacts to them, best first.
    pub words: Vec<Word>,
    /// The places where it is highest, highest first.
    pub top: Vec<Passage>,
    /// The places where it is lowest, lowest first.
    #[serde(default)]
    pub bottom: Vec<Passage>,
}

/// How often activations fall into equal intervals.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Histogram {
    /// Lower end of the first interval.
    pub from: f32,
    /// Upper end of the last interval.
    pub to: f32,
    /// Rows in each interval.
    pub all: Vec<u64>,
    /// The same of the rows that bear a concept: an index into [`Page::concepts`] and the counts.
    #[serde(default)]
    pub concept: Option<(usize, Vec<u64>)>,
}

/// A concept's score at a neuron.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConceptScore {
    /// Index into [`Page::methods`].
    pub method: usize,
    /// Index into [`Page::concepts`].
    pub concept: usize,
    /// The score.
    pub score: f32,
    /// The neuron's place in the concept's ranking, from 0.
    pub rank: usize,
}

/// A word type and how a neuron reacts to it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Word {
    /// The word.
    pub text: String,
    /// Strength of the reaction, as a share of the strongest: 0 to 1.
    pub score: f32,
    /// Signed mean deviation in standard deviations.
    pub deviation: f32,
    /// Number of occurrences.
    pub count: u64,
}

/// A sentence with the activation at each word.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Passage {
    /// Name of the sentence.
    pub source: String,
    /// The words, in order.
    pub words: Vec<PassageWord>,
    /// The word that the passage is shown for: an index into `words`.
    pub at: usize,
}

/// A word of a passage.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PassageWord {
    /// What stands between the word before and this one.
    pub before: String,
    /// The word.
    pub text: String,
    /// The activation; `None` where the word has no row.
    pub activation: Option<f32>,
}

/// A command line and what it does.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Command {
    /// What it does.
    pub what: String,
    /// The line.
    pub line: String,
}

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// Draws the page.
///
/// ```
/// use nissl_tasks::html::{Page, render};
///
/// let html = render(&Page { title: "Neurons of <a model>".to_owned(), ..Page::default() });
/// assert!(html.starts_with("<!doctype html>") && html.contains("Neurons of &lt;a model&gt;"));
/// ```
pub fn render(page: &Page) -> String {
    document(page, &sections(page), |out| {
        overview::concepts(out, page);
        heat_map::section(out, page);
        overview::best_neurons(out, page);
        cards::section(out, page);
    })
}

/// Draws the page with what makes its rankings believable before the neurons up close.
pub(crate) fn render_report(page: &Page, evidence: &evidence::Evidence) -> String {
    let mut all = sections(page);
    let before = all.iter().position(|(anchor, _)| *anchor == "neurons").unwrap_or(all.len());
    all.splice(before..before, [("few", "What few neurons tell"), ("agree", "Agreement"), ("found", "Chance")]);
    document(page, &all, |out| {
        overview::concepts(out, page);
        heat_map::section(out, page);
        overview::best_neurons(out, page);
        evidence::sections(out, evidence);
        cards::section(out, page);
    })
}

/// A document: heading and facts of `page`, links to `sections`, what `body` writes, how to repeat it.
fn document(page: &Page, sections: &[(&str, &str)], body: impl FnOnce(&mut Markup)) -> String {
    let mut out = Markup::default();
    out.add(format_args!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; \
         script-src 'unsafe-inline'\">\n<meta name=\"generator\" content=\"nissl {}\">\n<title>{}</title>\n\
         <style>\n{STYLE}</style>\n</head>\n<body>\n<a class=\"skip\" href=\"#main\">Skip to the findings</a>\n",
        env!("CARGO_PKG_VERSION"),
        esc(&page.title),
    ));
    overview::masthead(&mut out, page);
    out.add("<div class=\"frame\">\n");
    navigation(&mut out, page, sections);
    out.add("<main id=\"main\">\n");
    body(&mut out);
    overview::repeat(&mut out, page);
    out.add("</main>\n</div>\n");
    out.add(format_args!("<script>\n{SCRIPT}</script>\n</body>\n</html>\n"));
    out.text()
}

/// The sections that a page has: anchor and name.
fn sections(page: &Page) -> Vec<(&'static str, &'static str)> {
    let has_scores = !page.methods.is_empty() && !page.concepts.is_empty();
    [
        (!page.concepts.is_empty(), ("concepts", "Concepts")),
        (has_scores, ("layers", "Where they are")),
        (has_scores, ("best", "Best neurons")),
        (!page.neurons.is_empty(), ("neurons", "Neurons up close")),
        (!page.commands.is_empty() || !page.notes.is_empty(), ("repeat", "How to repeat")),
    ]
    .into_iter()
    .filter_map(|(there, section)| there.then_some(section))
    .collect()
}

fn navigation(out: &mut Markup, page: &Page, sections: &[(&str, &str)]) {
    out.add("<nav aria-label=\"Contents\">\n<ul>\n");
    for (anchor, name) in sections {
        out.add(format_args!("<li><a href=\"#{anchor}\">{name}</a>"));
        if *anchor == "neurons" {
            out.add("\n<ul>\n");
            for card in &page.neurons {
                let anchor = markup::anchor(card.neuron);
                out.add(format_args!("<li><a href=\"#{anchor}\">{}</a></li>\n", markup::short_name(card.neuron)));
            }
            out.add("</ul>\n");
        }
        out.add("</li>\n");
    }
    out.add("</ul>\n</nav>\n");
}

#[cfg(test)]
mod tests;
