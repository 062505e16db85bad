//! Lines over an axis, as a page of its own: how a loss went.

use super::markup::{Markup, esc, number};

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 360.0;
const LEFT: f64 = 56.0;
const BOTTOM: f64 = 36.0;

/// Colors of lines, that come again after so many.
const COLORS: usize = 6;

/// A page with lines over an axis.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Curve {
    /// The heading.
    pub title: String,
    /// What runs to the right.
    pub x: String,
    /// What runs up.
    pub y: String,
    /// The lines, the first one in front.
    pub lines: Vec<Line>,
}

/// A line.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Line {
    /// What it shows.
    pub name: String,
    /// Its points from left to right; those that are no numbers are left out.
    pub points: Vec<(f64, f64)>,
}

const STYLE: &str = ":root{color-scheme:light dark;--ink:#222;--grid:#ddd;--a:#2a6fb0;--b:#c2571a;--c:#2f8f4e;--d:#8a4fae;--e:#a08a1a;--f:#777}\
@media(prefers-color-scheme:dark){:root{--ink:#ddd;--grid:#444;--a:#6db3f2;--b:#f0955a;--c:#73c98f;--d:#c39be0;--e:#d8c463;--f:#aaa}}\
body{font:15px/1.4 system-ui,sans-serif;color:var(--ink);max-width:820px;margin:2em auto;padding:0 1em}\
svg{width:100%;height:auto}text{fill:var(--ink);font-size:12px}.grid{stroke:var(--grid)}\
polyline{fill:none;stroke-width:1.6}.l0{stroke:var(--a)}.l1{stroke:var(--b);stroke-width:2.4}\
.l2{stroke:var(--c)}.l3{stroke:var(--d)}.l4{stroke:var(--e)}.l5{stroke:var(--f)}\
.k0{color:var(--a)}.k1{color:var(--b)}.k2{color:var(--c)}.k3{color:var(--d)}.k4{color:var(--e)}.k5{color:var(--f)}";

/// Draws the page: nothing is loaded, and all texts are escaped.
pub fn curve(curve: &Curve) -> String {
    let mut out = Markup::default();
    out.add("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    out.add(
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n",
    );
    out.add(format_args!("<title>{}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n", esc(&curve.title)));
    out.add(format_args!("<h1>{}</h1>\n", esc(&curve.title)));
    let finite = |line: &Line| -> Vec<(f64, f64)> {
        line.points.iter().copied().filter(|(x, y)| x.is_finite() && y.is_finite()).collect()
    };
    let lines: Vec<Vec<(f64, f64)>> = curve.lines.iter().map(finite).collect();
    let all = || lines.iter().flatten().copied();
    let ends = |values: &mut dyn Iterator<Item = f64>| {
        values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)))
    };
    let (x_ends, y_ends) = (ends(&mut all().map(|point| point.0)), ends(&mut all().map(|point| point.1)));
    if x_ends.0.is_finite() {
        draw(&mut out, curve, &lines, x_ends, y_ends);
    } else {
        out.add("<p>No points.</p>\n");
    }
    out.add("</body>\n</html>\n");
    out.text()
}

fn draw(out: &mut Markup, curve: &Curve, lines: &[Vec<(f64, f64)>], x_ends: (f64, f64), y_ends: (f64, f64)) {
    let share = |value: f64, (low, high): (f64, f64)| if high > low { (value - low) / (high - low) } else { 0.5 };
    let x = |value: f64| LEFT + share(value, x_ends) * (WIDTH - LEFT - 12.0);
    let y = |value: f64| (HEIGHT - BOTTOM) - share(value, y_ends) * (HEIGHT - BOTTOM - 12.0);
    out.add(format_args!(
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{} over {}\">\n",
        esc(&curve.y),
        esc(&curve.x)
    ));
    for i in 0..=4 {
        let part = f64::from(i) / 4.0;
        let (at_x, at_y) = (x_ends.0 + part * (x_ends.1 - x_ends.0), y_ends.0 + part * (y_ends.1 - y_ends.0));
        let (px, py) = (x(at_x), y(at_y));
        out.add(format_args!("<line class=\"grid\" x1=\"{LEFT}\" x2=\"{WIDTH}\" y1=\"{py:.1}\" y2=\"{py:.1}\"/>\n"));
        out.add(format_args!(
            "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\n",
            LEFT - 6.0,
            py + 4.0,
            number(at_y)
        ));
        let below = HEIGHT - BOTTOM + 16.0;
        out.add(format_args!(
            "<text x=\"{px:.1}\" y=\"{below}\" text-anchor=\"middle\">{}</text>\n",
            number(at_x.round())
        ));
    }
    for (idx, line) in lines.iter().enumerate() {
        let points: Vec<String> = line.iter().map(|point| format!("{:.1},{:.1}", x(point.0), y(point.1))).collect();
        out.add(format_args!("<polyline class=\"l{}\" points=\"{}\"/>\n", idx % COLORS, points.join(" ")));
    }
    out.add(format_args!(
        "<text x=\"{WIDTH}\" y=\"{HEIGHT}\" text-anchor=\"end\">{}</text>\n</svg>\n<p>",
        esc(&curve.x)
    ));
    for (idx, line) in curve.lines.iter().enumerate() {
        out.add(format_args!("<b class=\"k{}\">{}</b> ", idx % COLORS, esc(&line.name)));
    }
    out.add(format_args!("({})</p>\n", esc(&curve.y)));
}
