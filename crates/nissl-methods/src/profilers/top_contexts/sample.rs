//! Contexts of every height: some from each of several bins of equally many rows.

use super::{Contexts, Excerpt};
use crate::quantile::quantile;
use crate::random::{hash, mix};

/// Contexts that are taken from a bin.
const PER_BIN: usize = 5;

/// What the contexts of all rows are taken by.
pub(super) struct Sampler {
    bins: usize,
    /// A number for each row by what its context reads, `[n_tokens]`.
    keys: Vec<u64>,
}

impl Sampler {
    /// For so many bins; `None` for none.
    pub(super) fn new(contexts: &Contexts<'_>, bins: usize) -> Option<Self> {
        let key = |row| hash(contexts.words(row).0.as_bytes());
        (bins > 0).then(|| Self { bins, keys: (0..contexts.text.n_tokens()).map(key).collect() })
    }

    /// Contexts of each bin, from the lowest to the highest: those whose texts and values come first in an order that has
    /// nothing to do with either. What reads the same is taken once a bin.
    pub(super) fn sample(&self, contexts: &Contexts<'_>, column: &[f32], scratch: &mut Vec<f32>) -> Vec<Excerpt> {
        let bounds: Vec<f32> =
            (1..self.bins).map(|bin| quantile(column, bin as f64 / self.bins as f64, scratch)).collect();
        let mut chosen: Vec<Vec<(u64, usize)>> = vec![Vec::new(); self.bins];
        for (row, &value) in column.iter().enumerate() {
            let of_bin = &mut chosen[bounds.partition_point(|&bound| bound < value)];
            let key = mix(self.keys[row] ^ u64::from((value + 0.0).to_bits()));
            let place = of_bin.partition_point(|&(other, _)| other < key);
            let is_there = of_bin.get(place).is_some_and(|&(other, _)| other == key);
            if place < PER_BIN && !is_there {
                of_bin.insert(place, (key, row));
                of_bin.truncate(PER_BIN);
            }
        }
        chosen.into_iter().flatten().map(|(_, row)| contexts.excerpt(row, column)).collect()
    }
}
