#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use nissl_core::{HookPoint, Matrix, Site, site_columns};
use nissl_testing::{Random, Tol, assert_close};

use super::*;

fn matrix(values: &Array2<f64>) -> Matrix {
    let neurons = site_columns(&[(HookPoint::new(0, Site::MlpPost), values.ncols())]);
    Matrix::new(values.mapv(|value| value as f32), neurons).unwrap()
}

fn noise(seed: u64, n: usize, width: usize) -> Array2<f64> {
    let mut random = Random::new(seed);
    Array2::from_shape_simple_fn((n, width), || random.normal())
}

fn compare(similarity: Similarity, a: &Array2<f64>, b: &Array2<f64>) -> Similar {
    let layer = |x| similarity.layer(&matrix(x), 1 << 28).unwrap();
    similarity.compare(&layer(a), &layer(b)).unwrap()
}

const ALL: Similarity = Similarity { variance: 1.0, rows: 300 };

#[test]
fn an_invertible_linear_copy_is_the_same() {
    let a = noise(1, 600, 8);
    let map = noise(2, 8, 8);
    let got = compare(ALL, &a, &(a.dot(&map) + 3.0));
    assert_close("svcca", &got.svcca, &1.0, Tol::abs(1e-5));
    assert_close("pwcca", &got.pwcca, &1.0, Tol::abs(1e-5));
    assert!(got.linreg.iter().all(|&r| (r - 1.0).abs() < 1e-5), "{:?}", got.linreg);
    let own = compare(ALL, &a, &a);
    assert_close("kernel", &own.rbf_cka.unwrap(), &1.0, Tol::abs(1e-9));
}

#[test]
fn a_rotation_and_a_scale_change_no_kernel() {
    let a = noise(3, 400, 6);
    let (_, rotation) = symmetric(&{
        let half = noise(4, 6, 6);
        &half + &half.t()
    });
    let got = compare(ALL, &a, &(5.0 * a.dot(&rotation)));
    assert_close("kernel", &got.rbf_cka.unwrap(), &1.0, Tol::abs(1e-5));
    let stretched = compare(ALL, &a, &(&a * &ndarray::array![1.0, 1.0, 1.0, 1.0, 1.0, 20.0]));
    assert!(stretched.rbf_cka.unwrap() < 0.9, "{stretched:?}");
}

#[test]
fn independent_noise_is_as_alike_as_chance_has_it() {
    let (n, width) = (4000, 20);
    let got = compare(ALL, &noise(5, n, width), &noise(6, n, width));
    let mean = got.linreg.iter().map(|r| r * r).sum::<f64>() / width as f64;
    assert_close("r²", &mean, &(width as f64 / n as f64), Tol::abs(0.001));
    assert!(got.svcca < 2.0 * (width as f64 / n as f64).sqrt(), "{}", got.svcca);
    assert!(got.rbf_cka.unwrap() < 0.5, "{:?}", got.rbf_cka);
}

#[test]
fn a_neuron_is_as_much_a_sum_of_others_as_least_squares_say() {
    // y = x₀ + e with e of variance 3: R² = 1/4.
    let x = noise(7, 20_000, 3);
    let e = noise(8, 20_000, 1);
    let y = Array2::from_shape_fn((20_000, 1), |(row, _)| x[[row, 0]] + 3.0_f64.sqrt() * e[[row, 0]]);
    let got = compare(Similarity::default(), &y, &x);
    assert_close("R²", &(got.linreg[0] * got.linreg[0]), &0.25, Tol::abs(0.02));
    assert_close("one direction", &got.svcca, &got.linreg[0], Tol::abs(1e-9));
    assert_close("one weight", &got.pwcca, &got.svcca, Tol::abs(1e-9));
}

#[test]
fn canonical_correlations_are_averaged_by_what_they_say() {
    // Column 0 is shared, column 1 is not; in the first layer three columns are nearly the shared one.
    let own = noise(9, 5000, 2);
    let other = noise(10, 5000, 1);
    let small = noise(11, 5000, 2);
    let a = Array2::from_shape_fn((5000, 4), |(row, column)| match column {
        0 => own[[row, 0]],
        3 => own[[row, 1]],
        _ => own[[row, 0]] + 0.01 * small[[row, column - 1]],
    });
    let b = Array2::from_shape_fn((5000, 2), |(row, column)| if column == 0 { own[[row, 0]] } else { other[[row, 0]] });
    let got = compare(Similarity { variance: 0.99, ..ALL }, &a, &b);
    // Two directions are kept of each: one is shared.
    assert_close("mean", &got.svcca, &0.5, Tol::abs(0.03));
    assert!(got.pwcca > 0.65, "{}", got.pwcca);
}

#[test]
fn what_has_no_directions_is_like_nothing_and_too_few_rows_are_refused() {
    let a = noise(12, 100, 3);
    let got = compare(ALL, &a, &Array2::ones((100, 3)));
    assert_eq!((got.svcca, got.pwcca, got.rbf_cka), (0.0, 0.0, None));
    assert_eq!(got.linreg, [0.0; 3]);
    let refused = |similarity: Similarity, x: &Array2<f64>, memory| {
        similarity.layer(&matrix(x), memory).map(|_| ()).unwrap_err().to_string()
    };
    assert!(refused(ALL, &noise(1, 5, 3), 1 << 28).contains("expected 6, got 5"));
    assert!(refused(ALL, &a, 100).contains("16 bytes for every activation"));
    assert!(refused(Similarity { variance: 0.0, ..ALL }, &a, 1 << 28).contains("variance = 0"));
    let (one, two) = (ALL.layer(&matrix(&a), 1 << 28).unwrap(), ALL.layer(&matrix(&noise(1, 50, 3)), 1 << 28).unwrap());
    assert!(ALL.compare(&one, &two).is_err());
}

#[test]
fn threads_change_no_bit() {
    let (a, b) = (noise(13, 3000, 70), noise(14, 3000, 70));
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| compare(Similarity { rows: 50, ..ALL }, &a, &b))
    };
    let one = run(1);
    assert!(one == run(2) && one == run(8));
}
