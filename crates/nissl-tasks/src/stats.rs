//! What the values of one neuron look like: moments and a histogram.

use serde::{Deserialize, Serialize};

/// The values of a neuron over all rows, in activation units.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stats {
    /// Number of rows.
    pub rows: usize,
    /// Mean.
    pub mean: f32,
    /// Standard deviation (of the rows as they are, divided by their number).
    pub std: f32,
    /// Smallest value.
    pub min: f32,
    /// Largest value.
    pub max: f32,
    /// Share of rows whose value is above 0.
    pub positive: f32,
    /// The values by size.
    pub histogram: Histogram,
}

/// How many values lie in each of some bins of equal width.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Histogram {
    /// Lower edge of the first bin.
    pub from: f32,
    /// Upper edge of the last bin, which belongs to it.
    pub to: f32,
    /// Values in each bin.
    pub counts: Vec<u64>,
}

impl Stats {
    /// Statistics of finite values, with a histogram of `n_bins` (one if all values are the same).
    pub fn of(values: &[f32], n_bins: usize) -> Self {
        if values.is_empty() {
            return Self::default();
        }
        let n = values.len() as f64;
        let mean = values.iter().map(|&v| v as f64).sum::<f64>() / n;
        let variance = values.iter().map(|&v| (v as f64 - mean).powi(2)).sum::<f64>() / n;
        let (min, max) = values.iter().fold((f32::MAX, f32::MIN), |(lo, hi), &v| (lo.min(v), hi.max(v)));
        let positive = values.iter().filter(|&&v| v > 0.0).count() as f64 / n;
        Self {
            rows: values.len(),
            mean: mean as f32,
            std: variance.sqrt() as f32,
            min,
            max,
            positive: positive as f32,
            histogram: Histogram::of(values, min, max, n_bins),
        }
    }
}

impl Histogram {
    fn of(values: &[f32], from: f32, to: f32, n_bins: usize) -> Self {
        let empty = Self { from, to, counts: vec![0; if from < to { n_bins.max(1) } else { 1 }] };
        Self { counts: empty.count(values.iter().copied()), ..empty }
    }

    /// How many of other values of the same neuron lie in each bin.
    pub fn count(&self, values: impl IntoIterator<Item = f32>) -> Vec<u64> {
        let n_bins = self.counts.len();
        let scale = n_bins as f64 / (f64::from(self.to) - f64::from(self.from));
        let mut counts = vec![0; n_bins];
        for value in values {
            let bin = if n_bins == 1 { 0 } else { ((f64::from(value) - f64::from(self.from)) * scale) as usize };
            counts[bin.min(n_bins - 1)] += 1;
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_and_bins_are_those_of_the_values() {
        let stats = Stats::of(&[-1.0, 0.0, 0.0, 3.0], 4);
        let numbers = (stats.rows, stats.mean, stats.std, stats.min, stats.max, stats.positive);
        assert_eq!(numbers, (4, 0.5, 1.5, -1.0, 3.0, 0.25));
        assert_eq!(stats.histogram, Histogram { from: -1.0, to: 3.0, counts: vec![1, 2, 0, 1] });
    }

    #[test]
    fn equal_values_have_one_bin_and_no_values_none() {
        assert_eq!(Stats::of(&[2.0; 5], 10).histogram.counts, [5]);
        assert_eq!(Stats::of(&[], 10), Stats::default());
        let wide = Stats::of(&[f32::MIN, f32::MAX], 3);
        assert_eq!(wide.histogram.counts, [1, 0, 1]);
    }
}
