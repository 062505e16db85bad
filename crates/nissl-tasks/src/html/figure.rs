//! Figures: plain shapes, drawn as SVG or as PNG.
//!
//! A chart makes a [`Figure`]; whoever writes one needs to know no chart. Texts may come from a stranger: they are escaped
//! in SVG, and are strokes in PNG.

mod chart;
mod glyphs;
mod grid;
mod png;
mod svg;

pub use chart::{Band, Curve, Line};
pub use grid::Grid;

/// A picture of plain shapes, the first of them behind the others. Lengths are pixels of a screen.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figure {
    /// Width and height.
    pub size: (f64, f64),
    /// What it shows, for those who do not see it.
    pub title: String,
    /// How it is made again.
    pub note: String,
    /// The shapes.
    pub shapes: Vec<Shape>,
}

/// A shape. Places are from the left and from the top.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    /// Straight lines from point to point.
    Line {
        /// The points.
        points: Vec<(f64, f64)>,
        /// Their color.
        color: Color,
        /// Their width.
        width: f64,
    },
    /// The inside of straight lines from point to point, a quarter covered.
    Area {
        /// The points, the last of them next to the first.
        points: Vec<(f64, f64)>,
        /// Its color.
        color: Color,
    },
    /// A filled rectangle.
    Box {
        /// Its upper left corner.
        at: (f64, f64),
        /// Width and height.
        size: (f64, f64),
        /// Its color.
        color: Color,
    },
    /// A line of text.
    Text {
        /// Where it stands: its beginning, middle or end, on the line of its letters.
        at: (f64, f64),
        /// The text.
        text: String,
        /// Which of its ends stands there.
        anchor: Anchor,
        /// Its color.
        color: Color,
    },
}

/// Which end of a text stands at its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anchor {
    /// The beginning.
    Start,
    /// The middle.
    Middle,
    /// The end.
    End,
}

/// Colors, which are others on a dark page.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Color {
    /// Of texts and axes.
    Ink,
    /// Of lines that help the eye.
    Faint,
    /// Of the line with a number; they come again.
    Series(usize),
    /// Of a value, from 0 (pale) to 1 (strong).
    Heat(f64),
    /// Of a text on a value.
    OnHeat(f64),
}

/// Colors of lines that people who do not see all colors can tell apart.
const SERIES: [[u8; 3]; 8] = [
    [0, 114, 178],
    [213, 94, 0],
    [0, 158, 115],
    [204, 121, 167],
    [230, 159, 0],
    [86, 180, 233],
    [122, 122, 0],
    [136, 78, 160],
];

/// Size of the letters.
const LETTERS: f64 = 12.0;

impl Color {
    /// Red, green and blue on a white page.
    fn rgb(self) -> [u8; 3] {
        match self {
            Self::Ink => [34, 34, 34],
            Self::Faint => [221, 221, 221],
            Self::Series(idx) => SERIES[idx % SERIES.len()],
            Self::Heat(value) => {
                let mix = |pale: f64, strong: f64| (pale + (strong - pale) * value.clamp(0.0, 1.0)).round() as u8;
                [mix(240.0, 8.0), mix(244.0, 64.0), mix(250.0, 129.0)]
            }
            Self::OnHeat(value) => {
                if value > 0.55 {
                    [255, 255, 255]
                } else {
                    [34, 34, 34]
                }
            }
        }
    }
}

impl Figure {
    /// The figure as SVG, with colors for light and dark pages; it stands alone, and within HTML.
    pub fn svg(&self) -> String {
        svg::svg(self)
    }

    /// The figure as PNG on white, two of its pixels for one of the screen.
    pub fn png(&self) -> Vec<u8> {
        png::png(self)
    }

    fn text(&mut self, at: (f64, f64), text: impl Into<String>, anchor: Anchor, color: Color) {
        self.shapes.push(Shape::Text { at, text: text.into(), anchor, color });
    }

    fn line(&mut self, points: Vec<(f64, f64)>, color: Color, width: f64) {
        self.shapes.push(Shape::Line { points, color, width });
    }
}

/// How wide a text is at least, in pixels: as wide as strokes draw it.
fn width_of(text: &str) -> f64 {
    glyphs::width(text) * glyphs::unit(LETTERS)
}

#[cfg(test)]
mod tests;
