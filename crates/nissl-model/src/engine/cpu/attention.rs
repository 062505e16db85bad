//! Attention of packed sentences: each sentence and head apart, queries in blocks, nothing padded.
//!
//! Letters: L tokens of a sentence, P positions it has behind it, H heads, D width of a head. Keys and values of a
//! head are laid into panels of 32 once; a block of queries then needs `[block, P + L]` scores at a time, so long
//! sentences stay in cache. Every result is one chain over the keys in order, whether they are in the past or not.

use std::cell::RefCell;

use ndarray::ArrayViewMut2;

use super::Cpu;
use super::gemm::{Rows, RowsMut, product};
use super::isa::Isa;
use super::past::{Panels, Past, Segment};
use super::scores::{Query, probabilities};
use super::tensor::{PANEL, Tensor};
use crate::engine::{Added, AttentionShape, Halt, PatternHook, Sources, Values};

/// Queries taken together.
const QUERIES: usize = 56;

/// Scratch space of one thread, kept from call to call.
#[derive(Default)]
struct Scratch {
    /// Keys and values of a head of the sentence itself.
    own: Panels,
    /// Scores of a block of queries, `[QUERIES, stride]`.
    scores: Vec<f32>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// z `[T, H D]` of qkv `[T, (H + 2 H_kv) D]`, sentence by sentence, each after its past, where there are any.
pub(crate) fn attention(
    isa: Isa,
    qkv: &Tensor,
    shape: AttentionShape,
    offsets: &[usize],
    past: &[Past],
    added: &Added<'_, Tensor>,
    pattern: Option<PatternHook<'_>>,
) -> Result<Tensor, Halt> {
    assert!(past.is_empty() || (shape.causal && past.len() + 1 == offsets.len()), "a causal sentence has one past");
    let none = Past::default();
    let sentence = |idx: usize| {
        let (first_row, len) = (offsets[idx], offsets[idx + 1] - offsets[idx]);
        let keys = Keys { x: qkv, shape, first_row, len };
        Sentence { isa, shape, past: past.get(idx).unwrap_or(&none), keys, added, first_row, len }
    };
    each(qkv, (0..offsets.len() - 1).map(sentence), shape, pattern)
}

/// z `[T, H D]` of queries q `[T, H D]` over the keys and values of their sentences' sources.
pub(super) fn over_sources(
    isa: Isa,
    q: &Tensor,
    sources: &Sources<'_, Cpu>,
    shape: AttentionShape,
    offsets: &[usize],
    pattern: Option<PatternHook<'_>>,
) -> Result<Tensor, Halt> {
    assert!(!shape.causal, "a position sees all of its source");
    let none = Past::default();
    let sentence = |idx: usize| {
        let (first_row, len) = (offsets[idx], offsets[idx + 1] - offsets[idx]);
        let own = Keys { x: q, shape: shape.without_queries(), first_row: 0, len: 0 };
        let (past, keys) = match sources {
            Sources::Rows(x, rows) => {
                let (first_row, len) = (rows[idx], rows[idx + 1] - rows[idx]);
                (&none, Keys { x, first_row, len, ..own })
            }
            Sources::Past(past) => (&past[idx], own),
        };
        Sentence { isa, shape, past, keys, added: &Added::NONE, first_row, len }
    };
    each(q, (0..offsets.len() - 1).map(sentence), shape, pattern)
}

/// z of every sentence.
fn each<'a>(
    q: &Tensor,
    sentences: impl Iterator<Item = Sentence<'a>>,
    shape: AttentionShape,
    mut pattern: Option<PatternHook<'_>>,
) -> Result<Tensor, Halt> {
    let mut z = Tensor::new(q.n_rows(), shape.n_heads * shape.d_head);
    let mut scratch = SCRATCH.take();
    for (sentence_idx, sentence) in sentences.enumerate() {
        match &mut pattern {
            None => {
                for head in 0..shape.n_heads {
                    sentence.pack(head, &mut scratch);
                    for first in (0..sentence.len).step_by(QUERIES) {
                        let n = QUERIES.min(sentence.len - first);
                        sentence.probabilities(q, head, first, n, &mut scratch);
                        let from = (scratch.scores.as_slice(), sentence.stride());
                        sentence.mix(head, first, n, &scratch.own, from, &mut z);
                    }
                }
            }
            Some(hook) => sentence.with_pattern(q, sentence_idx, &mut scratch, &mut z, *hook)?,
        }
    }
    SCRATCH.set(scratch);
    Ok(z)
}

/// The keys and values of a sentence that are not in its past.
#[derive(Clone, Copy)]
struct Keys<'a> {
    x: &'a Tensor,
    /// Where in the columns of x they are.
    shape: AttentionShape,
    first_row: usize,
    len: usize,
}

/// One sentence of a group.
#[derive(Clone, Copy)]
struct Sentence<'a> {
    isa: Isa,
    shape: AttentionShape,
    past: &'a Past,
    keys: Keys<'a>,
    added: &'a Added<'a, Tensor>,
    first_row: usize,
    len: usize,
}

