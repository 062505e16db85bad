//! Carries out a hook plan during the forward pass of a group of sentences.

use std::ops::Range;

use ndarray::{ArrayView2, ArrayViewMut1};
use nissl_core::{Batch, CaptureSink, EditSpec, HookPlan, HookPoint, ModelError, Output, Positions, Units};

use crate::engine::{Engine, Flow, Halt, Values};

/// A checked plan, ready for the groups of a batch.
pub(crate) struct Prepared<'a> {
    plan: &'a HookPlan,
    /// Every point that is captured or edited, in order.
    touched: Vec<HookPoint>,
    /// The deepest point that is needed; none if the pass runs to its end.
    last: Option<HookPoint>,
    n_ctx: usize,
}

impl<'a> Prepared<'a> {
    /// Prepares a plan that was checked against the model.
    pub(crate) fn new(plan: &'a HookPlan, n_ctx: usize) -> Self {
        let mut touched: Vec<HookPoint> =
            plan.capture.iter().copied().chain(plan.edits.iter().map(|edit| edit.point)).collect();
        touched.sort_unstable();
        touched.dedup();
        let last = if plan.output == Output::None { plan.capture.iter().max().copied() } else { None };
        Self { plan, touched, last, n_ctx }
    }

    /// Whether nothing at all is asked for.
    pub(crate) fn is_empty(&self) -> bool {
        self.plan.output == Output::None && self.plan.capture.is_empty()
    }
}

/// The plan as it concerns one group of whole sentences.
pub(crate) struct Hooks<'a> {
    prepared: &'a Prepared<'a>,
    sink: &'a dyn CaptureSink,
    first_sentence: usize,
    first_row: usize,
    /// Where the group's sentences start, counted from its own first row, and where the last one ends.
    offsets: Vec<usize>,
}

impl<'a> Hooks<'a> {
    /// The plan for some sentences of the batch.
    pub(crate) fn new(
        prepared: &'a Prepared<'a>,
        sink: &'a dyn CaptureSink,
        batch: &Batch,
        sentences: Range<usize>,
    ) -> Self {
        let first_row = batch.offsets()[sentences.start];
        let offsets = batch.offsets()[sentences.start..=sentences.end].iter().map(|row| row - first_row).collect();
        Self { prepared, sink, first_sentence: sentences.start, first_row, offsets }
    }

    /// Where the group's sentences start and the last one ends, in rows of the group.
    pub(crate) fn offsets(&self) -> &[usize] {
        &self.offsets
    }

    /// Whether anybody reads or writes at this point.
    pub(crate) fn wants(&self, point: HookPoint) -> bool {
        self.prepared.touched.binary_search(&point).is_ok()
    }

    /// Ends the pass if nothing deeper is needed.
    pub(crate) fn stop_after(&self, point: HookPoint) -> Flow {
        if self.prepared.last == Some(point) { Err(Halt::Done) } else { Ok(()) }
    }

    /// Edits and captures a whole tensor.
    pub(crate) fn visit<E: Engine>(&self, engine: &E, point: HookPoint, x: &mut E::Tensor) -> Flow {
        let width = engine.width(x);
        self.visit_columns(engine, point, x, 0..width)
    }

    /// Whether anybody reads at this point.
    pub(crate) fn captures_at(&self, point: HookPoint) -> bool {
        self.prepared.plan.capture.contains(&point)
    }

    /// Captures a whole tensor whose edits were made row by row, see [`Hooks::by_row`].
    pub(crate) fn deliver<E: Engine>(&self, engine: &E, point: HookPoint, x: &mut E::Tensor) -> Flow {
        let width = engine.width(x);
        engine.visit(x, 0..width, &mut |Values { now: values, .. }| {
            for capture_idx in self.captures(point) {
                self.sink.capture(capture_idx, self.first_sentence, self.first_row, values.view())?;
            }
            Ok(())
        })?;
        self.stop_after(point)
    }

