#![expect(clippy::single_range_in_vec_init, reason = "a list of one word is a list of ranges")]

use ndarray::{Array2, ArrayView2, array, s};
use proptest::prelude::*;

use super::*;

fn check(rows: &ArrayView2<'_, f32>, words: &[Range<usize>], how: Aggregation, expected: &[f32]) {
    let mut out = vec![f32::NAN; words.len() * rows.ncols()];
    aggregate(rows, words, how, &mut out);
    assert_eq!(out, expected, "{how:?}");
}

#[test]
fn each_aggregation_does_what_it_says() {
    let rows = array![[1.0, -1.0], [2.0, -4.0], [6.0, -1.0], [9.0, 0.0]];
    let words = [0..3, 3..4, 1..3];
    check(&rows.view(), &words, Aggregation::First, &[1.0, -1.0, 9.0, 0.0, 2.0, -4.0]);
    check(&rows.view(), &words, Aggregation::Last, &[6.0, -1.0, 9.0, 0.0, 6.0, -1.0]);
    check(&rows.view(), &words, Aggregation::Mean, &[3.0, -2.0, 9.0, 0.0, 4.0, -2.5]);
    check(&rows.view(), &words, Aggregation::Max, &[6.0, -1.0, 9.0, 0.0, 6.0, -1.0]);
}

#[test]
fn rows_may_lie_in_any_layout() {
    let wide = Array2::from_shape_fn((4, 6), |(row, column)| (row * 6 + column) as f32);
    check(&wide.slice(s![.., 2..4]), &[1..3], Aggregation::Mean, &[11.0, 12.0]);
    check(&wide.slice(s![.., ..;3]), &[0..2], Aggregation::Max, &[6.0, 9.0]);
    check(&wide.t().slice(s![.., 0..2]), &[0..2], Aggregation::Last, &[1.0, 7.0]);
    check(&wide.slice(s![.., 5..]), &[0..4], Aggregation::Mean, &[14.0]);
    check(&wide.slice(s![.., 0..0]), &[0..4], Aggregation::Mean, &[]);
    check(&wide.view(), &[], Aggregation::Mean, &[]);
}

proptest! {
    #[test]
    fn the_mean_lies_between_smallest_and_largest(values in prop::collection::vec(-1e3_f32..1e3, 1..40)) {
        let rows = Array2::from_shape_vec((values.len(), 1), values.clone()).expect("a column");
        let mut out = [0.0];
        aggregate(&rows.view(), std::slice::from_ref(&(0..values.len())), Aggregation::Mean, &mut out);
        let mean = values.iter().map(|&value| f64::from(value)).sum::<f64>() / values.len() as f64;
        prop_assert!((f64::from(out[0]) - mean).abs() < 1e-3, "{} {mean}", out[0]);
    }
}
