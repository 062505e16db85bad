//! Writing HTML: the growing text, escaping, numbers and anchors.

use std::fmt::{self, Write as _};

use nissl_core::NeuronId;

use super::{Best, Page};

/// The text of a page as it grows.
#[derive(Default)]
pub(super) struct Markup(String);

impl Markup {
    /// Appends markup. Texts of a page are wrapped in [`esc`] by the caller.
    pub(super) fn add(&mut self, markup: impl fmt::Display) {
        write!(self.0, "{markup}").expect("writing to a string cannot fail");
    }

    /// What was written.
    pub(super) fn text(self) -> String {
        self.0
    }
}

/// A text that shows as itself wherever it stands in HTML: between tags and in quoted attributes.
pub(super) fn esc(text: &str) -> Escaped<'_> {
    Escaped(text)
}

/// See [`esc`].
pub(super) struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                // No control character is a text, and the marks that turn the writing around could make what follows
                // look like something else.
                '\n' | '\t' => f.write_char(c)?,
                '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => f.write_char(char::REPLACEMENT_CHARACTER)?,
                c if c.is_control() => f.write_char(char::REPLACEMENT_CHARACTER)?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

/// Three significant digits, as people write them: `0.913`, `-12.4`, `1870`, `2.1e-5`.
pub(super) fn number(value: f64) -> String {
    let size = value.abs();
    let digits = match size {
        _ if !value.is_finite() => return "n/a".to_owned(),
        0.0 => return "0".to_owned(),
        1e-4..0.9995 => 3,
        0.9995..9.995 => 2,
        9.995..99.95 => 1,
        99.95..1e6 => 0,
        _ => return format!("{value:.1e}").replace('-', "\u{2212}"),
    };
    format!("{value:.digits$}").replace('-', "\u{2212}")
}

/// A count with a thin space between thousands.
pub(crate) fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3 * 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            grouped.push('\u{2009}');
        }
        grouped.push(digit);
    }
    grouped
}

/// A share as percent: `4.2%`.
pub(super) fn percent(share: f64) -> String {
    if !share.is_finite() {
        "n/a".to_owned()
    } else if share > 0.0 && share < 0.001 {
        "<0.1%".to_owned()
    } else {
        format!("{:.1}%", share * 100.0)
    }
}

/// Where a neuron's card is: `n-blocks-2-mlp-hook_post-341`.
pub(super) fn anchor(neuron: NeuronId) -> String {
    let name = neuron.to_string();
    let plain: String = name.chars().map(|c| if c.is_alphanumeric() || c == '_' { c } else { '-' }).collect();
    format!("n-{}", plain.trim_end_matches('-'))
}

/// The name by which people speak of a neuron: `2 mlp_post 341`.
pub(super) fn short_name(neuron: NeuronId) -> String {
    let site = format!("{}{}", neuron.point.stack().prefix(), neuron.point.site());
    match neuron.point.layer() {
        Some(layer) => format!("{layer} {site} {}", neuron.idx),
        None => format!("{site} {}", neuron.idx),
    }
}

/// A neuron's name, as a link if it has a card.
pub(super) fn neuron_link(page: &Page, neuron: NeuronId) -> String {
    let name = short_name(neuron);
    if page.neurons.iter().any(|card| card.neuron == neuron) {
        format!("<a class=\"neuron\" href=\"#{}\" title=\"{neuron}\">{name}</a>", anchor(neuron))
    } else {
        format!("<span class=\"neuron\" title=\"{neuron}\">{name}</span>")
    }
}

/// An arrow for the direction of a neuron's reaction, with its meaning in words.
pub(super) fn direction(best: &Best) -> &'static str {
    match best.rises {
        Some(true) => "<span class=\"up\" title=\"higher on the concept's words\">\u{2191}</span>",
        Some(false) => "<span class=\"down\" title=\"lower on the concept's words\">\u{2193}</span>",
        None => "",
    }
}

/// A bar of a share of its column's width, with its number beside it.
pub(super) fn bar(share: f64, label: &str) -> String {
    let width = if share.is_finite() { share.clamp(0.0, 1.0) * 100.0 } else { 0.0 };
    format!("<span class=\"bar\"><i style=\"width:{width:.1}%\"></i></span><span class=\"num\">{}</span>", esc(label))
}

/// Opens the panels of a section that shows the same of several methods. Without script they stand one below the
/// other, each under its method's name and, if asked for, its meaning.
pub(super) fn panels(out: &mut Markup, page: &Page, explain: bool, mut body: impl FnMut(&mut Markup, usize)) {
    out.add("<div class=\"panels\">\n");
    for (i, method) in page.methods.iter().enumerate() {
        out.add(format_args!(
            "<section class=\"panel\" data-method=\"{i}\" aria-label=\"{0}\">\n<h3 class=\"method\">{0}</h3>\n",
            esc(&method.name),
        ));
        if explain {
            out.add(format_args!("<p class=\"about\">{}</p>\n", esc(&method.summary)));
        }
        body(out, i);
        out.add("</section>\n");
    }
    out.add("</div>\n");
}