impl Sentence<'_> {
    /// Number of keys: P and those that are not in the past, mostly L.
    fn n_keys(&self) -> usize {
        self.past.len() + self.keys.len
    }

    /// Distance of two rows of scores: a panel may begin at any key.
    fn stride(&self) -> usize {
        (self.n_keys() + PANEL).next_multiple_of(PANEL)
    }

    /// Keys that the queries before `end` see.
    fn seen(&self, end: usize) -> usize {
        if self.shape.causal { self.past.len() + end } else { self.n_keys() }
    }

    fn kv_head(&self, head: usize) -> usize {
        head / (self.shape.n_heads / self.shape.n_kv_heads)
    }

    /// Lays the sentence's own keys and values of a head into panels.
    fn pack(&self, head: usize, scratch: &mut Scratch) {
        let Self { shape, keys: Keys { x, shape: columns, first_row, len }, .. } = *self;
        if !head.is_multiple_of(shape.n_heads / shape.n_kv_heads) {
            return; // the heads of a group share keys and values
        }
        let d_head = shape.d_head;
        let (key, value) =
            (columns.k().start + self.kv_head(head) * d_head, columns.v().start + self.kv_head(head) * d_head);
        scratch.own.reset(1, d_head, len);
        for position in 0..len {
            let row = x.row(first_row + position);
            scratch.own.put(0, position, &row[key..key + d_head], &row[value..value + d_head]);
        }
    }

    /// The first `seen` keys and values of a head, each part with the place of its first.
    fn segments<'a>(&'a self, head: usize, own: &'a Panels, seen: usize) -> impl Iterator<Item = (usize, Segment<'a>)> {
        let all = self.past.segments(self.kv_head(head)).chain([own.segment(0, self.keys.len)]);
        let mut at = 0;
        all.map_while(move |mut segment| {
            segment.len = segment.len.min(seen - at);
            let place = at;
            at += segment.len;
            (segment.len > 0).then_some((place, segment))
        })
    }

    /// Attention probabilities of queries `first..first + n`, left in `scratch.scores` `[n, stride]`.
    fn probabilities(&self, q: &Tensor, head: usize, first: usize, n: usize, scratch: &mut Scratch) {
        let Self { isa, shape, first_row, .. } = *self;
        let stride = self.stride();
        let start = (first_row + first) * q.stride() + head * shape.d_head;
        let queries = Rows { values: &q.values()[start..], stride: q.stride(), n_rows: n };
        let Scratch { own, scores } = scratch;
        let len = n * stride;
        if scores.len() < len {
            scores.resize(len, 0.0);
        }
        for (place, segment) in self.segments(head, own, self.seen(first + n)) {
            for panel in 0..segment.len.div_ceil(PANEL) {
                let mut out = RowsMut { values: &mut scores[place + panel * PANEL..], stride };
                product(isa, queries, segment.keys(panel), &mut out, true, &mut |_, _, _| {});
            }
        }
        for query in 0..n {
            let row = &mut scores[query * stride..][..self.n_keys()];
            let position = self.past.len() + first + query;
            let query = Query { head, position, row: first_row + first + query, first_row };
            probabilities(isa, shape, query, self.added, row);
        }
    }

    /// z of queries `first..first + n` from their probabilities `(rows, stride)`.
    fn mix(&self, head: usize, first: usize, n: usize, own: &Panels, from: (&[f32], usize), z: &mut Tensor) {
        let Self { isa, shape, first_row, .. } = *self;
        let z_stride = z.stride();
        let mut block = [0.0f32; QUERIES * PANEL];
        for panel in 0..shape.d_head.div_ceil(PANEL) {
            for (place, segment) in self.segments(head, own, self.seen(first + n)) {
                let probabilities = Rows { values: &from.0[place..], stride: from.1, n_rows: n };
                let values = segment.values(panel, segment.len);
                let mut out = RowsMut { values: &mut block, stride: PANEL };
                product(isa, probabilities, values, &mut out, place == 0, &mut |_, _, _| {});
            }
            let column = head * shape.d_head + panel * PANEL;
            let width = PANEL.min(shape.d_head - panel * PANEL);
            for query in 0..n {
                let at = (first_row + first + query) * z_stride + column;
                z.values_mut()[at..at + width].copy_from_slice(&block[query * PANEL..][..width]);
            }
        }
    }

    /// As without a hook, but all probabilities of the sentence are shown to `hook` before they are used.
    fn with_pattern(
        &self,
        q: &Tensor,
        sentence_idx: usize,
        scratch: &mut Scratch,
        z: &mut Tensor,
        hook: PatternHook<'_>,
    ) -> Result<(), Halt> {
        let (len, n_keys, n_heads, stride) = (self.len, self.n_keys(), self.shape.n_heads, self.stride());
        let mut all = vec![0.0f32; n_heads * len * n_keys];
        for (head, pattern) in all.chunks_exact_mut((len * n_keys).max(1)).enumerate() {
            self.pack(head, scratch);
            for first in (0..len).step_by(QUERIES) {
                let n = QUERIES.min(len - first);
                self.probabilities(q, head, first, n, scratch);
                for query in 0..n {
                    let row = &scratch.scores[query * stride..][..n_keys];
                    pattern[(first + query) * n_keys..][..n_keys].copy_from_slice(row);
                }
            }
        }
        let view = ArrayViewMut2::from_shape((n_heads, len * n_keys), &mut all).expect("made of this size");
        hook(sentence_idx, Values::plain(view))?;
        // An edited pattern may look ahead: all keys count.
        let open = Self { shape: AttentionShape { causal: false, ..self.shape }, ..*self };
        for (head, pattern) in all.chunks_exact((len * n_keys).max(1)).enumerate() {
            self.pack(head, scratch);
            for first in (0..len).step_by(QUERIES) {
                let n = QUERIES.min(len - first);
                open.mix(head, first, n, &scratch.own, (&pattern[first * n_keys..], n_keys), z);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
