//! From products of queries and keys to attention probabilities.

use super::isa::Isa;
use super::math;
use super::tensor::Tensor;
use crate::engine::{Added, AttentionShape};

/// A query of a head.
#[derive(Clone, Copy)]
pub(crate) struct Query {
    pub(crate) head: usize,
    /// Its position in the text.
    pub(crate) position: usize,
    /// Its row in the group.
    pub(crate) row: usize,
    /// The first row of its sentence.
    pub(crate) first_row: usize,
}

/// A row of products of a query and all keys becomes its probabilities. Where keys add something to scores, none of them
/// is in the past.
pub(crate) fn probabilities(isa: Isa, shape: AttentionShape, query: Query, added: &Added<'_, Tensor>, row: &mut [f32]) {
    add_relative(query, added, row);
    let seen = shape.seen(query.position, row.len());
    row[..seen.start].fill(0.0);
    row[seen.end..].fill(0.0);
    let n_keys = row.len();
    let row = &mut row[seen.clone()];
    let scale = if shape.cap.is_none() && shape.alibi.is_none() && added.bias.is_none() {
        shape.scale
    } else {
        final_scores(isa, shape, query.head, seen.start, row);
        if let Some(bias) = added.bias {
            math::add(isa, row, &bias.of(query.head, query.position, n_keys)[seen]);
        }
        1.0
    };
    let sink = added.sinks.map_or(f32::NEG_INFINITY, |sinks| sinks[query.head]);
    math::softmax_beside(isa, row, scale, sink);
}

/// Products of a query and the keys from `first` on are scaled, capped, and rise from key to key.
pub(crate) fn final_scores(isa: Isa, shape: AttentionShape, head: usize, first: usize, row: &mut [f32]) {
    for score in row.iter_mut() {
        *score *= shape.scale;
    }
    if let Some(cap) = shape.cap {
        math::cap(isa, row, cap);
    }
    let rise = shape.rise(head);
    // Probabilities depend on differences alone: a key counts from the first one.
    row.iter_mut().enumerate().for_each(|(key, score)| *score += rise * (first + key) as f32);
}

/// Adds what queries and keys say of the distance between them.
fn add_relative(query: Query, added: &Added<'_, Tensor>, scores: &mut [f32]) {
    let Some(relative) = &added.relative else { return };
    let Query { head, position, row, first_row } = query;
    let columns = relative.columns.of(position, scores.len());
    let block = head * relative.columns.n_columns..(head + 1) * relative.columns.n_columns;
    if let Some(of_queries) = relative.of_queries {
        let own = &of_queries.row(row)[block.clone()];
        scores.iter_mut().zip(columns).for_each(|(score, &column)| *score += own[column as usize]);
    }
    if let Some(of_keys) = relative.of_keys {
        for ((score, &column), key) in scores.iter_mut().zip(columns).zip(first_row..) {
            *score += of_keys.row(key)[block.start + column as usize];
        }
    }
}
