//! Rows by what they share: sums of a column over the rows of each group.

use std::borrow::Borrow;

/// The rows of each group, one group behind the other.
pub(crate) struct RowGroups {
    /// Where each group starts, `[n_groups + 1]`.
    offsets: Vec<usize>,
    /// Rows, ascending inside a group.
    rows: Vec<u32>,
}

impl RowGroups {
    /// Groups rows by their group's number, `[n_tokens]`; rows without one are in none.
    ///
    /// # Panics
    /// If a number is not below `n_groups`.
    pub(crate) fn new(n_groups: usize, group_of: impl Iterator<Item = Option<u32>> + Clone) -> Self {
        Self::of_members(n_groups, group_of)
    }

    /// Groups rows that may be in several groups, `[n_tokens]`.
    ///
    /// # Panics
    /// If a number is not below `n_groups`.
    pub(crate) fn of_members<R>(n_groups: usize, groups_of: impl Iterator<Item = R> + Clone) -> Self
    where
        R: IntoIterator,
        R::Item: Borrow<u32>,
    {
        let mut offsets = vec![0; n_groups + 1];
        for group in groups_of.clone().flatten() {
            offsets[*group.borrow() as usize + 1] += 1;
        }
        for group in 0..n_groups {
            offsets[group + 1] += offsets[group];
        }
        let mut next = offsets.clone();
        let mut rows = vec![0; offsets[n_groups]];
        for (row, groups) in groups_of.enumerate() {
            for group in groups {
                let group = *group.borrow() as usize;
                rows[next[group]] = row as u32;
                next[group] += 1;
            }
        }
        Self { offsets, rows }
    }

    /// Number of groups.
    pub(crate) fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    /// The rows of a group, ascending.
    pub(crate) fn rows(&self, group: usize) -> &[u32] {
        &self.rows[self.offsets[group]..self.offsets[group + 1]]
    }

    /// The mean of `value(x)` over the rows of each group; 0 for a group without rows.
    pub(crate) fn means(&self, column: &[f32], value: impl Fn(f32) -> f64 + Copy, means: &mut Vec<f64>) {
        means.clear();
        means.extend((0..self.len()).map(|group| {
            let rows = self.rows(group);
            sum(rows, |row| value(column[row as usize])) / rows.len().max(1) as f64
        }));
    }
}

/// Mean and population standard deviation of a column, in two passes; (0, 0) if it is empty.
///
/// The deviation of a column of one value is exactly 0.
pub(crate) fn mean_and_deviation(column: &[f32]) -> (f64, f64) {
    if is_constant(column) {
        return (column.first().map_or(0.0, |&value| value as f64), 0.0);
    }
    let n = column.len() as f64;
    let mean = sum(column, f64::from) / n;
    let variance = sum(column, |value| (value as f64 - mean) * (value as f64 - mean)) / n;
    (mean, variance.sqrt())
}

/// Whether a column has one value in every row.
pub(crate) fn is_constant(column: &[f32]) -> bool {
    // Bits are compared, as a neuron that moves in the last place is not dead; adding 0 makes -0 the same as 0.
    let bits = |value: f32| (value + 0.0).to_bits();
    column.iter().all(|&value| bits(value) == bits(column[0]))
}

/// A sum in eight lanes, which are joined in a fixed order.
pub(crate) fn sum<T: Copy>(items: &[T], value: impl Fn(T) -> f64) -> f64 {
    let mut lanes = [0.0; 8];
    let mut eights = items.chunks_exact(lanes.len());
    for eight in &mut eights {
        for (lane, &item) in lanes.iter_mut().zip(eight) {
            *lane += value(item);
        }
    }
    for (lane, &item) in lanes.iter_mut().zip(eights.remainder()) {
        *lane += value(item);
    }
    lanes.iter().sum()
}

#[cfg(test)]
mod tests;
