//! Keys and values as the kernels read them, and those that a sentence has behind it, in pages.
//!
//! A page is filled position by position and never moved. A copy of a past shares its pages; one that goes on writes
//! to its own copy of the last page.

use std::sync::Arc;

use super::tensor::{PANEL, Tensor};
use crate::engine::AttentionShape;

/// Positions a page.
const PAGE: usize = 64;

/// Keys and values of some heads, with room for some positions.
#[derive(Clone, Default)]
pub(super) struct Panels {
    /// A head behind the other: panels `[d_head, 32]` of 32 keys each.
    keys: Vec<f32>,
    /// A head behind the other: panels `[room, 32]` of 32 columns each.
    values: Vec<f32>,
    d_head: usize,
    room: usize,
}

/// Keys and values of one head at consecutive positions.
#[derive(Clone, Copy)]
pub(super) struct Segment<'a> {
    /// Panels `[d_head, 32]` of 32 keys each.
    keys: &'a [f32],
    /// Panels `[room, 32]` of 32 columns each.
    values: &'a [f32],
    d_head: usize,
    room: usize,
    /// Positions that are there.
    pub(super) len: usize,
}

impl Panels {
    /// Makes room, for anything.
    pub(super) fn reset(&mut self, n_heads: usize, d_head: usize, room: usize) {
        (self.d_head, self.room) = (d_head, room);
        self.keys.resize(n_heads * self.keys_a_head(), 0.0);
        self.values.resize(n_heads * self.values_a_head(), 0.0);
    }

    fn keys_a_head(&self) -> usize {
        self.room.next_multiple_of(PANEL) * self.d_head
    }

    fn values_a_head(&self) -> usize {
        self.d_head.next_multiple_of(PANEL) * self.room
    }

    /// Writes the key and the value of a head at a position, `[d_head]` each.
    pub(super) fn put(&mut self, head: usize, position: usize, key: &[f32], value: &[f32]) {
        let (first, panel) = (head * self.keys_a_head(), position / PANEL * (self.d_head * PANEL));
        let column = &mut self.keys[first + panel + position % PANEL..];
        for (i, key) in key.iter().enumerate() {
            column[i * PANEL] = *key;
        }
        let first = head * self.values_a_head();
        for (panel, value) in value.chunks(PANEL).enumerate() {
            self.values[first + (panel * self.room + position) * PANEL..][..value.len()].copy_from_slice(value);
        }
    }

    /// The first `len` positions of a head.
    pub(super) fn segment(&self, head: usize, len: usize) -> Segment<'_> {
        let (keys, values) = (self.keys_a_head(), self.values_a_head());
        Segment {
            keys: &self.keys[head * keys..][..keys],
            values: &self.values[head * values..][..values],
            d_head: self.d_head,
            room: self.room,
            len,
        }
    }
}

impl<'a> Segment<'a> {
    /// 32 keys, `[d_head, 32]`.
    pub(super) fn keys(&self, panel: usize) -> &'a [f32] {
        &self.keys[panel * self.d_head * PANEL..][..self.d_head * PANEL]
    }

    /// 32 columns of the first `len` values, `[len, 32]`.
    pub(super) fn values(&self, panel: usize, len: usize) -> &'a [f32] {
        &self.values[panel * self.room * PANEL..][..len * PANEL]
    }
}

/// Keys (rotated) and values that a sentence has behind it, at one layer.
#[derive(Clone, Default)]
pub(crate) struct Past {
    pages: Vec<Arc<Panels>>,
    len: usize,
}

impl Past {
    /// Number of positions.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// What is there of a key/value head, in order.
    pub(super) fn segments(&self, kv_head: usize) -> impl Iterator<Item = Segment<'_>> {
        let len = |page: usize| PAGE.min(self.len - page * PAGE);
        self.pages.iter().enumerate().map(move |(page, panels)| panels.segment(kv_head, len(page)))
    }

    /// Adds the keys and values of `rows` of qkv `[T, (H + 2 H_kv) D]`.
    pub(super) fn extend(&mut self, qkv: &Tensor, rows: std::ops::Range<usize>, shape: AttentionShape) {
        let d_head = shape.d_head;
        for row in rows {
            if self.len == self.pages.len() * PAGE {
                let mut page = Panels::default();
                page.reset(shape.n_kv_heads, d_head, PAGE);
                self.pages.push(Arc::new(page));
            }
            let last = self.pages.last_mut().expect("there is room");
            let page = Arc::make_mut(last);
            let (keys, values) = (&qkv.row(row)[shape.k()], &qkv.row(row)[shape.v()]);
            for (head, (key, value)) in keys.chunks_exact(d_head).zip(values.chunks_exact(d_head)).enumerate() {
                page.put(head, self.len % PAGE, key, value);
            }
            self.len += 1;
        }
    }
}
