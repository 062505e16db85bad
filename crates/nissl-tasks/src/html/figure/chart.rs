//! Lines over an axis, with intervals around them.

use super::super::markup::number;
use super::{Anchor, Color, Figure, LETTERS, width_of};

const WIDTH: f64 = 760.0;
const PLOT: f64 = 300.0;
const LEFT: f64 = 62.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 40.0;
const AXIS: f64 = 44.0;
const LEGEND_LINE: f64 = 20.0;
/// Length of the piece of a line in the legend.
const PIECE: f64 = 22.0;
/// Numbers along an axis, about.
const TICKS: usize = 5;

/// Lines over an axis.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Curve {
    /// The heading.
    pub title: String,
    /// How it is made again.
    pub note: String,
    /// What runs to the right.
    pub x: String,
    /// Whether equal steps to the right are equal factors; all places must then be above 0.
    pub log_x: bool,
    /// What runs up.
    pub y: String,
    /// The lines, the first one behind the others.
    pub lines: Vec<Line>,
}

/// A line.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Line {
    /// What it shows.
    pub name: String,
    /// Its points from left to right; those that are no numbers are left out.
    pub points: Vec<(f64, f64)>,
    /// Intervals around it, if they are known.
    pub bands: Vec<Band>,
}

/// An interval at a place.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Band {
    /// The place.
    pub x: f64,
    /// Its lower end.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
}

/// How values become places.
struct Axis {
    ends: (f64, f64),
    log: bool,
    from: f64,
    to: f64,
}

impl Axis {
    fn at(&self, value: f64) -> f64 {
        let scale = |value: f64| if self.log { value.ln() } else { value };
        let (low, high) = (scale(self.ends.0), scale(self.ends.1));
        let share = if high > low { (scale(value) - low) / (high - low) } else { 0.5 };
        self.from + share * (self.to - self.from)
    }

    /// Round numbers within the ends, about as many as are wanted; powers of ten, twice and five times them on an axis
    /// of factors.
    fn ticks(&self) -> Vec<f64> {
        let within = |value: &f64| (self.ends.0..=self.ends.1).contains(value);
        if self.log {
            let tens = (self.ends.0.log10().floor() as i32)..=(self.ends.1.log10().ceil() as i32);
            return tens.flat_map(|ten| [1.0, 2.0, 5.0].map(|times| times * 10_f64.powi(ten))).filter(within).collect();
        }
        let rough = (self.ends.1 - self.ends.0) / TICKS as f64;
        if rough <= 0.0 {
            return vec![self.ends.0];
        }
        let ten = 10_f64.powi(rough.log10().floor() as i32);
        let step = [1.0, 2.0, 5.0, 10.0].map(|times| times * ten).into_iter().find(|&step| step >= rough);
        let step = step.unwrap_or(10.0 * ten);
        let first = (self.ends.0 / step).ceil() as i64;
        (first..=first + 2 * TICKS as i64).map(|tick| tick as f64 * step).filter(within).collect()
    }
}

