//! The adjoint of attention: each sentence and key/value head apart, queries in blocks, probabilities computed again.
//!
//! Letters: L tokens of a sentence, D width of a head, P probabilities `[L, L]` (after the edits where a hook made
//! some), S scores. With dP = dz Vᵀ: dV = Pᵀ dz, dS = P (dP - P · dP) by rows, dQ = dS K, dK = dSᵀ Q.

use std::ops::Range;

use ndarray::{Array2, ArrayView1, s};

use super::backward::Deliver;
use super::{Pattern, Values, slopes};
use crate::engine::cpu::gemm::{Rows, RowsMut, product};
use crate::engine::cpu::isa::Isa;
use crate::engine::cpu::math;
use crate::engine::cpu::scores::{Query, probabilities};
use crate::engine::cpu::tensor::PANEL;
use crate::engine::{Added, AttentionShape, Columns};

/// Queries taken together.
const QUERIES: usize = 56;
/// Keys transposed together.
const TURNED: usize = 16;

/// An attention and the gradient with respect to its result.
pub(super) struct Attention<'a> {
    pub(super) isa: Isa,
    pub(super) qkv: &'a Values,
    pub(super) shape: AttentionShape,
    pub(super) added: Added<'a, Values>,
    /// Keys and values, and the rows of every sentence's, where they are not in `qkv`.
    pub(super) sources: Option<(&'a Values, &'a [usize])>,
    /// `[T, n_heads D]`.
    pub(super) dz: &'a Values,
}

/// The gradients that an attention gives, each zeros before, where it is asked for.
pub(super) struct Given {
    pub(super) qkv: Option<Values>,
    /// Of the keys and values of sources.
    pub(super) sources: Option<Values>,
    /// Of [`Relative::of_queries`] and [`Relative::of_keys`].
    pub(super) of_queries: Option<Values>,
    pub(super) of_keys: Option<Values>,
}

impl Given {
    fn is_asked(&self) -> bool {
        self.qkv.is_some() || self.sources.is_some() || self.of_queries.is_some() || self.of_keys.is_some()
    }
}

/// Adds to what is `given`, and delivers the gradients of the patterns that are wanted; `shown` has the pattern
/// of every sentence, or none.
pub(super) fn backward(
    attention: &Attention<'_>,
    offsets: &[usize],
    shown: &[Pattern],
    given: &mut Given,
    deliver: Deliver<'_>,
) {
    let mut scratch = Scratch::default();
    for (idx, rows) in offsets.windows(2).enumerate() {
        let pattern = shown.get(idx);
        let keys = attention.sources.map_or(rows[0]..rows[1], |(_, of)| of[idx]..of[idx + 1]);
        let (first_row, len) = (rows[0], rows[1] - rows[0]);
        let sentence = Sentence { attention, pattern, first_row, len, first_key: keys.start, n_keys: keys.len() };
        let wanted = pattern.and_then(|pattern| pattern.wanted.as_ref());
        let n_heads = attention.shape.n_heads;
        let mut dpattern = wanted.map(|_| Array2::zeros((n_heads, sentence.len * sentence.n_keys)));
        if sentence.len > 0 && (given.is_asked() || dpattern.is_some()) {
            let n_queries = n_heads / attention.shape.n_kv_heads;
            for kv_head in 0..attention.shape.n_kv_heads {
                sentence.pack(kv_head, &mut scratch);
                for head in kv_head * n_queries..(kv_head + 1) * n_queries {
                    for first in (0..sentence.len).step_by(QUERIES) {
                        let block = Block { head, first, n: QUERIES.min(sentence.len - first) };
                        sentence.gradient_of_pattern(block, &mut scratch);
                        if let Some(dpattern) = &mut dpattern {
                            sentence.copy_to(block, &scratch, dpattern);
                        }
                        if given.is_asked() {
                            sentence.block(block, &mut scratch, given);
                        }
                    }
                }
                let keys = if attention.sources.is_some() { &mut given.sources } else { &mut given.qkv };
                if let Some(keys) = keys {
                    sentence.unpack(kv_head, &scratch, keys);
                }
            }
        }
        if let (Some(wanted), Some(dpattern)) = (wanted, &dpattern) {
            deliver(wanted, dpattern.view());
        }
    }
}

