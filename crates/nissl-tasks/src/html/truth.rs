//! Curves of several methods side by side, a panel a question: as one drawing, and as a page around it.

use nissl_methods::probes::inference::Interval;

use super::markup::{Markup, esc};

const PANEL: (f64, f64) = (360.0, 250.0);
const ACROSS: usize = 2;
const LEFT: f64 = 38.0;
const RIGHT: f64 = 10.0;
const TOP: f64 = 26.0;
const BOTTOM: f64 = 30.0;
const LEGEND_LINE: f64 = 20.0;

/// Colors that people who do not see all colors can tell apart, with shapes beside them.
const COLORS: [&str; 8] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7a7a00", "#884ea0"];

/// What is drawn.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Panels {
    /// The heading.
    pub(crate) title: String,
    /// What runs up, from 0 to 1.
    pub(crate) y: String,
    /// The methods.
    pub(crate) names: Vec<String>,
    /// The panels.
    pub(crate) panels: Vec<Panel>,
}

/// Curves over some steps.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Panel {
    /// What runs to the right.
    pub(crate) title: String,
    /// The steps, side by side.
    pub(crate) ticks: Vec<String>,
    /// What chance gives at each step.
    pub(crate) chance: Vec<f64>,
    /// What each method gives at each step.
    pub(crate) lines: Vec<Vec<Option<Interval>>>,
}

/// A table: its heading, what it shows, names of columns, and rows with their names.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Table {
    pub(crate) title: String,
    pub(crate) lead: String,
    pub(crate) columns: Vec<String>,
    pub(crate) rows: Vec<(String, Vec<String>)>,
}

/// The drawing alone, with colors of its own for light and dark.
pub(crate) fn svg(panels: &Panels) -> String {
    let mut out = Markup::default();
    draw(&mut out, panels);
    out.text()
}

