#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use nissl_core::{HookPoint, Matrix, Site, site_columns};
use nissl_testing::{Random, Tol, assert_close};

use super::*;

/// Columns far from 0 and of very different spread, one of which has one value.
fn columns(n_tokens: usize, n: usize) -> Matrix {
    let mut random = Random::new(3);
    let mixed = Array2::from_shape_simple_fn((4, n), || random.normal() as f32);
    let mut x = Array2::from_shape_simple_fn((n_tokens, 4), || random.normal() as f32).dot(&mixed);
    x.mapv_inplace(|value| value + 0.5 * random.normal() as f32);
    for (place, mut column) in x.axis_iter_mut(Axis(1)).enumerate() {
        column *= 10.0_f32.powi(place as i32 % 7 - 3);
        column += 5.0;
    }
    x.column_mut(1).fill(2.0);
    Matrix::new(x, site_columns(&[(HookPoint::new(0, Site::MlpPost), n)])).unwrap()
}

/// The same in 64 bits, pair by pair.
fn slow(x: &Matrix) -> Array2<f64> {
    let (n_tokens, n) = (x.n_tokens(), x.neurons().len());
    let mut values = Array2::zeros((n_tokens, n));
    x.read(0..n_tokens, 0..n, values.view_mut()).unwrap();
    let z = values.mapv(f64::from);
    let centered = &z - &z.mean_axis(Axis(0)).unwrap();
    let covariances = centered.t().dot(&centered);
    Array2::from_shape_fn((n, n), |(i, j)| {
        let scale = (covariances[[i, i]] * covariances[[j, j]]).sqrt();
        if i == 1 || j == 1 { 0.0 } else { covariances[[i, j]] / scale }
    })
}

#[test]
fn correlations_are_those_of_64_bits_whatever_the_tiles() {
    let n = 230;
    let x = columns(700, n);
    let want = slow(&x);
    for width in [n, 100, 48, 7] {
        let mut steps = Vec::new();
        let mut step = |done| {
            steps.push(done);
            Ok(())
        };
        let (got, deviations) = correlation_matrix(&x, &(0..n), width, |value| value, &mut step).unwrap();
        assert_close("correlations", got.as_slice().unwrap(), want.as_slice().unwrap(), Tol::abs(1e-6));
        assert_eq!(got, got.t(), "width {width}");
        assert!(deviations.len() == n && deviations[1] == 0.0, "width {width}: {deviations:?}");
        assert!(steps.is_sorted() && steps.len() >= n.div_ceil(width), "width {width}: {steps:?}");
    }
}

#[test]
fn the_bits_do_not_depend_on_the_number_of_threads() {
    let x = columns(300, 400);
    let on = |n_threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap();
        pool.install(|| correlation_matrix(&x, &(0..400), 150, f64::to_bits, &mut |_| Ok(())).unwrap().0)
    };
    let one = on(1);
    assert!(one == on(2) && one == on(8));
}
