//! Sums of a neuron over the rows of each set of labels, with its mean, deviation and range over all rows.

use nissl_core::BLOCK_ROWS;

use crate::accumulate::Accumulator;
use crate::groups::sum;

/// Accumulates sums of `value(x)` over groups of rows, and hands them to `answer`.
pub(crate) struct ClassSums<V, F> {
    groups: Grouped,
    value: V,
    answer: F,
}

/// Rows by their groups: of each block those of one group side by side.
pub(crate) struct Grouped {
    n_groups: usize,
    /// Rows of the block in order of their groups, `[n_tokens]` less those without a group.
    rows: Vec<u16>,
    /// Group and number of rows of each run.
    runs: Vec<(u32, u16)>,
    /// Where each block starts in `rows` and in `runs`, `[n_blocks + 1]`.
    starts: Vec<(usize, usize)>,
}

impl Grouped {
    /// Groups rows by their group's number, `[n_tokens]`; rows without one are in none.
    pub(crate) fn new(n_groups: usize, group_of: &[Option<u32>]) -> Self {
        let mut all = Self { n_groups, rows: Vec::new(), runs: Vec::new(), starts: vec![(0, 0)] };
        for block in group_of.chunks(BLOCK_ROWS) {
            let mut grouped: Vec<(u32, u16)> =
                block.iter().enumerate().filter_map(|(row, &group)| Some((group?, row as u16))).collect();
            grouped.sort_unstable();
            for run in grouped.chunk_by(|(a, _), (b, _)| a == b) {
                all.rows.extend(run.iter().map(|(_, row)| row));
                all.runs.push((run[0].0, run.len() as u16));
            }
            all.starts.push((all.rows.len(), all.runs.len()));
        }
        all
    }

    /// Calls `take` with each group that the block has, and its rows within the block.
    fn each(&self, block: usize, mut take: impl FnMut(usize, &[u16])) {
        let ((first_row, first_run), (_, end)) = (self.starts[block], self.starts[block + 1]);
        let mut start = first_row;
        for &(group, n_rows) in &self.runs[first_run..end] {
            let next = start + n_rows as usize;
            take(group as usize, &self.rows[start..next]);
            start = next;
        }
    }
}

impl<V, F> ClassSums<V, F> {
    /// Sums over the groups; rows of no group count for mean, deviation and range alone, which are those of the
    /// activations themselves.
    pub(crate) fn new(groups: Grouped, value: V, answer: F) -> Self {
        Self { groups, value, answer }
    }
}

/// Sums of one neuron.
pub(crate) struct Sums {
    /// Over the rows of each group, `[n_groups]`.
    pub(crate) of_group: Vec<f64>,
    /// Over all rows.
    pub(crate) all: Moments,
}

impl<V, F, T> Accumulator for ClassSums<V, F>
where
    V: Fn(f32) -> f64 + Send + Sync,
    F: Fn(Sums) -> T + Send + Sync,
    T: Send,
{
    type State = Sums;
    type Answer = T;

    fn start(&self) -> Sums {
        Sums { of_group: vec![0.0; self.groups.n_groups], all: Moments::default() }
    }

    fn update(&self, sums: &mut Sums, first_row: usize, values: &[f32]) {
        sums.all.merge(&Moments::of(values));
        // A row within a block of fixed length needs no check; rows that are not there are in no group.
        let mut padded = [0.0; BLOCK_ROWS];
        let block: &[f32; BLOCK_ROWS] = values.try_into().unwrap_or_else(|_| {
            padded[..values.len()].copy_from_slice(values);
            &padded
        });
        self.groups.each(first_row / BLOCK_ROWS, |group, rows| {
            sums.of_group[group] += sum(rows, |row| (self.value)(block[row as usize % BLOCK_ROWS]));
        });
    }

    fn merge(&self, sums: &mut Sums, next: Sums) {
        sums.of_group.iter_mut().zip(next.of_group).for_each(|(sum, next)| *sum += next);
        sums.all.merge(&next.all);
    }

    fn finish(&self, _column_idx: usize, sums: Sums) -> T {
        (self.answer)(sums)
    }

    fn state_bytes(&self) -> usize {
        self.groups.n_groups * size_of::<f64>()
    }
}

/// Values that are added up side by side.
const LANES: usize = 8;

/// Number, mean, spread and range of values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Moments {
    n: f64,
    /// The mean.
    pub(crate) mean: f64,
    /// Sum of squared differences from the mean.
    m2: f64,
    /// The smallest value.
    pub(crate) min: f32,
    /// The largest value.
    pub(crate) max: f32,
}

impl Default for Moments {
    fn default() -> Self {
        Self { n: 0.0, mean: 0.0, m2: 0.0, min: f32::INFINITY, max: f32::NEG_INFINITY }
    }
}

impl Moments {
    /// Those of some values, none of them infinite.
    pub(crate) fn of(values: &[f32]) -> Self {
        if values.is_empty() {
            return Self::default();
        }
        let n = values.len() as f64;
        // Differences from one of the values: nothing is lost to a mean that is far from 0, and one look is enough.
        let near = f64::from(values[0]);
        let (mut sums, mut squares) = ([0.0; LANES], [0.0; LANES]);
        let (mut min, mut max) = ([f32::INFINITY; LANES], [f32::NEG_INFINITY; LANES]);
        let mut take = |values: &[f32]| {
            for (lane, &value) in values.iter().enumerate() {
                let difference = f64::from(value) - near;
                sums[lane] += difference;
                squares[lane] += difference * difference;
                min[lane] = if value < min[lane] { value } else { min[lane] };
                max[lane] = if value > max[lane] { value } else { max[lane] };
            }
        };
        let mut whole = values.chunks_exact(LANES);
        (&mut whole).for_each(&mut take);
        take(whole.remainder());
        let (sum, square): (f64, f64) = (sums.iter().sum(), squares.iter().sum());
        Self {
            n,
            mean: near + sum / n,
            m2: (square - sum * sum / n).max(0.0),
            min: min.into_iter().fold(f32::INFINITY, f32::min),
            max: max.into_iter().fold(f32::NEG_INFINITY, f32::max),
        }
    }

    /// Joins those of the values that follow.
    pub(crate) fn merge(&mut self, next: &Self) {
        if self.n == 0.0 || next.n == 0.0 {
            *self = if next.n == 0.0 { *self } else { *next };
            return;
        }
        let n = self.n + next.n;
        let delta = next.mean - self.mean;
        self.mean += delta * (next.n / n);
        self.m2 += next.m2 + delta * delta * (self.n * next.n / n);
        self.n = n;
        self.min = self.min.min(next.min);
        self.max = self.max.max(next.max);
    }

    /// Whether all values are the same.
    pub(crate) fn is_constant(&self) -> bool {
        self.min >= self.max
    }

    /// From the smallest to the largest value.
    pub(crate) fn range(&self) -> f64 {
        f64::from(self.max) - f64::from(self.min)
    }

    /// The population standard deviation; exactly 0 if all values are the same.
    pub(crate) fn deviation(&self) -> f64 {
        if self.is_constant() { 0.0 } else { (self.m2 / self.n).sqrt() }
    }
}

#[cfg(test)]
mod tests;