impl Curve {
    /// Draws it.
    pub fn figure(&self) -> Figure {
        let good = |(x, y): (f64, f64)| x.is_finite() && y.is_finite() && (!self.log_x || x > 0.0);
        let lines: Vec<Vec<(f64, f64)>> =
            self.lines.iter().map(|line| line.points.iter().copied().filter(|&point| good(point)).collect()).collect();
        let bands: Vec<Vec<Band>> = self
            .lines
            .iter()
            .map(|line| line.bands.iter().copied().filter(|band| good((band.x, band.low + band.high))).collect())
            .collect();
        let legend = self.legend();
        let rows = legend.last().map_or(0.0, |(_, (_, y))| y / LEGEND_LINE + 1.0);
        let height = TOP + PLOT + AXIS + rows * LEGEND_LINE + 8.0;
        let mut figure =
            Figure { size: (WIDTH, height), title: self.title.clone(), note: self.note.clone(), ..Figure::default() };
        figure.text((LEFT, 16.0), &self.title, Anchor::Start, Color::Ink);
        figure.text((LEFT, 32.0), &self.y, Anchor::Start, Color::Ink);
        figure.text((WIDTH - RIGHT, TOP + PLOT + 36.0), &self.x, Anchor::End, Color::Ink);
        let ends = |values: &mut dyn Iterator<Item = f64>| {
            values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)))
        };
        let x_ends = ends(&mut lines.iter().flatten().map(|point| point.0));
        let of_bands = bands.iter().flatten().flat_map(|band| [band.low, band.high]);
        let y_ends = ends(&mut lines.iter().flatten().map(|point| point.1).chain(of_bands));
        if !x_ends.0.is_finite() {
            figure.text((WIDTH / 2.0, TOP + PLOT / 2.0), "no points", Anchor::Middle, Color::Ink);
            return figure;
        }
        let x = Axis { ends: x_ends, log: self.log_x, from: LEFT, to: WIDTH - RIGHT };
        let y = Axis { ends: y_ends, log: false, from: TOP + PLOT, to: TOP };
        axes(&mut figure, &x, &y);
        for (idx, bands) in bands.iter().enumerate().filter(|(_, bands)| !bands.is_empty()) {
            let low = bands.iter().map(|band| (x.at(band.x), y.at(band.low)));
            let high = bands.iter().rev().map(|band| (x.at(band.x), y.at(band.high)));
            figure.shapes.push(super::Shape::Area { points: low.chain(high).collect(), color: Color::Series(idx) });
        }
        for (idx, points) in lines.iter().enumerate() {
            let points: Vec<(f64, f64)> = points.iter().map(|point| (x.at(point.0), y.at(point.1))).collect();
            if !points.is_empty() {
                figure.line(points, Color::Series(idx), 1.8);
            }
        }
        let top = TOP + PLOT + AXIS + 12.0;
        for (idx, (name, (left, down))) in legend.into_iter().enumerate() {
            let down = top + down;
            figure.line(vec![(left, down - 4.0), (left + PIECE, down - 4.0)], Color::Series(idx), 2.4);
            figure.text((left + PIECE + 6.0, down), name, Anchor::Start, Color::Ink);
        }
        figure
    }

    /// The name of each line with its place below the axis: as many in a row as fit.
    fn legend(&self) -> Vec<(&str, (f64, f64))> {
        let (mut x, mut y) = (LEFT, 0.0);
        let mut places = Vec::with_capacity(self.lines.len());
        for line in &self.lines {
            // Letters of a browser are wider than strokes.
            let width = PIECE + 6.0 + width_of(&line.name) * 1.25 + 18.0;
            if x > LEFT && x + width > WIDTH {
                (x, y) = (LEFT, y + LEGEND_LINE);
            }
            places.push((line.name.as_str(), (x, y)));
            x += width;
        }
        places
    }
}

fn axes(figure: &mut Figure, x: &Axis, y: &Axis) {
    for value in y.ticks() {
        let at = y.at(value);
        figure.line(vec![(x.from, at), (x.to, at)], Color::Faint, 1.0);
        figure.text((x.from - 6.0, at + LETTERS / 3.0), plain(value), Anchor::End, Color::Ink);
    }
    figure.line(vec![(x.from, y.from), (x.to, y.from)], Color::Ink, 1.0);
    for value in x.ticks() {
        let at = x.at(value);
        figure.line(vec![(at, y.from), (at, y.from + 4.0)], Color::Ink, 1.0);
        figure.text((at, y.from + 18.0), plain(value), Anchor::Middle, Color::Ink);
    }
}

/// A round number in as few digits as it has.
fn plain(value: f64) -> String {
    let rounded = (value * 1e9).round() / 1e9 + 0.0;
    if rounded.abs() < f64::EPSILON || (1e-4..1e7).contains(&rounded.abs()) {
        rounded.to_string()
    } else {
        number(value)
    }
}
