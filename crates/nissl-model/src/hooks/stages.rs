//! Rows that come and go in one pass: variants of a sentence, or copies of it, share its rows until the first point at which
//! they may differ; behind the last attention only those are left whose outputs are wanted.

use std::ops::Range;
use std::sync::atomic::Ordering;

use nissl_core::{Batch, CaptureSink, HookPoint};

use super::{Hooks, Layout, Part, Prepared};
use crate::engine::Engine;

/// Which rows there are: those that are shared or those of every variant, all of them or those alone whose outputs are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stage(pub(super) usize);

/// Every variant or copy has rows of its own.
const SPREAD: usize = 1;
/// Only the rows are left whose outputs are wanted.
const NARROW: usize = 2;

/// Variants that go through the network together.
pub(crate) struct Fan {
    /// The sentence's rows in the batch.
    pub(crate) sentence: Range<usize>,
    /// The positions that are read; those before them are in the past.
    pub(crate) positions: Range<usize>,
    /// Where the first of the variants' edits is: from there on each has its own rows.
    pub(crate) at: HookPoint,
    /// The last layer and the positions that are wanted of it, where no others are.
    pub(crate) narrow: Option<(u16, Range<usize>)>,
}

impl<'a> Hooks<'a> {
    /// The plan for all variants of it, see [`Prepared::with_variants`].
    pub(crate) fn of_variants(prepared: &'a Prepared<'a>, sink: &'a dyn CaptureSink, fan: Fan) -> Self {
        let Fan { sentence, positions, at, narrow } = fan;
        let wanted = narrow.as_ref().map_or_else(|| positions.clone(), |(_, wanted)| wanted.clone());
        let one = |positions: &Range<usize>| vec![Part::new(sentence.clone(), positions.clone())];
        let all = |positions: &Range<usize>| {
            let part = |variant| Part { variant: Some(variant), ..Part::new(sentence.clone(), positions.clone()) };
            (0..prepared.variants.len()).map(part).collect()
        };
        // In the order of the stages' bits.
        let layouts = [one(&positions), all(&positions), one(&wanted), all(&wanted)].map(Layout::new).into();
        Self {
            fan_at: Some(at),
            narrow_at: narrow.map(|(layer, _)| layer),
            copy_of: vec![0; prepared.variants.len()],
            ..Self::of_layouts(prepared, sink, layouts)
        }
    }

    /// The plan for some whole sentences of the batch, and those whose tokens are to be read: of copies that follow each
    /// other the first, whose rows they share up to the first point that somebody reads or writes. With `narrow`, the last
    /// layer and the positions that are wanted of each sentence, the others are left out behind its attention.
    pub(crate) fn of_copies(
        prepared: &'a Prepared<'a>,
        sink: &'a dyn CaptureSink,
        batch: &Batch,
        sentences: Range<usize>,
        narrow: Option<(u16, Vec<Range<usize>>)>,
    ) -> (Self, Vec<usize>) {
        let (mut read, mut copy_of): (Vec<usize>, Vec<usize>) = (Vec::new(), Vec::with_capacity(sentences.len()));
        let fan_at = prepared.touched.first().copied();
        for sentence in sentences.clone() {
            let same = |&before: &usize| fan_at.is_some() && batch.sentence(before) == batch.sentence(sentence);
            if !read.last().is_some_and(same) {
                read.push(sentence);
            }
            copy_of.push(read.len() - 1);
        }
        let all: Vec<usize> = sentences.clone().collect();
        let layout = |some: &[usize], positions: &dyn Fn(usize) -> Range<usize>| {
            let part = |&sentence: &usize| Part::new(batch.rows(sentence), positions(sentence));
            Layout::new(some.iter().map(part).collect())
        };
        let whole = |sentence: usize| 0..batch.rows(sentence).len();
        // In the order of the stages' bits.
        let mut layouts = vec![layout(&read, &whole), layout(&all, &whole)];
        if let Some((_, positions)) = &narrow {
            let wanted = |sentence: usize| positions[sentence - sentences.start].clone();
            layouts.extend([layout(&read, &wanted), layout(&all, &wanted)]);
        }
        let narrow_at = narrow.map(|(layer, _)| layer);
        let hooks = Self { fan_at, copy_of, narrow_at, ..Self::of_layouts(prepared, sink, layouts) };
        (hooks.counted_from(sentences.start, batch.offsets()[sentences.start]), read)
    }

    /// The row that a position of a part has now, if it has one.
    pub(crate) fn row_of(&self, part: usize, position: usize) -> usize {
        let left_out = if self.is_narrow() { self.layout().parts[part].positions.start } else { 0 };
        self.offsets()[part] + position - left_out
    }

    /// Which rows there are now.
    pub(crate) fn stage(&self) -> Stage {
        Stage(self.stage.load(Ordering::Relaxed))
    }

    /// Whether only wanted rows are left.
    pub(crate) fn is_narrow(&self) -> bool {
        self.stage().0 & NARROW != 0
    }

    /// Gives every variant or copy its own rows of x, if this is where they may begin to differ.
    pub(crate) fn arrive<E: Engine>(&self, engine: &E, point: HookPoint, x: &mut E::Tensor) {
        if self.fan_at == Some(point) && self.stage().0 & SPREAD == 0 {
            self.enter(engine, self.stage().0 | SPREAD, x);
        }
    }

    /// Leaves only wanted rows of x, if no others are needed from here on in this layer.
    pub(crate) fn narrow<E: Engine>(&self, engine: &E, layer: u16, x: &mut E::Tensor) {
        if self.narrow_at == Some(layer) {
            self.enter(engine, self.stage().0 | NARROW, x);
        }
    }

    fn enter<E: Engine>(&self, engine: &E, stage: usize, x: &mut E::Tensor) {
        let rows = self.rows_since(self.stage(), Stage(stage));
        *x = engine.rows(x, &rows);
        self.seen.choose(&rows);
        self.stage.store(stage, Ordering::Relaxed);
    }

    /// x with the rows that there are now, where it has those of an earlier stage.
    pub(crate) fn since<E: Engine>(&self, engine: &E, stage: Stage, x: &E::Tensor) -> Option<E::Tensor> {
        (stage != self.stage()).then(|| engine.rows(x, &self.rows_since(stage, self.stage())))
    }

    /// The row of an earlier stage that each row of a later one is.
    fn rows_since(&self, from: Stage, to: Stage) -> Vec<usize> {
        let (from, to) = (&self.layouts[from.0], &self.layouts[to.0]);
        let of_part = |(part, Part { positions, .. }): (usize, &Part)| {
            let part = if from.parts.len() == to.parts.len() { part } else { self.copy_of[part] };
            let (offset, start) = (from.offsets[part], from.parts[part].positions.start);
            positions.clone().map(|position| offset + position - start).collect::<Vec<_>>()
        };
        to.parts.iter().enumerate().flat_map(of_part).collect()
    }
}