/// A page with the drawing and tables: nothing is loaded, and all texts are escaped.
pub(crate) fn page(panels: &Panels, tables: &[Table]) -> String {
    let mut out = Markup::default();
    out.add("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    out.add("<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n");
    out.add(
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n",
    );
    out.add(format_args!("<title>{}</title>\n<style>{PAGE}</style>\n</head>\n<body>\n", esc(&panels.title)));
    out.add(format_args!("<h1>{}</h1>\n", esc(&panels.title)));
    if !panels.panels.is_empty() {
        draw(&mut out, panels);
    }
    for one in tables {
        table(&mut out, one);
    }
    out.add("</body>\n</html>\n");
    out.text()
}

/// Draws a table under its heading.
pub(super) fn table(out: &mut Markup, table: &Table) {
    out.add(format_args!(
        "<h2>{}</h2>\n<p>{}</p>\n<div class=\"wide\"><table>\n<thead><tr><th></th>",
        esc(&table.title),
        esc(&table.lead)
    ));
    for column in &table.columns {
        out.add(format_args!("<th scope=\"col\">{}</th>", esc(column)));
    }
    out.add("</tr></thead>\n<tbody>\n");
    for (name, cells) in &table.rows {
        out.add(format_args!("<tr><th scope=\"row\">{}</th>", esc(name)));
        for cell in cells {
            out.add(format_args!("<td>{}</td>", esc(cell)));
        }
        out.add("</tr>\n");
    }
    out.add("</tbody>\n</table></div>\n");
}

/// The style of a page of tables.
pub(super) const PAGE: &str = ":root{color-scheme:light dark}body{font:15px/1.45 system-ui,sans-serif;max-width:1000px;margin:2em \
auto;padding:0 1em}table{border-collapse:collapse;font-variant-numeric:tabular-nums}th,td{padding:.15em .6em;text-align:\
right;border-bottom:1px solid #8884}tbody th{text-align:left;font-weight:400;white-space:nowrap}.wide{overflow-x:auto}";

const STYLE: &str = "svg.truth{--ink:#222;--grid:#ddd;font:12px system-ui,sans-serif;width:100%;height:auto}\
@media(prefers-color-scheme:dark){svg.truth{--ink:#ddd;--grid:#444}}svg.truth text{fill:var(--ink)}\
svg.truth .grid{stroke:var(--grid)}svg.truth .chance{stroke:var(--ink);stroke-dasharray:2 4;fill:none}";

pub(super) fn draw(out: &mut Markup, panels: &Panels) {
    let n_lines = panels.names.len().div_ceil(4);
    let legend = LEGEND_LINE * n_lines as f64 + 14.0;
    let width = PANEL.0 * ACROSS as f64;
    let height = legend + PANEL.1 * panels.panels.len().div_ceil(ACROSS) as f64;
    out.add(format_args!(
        "<svg class=\"truth\" xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" role=\"img\" \
         aria-label=\"{}\">\n<style>{STYLE}</style>\n",
        esc(&panels.title)
    ));
    for (idx, name) in panels.names.iter().enumerate() {
        let (x, y) = (10.0 + (idx % 4) as f64 * width / 4.0, 14.0 + (idx / 4) as f64 * LEGEND_LINE);
        mark(out, idx, x + 6.0, y);
        out.add(format_args!("<text x=\"{:.1}\" y=\"{:.1}\">{}</text>\n", x + 18.0, y + 4.0, esc(name)));
    }
    for (idx, panel) in panels.panels.iter().enumerate() {
        let (x, y) = ((idx % ACROSS) as f64 * PANEL.0, legend + (idx / ACROSS) as f64 * PANEL.1);
        out.add(format_args!("<g transform=\"translate({x:.1} {y:.1})\">\n"));
        draw_panel(out, panel, &panels.y);
        out.add("</g>\n");
    }
    out.add("</svg>\n");
}

fn draw_panel(out: &mut Markup, panel: &Panel, y_name: &str) {
    let n = panel.ticks.len().max(2);
    let x = |step: usize| LEFT + 12.0 + step as f64 / (n - 1) as f64 * (PANEL.0 - LEFT - RIGHT - 24.0);
    let y = |value: f64| TOP + (1.0 - value) * (PANEL.1 - TOP - BOTTOM);
    out.add(format_args!("<text x=\"{LEFT}\" y=\"14\"><title>{}</title>{}</text>\n", esc(y_name), esc(&panel.title)));
    for quarter in 0..=4 {
        let value = f64::from(quarter) / 4.0;
        let at = y(value);
        out.add(format_args!(
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/><text x=\"{}\" y=\"{:.1}\" \
             text-anchor=\"end\">{value}</text>\n",
            PANEL.0 - RIGHT,
            LEFT - 5.0,
            at + 4.0
        ));
    }
    for (step, tick) in panel.ticks.iter().enumerate() {
        let below = PANEL.1 - BOTTOM + 16.0;
        out.add(format_args!("<text x=\"{:.1}\" y=\"{below}\" text-anchor=\"middle\">{}</text>\n", x(step), esc(tick)));
    }
    let chance: Vec<String> =
        panel.chance.iter().enumerate().map(|(step, &value)| format!("{:.1},{:.1}", x(step), y(value))).collect();
    out.add(format_args!("<polyline class=\"chance\" points=\"{}\"/>\n", chance.join(" ")));
    for (idx, line) in panel.lines.iter().enumerate() {
        // Side by side, so that intervals can be told apart.
        let aside = (idx as f64 - (panel.lines.len() as f64 - 1.0) / 2.0) * 1.6;
        let color = COLORS[idx % COLORS.len()];
        let known = line.iter().enumerate().filter_map(|(step, at)| Some((x(step) + aside, (*at)?)));
        let known: Vec<(f64, Interval)> = known.collect();
        let points: Vec<String> = known.iter().map(|(x, at)| format!("{x:.1},{:.1}", y(at.value))).collect();
        out.add(format_args!(
            "<polyline fill=\"none\" stroke=\"{color}\" stroke-width=\"1.4\"{} points=\"{}\"/>\n",
            if idx >= COLORS.len() { " stroke-dasharray=\"5 2\"" } else { "" },
            points.join(" ")
        ));
        for (x, at) in known {
            out.add(format_args!(
                "<line stroke=\"{color}\" stroke-opacity=\".5\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{:.1}\" y2=\"{:.1}\"/>",
                y(at.low),
                y(at.high)
            ));
            mark(out, idx, x, y(at.value));
        }
    }
}

/// A mark of a method's color and shape.
fn mark(out: &mut Markup, idx: usize, x: f64, y: f64) {
    let color = COLORS[idx % COLORS.len()];
    // Where colors begin again, shapes do not.
    let shape = match (idx + idx / COLORS.len()) % 4 {
        0 => format!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.2\" fill=\"{color}\"/>"),
        1 => format!("<rect x=\"{:.1}\" y=\"{:.1}\" width=\"6\" height=\"6\" fill=\"{color}\"/>", x - 3.0, y - 3.0),
        2 => format!("<path d=\"M{x:.1} {:.1}l4 7h-8z\" fill=\"{color}\"/>", y - 4.0),
        _ => format!("<path d=\"M{x:.1} {:.1}l4 4l-4 4l-4 -4z\" fill=\"{color}\"/>", y - 4.0),
    };
    out.add(format_args!("{shape}\n"));
}
