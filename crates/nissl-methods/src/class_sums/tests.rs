#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use nissl_testing::{Random, Tol, assert_close};

use super::*;
use crate::accumulate::of_column;

#[test]
fn sums_and_moments_are_those_of_their_definitions() {
    let mut random = Random::new(1);
    for n_rows in [1, 1000, 2 * BLOCK_ROWS, 70 * BLOCK_ROWS + 17] {
        let column: Vec<f32> = (0..n_rows).map(|_| random.normal() as f32 + 1000.0).collect();
        let group_of: Vec<Option<u32>> = (0..n_rows).map(|_| Some(random.below(4) as u32).filter(|&g| g < 3)).collect();
        let sums = of_column(&ClassSums::new(Grouped::new(3, &group_of), f64::from, |sums: Sums| sums), 0, &column);
        let all: Vec<f64> = column.iter().map(|&value| f64::from(value)).collect();
        let mean = all.iter().sum::<f64>() / n_rows as f64;
        let variance = all.iter().map(|value| (value - mean) * (value - mean)).sum::<f64>() / n_rows as f64;
        let of = |group| all.iter().zip(&group_of).filter(|(_, g)| **g == Some(group)).map(|(v, _)| v).sum::<f64>();
        assert_close("sums", &sums.of_group[..], &[of(0), of(1), of(2)], Tol::rel(1e-12));
        assert_close("mean", &sums.all.mean, &mean, Tol::rel(1e-12));
        assert_close("deviation", &sums.all.deviation(), &variance.sqrt(), Tol::rel(1e-9));
        let ends = [column.iter().copied().reduce(f32::min).unwrap(), column.iter().copied().reduce(f32::max).unwrap()];
        assert_close("range", &[sums.all.min, sums.all.max][..], &ends[..], Tol::EXACT);
    }
}

#[test]
fn a_column_of_one_value_has_no_deviation_whatever_its_zeros() {
    assert!(Moments::of(&[0.1; 777]).is_constant());
    assert!(Moments::of(&[0.1; 777]).deviation() == 0.0);
    assert!(Moments::of(&[0.0, -0.0]).is_constant());
    assert!(!Moments::of(&[0.0, 1e-45]).is_constant());
}
