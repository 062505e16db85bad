//! Carries out a hook plan during the forward pass of a group of sentences.

mod pairs;
mod rows;
mod seen;
mod stages;

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use ndarray::{ArrayView2, ArrayViewMut1};
use nissl_core::{
    Batch, CaptureSink, Edit, EditSpec, HookPlan, HookPoint, ModelError, ModelInfo, NeuronId, Output, Positions, Site,
    Units,
};

use crate::arch::AnswersAt;
use crate::engine::{Engine, Flow, Halt, Piece, Values, Wanted};
pub(crate) use rows::RowEdits;
use seen::Seen;
pub(crate) use stages::{Fan, Stage};

/// A checked plan, ready for the groups of a batch.
pub(crate) struct Prepared<'a> {
    plan: &'a HookPlan,
    /// The points that gradients are wanted for, in order.
    wrt: &'a [HookPoint],
    /// Every point that is captured, edited or asked for by a condition, or that a gradient is wanted for, in order.
    touched: Vec<HookPoint>,
    /// The deepest point that is needed; none if the pass runs to its end.
    last: Option<HookPoint>,
    n_ctx: usize,
    /// Whether texts grow: then edits of patterns act on no key that comes after its query, since there may be more of
    /// them later.
    grows: bool,
    /// Whether sentences are a source and a target, each with rows of its own.
    pairs: bool,
    /// The edits of each variant, which act after those of the plan.
    variants: &'a [&'a [EditSpec]],
}

impl<'a> Prepared<'a> {
    /// Prepares a plan that was checked against the model.
    pub(crate) fn new(plan: &'a HookPlan, n_ctx: usize) -> Self {
        Self::with_variants(plan, &[], n_ctx)
    }

    /// As [`Prepared::new`], for variants of the plan.
    pub(crate) fn with_variants(plan: &'a HookPlan, variants: &'a [&'a [EditSpec]], n_ctx: usize) -> Self {
        let edits = || plan.edits.iter().chain(variants.iter().copied().flatten());
        let mut touched: Vec<HookPoint> = plan.capture.iter().copied().chain(edits().map(|edit| edit.point)).collect();
        touched.extend(edits().filter_map(|edit| edit.when.as_ref()).map(|when| when.neuron.point));
        touched.sort_unstable();
        touched.dedup();
        let last = if plan.output == Output::None { plan.capture.iter().max().copied() } else { None };
        Self { plan, wrt: &[], touched, last, n_ctx, grows: false, pairs: false, variants }
    }

    /// The same in a run that takes gradients with respect to the points `wrt`, which are in order.
    pub(crate) fn differentiated(mut self, wrt: &'a [HookPoint]) -> Self {
        self.wrt = wrt;
        self.touched.extend(wrt);
        self.touched.sort_unstable();
        self.touched.dedup();
        self.last = None;
        self
    }

    /// The same, where nothing behind the deepest capture counts.
    pub(crate) fn differentiated_until_captured(self, wrt: &'a [HookPoint]) -> Self {
        let last = self.plan.capture.iter().max().copied();
        Self { last, ..self.differentiated(wrt) }
    }

    /// The same for a model, which may have an encoder and a decoder.
    pub(crate) fn of_model(self, info: &ModelInfo) -> Self {
        Self { pairs: info.encoder.is_some(), ..self }
    }

    /// As [`Prepared::new`], for texts that grow.
    pub(crate) fn growing(plan: &'a HookPlan, n_ctx: usize) -> Self {
        Self { grows: true, ..Self::new(plan, n_ctx) }
    }

    /// The neurons that conditions ask for.
    fn asked(&self) -> impl Iterator<Item = NeuronId> {
        let edits = self.plan.edits.iter().chain(self.variants.iter().copied().flatten());
        edits.filter_map(|edit| edit.when.as_ref()).map(|when| when.neuron)
    }

    /// Whether anybody reads or writes at this point or behind it.
    pub(crate) fn reaches(&self, point: HookPoint) -> bool {
        self.touched.last().is_some_and(|&last| last >= point)
    }

    /// Whether nothing at all is asked for.
    pub(crate) fn is_empty(&self) -> bool {
        self.plan.output == Output::None && self.plan.capture.is_empty()
    }
}

/// Tokens of a text that a group takes together: a whole sentence of the batch, or those that follow it.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    /// The rows of the batch that the sentence has; places count from their first and from their end.
    pub(crate) sentence: Range<usize>,
    /// The positions in the text that are read.
    pub(crate) positions: Range<usize>,
    /// Tokens of the text that are its source; 0 where texts are none.
    n_source: usize,
    /// The variant whose edits act on it.
    variant: Option<usize>,
}

