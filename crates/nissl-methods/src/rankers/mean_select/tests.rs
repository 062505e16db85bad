#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use ndarray::{Array2, array};
use nissl_core::{HookPoint, Matrix, Site, site_columns};
use nissl_testing::{Random, Tol, assert_close};

use super::*;

fn score(method: &MeanSelect, values: Array2<f32>, labels: &Labels) -> Result<Scores, MethodError> {
    let neurons = site_columns(&[(HookPoint::new(0, Site::MlpPost), values.ncols())]);
    let x = Matrix::new(values, neurons).unwrap();
    method.score(LabeledActivations::new(&x, labels)?, Context::default())
}

fn marked(rows: &[u8]) -> Labels {
    Labels::from_names(&rows.iter().map(|&row| (row == 1).then_some("a")).collect::<Vec<_>>())
}

#[test]
fn the_distance_of_the_means_in_units_of_the_range() {
    // Means 0.95 and 0.1, range 1.
    let labels = marked(&[0, 1, 0, 1, 0]);
    let x = array![[0.0, 7.0], [1.0, 7.0], [0.2, 7.0], [0.9, 7.0], [0.1, 7.0]];
    let scores = score(&MeanSelect::default(), x.clone(), &labels).unwrap();
    assert_close("scores", scores.values(), &array![[0.85_f32, 0.0]], Tol::rel(1e-6));
    assert_eq!(scores.constant(), [false, true]);
    // Turned round and stretched it is as far apart, the other way.
    let scores = score(&MeanSelect::default(), x.mapv(|value| 5.0 - 3.0 * value), &labels).unwrap();
    assert_close("scores", scores.values(), &array![[0.85_f32, 0.0]], Tol::rel(1e-6));
    assert_eq!(scores.sign().unwrap()[[0, 0]], -1);
}

#[test]
fn outliers_do_not_set_the_range_of_quantiles() {
    let mut random = Random::new(2);
    let labels = marked(&(0..1000).map(|row| u8::from(row % 2 == 0)).collect::<Vec<_>>());
    let mut x = Array2::from_shape_fn((1000, 1), |(row, _)| (random.uniform() + f64::from(row % 2 == 0)) as f32);
    let of = |quantile, x: &Array2<f32>| {
        score(&MeanSelect { quantile, ..MeanSelect::default() }, x.clone(), &labels).unwrap().values()[[0, 0]]
    };
    let (before, before_quantile) = (of(0.0, &x), of(0.01, &x));
    x[[1, 0]] = 1e6;
    assert!(of(0.0, &x) < 0.01 * before);
    // The outlier moves the mean all the same: 1e6 / 500 = 2000 of a range of 2.
    assert!(before > 0.45 && before_quantile > before && of(0.01, &x) > 100.0);
}

#[test]
fn rows_without_a_label_are_negatives_unless_skipped() {
    let labels = Labels::from_names(&[Some("a"), Some("b"), None, None]);
    let x = array![[4.0], [2.0], [0.0], [0.0]];
    let of = |unlabeled| score(&MeanSelect { unlabeled, ..MeanSelect::default() }, x.clone(), &labels).unwrap();
    let third = 2.0_f32 / 3.0;
    assert_close(
        "all",
        of(Unlabeled::Negative).values(),
        &array![[(4.0 - third) / 4.0], [third / 4.0]],
        Tol::rel(1e-6),
    );
    assert_close("labeled", of(Unlabeled::Skip).values(), &array![[0.5_f32], [0.5]], Tol::rel(1e-6));
}

#[test]
fn a_quantile_out_of_range_is_refused_by_name() {
    let method = MeanSelect { quantile: 0.5, ..MeanSelect::default() };
    let err = score(&method, array![[1.0], [2.0]], &marked(&[0, 1])).unwrap_err().to_string();
    assert_eq!(err, "mean-select: parameter quantile = 0.5: expected a number from 0 to 0.5, without 0.5");
}
