//! Attention of packed sentences: each sentence and head apart, queries in blocks, nothing padded.
//!
//! Letters: L tokens of a sentence, H heads, D width of a head. Keys and values of a head are laid into panels of 32
//! once; a block of queries then needs `[block, L]` scores at a time, so long sentences stay in cache.

use ndarray::ArrayViewMut2;

use super::gemm::{Rows, RowsMut, product};
use super::isa::Isa;
use super::math;
use super::tensor::{PANEL, Tensor};
use crate::engine::{AttentionShape, Halt, PatternHook, Values};

/// Queries taken together.
const QUERIES: usize = 56;

/// Scratch space of one thread, kept from head to head.
#[derive(Default)]
struct Scratch {
    /// Keys transposed: panels `[D, 32]` of 32 keys each.
    keys: Vec<f32>,
    /// Values: panels `[L, 32]` of 32 columns of D each.
    values: Vec<f32>,
    /// Scores of a block of queries, `[QUERIES, stride]`.
    scores: Vec<f32>,
}

/// z `[T, H D]` of qkv `[T, (H + 2 H_kv) D]`, sentence by sentence.
pub(crate) fn attention(
    isa: Isa,
    qkv: &Tensor,
    shape: AttentionShape,
    offsets: &[usize],
    mut pattern: Option<PatternHook<'_>>,
) -> Result<Tensor, Halt> {
    let mut z = Tensor::new(qkv.n_rows(), shape.n_heads * shape.d_head);
    let mut scratch = Scratch::default();
    for (sentence_idx, sentence) in offsets.windows(2).enumerate() {
        let sentence = Sentence { isa, shape, first_row: sentence[0], len: sentence[1] - sentence[0] };
        match &mut pattern {
            None => {
                for head in 0..shape.n_heads {
                    sentence.pack(qkv, head, &mut scratch);
                    for first in (0..sentence.len).step_by(QUERIES) {
                        let n = QUERIES.min(sentence.len - first);
                        sentence.probabilities(qkv, head, first, n, &mut scratch);
                        let stride = sentence.stride();
                        sentence.mix(head, first, n, &scratch.values, (&scratch.scores, stride), &mut z);
                    }
                }
            }
            Some(hook) => sentence.with_pattern(qkv, sentence_idx, &mut scratch, &mut z, *hook)?,
        }
    }
    Ok(z)
}

/// One sentence of a group.
#[derive(Clone, Copy)]
struct Sentence {
    isa: Isa,
    shape: AttentionShape,
    first_row: usize,
    len: usize,
}

impl Sentence {
    /// Distance of two rows of scores.
    fn stride(&self) -> usize {
        self.len.next_multiple_of(PANEL)
    }

    /// Lays the keys and values of a head into panels.
    fn pack(&self, qkv: &Tensor, head: usize, scratch: &mut Scratch) {
        let Self { shape, len, first_row, .. } = *self;
        let d_head = shape.d_head;
        let kv_head = head / (shape.n_heads / shape.n_kv_heads);
        if !head.is_multiple_of(shape.n_heads / shape.n_kv_heads) {
            return; // the heads of a group share keys and values
        }
        let key = shape.k().start + kv_head * d_head;
        let value = shape.v().start + kv_head * d_head;
        scratch.keys.clear();
        scratch.keys.resize(self.stride() * d_head, 0.0);
        let value_panels = d_head.div_ceil(PANEL);
        scratch.values.clear();
        scratch.values.resize(value_panels * len * PANEL, 0.0);
        for position in 0..len {
            let row = qkv.row(first_row + position);
            let panel = &mut scratch.keys[position / PANEL * (d_head * PANEL)..];
            for (i, key) in row[key..key + d_head].iter().enumerate() {
                panel[i * PANEL + position % PANEL] = *key;
            }
            for (panel, values) in row[value..value + d_head].chunks(PANEL).enumerate() {
                let at = (panel * len + position) * PANEL;
                scratch.values[at..at + values.len()].copy_from_slice(values);
            }
        }
    }

    /// Attention probabilities of queries `first..first + n`, left in `scratch.scores` `[n, stride]`.
    fn probabilities(&self, qkv: &Tensor, head: usize, first: usize, n: usize, scratch: &mut Scratch) {
        let Self { isa, shape, len, first_row } = *self;
        let (d_head, stride) = (shape.d_head, self.stride());
        let start = (first_row + first) * qkv.stride() + head * d_head;
        let queries = Rows { values: &qkv.values()[start..], stride: qkv.stride(), n_rows: n };
        let seen = if shape.causal { first + n } else { len };
        scratch.scores.resize(QUERIES * stride, 0.0);
        for panel in 0..seen.div_ceil(PANEL) {
            let keys = &scratch.keys[panel * d_head * PANEL..][..d_head * PANEL];
            let mut out = RowsMut { values: &mut scratch.scores[panel * PANEL..], stride };
            product(isa, queries, keys, &mut out, true, &mut |_, _, _| {});
        }
        for query in 0..n {
            let seen = if shape.causal { first + query + 1 } else { len };
            let row = &mut scratch.scores[query * stride..][..len];
            math::softmax(isa, &mut row[..seen], shape.scale);
            row[seen..].fill(0.0);
        }
    }

    /// z of queries `first..first + n` from their probabilities `(rows, stride)`.
    fn mix(&self, head: usize, first: usize, n: usize, values: &[f32], from: (&[f32], usize), z: &mut Tensor) {
        let Self { isa, shape, len, first_row } = *self;
        let seen = if shape.causal { first + n } else { len };
        let probabilities = Rows { values: from.0, stride: from.1, n_rows: n };
        let z_stride = z.stride();
        let mut block = [0.0f32; QUERIES * PANEL];
        for panel in 0..shape.d_head.div_ceil(PANEL) {
            let values = &values[panel * len * PANEL..][..seen * PANEL];
            product(
                isa,
                probabilities,
                values,
                &mut RowsMut { values: &mut block, stride: PANEL },
                true,
                &mut |_, _, _| {},
            );
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
        qkv: &Tensor,
        sentence_idx: usize,
        scratch: &mut Scratch,
        z: &mut Tensor,
        hook: PatternHook<'_>,
    ) -> Result<(), Halt> {
        let (len, n_heads, stride) = (self.len, self.shape.n_heads, self.stride());
        let mut all = vec![0.0f32; n_heads * len * len];
        for (head, pattern) in all.chunks_exact_mut((len * len).max(1)).enumerate() {
            self.pack(qkv, head, scratch);
            for first in (0..len).step_by(QUERIES) {
                let n = QUERIES.min(len - first);
                self.probabilities(qkv, head, first, n, scratch);
                for query in 0..n {
                    pattern[(first + query) * len..][..len].copy_from_slice(&scratch.scores[query * stride..][..len]);
                }
            }
        }
        let view = ArrayViewMut2::from_shape((n_heads, len * len), &mut all).expect("made of this size");
        hook(sentence_idx, Values { now: view, slope: None })?;
        // An edited pattern may look ahead: all keys count.
        let open = Self { shape: AttentionShape { causal: false, ..self.shape }, ..*self };
        for (head, pattern) in all.chunks_exact((len * len).max(1)).enumerate() {
            self.pack(qkv, head, scratch);
            for first in (0..len).step_by(QUERIES) {
                let n = QUERIES.min(len - first);
                open.mix(head, first, n, &scratch.values, (&pattern[first * len..], len), z);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
