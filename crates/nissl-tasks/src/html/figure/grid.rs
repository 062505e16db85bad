//! Values of rows and columns as colors: heat maps, and what every two of some things have in common.

use super::super::markup::number;
use super::{Anchor, Color, Figure, LETTERS, Shape, width_of};

const CELL: (f64, f64) = (58.0, 26.0);
const TOP: f64 = 28.0;
/// Characters of a name that are drawn.
const LONGEST: usize = 28;

/// A table as colors, the numbers in it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Grid {
    /// The heading.
    pub title: String,
    /// How it is made again.
    pub note: String,
    /// Names of the columns.
    pub columns: Vec<String>,
    /// The rows: their names, and a value a column if there is one.
    pub rows: Vec<(String, Vec<Option<f64>>)>,
}

impl Grid {
    /// Draws it, from the lowest value, the palest, to the highest.
    pub fn figure(&self) -> Figure {
        let name = |name: &str| name.chars().take(LONGEST).collect::<String>();
        // Letters of a browser are wider than strokes.
        let widest = |names: &mut dyn Iterator<Item = &String>| {
            names.map(|text| width_of(&name(text)) * 1.25).fold(0.0, f64::max)
        };
        let left = widest(&mut self.rows.iter().map(|(name, _)| name)) + 18.0;
        let cell = widest(&mut self.columns.iter()).max(CELL.0 - 10.0) + 10.0;
        let head = TOP + 22.0;
        let width = (left + cell * self.columns.len() as f64 + 8.0).max(width_of(&self.title) * 1.25 + 20.0);
        let mut figure = Figure {
            size: (width, head + CELL.1 * self.rows.len() as f64 + 8.0),
            title: self.title.clone(),
            note: self.note.clone(),
            ..Figure::default()
        };
        figure.text((8.0, 16.0), &self.title, Anchor::Start, Color::Ink);
        for (column, text) in self.columns.iter().enumerate() {
            let at = (left + cell * (column as f64 + 0.5), head - 8.0);
            figure.text(at, name(text), Anchor::Middle, Color::Ink);
        }
        let values =
            || self.rows.iter().flat_map(|(_, values)| values.iter().flatten().copied()).filter(|v| v.is_finite());
        let (low, high) = (values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max));
        for (row, (text, values)) in self.rows.iter().enumerate() {
            let top = head + CELL.1 * row as f64;
            let line = top + CELL.1 / 2.0 + LETTERS / 3.0;
            figure.text((left - 8.0, line), name(text), Anchor::End, Color::Ink);
            for (column, value) in values.iter().enumerate() {
                let Some(value) = value.filter(|value| value.is_finite()) else { continue };
                let share = if high > low { (value - low) / (high - low) } else { 0.5 };
                let x = left + cell * column as f64;
                let size = (cell - 2.0, CELL.1 - 2.0);
                figure.shapes.push(Shape::Box { at: (x + 1.0, top + 1.0), size, color: Color::Heat(share) });
                figure.text((x + cell / 2.0, line), number(value), Anchor::Middle, Color::OnHeat(share));
            }
        }
        figure
    }
}