impl Part {
    /// A part with the plan's edits alone.
    pub(crate) fn new(sentence: Range<usize>, positions: Range<usize>) -> Self {
        Self { sentence, positions, n_source: 0, variant: None }
    }

    /// The same of a text that begins with a source.
    pub(crate) fn after_source(self, n_source: usize) -> Self {
        Self { n_source, ..self }
    }
}

/// The rows of a group.
struct Layout {
    parts: Vec<Part>,
    /// Where the parts start, counted from the group's own first row, and where the last one ends.
    offsets: Vec<usize>,
    /// The position in its text, or in its source or target, of every row.
    positions: Vec<usize>,
    /// The row of the group that each row is, where there are others.
    rows: Option<Vec<usize>>,
    n_group_rows: usize,
}

impl Layout {
    fn new(parts: Vec<Part>) -> Self {
        let mut offsets = vec![0];
        offsets.extend(parts.iter().scan(0, |end, part| {
            *end += part.positions.len();
            Some(*end)
        }));
        let positions: Vec<usize> = parts.iter().flat_map(|part| part.positions.clone()).collect();
        Self { n_group_rows: positions.len(), parts, offsets, positions, rows: None }
    }
}

/// The plan as it concerns one group of sentences.
pub(crate) struct Hooks<'a> {
    prepared: &'a Prepared<'a>,
    sink: &'a dyn CaptureSink,
    first_sentence: usize,
    first_row: usize,
    /// The rows that there are, at every stage.
    layouts: Vec<Layout>,
    stage: AtomicUsize,
    fan_at: Option<HookPoint>,
    /// Of each variant or copy the part whose rows it shares before.
    copy_of: Vec<usize>,
    narrow_at: Option<u16>,
    /// The values of the neurons that conditions ask for, one a row, as the pass goes.
    seen: Seen,
    /// The plan for the rows of the sources, where sentences have them; this one is then that for the targets.
    source: Option<Box<Self>>,
}

impl<'a> Hooks<'a> {
    /// The plan for some whole sentences of the batch.
    pub(crate) fn new(
        prepared: &'a Prepared<'a>,
        sink: &'a dyn CaptureSink,
        batch: &Batch,
        sentences: Range<usize>,
    ) -> Self {
        let (first_sentence, first_row) = (sentences.start, batch.offsets()[sentences.start]);
        let whole = |sentence: usize| {
            let part = Part::new(batch.rows(sentence), 0..batch.rows(sentence).len());
            if prepared.pairs { part.after_source(batch.n_source(sentence)) } else { part }
        };
        Self::of_parts(prepared, sink, sentences.map(whole).collect()).counted_from(first_sentence, first_row)
    }

    /// The same, of a group whose first sentence and row are these.
    fn counted_from(self, first_sentence: usize, first_row: usize) -> Self {
        let source = self.source.map(|source| Box::new(source.counted_from(first_sentence, first_row)));
        Self { first_sentence, first_row, source, ..self }
    }

    /// The plan for parts of texts. What is captured counts rows and sentences from those of the group.
    pub(crate) fn of_parts(prepared: &'a Prepared<'a>, sink: &'a dyn CaptureSink, parts: Vec<Part>) -> Self {
        if prepared.pairs {
            return Self::of_pairs(prepared, sink, &parts);
        }
        Self::of_layouts(prepared, sink, vec![Layout::new(parts)])
    }

    fn of_layouts(prepared: &'a Prepared<'a>, sink: &'a dyn CaptureSink, layouts: Vec<Layout>) -> Self {
        let seen = Seen::new(prepared.asked(), layouts[0].positions.len());
        let stage = AtomicUsize::new(0);
        Self {
            prepared,
            sink,
            first_sentence: 0,
            first_row: 0,
            layouts,
            stage,
            fan_at: None,
            copy_of: Vec::new(),
            narrow_at: None,
            seen,
            source: None,
        }
    }

