//! Figures as SVG.

use super::super::markup::{Markup, esc};
use super::{Anchor, Color, Figure, LETTERS, SERIES, Shape};

/// What lines of a dark page are mixed with, so that they stand out of it.
const LIGHTER: f64 = 0.35;

pub(super) fn svg(figure: &Figure) -> String {
    let mut out = Markup::default();
    let (width, height) = figure.size;
    out.add(format_args!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"figure\" viewBox=\"0 0 {width:.0} {height:.0}\" \
         width=\"{width:.0}\" height=\"{height:.0}\" role=\"img\">\n<title>{}</title>\n<desc>{}</desc>\n<style>{}</style>\n",
        esc(&figure.title),
        esc(&figure.note),
        style()
    ));
    for shape in &figure.shapes {
        draw(&mut out, shape);
    }
    out.add("</svg>\n");
    out.text()
}

fn style() -> String {
    let mut style = format!(
        ".figure text{{font:{LETTERS}px system-ui,sans-serif}}.figure polyline{{fill:none;stroke-linejoin:round}}\
         .fi{{fill:#222}}.fi-l{{stroke:#222}}.ff{{fill:#ddd}}.ff-l{{stroke:#ddd}}"
    );
    let mut dark = String::from(".fi{fill:#ddd}.fi-l{stroke:#ddd}.ff{fill:#444}.ff-l{stroke:#444}");
    for (idx, rgb) in SERIES.into_iter().enumerate() {
        let light = rgb.map(|part| (f64::from(part) + (255.0 - f64::from(part)) * LIGHTER) as u8);
        for (style, color) in [(&mut style, hex(rgb)), (&mut dark, hex(light))] {
            style.extend([format!(".f{idx}{{fill:{color}}}.f{idx}-l{{stroke:{color}}}")]);
        }
    }
    format!("{style}@media(prefers-color-scheme:dark){{{dark}}}")
}

fn hex([red, green, blue]: [u8; 3]) -> String {
    format!("#{red:02x}{green:02x}{blue:02x}")
}

/// What fills a shape with a color.
fn fill(color: Color) -> String {
    match color {
        Color::Ink => "class=\"fi\"".to_owned(),
        Color::Faint => "class=\"ff\"".to_owned(),
        Color::Series(idx) => format!("class=\"f{}\"", idx % SERIES.len()),
        Color::Heat(_) | Color::OnHeat(_) => format!("fill=\"{}\"", hex(color.rgb())),
    }
}

/// What draws a line in a color.
fn stroke(color: Color) -> String {
    match color {
        Color::Ink => "class=\"fi-l\"".to_owned(),
        Color::Faint => "class=\"ff-l\"".to_owned(),
        Color::Series(idx) => format!("class=\"f{}-l\"", idx % SERIES.len()),
        Color::Heat(_) | Color::OnHeat(_) => format!("stroke=\"{}\"", hex(color.rgb())),
    }
}

fn draw(out: &mut Markup, shape: &Shape) {
    let list =
        |points: &[(f64, f64)]| points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect::<Vec<_>>().join(" ");
    match shape {
        Shape::Line { points, color, width } => out.add(format_args!(
            "<polyline {} stroke-width=\"{width}\" points=\"{}\"/>\n",
            stroke(*color),
            list(points)
        )),
        Shape::Area { points, color } => {
            out.add(format_args!("<polygon {} fill-opacity=\"0.25\" points=\"{}\"/>\n", fill(*color), list(points)));
        }
        Shape::Box { at, size, color } => out.add(format_args!(
            "<rect {} x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\"/>\n",
            fill(*color),
            at.0,
            at.1,
            size.0,
            size.1
        )),
        Shape::Text { at, text, anchor, color } => {
            let anchor = match anchor {
                Anchor::Start => "start",
                Anchor::Middle => "middle",
                Anchor::End => "end",
            };
            out.add(format_args!(
                "<text {} x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{}</text>\n",
                fill(*color),
                at.0,
                at.1,
                esc(text)
            ));
        }
    }
}