    /// The edits at a point of `width` units, to be made row by row on the units from `first_unit` on.
    pub(crate) fn by_row(&self, point: HookPoint, width: usize, first_unit: usize) -> RowEdits<'a> {
        let rows_of = |edit: &'a EditSpec| {
            let mut rows = Vec::new();
            for sentence in 0..self.offsets.len() - 1 {
                self.rows_of(edit, sentence, &mut |row, patch_row| rows.push((row, patch_row)));
            }
            rows.sort_by_key(|(row, _)| *row);
            (edit, rows)
        };
        RowEdits { width, first_unit, edits: self.edits(point).map(rows_of).collect() }
    }

    /// Edits and captures some columns of a tensor.
    pub(crate) fn visit_columns<E: Engine>(
        &self,
        engine: &E,
        point: HookPoint,
        x: &mut E::Tensor,
        columns: Range<usize>,
    ) -> Flow {
        if !self.wants(point) {
            return Ok(());
        }
        engine.visit(x, columns, &mut |mut values| {
            for edit in self.edits(point) {
                self.edit(edit, &mut values);
            }
            for capture_idx in self.captures(point) {
                self.sink.capture(capture_idx, self.first_sentence, self.first_row, values.now.view())?;
            }
            Ok(())
        })?;
        self.stop_after(point)
    }

    /// Edits and captures the attention pattern of a sentence of the group, `[n_heads, n_queries * n_keys]`.
    pub(crate) fn visit_pattern(&self, point: HookPoint, sentence: usize, mut values: Values<'_>) -> Flow {
        for edit in self.edits(point) {
            self.edit_pattern(edit, sentence, &mut values);
        }
        for capture_idx in self.captures(point) {
            self.sink.pattern(capture_idx, self.first_sentence + sentence, values.now.view())?;
        }
        Ok(())
    }

    fn edits(&self, point: HookPoint) -> impl Iterator<Item = &'a EditSpec> {
        self.prepared.plan.edits.iter().filter(move |edit| edit.point == point)
    }

    fn captures(&self, point: HookPoint) -> impl Iterator<Item = usize> {
        let captures = self.prepared.plan.capture.iter().enumerate();
        captures.filter(move |(_, captured)| **captured == point).map(|(idx, _)| idx)
    }

    fn edit(&self, edit: &EditSpec, values: &mut Values<'_>) {
        for sentence in 0..self.offsets.len() - 1 {
            self.rows_of(edit, sentence, &mut |row, patch_row| {
                edit.edit.apply(side_by_side(&mut values.now.row_mut(row)), &edit.units, patch_row);
                if let Some(slope) = &mut values.slope {
                    edit.edit.apply_slope(side_by_side(&mut slope.row_mut(row)), &edit.units);
                }
            });
        }
    }

    /// A row of a pattern is the query's probabilities, unit `head * n_ctx + key`; keys beyond the sentence are none.
    fn edit_pattern(&self, edit: &EditSpec, sentence: usize, values: &mut Values<'_>) {
        let (n_heads, n_ctx) = (values.now.nrows(), self.prepared.n_ctx);
        let (first, len) = (self.offsets[sentence], self.offsets[sentence + 1] - self.offsets[sentence]);
        let n_units = match &edit.units {
            Units::All => n_heads * n_ctx,
            Units::Some(list) => list.len(),
        };
        self.rows_of(edit, sentence, &mut |row, patch_row| {
            let mut change = |i: usize, head: usize, key: usize| {
                if key < len {
                    let at = [head, (row - first) * len + key];
                    values.now[at] = edit.edit.value(values.now[at], i, n_units, patch_row);
                    if let Some(slope) = &mut values.slope {
                        slope[at] *= edit.edit.slope();
                    }
                }
            };
            match &edit.units {
                Units::All => {
                    for head in 0..n_heads {
                        (0..len).for_each(|key| change(head * n_ctx + key, head, key));
                    }
                }
                Units::Some(list) => {
                    for (i, &unit) in list.iter().enumerate() {
                        change(i, unit as usize / n_ctx, unit as usize % n_ctx);
                    }
                }
            }
        });
    }

    /// Calls `with(row of the group, row of a patch)` for every position of a sentence that an edit concerns.
    fn rows_of(&self, edit: &EditSpec, sentence: usize, with: &mut dyn FnMut(usize, usize)) {
        let rows = self.offsets[sentence]..self.offsets[sentence + 1];
        match &edit.positions {
            Positions::All => rows.for_each(|row| with(row, self.first_row + row)),
            Positions::Rows(list) => {
                for (patch_row, row) in list.iter().enumerate() {
                    if let Some(row) = row.checked_sub(self.first_row)
                        && rows.contains(&row)
                    {
                        with(row, patch_row);
                    }
                }
            }
            Positions::InSentence(places) => {
                for &place in places {
                    let row = if place < 0 { rows.end as i64 + place } else { rows.start as i64 + place };
                    if let Ok(row) = usize::try_from(row)
                        && rows.contains(&row)
                    {
                        with(row, 0);
                    }
                }
            }
        }
    }
}

/// A row of some columns of a tensor.
pub(crate) fn side_by_side<'a>(row: &'a mut ArrayViewMut1<'_, f32>) -> &'a mut [f32] {
    row.as_slice_mut().expect("columns of a tensor lie side by side")
}

/// The edits at a point for values that come row by row, some of the point's units at a time.
pub(crate) struct RowEdits<'a> {
    width: usize,
    first_unit: usize,
    /// Each with the rows of the group that it concerns, in order, and their rows of a patch.
    edits: Vec<(&'a EditSpec, Vec<(usize, usize)>)>,
}

impl RowEdits<'_> {
    /// Whether there is an edit for a row of the group.
    pub(crate) fn concern(&self, row: usize) -> bool {
        self.edits.iter().any(|(_, rows)| rows.binary_search_by_key(&row, |(row, _)| *row).is_ok())
    }

    /// Makes the edits of a row of the group on its `values`, and on their slopes where gradients are taken.
    pub(crate) fn apply(&self, row: usize, values: &mut [f32], mut slope: Option<&mut [f32]>) {
        for (edit, rows) in &self.edits {
            let first = rows.partition_point(|(other, _)| *other < row);
            for (_, patch_row) in rows[first..].iter().take_while(|(other, _)| *other == row) {
                self.whole(values, |whole| edit.edit.apply(whole, &edit.units, *patch_row));
                if let Some(slope) = &mut slope {
                    self.whole(slope, |whole| edit.edit.apply_slope(whole, &edit.units));
                }
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

/// A sink for runs that capture nothing.
pub(crate) struct NoCapture;

impl CaptureSink for NoCapture {
    fn capture(&self, _: usize, _: usize, _: usize, _: ArrayView2<'_, f32>) -> Result<(), ModelError> {
        Ok(())
    }
}
