//! A page of figures and tables that stands alone.

use super::figure::Figure;
use super::markup::{Markup, esc};
use super::truth::{PAGE, Table, table};

/// A page of figures and tables.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct FigurePage {
    /// The heading.
    pub(crate) title: String,
    /// Paragraphs below it.
    pub(crate) lead: Vec<String>,
    /// The tables, which come first.
    pub(crate) tables: Vec<Table>,
    /// The figures.
    pub(crate) figures: Vec<Figure>,
    /// How the page is made again: a command, and what it ran with.
    pub(crate) again: Option<(String, String)>,
}

const STYLE: &str = "svg.figure{display:block;max-width:100%;height:auto;margin:1.2em 0}pre{overflow-x:auto}";

/// Draws the page: nothing is loaded, and all texts are escaped.
pub(crate) fn render_figures(page: &FigurePage) -> String {
    let mut out = Markup::default();
    out.add("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    out.add("<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n");
    out.add(
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n",
    );
    out.add(format_args!("<title>{}</title>\n<style>{PAGE}{STYLE}</style>\n</head>\n<body>\n", esc(&page.title)));
    out.add(format_args!("<h1>{}</h1>\n", esc(&page.title)));
    for paragraph in &page.lead {
        out.add(format_args!("<p>{}</p>\n", esc(paragraph)));
    }
    for one in &page.tables {
        table(&mut out, one);
    }
    for figure in &page.figures {
        out.add(figure.svg());
    }
    if let Some((command, config)) = &page.again {
        out.add(format_args!(
            "<h2>The same again</h2>\n<pre>{}</pre>\n<details><summary>What it ran with</summary>\n<pre>{}</pre>\n\
             </details>\n",
            esc(command),
            esc(config)
        ));
    }
    out.add("</body>\n</html>\n");
    out.text()
}
