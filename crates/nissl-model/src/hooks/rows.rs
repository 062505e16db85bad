//! Edits within a recurrence, whose values come row by row.

use nissl_core::{EditSpec, HookPoint, NeuronId};

use super::Seen;
use crate::engine::{Piece, Values, Wanted};

/// The edits at a point for values that come row by row, some of the point's units at a time.
pub(crate) struct RowEdits<'a> {
    pub(super) point: HookPoint,
    pub(super) width: usize,
    pub(super) first_unit: usize,
    /// Each with the rows of the group that it concerns, in order, and their rows of a patch.
    pub(super) edits: Vec<(&'a EditSpec, Vec<(usize, usize)>)>,
    /// The number of the point among those that gradients are wanted for.
    pub(super) wanted: Option<usize>,
    /// The row of the group that each row is, where there are others.
    pub(super) group_rows: Option<&'a [usize]>,
    pub(super) seen: &'a Seen,
    /// The units of the point that conditions ask for.
    pub(super) asked: Vec<u32>,
}

impl RowEdits<'_> {
    /// Whether there is an edit for a row of the group, or somebody asks for its values.
    pub(crate) fn concern(&self, row: usize) -> bool {
        self.wanted.is_some()
            || !self.asked.is_empty()
            || self.edits.iter().any(|(_, rows)| rows.binary_search_by_key(&row, |(row, _)| *row).is_ok())
    }

    /// Asks for the gradient with respect to the values of some rows, if it is wanted.
    pub(crate) fn want(&self, rows: &[Option<usize>], values: &mut Values<'_>) {
        if let (Some(wanted), Some(idx)) = (&mut values.wanted, self.wanted) {
            let of_group = |row: usize| self.group_rows.map_or(row, |rows| rows[row]);
            let rows = rows.iter().map(|row| row.map(of_group)).collect();
            let piece = Piece::Rows { rows, first_unit: self.first_unit };
            **wanted = Some(Wanted { idx, piece });
        }
    }

    /// Makes the edits of a row of the group on its `values`, and on their slopes where gradients are taken.
    pub(crate) fn apply(&self, row: usize, values: &mut [f32], mut slope: Option<&mut [f32]>) {
        for (edit, rows) in &self.edits {
            let first = rows.partition_point(|(other, _)| *other < row);
            for (_, patch_row) in rows[first..].iter().take_while(|(other, _)| *other == row) {
                let own = |unit: usize| values.get(unit.wrapping_sub(self.first_unit)).copied();
                if !self.seen.lets(edit, row, own) {
                    continue;
                }
                self.whole(values, |whole| edit.edit.apply(whole, &edit.units, *patch_row));
                if let Some(slope) = &mut slope {
                    self.whole(slope, |whole| edit.edit.apply_slope(whole, &edit.units));
                }
            }
        }
        for &unit in &self.asked {
            if let Some(value) = values.get((unit as usize).wrapping_sub(self.first_unit)) {
                self.seen.note(NeuronId::new(self.point, unit), row, *value);
            }
        }
    }

    /// Calls `change` with a row of all the point's units of which `own` are some.
    fn whole(&self, own: &mut [f32], change: impl FnOnce(&mut [f32])) {
        if own.len() == self.width {
            return change(own);
        }
        let mut whole = vec![0.0; self.width];
        let units = self.first_unit..self.first_unit + own.len();
        whole[units.clone()].copy_from_slice(own);
        change(&mut whole);
        own.copy_from_slice(&whole[units]);
    }
}
