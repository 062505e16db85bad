//! What an attention adds to its scores, by how far a key is from its query.

use std::sync::Arc;

use ndarray::{ArcArray1, ArcArray2};

/// What is added to the scores of an attention, where there is any.
pub(crate) struct Added<'a, T> {
    /// Added after the scores were scaled.
    pub(crate) bias: Option<&'a DistanceBias>,
    /// Added before that.
    pub(crate) relative: Option<Relative<'a, T>>,
    /// Of every head the score of a key that is nothing: it takes its share of a query's probabilities, and has no value.
    pub(crate) sinks: Option<&'a Arc<[f32]>>,
}

impl<T> Added<'_, T> {
    /// Nothing.
    pub(crate) const NONE: Self = Self { bias: None, relative: None, sinks: None };
}

/// A number for every head and distance.
#[derive(Clone)]
pub(crate) struct DistanceBias {
    /// `[n_heads, 2 n - 1]`, or one row for all heads; column `n - 1 + key - query`.
    values: ArcArray2<f32>,
}

impl DistanceBias {
    /// What `value` says of a head and a distance, key - query, for texts of up to `n` tokens.
    pub(crate) fn new(n_heads: usize, n: usize, value: impl Fn(usize, i64) -> f32) -> Self {
        let distance = |column: usize| column as i64 + 1 - n as i64;
        let shape = (n_heads, (2 * n).saturating_sub(1));
        Self { values: ArcArray2::from_shape_fn(shape, |(head, column)| value(head, distance(column))) }
    }

    /// Tokens that a text may have.
    pub(crate) fn n(&self) -> usize {
        self.values.ncols().div_ceil(2)
    }

    /// The numbers of a query at `position` and the keys from the first on.
    pub(crate) fn of(&self, head: usize, position: usize, n_keys: usize) -> &[f32] {
        let row = self.values.row(if self.values.nrows() == 1 { 0 } else { head });
        let start = self.n() - 1 - position;
        &row.to_slice().expect("rows of a fresh array are contiguous")[start..start + n_keys]
    }
}

/// Products of queries, or of keys, with something that depends on the distance alone.
pub(crate) struct Relative<'a, T> {
    /// `[T, n_heads R]`: what a query adds to its score with a key is in the column of their distance.
    pub(crate) of_queries: Option<&'a T>,
    /// The same of a key.
    pub(crate) of_keys: Option<&'a T>,
    /// Which column that is.
    pub(crate) columns: &'a Columns,
}

/// The column, below R, of every distance.
#[derive(Clone)]
pub(crate) struct Columns {
    /// By `n - 1 + key - query`.
    values: ArcArray1<u32>,
    /// R.
    pub(crate) n_columns: usize,
}

impl Columns {
    /// What `column` says of a distance, key - query, for texts of up to `n` tokens.
    ///
    /// # Panics
    /// If it is not below `n_columns`.
    pub(crate) fn new(n_columns: usize, n: usize, column: impl Fn(i64) -> usize) -> Self {
        let of = |place: usize| {
            let column = column(place as i64 + 1 - n as i64);
            assert!(column < n_columns, "a column is one of those there are");
            column as u32
        };
        Self { values: (0..(2 * n).saturating_sub(1)).map(of).collect(), n_columns }
    }

    /// Tokens that a text may have.
    pub(crate) fn n(&self) -> usize {
        self.values.len().div_ceil(2)
    }

    /// Those of a query at `position` and the keys from the first on.
    pub(crate) fn of(&self, position: usize, n_keys: usize) -> &[u32] {
        let start = self.n() - 1 - position;
        &self.values.as_slice().expect("a fresh array is contiguous")[start..start + n_keys]
    }
}