    fn layout(&self) -> &Layout {
        &self.layouts[self.stage.load(Ordering::Relaxed)]
    }

    /// Where the group's sentences start and the last one ends, in rows of the group.
    pub(crate) fn offsets(&self) -> &[usize] {
        &self.layout().offsets
    }

    /// The position in its text of every row of the group.
    pub(crate) fn positions(&self) -> &[usize] {
        &self.layout().positions
    }

    /// The rows of the group whose logits are asked for; none if all are.
    pub(crate) fn output_rows(&self, output: Output, answers_at: AnswersAt) -> Option<Vec<usize>> {
        let offsets = self.offsets();
        (output == Output::Last).then(|| match answers_at {
            AnswersAt::First => offsets[..offsets.len() - 1].to_vec(),
            AnswersAt::Last => offsets[1..].iter().map(|end| end - 1).collect(),
        })
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
                self.capture(capture_idx, &values.view())?;
            }
            Ok(())
        })?;
        self.stop_after(point)
    }

    /// The edits at a point of `width` units, to be made row by row on the units from `first_unit` on.
    pub(crate) fn by_row(&self, point: HookPoint, width: usize, first_unit: usize) -> RowEdits<'_> {
        let rows_of = |edit: &'a EditSpec| {
            let mut rows = Vec::new();
            for part in 0..self.layout().parts.len() {
                self.rows_of(edit, part, &mut |row, patch_row| rows.push((row, patch_row)));
            }
            rows.sort_by_key(|(row, _)| *row);
            (edit, rows)
        };
        let wanted = self.prepared.wrt.binary_search(&point).ok();
        let asked = self.seen.units(point);
        RowEdits {
            point,
            width,
            first_unit,
            edits: self.edits(point).map(rows_of).collect(),
            wanted,
            group_rows: self.rows(),
            seen: &self.seen,
            asked,
        }
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
        self.arrive(engine, point, x);
        engine.visit(x, columns, &mut |mut values| {
            for part in 0..self.layout().parts.len() {
                for edit in self.edits_of(part, point) {
                    self.edit(edit, part, &mut values);
                }
            }
            for unit in self.seen.units(point) {
                for (row, value) in values.now.column(unit as usize).iter().enumerate() {
                    self.seen.note(NeuronId::new(point, unit), row, *value);
                }
            }
            for capture_idx in self.captures(point) {
                self.capture(capture_idx, &values.now.view())?;
            }
            self.want(point, self.whole(), &mut values);
            Ok(())
        })?;
        self.stop_after(point)
    }

    /// Edits and captures the attention pattern of a part of the group, `[n_heads, n_queries * n_keys]`.
    pub(crate) fn visit_pattern(&self, point: HookPoint, part: usize, mut values: Values<'_>) -> Flow {
        for edit in self.edits_of(part, point) {
            self.edit_pattern(edit, part, &mut values);
        }
        for capture_idx in self.captures(point) {
            self.sink.pattern(capture_idx, self.first_sentence + part, values.now.view())?;
        }
        self.want(point, Piece::Sentence(part), &mut values);
        Ok(())
    }

    /// Asks for the gradient with respect to the values, if it is wanted.
    fn want(&self, point: HookPoint, piece: Piece, values: &mut Values<'_>) {
        if let (Some(wanted), Ok(idx)) = (&mut values.wanted, self.prepared.wrt.binary_search(&point)) {
            **wanted = Some(Wanted { idx, piece });
        }
    }

    fn edits(&self, point: HookPoint) -> impl Iterator<Item = &'a EditSpec> {
        self.prepared.plan.edits.iter().filter(move |edit| edit.point == point)
    }

    /// The edits of a part at a point: the plan's, then those of its variant.
    fn edits_of(&self, part: usize, point: HookPoint) -> impl Iterator<Item = &'a EditSpec> {
        let own = self.layout().parts[part].variant.map_or(&[][..], |variant| self.prepared.variants[variant]);
        self.edits(point).chain(own.iter().filter(move |edit| edit.point == point))
    }

    fn captures(&self, point: HookPoint) -> impl Iterator<Item = usize> {
        let captures = self.prepared.plan.capture.iter().enumerate();
        captures.filter(move |(_, captured)| **captured == point).map(|(idx, _)| idx)
    }

    fn edit(&self, edit: &EditSpec, part: usize, values: &mut Values<'_>) {
        self.rows_of(edit, part, &mut |row, patch_row| {
            if !self.seen.lets(edit, row, |unit| Some(values.now[[row, unit]])) {
                return;
            }
            edit.edit.apply(side_by_side(&mut values.now.row_mut(row)), &edit.units, patch_row);
            if let Some(slope) = &mut values.slope {
                edit.edit.apply_slope(side_by_side(&mut slope.row_mut(row)), &edit.units);
            }
        });
    }

    /// A row of a pattern is the query's probabilities, unit `head * n_ctx + key`; keys beyond the text are none.
    fn edit_pattern(&self, edit: &EditSpec, part: usize, values: &mut Values<'_>) {
        let (n_heads, n_ctx) = (values.now.nrows(), self.prepared.n_ctx);
        let Part { positions, n_source, .. } = &self.layout().parts[part];
        let over_source = edit.point.site() == Site::CrossPattern;
        let of_source = over_source || self.prepared.pairs && self.source.is_none();
        let n_keys = if of_source { *n_source } else { positions.end - n_source };
        let first = self.layout().offsets[part];
        let n_units = match &edit.units {
            Units::All => n_heads * n_ctx,
            Units::Some(list) => list.len(),
        };
        self.rows_of(edit, part, &mut |row, patch_row| {
            if !self.seen.lets(edit, row, |_| None) {
                return;
            }
            let seen = if self.prepared.grows && !of_source { self.layout().positions[row] + 1 } else { n_keys };
            let mut change = |i: usize, head: usize, key: usize| {
                if key < seen {
                    let at = [head, (row - first) * n_keys + key];
                    values.now[at] = edit.edit.value(values.now[at], i, n_units, patch_row);
                    if let Some(slope) = &mut values.slope {
                        slope[at] *= edit.edit.slope();
                    }
                }
            };
            match &edit.units {
                Units::All => {
                    for head in 0..n_heads {
                        (0..seen).for_each(|key| change(head * n_ctx + key, head, key));
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

    /// Calls `with(row of the group, row of a patch)` for every position of a part that an edit concerns.
    fn rows_of(&self, edit: &EditSpec, part: usize, with: &mut dyn FnMut(usize, usize)) {
        let layout = self.layout();
        let (Part { sentence, positions, .. }, first) = (&layout.parts[part], layout.offsets[part]);
        let place_of = |place: i64| if place < 0 { sentence.len() as i64 + place } else { place };
        let mut at = |position: usize, patch_row: usize| {
            if positions.contains(&position) {
                with(first + position - positions.start, patch_row);
            }
        };
        match &edit.positions {
            Positions::All => {
                // Tokens that follow the batch's have no values in a patch.
                let is_patch = matches!(edit.edit, Edit::Patch { .. });
                let end = if is_patch { positions.end.min(sentence.len()) } else { positions.end };
                (positions.start..end).for_each(|position| at(position, sentence.start + position));
            }
            Positions::Rows(list) => {
                for (patch_row, row) in list.iter().enumerate().filter(|(_, row)| sentence.contains(row)) {
                    at(row - sentence.start, patch_row);
                }
            }
            Positions::InSentence(places) => {
                for position in places.iter().filter_map(|&place| usize::try_from(place_of(place)).ok()) {
                    at(position, 0);
                }
            }
            Positions::From(place) => {
                let first = usize::try_from(place_of(*place)).unwrap_or(0).max(positions.start);
                (first..positions.end).for_each(|position| at(position, 0));
            }
            Positions::Generated => {
                (sentence.len().max(positions.start)..positions.end).for_each(|position| at(position, 0));
            }
        }
    }
}

/// A row of some columns of a tensor.
pub(crate) fn side_by_side<'a>(row: &'a mut ArrayViewMut1<'_, f32>) -> &'a mut [f32] {
    row.as_slice_mut().expect("columns of a tensor lie side by side")
}

/// A sink for runs that capture nothing.
pub(crate) struct NoCapture;

impl CaptureSink for NoCapture {
    fn capture(&self, _: usize, _: usize, _: usize, _: ArrayView2<'_, f32>) -> Result<(), ModelError> {
        Ok(())
    }
}
