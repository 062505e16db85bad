use nissl_testing::{Tol, assert_close};

use super::*;

#[test]
fn groups_hold_their_rows_in_order_and_rows_without_a_group_are_in_none() {
    let groups = RowGroups::new(3, [Some(2), None, Some(0), Some(2)].into_iter());
    assert_eq!((groups.len(), groups.rows(0), groups.rows(1), groups.rows(2)), (3, &[2][..], &[][..], &[0, 3][..]));
    let mut means = vec![9.0; 7];
    groups.means(&[1.0, 50.0, 4.0, 2.0], f64::from, &mut means);
    assert_eq!(means, [4.0, 0.0, 1.5]);
}

#[test]
fn the_deviation_is_that_of_the_population_and_survives_a_large_mean() {
    let column = [1e6_f32 + 1.0, 1e6 + 2.0, 1e6 + 3.0, 1e6 + 4.0, 1e6 + 5.0];
    let (mean, deviation) = mean_and_deviation(&column);
    assert_close("mean", &mean, &1_000_003.0, Tol::EXACT);
    assert_close("deviation", &deviation, &2.0_f64.sqrt(), Tol::rel(1e-12));
}

#[test]
fn a_column_of_one_value_has_no_deviation_whatever_the_value() {
    assert_eq!(mean_and_deviation(&[0.1; 1000]).1.to_bits(), 0);
    assert_eq!(mean_and_deviation(&[]), (0.0, 0.0));
    assert!(is_constant(&[0.0, -0.0]) && is_constant(&[]) && is_constant(&[3.0]));
    assert!(!is_constant(&[0.1, f32::from_bits(0.1_f32.to_bits() + 1)]));
}