/// Space of one thread, kept from head to head. Panels are those of 32 columns that the kernel reads.
#[derive(Default)]
struct Scratch {
    /// Kᵀ and Vᵀ: panels `[D, 32]` of 32 positions each.
    keys_across: Vec<f32>,
    values_across: Vec<f32>,
    /// K: panels `[L, 32]` of 32 columns of D each.
    keys: Vec<f32>,
    /// dK and dV, `[L, stride of D]`.
    dkeys: Vec<f32>,
    dvalues: Vec<f32>,
    /// P and dP of a block, `[QUERIES, stride]`.
    p: Vec<f32>,
    dp: Vec<f32>,
    /// Scores of a block before they are capped, where they are.
    uncapped: Vec<f32>,
    /// A block transposed, `[L, QUERIES]`.
    turned: Vec<f32>,
}

/// Some queries of a head.
#[derive(Clone, Copy)]
struct Block {
    head: usize,
    first: usize,
    n: usize,
}

struct Sentence<'a> {
    attention: &'a Attention<'a>,
    pattern: Option<&'a Pattern>,
    first_row: usize,
    len: usize,
    first_key: usize,
    n_keys: usize,
}

impl Sentence<'_> {
    /// The tensor of the keys and values, and where in its columns they are.
    fn keys(&self) -> (&Values, AttentionShape) {
        let Attention { qkv, shape, sources, .. } = *self.attention;
        sources.map_or((qkv, shape), |(kv, _)| (kv, shape.without_queries()))
    }

    /// Distance of two rows of scores.
    fn stride(&self) -> usize {
        self.n_keys.next_multiple_of(PANEL)
    }

    /// Distance of two rows of dK.
    fn depth(&self) -> usize {
        self.attention.shape.d_head.next_multiple_of(PANEL)
    }

    /// Keys that some of a block's queries see. An edited pattern may look ahead: all keys count.
    fn seen(&self, block: Block) -> usize {
        let causal = self.attention.shape.causal && self.pattern.is_none();
        if causal { block.first + block.n } else { self.n_keys }
    }

    /// Lays the keys and values of a head into panels, and makes their gradients zero.
    fn pack(&self, kv_head: usize, scratch: &mut Scratch) {
        let (kv, shape) = self.keys();
        let d_head = shape.d_head;
        let (key, value) = (shape.k().start + kv_head * d_head, shape.v().start + kv_head * d_head);
        for (across, start) in [(&mut scratch.keys_across, key), (&mut scratch.values_across, value)] {
            reset(across, self.stride() * d_head);
            for position in 0..self.n_keys {
                let row = &kv.row(self.first_key + position)[start..start + d_head];
                let panel = &mut across[position / PANEL * (d_head * PANEL)..];
                row.iter().enumerate().for_each(|(i, value)| panel[i * PANEL + position % PANEL] = *value);
            }
        }
        panels(kv, self.first_key..self.first_key + self.n_keys, key..key + d_head, &mut scratch.keys);
        reset(&mut scratch.dkeys, self.n_keys * self.depth());
        reset(&mut scratch.dvalues, self.n_keys * self.depth());
    }

    /// dP of a block, left in `scratch.dp`.
    fn gradient_of_pattern(&self, block: Block, scratch: &mut Scratch) {
        let (isa, dz, d_head) = (self.attention.isa, self.attention.dz, self.attention.shape.d_head);
        let start = (self.first_row + block.first) * dz.stride() + block.head * d_head;
        let left = Rows { values: &dz.values()[start..], stride: dz.stride(), n_rows: block.n };
        scores(isa, left, &scratch.values_across, d_head, self.seen(block), (&mut scratch.dp, self.stride()));
    }

    /// Copies dP of a block to that of the sentence, `[n_heads, L * L]`.
    fn copy_to(&self, block: Block, scratch: &Scratch, dpattern: &mut Array2<f32>) {
        for query in 0..block.n {
            let row = &scratch.dp[query * self.stride()..][..self.n_keys];
            let mut to = dpattern.row_mut(block.head);
            let at = (block.first + query) * self.n_keys;
            to.slice_mut(s![at..at + self.n_keys]).assign(&ArrayView1::from(row));
        }
    }

    /// Adds the gradients of a block's queries to what is `given`, those of keys and values to `scratch`.
    fn block(&self, block: Block, scratch: &mut Scratch, given: &mut Given) {
        let Attention { isa, qkv, shape, ref added, dz, .. } = *self.attention;
        let (d_head, stride, len, seen) = (shape.d_head, self.stride(), self.n_keys, self.seen(block));
        let queries = block.head * d_head..(block.head + 1) * d_head;
        let rows = self.first_row + block.first..self.first_row + block.first + block.n;
        let left = Rows {
            values: &qkv.values()[rows.start * qkv.stride() + queries.start..],
            stride: qkv.stride(),
            n_rows: block.n,
        };
        scores(isa, left, &scratch.keys_across, d_head, seen, (&mut scratch.p, stride));
        if shape.cap.is_some() {
            scratch.uncapped.resize(QUERIES * stride, 0.0);
        }
        for query in 0..block.n {
            let row = &mut scratch.p[query * stride..][..len];
            if shape.cap.is_some() {
                let uncapped = &mut scratch.uncapped[query * stride..][..len];
                uncapped.iter_mut().zip(&*row).for_each(|(to, score)| *to = score * shape.scale);
            }
            let position = block.first + query;
            let (row_of, first_row) = (self.first_row + position, self.first_row);
            let query = Query { head: block.head, position, row: row_of, first_row };
            probabilities(isa, shape, query, added, row);
        }
        let mut right = [0.0f32; QUERIES * PANEL];
        let right = &mut right[..block.n * PANEL];
        let mut gradient = |left: (&[f32], usize), turned: &mut Vec<f32>, from: &Values, to: &mut [f32]| {
            turned.resize(seen * block.n, 0.0);
            turn(&left.0.chunks(left.1).take(block.n), block.n, turned);
            let left = Rows { values: turned, stride: block.n, n_rows: seen };
            for (panel, column) in queries.clone().step_by(PANEL).enumerate() {
                let width = PANEL.min(queries.end - column);
                for (row, right) in rows.clone().zip(right.chunks_exact_mut(PANEL)) {
                    right[..width].copy_from_slice(&from.row(row)[column..column + width]);
                    right[width..].fill(0.0);
                }
                let mut to = RowsMut { values: &mut to[panel * PANEL..], stride: self.depth() };
                product(isa, left, right, &mut to, false, &mut |_, _, _| {});
            }
        };
        match self.pattern {
            None => gradient((&scratch.p, stride), &mut scratch.turned, dz, &mut scratch.dvalues),
            Some(pattern) => {
                let edited = pattern.values.row(block.head);
                let edited = edited.as_slice().expect("rows of a fresh array are contiguous");
                let edited = &edited[block.first * len..];
                gradient((edited, len), &mut scratch.turned, dz, &mut scratch.dvalues);
                if let Some(slope) = &pattern.slope {
                    let slope = slope.row(block.head);
                    let slope = slope.as_slice().expect("rows of a fresh array are contiguous");
                    for query in 0..block.n {
                        let slope = &slope[(block.first + query) * len..][..len];
                        slopes::multiply(isa, &mut scratch.dp[query * stride..][..len], slope);
                    }
                }
            }
        }
        for query in 0..block.n {
            let at = query * stride..query * stride + seen;
            slopes::softmax(isa, &scratch.p[at.clone()], shape.scale, &mut scratch.dp[at.clone()]);
            if let Some(cap) = shape.cap {
                slopes::cap(isa, &scratch.uncapped[at.clone()], cap, &mut scratch.dp[at]);
            }
        }
        if let Some(relative) = &added.relative {
            self.relative(block, relative.columns, &scratch.dp, given);
        }
        gradient((&scratch.dp, stride), &mut scratch.turned, qkv, &mut scratch.dkeys);
        let Some(dqkv) = &mut given.qkv else { return };
        let left = Rows { values: &scratch.dp, stride, n_rows: block.n };
        let mut out = [0.0f32; QUERIES * PANEL];
        for (panel, column) in queries.clone().step_by(PANEL).enumerate() {
            let keys = &scratch.keys[panel * len * PANEL..][..seen * PANEL];
            product(isa, left, keys, &mut RowsMut { values: &mut out, stride: PANEL }, true, &mut |_, _, _| {});
            let width = PANEL.min(queries.end - column);
            for (row, out) in rows.clone().zip(out.chunks_exact(PANEL)) {
                math::add(isa, &mut dqkv.row_mut(row)[column..column + width], &out[..width]);
            }
        }
    }

    /// Adds the gradients of scores to those of what was added to them by distance.
    fn relative(&self, block: Block, columns: &Columns, dscores: &[f32], given: &mut Given) {
        let first = block.head * columns.n_columns;
        for query in 0..block.n {
            let row = &dscores[query * self.stride()..][..self.seen(block)];
            let position = block.first + query;
            for ((key, dscore), column) in row.iter().enumerate().zip(columns.of(position, row.len())) {
                let column = first + *column as usize;
                if let Some(of_queries) = &mut given.of_queries {
                    of_queries.row_mut(self.first_row + position)[column] += dscore;
                }
                if let Some(of_keys) = &mut given.of_keys {
                    of_keys.row_mut(self.first_row + key)[column] += dscore;
                }
            }
        }
    }

    /// Adds the gradients of the keys and values of a head to those of their tensor.
    fn unpack(&self, kv_head: usize, scratch: &Scratch, dkv: &mut Values) {
        let (_, shape) = self.keys();
        for (gradient, columns) in [(&scratch.dkeys, shape.k()), (&scratch.dvalues, shape.v())] {
            let start = columns.start + kv_head * shape.d_head;
            for (position, gradient) in gradient.chunks_exact(self.depth()).enumerate() {
                let row = &mut dkv.row_mut(self.first_key + position)[start..start + shape.d_head];
                row.iter_mut().zip(gradient).for_each(|(to, part)| *to += part);
            }
        }
    }
}

