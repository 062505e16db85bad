//! One row a word, from the rows of its tokens.

use std::ops::Range;

use ndarray::ArrayView2;
use serde::{Deserialize, Serialize};

/// How the activations of a word's tokens become the word's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Aggregation {
    /// The first token's.
    First,
    /// The last token's.
    Last,
    /// Their mean, neuron by neuron.
    #[default]
    Mean,
    /// Their largest, neuron by neuron.
    Max,
}

/// Aggregates rows `[n_tokens, width]` into `out`, `[n_words, width]`, a row for each range of rows.
///
/// Means are sums in `f32` in order of the rows, divided by their number.
///
/// # Panics
/// If a range is empty or outside the rows, or `out` has not `n_words * width` values.
pub fn aggregate(rows: &ArrayView2<'_, f32>, words: &[Range<usize>], how: Aggregation, out: &mut [f32]) {
    let width = rows.ncols();
    assert_eq!(out.len(), words.len() * width, "one output row a word");
    assert!(words.iter().all(|word| !word.is_empty() && word.end <= rows.nrows()), "words have rows");
    if width == 0 {
        return;
    }
    let copy;
    let rows = if rows.strides()[1] == 1 || width == 1 {
        rows.view()
    } else {
        copy = rows.as_standard_layout();
        copy.view()
    };
    for (word, out) in words.iter().zip(out.chunks_exact_mut(width)) {
        match how {
            Aggregation::First => out.copy_from_slice(row(&rows, word.start)),
            Aggregation::Last => out.copy_from_slice(row(&rows, word.end - 1)),
            Aggregation::Mean => {
                out.copy_from_slice(row(&rows, word.start));
                for idx in word.start + 1..word.end {
                    for (sum, value) in out.iter_mut().zip(row(&rows, idx)) {
                        *sum += value;
                    }
                }
                if word.len() > 1 {
                    let n = word.len() as f32;
                    for value in out {
                        *value /= n;
                    }
                }
            }
            Aggregation::Max => {
                out.copy_from_slice(row(&rows, word.start));
                for idx in word.start + 1..word.end {
                    for (most, value) in out.iter_mut().zip(row(&rows, idx)) {
                        *most = most.max(*value);
                    }
                }
            }
        }
    }
}

/// A row whose values lie side by side.
fn row<'a>(rows: &'a ArrayView2<'_, f32>, idx: usize) -> &'a [f32] {
    rows.row(idx).to_slice().expect("the caller has made sure that a row's values lie side by side")
}

#[cfg(test)]
mod tests;
