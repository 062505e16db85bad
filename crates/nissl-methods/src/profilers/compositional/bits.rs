//! A set of rows, one bit each.

/// A set of rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bits(Vec<u64>);

impl Bits {
    pub(super) fn new(rows: impl ExactSizeIterator<Item = bool>) -> Self {
        let mut words = vec![0; rows.len().div_ceil(64)];
        for (row, is_in) in rows.enumerate() {
            words[row / 64] |= u64::from(is_in) << (row % 64);
        }
        Self(words)
    }

    /// The set of these rows, of `n_rows`.
    pub(super) fn of(rows: &[u32], n_rows: usize) -> Self {
        let mut words = vec![0; n_rows.div_ceil(64)];
        for &row in rows {
            words[row as usize / 64] |= 1 << (row % 64);
        }
        Self(words)
    }

    /// Number of rows in the set.
    pub(super) fn count(&self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }

    pub(super) fn has(&self, row: usize) -> bool {
        self.0[row / 64] >> (row % 64) & 1 == 1
    }

    /// The rows, ascending.
    pub(super) fn rows(&self) -> impl Iterator<Item = usize> + '_ {
        self.0.iter().enumerate().flat_map(|(idx, &word)| {
            let mut left = word;
            std::iter::from_fn(move || {
                let bit = (left != 0).then(|| left.trailing_zeros() as usize)?;
                left &= left - 1;
                Some(idx * 64 + bit)
            })
        })
    }

    /// The set after each word of it and of another were joined.
    pub(super) fn with(&self, other: &Self, join: impl Fn(u64, u64) -> u64) -> Self {
        Self(self.0.iter().zip(&other.0).map(|(&a, &b)| join(a, b)).collect())
    }
}