/// Zeros, so many.
fn reset(values: &mut Vec<f32>, n: usize) {
    values.clear();
    values.resize(n, 0.0);
}

/// Lays some rows and columns of `x` into panels `[n_rows, 32]`.
fn panels(x: &Values, rows: Range<usize>, columns: Range<usize>, out: &mut Vec<f32>) {
    reset(out, columns.len().div_ceil(PANEL) * rows.len() * PANEL);
    for (panel, out) in out.chunks_exact_mut(rows.len() * PANEL).enumerate() {
        let start = columns.start + panel * PANEL;
        let width = PANEL.min(columns.end - start);
        for (row, out) in rows.clone().zip(out.chunks_exact_mut(PANEL)) {
            out[..width].copy_from_slice(&x.row(row)[start..start + width]);
        }
    }
}

/// Products of rows with the first `seen` positions of `across`, panels `[depth, 32]`: `[QUERIES, stride]`.
fn scores(isa: Isa, left: Rows<'_>, across: &[f32], depth: usize, seen: usize, (out, stride): (&mut Vec<f32>, usize)) {
    out.resize(QUERIES * stride, 0.0);
    for panel in 0..seen.div_ceil(PANEL) {
        let across = &across[panel * depth * PANEL..][..depth * PANEL];
        let mut out = RowsMut { values: &mut out[panel * PANEL..], stride };
        product(isa, left, across, &mut out, true, &mut |_, _, _| {});
    }
}

/// Transposes the first columns of `n` rows, as many as there is room for in `out`, `[n_columns, n]`.
pub(super) fn turn<'a>(rows: &(impl Iterator<Item = &'a [f32]> + Clone), n: usize, out: &mut [f32]) {
    for (block, out) in out.chunks_mut(TURNED * n).enumerate() {
        for (to, row) in rows.clone().enumerate() {
            let row = &row[block * TURNED..][..out.len() / n];
            row.iter().enumerate().for_each(|(i, value)| out[i * n + to] = *value);
        }
    }
}
