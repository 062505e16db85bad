//! Sorts a column from high to low, each value with the code of its row.

/// Below so many rows a comparison sort is faster than filling the counters.
const RADIX_FROM: usize = 1024;

/// Bits a pass; three passes cover the 32 bits of a value.
const DIGIT_BITS: u32 = 11;
const N_DIGITS: usize = 1 << DIGIT_BITS;
const N_PASSES: usize = 3;

/// One row of a column: a key that is smaller where the value is higher, above; the row's code, below.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry(u64);

impl Entry {
    fn new(value: f32, code: u32) -> Self {
        // Adding 0 makes -0 the same as 0. Then the bits of positive floats ascend as the values do, those of negative
        // ones descend: flip all bits of the former but the sign to turn the order round.
        let bits = (value + 0.0).to_bits();
        let key = if bits >> 31 == 1 { bits } else { !bits & 0x7fff_ffff };
        Self((key as u64) << 32 | code as u64)
    }

    /// Whether both have the same value.
    pub(super) fn ties(self, other: Self) -> bool {
        (self.0 ^ other.0) >> 32 == 0
    }

    /// The code of the row.
    pub(super) fn code(self) -> u32 {
        self.0 as u32
    }

    fn digit(self, pass: usize) -> usize {
        (self.0 >> (32 + DIGIT_BITS * pass as u32)) as usize % N_DIGITS
    }
}

/// Buffers of a thread for sorting columns.
#[derive(Default)]
pub(super) struct Sorter {
    entries: Vec<Entry>,
    spare: Vec<Entry>,
    /// How often each digit occurs, one row of counters a pass.
    counts: Vec<[u32; N_DIGITS]>,
}

impl Sorter {
    /// What a column of one row takes.
    pub(super) const BYTES_PER_ROW: usize = 2 * size_of::<Entry>();

    /// The rows that have a code, from the highest value to the lowest. Values of size below `zero_below` are 0.
    ///
    /// Inside a tie the order is that of the rows or of the codes: nothing may depend on it.
    pub(super) fn descending(&mut self, column: &[f32], zero_below: f32, codes: &[Option<u32>]) -> &[Entry] {
        let value = |value: f32| if value.abs() < zero_below { 0.0 } else { value };
        self.entries.clear();
        let coded = column.iter().zip(codes).filter_map(|(&raw, &code)| Some(Entry::new(value(raw), code?)));
        self.entries.extend(coded);
        if self.entries.len() < RADIX_FROM {
            self.entries.sort_unstable();
        } else {
            self.radix_sort();
        }
        &self.entries
    }

    /// Least significant digit first; a digit that is the same in all entries costs no pass.
    fn radix_sort(&mut self) {
        self.counts.clear();
        self.counts.resize(N_PASSES, [0; N_DIGITS]);
        for entry in &self.entries {
            for (pass, counts) in self.counts.iter_mut().enumerate() {
                counts[entry.digit(pass)] += 1;
            }
        }
        self.spare.resize(self.entries.len(), Entry::default());
        for (pass, counts) in self.counts.iter_mut().enumerate() {
            if counts[self.entries[0].digit(pass)] as usize == self.entries.len() {
                continue;
            }
            let mut start = 0;
            for count in counts.iter_mut() {
                start += std::mem::replace(count, start);
            }
            for &entry in &self.entries {
                let place = &mut counts[entry.digit(pass)];
                self.spare[*place as usize] = entry;
                *place += 1;
            }
            std::mem::swap(&mut self.entries, &mut self.spare);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(column: &[f32]) {
        let codes: Vec<Option<u32>> = (0..column.len() as u32).map(Some).collect();
        let mut sorter = Sorter::default();
        let sorted: Vec<f32> =
            sorter.descending(column, 0.0, &codes).iter().map(|entry| column[entry.code() as usize]).collect();
        let mut want = column.to_vec();
        want.sort_by(|a, b| b.partial_cmp(a).expect("finite"));
        assert_eq!(sorted, want);
    }

    #[test]
    fn both_sorts_put_the_highest_value_first() {
        let wild = |i: u32| f32::from_bits(i.wrapping_mul(2_654_435_761));
        let finite = |n: u32| (0..n).map(wild).filter(|value| value.is_finite()).collect::<Vec<f32>>();
        check(&finite(50));
        check(&finite(5000));
        check(&(0..3000).map(|i| (i % 7) as f32 - 3.0).collect::<Vec<f32>>());
        check(&[f32::MAX, f32::MIN, f32::MIN_POSITIVE, -f32::MIN_POSITIVE, 0.0, 1e-45, -1e-45]);
    }

    #[test]
    fn the_two_zeros_tie() {
        assert!(Entry::new(0.0, 1).ties(Entry::new(-0.0, 2)));
        assert!(!Entry::new(0.0, 1).ties(Entry::new(1e-45, 1)));
    }

    #[test]
    fn rows_without_a_code_are_left_out_and_small_values_are_zero() {
        let mut sorter = Sorter::default();
        let order = sorter.descending(&[0.04, 9.0, -0.04, 0.05], 0.05, &[Some(0), None, Some(2), Some(3)]);
        assert_eq!(order.iter().map(|entry| entry.code()).collect::<Vec<_>>(), [3, 0, 2]);
        assert!(order[1].ties(order[2]));
    }
}
