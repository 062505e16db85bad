//! Groups of sentences that are a source and a target: each side has rows of its own, and the plan is carried out apart.

use ndarray::{Array2, ArrayView2};
use nissl_core::{CaptureSink, ModelError, Output};

use super::{Hooks, Layout, Part, Prepared};
use crate::engine::Piece;

impl Layout {
    /// The rows of the sources of some parts, or of their targets.
    fn of_side(parts: &[Part], is_source: bool) -> Self {
        let (mut own, mut rows, mut first_positions) = (Vec::with_capacity(parts.len()), Vec::new(), Vec::new());
        let mut first_row = 0;
        for part in parts {
            let all = &part.positions;
            let positions = if is_source {
                all.start.min(part.n_source)..all.end.min(part.n_source)
            } else {
                all.start.max(part.n_source)..all.end.max(part.n_source)
            };
            rows.extend(positions.clone().map(|position| first_row + position - all.start));
            let first_position = if is_source { 0 } else { part.n_source };
            first_positions.extend(positions.clone().map(|position| position - first_position));
            first_row += all.len();
            own.push(Part { positions, ..part.clone() });
        }
        Self { positions: first_positions, rows: Some(rows), n_group_rows: first_row, ..Self::new(own) }
    }
}

impl<'a> Hooks<'a> {
    /// The plan for parts of texts that begin with a source.
    pub(super) fn of_pairs(prepared: &'a Prepared<'a>, sink: &'a dyn CaptureSink, parts: &[Part]) -> Self {
        let side = |is_source| Self::of_layouts(prepared, sink, vec![Layout::of_side(parts, is_source)]);
        Self { source: Some(Box::new(side(true))), ..side(false) }
    }

    /// The plan for the rows of the sources, where sentences have them.
    pub(crate) fn source(&self) -> Option<&Self> {
        self.source.as_deref()
    }

    /// The row of the group that each row is, where there are others.
    pub(crate) fn rows(&self) -> Option<&[usize]> {
        self.layout().rows.as_deref()
    }

    /// Hands on captured values, with zeros for the rows of the other side.
    pub(super) fn capture(&self, capture_idx: usize, values: &ArrayView2<'_, f32>) -> Result<(), ModelError> {
        let whole = self.layout().rows.as_ref().map(|_| self.spread(values));
        let values = whole.as_ref().map_or(values.view(), |whole| whole.view());
        self.sink.capture(capture_idx, self.first_sentence, self.first_row, values)
    }

    /// Values of the rows that there are here, as rows of the group; the others are zeros.
    pub(crate) fn spread(&self, values: &ArrayView2<'_, f32>) -> Array2<f32> {
        let Some(rows) = &self.layout().rows else { return values.to_owned() };
        let mut whole = Array2::zeros((self.layout().n_group_rows, values.ncols()));
        for (&row, values) in rows.iter().zip(values.rows()) {
            whole.row_mut(row).assign(&values);
        }
        whole
    }

    /// Logits of what is asked for; those of all rows as rows of the group.
    pub(crate) fn all_rows(&self, output: Output, logits: Array2<f32>) -> Array2<f32> {
        if output == Output::All && self.rows().is_some() { self.spread(&logits.view()) } else { logits }
    }

    /// What all rows that there are here are of a gradient.
    pub(super) fn whole(&self) -> Piece {
        match &self.layout().rows {
            Some(rows) => Piece::Rows { rows: rows.iter().map(|&row| Some(row)).collect(), first_unit: 0 },
            None => Piece::Whole,
        }
    }
}
