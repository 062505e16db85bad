#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use nissl_core::{HookPoint, Matrix, Site, site_columns};
use nissl_testing::{Random, Tol, assert_close, golden};

use super::*;

fn matrix(values: Array2<f32>) -> Matrix {
    let width = values.ncols();
    Matrix::new(values, site_columns(&[(HookPoint::new(0, Site::MlpPost), width)])).unwrap()
}

fn factor(factorization: Factorization, x: &Matrix) -> Factors {
    factorization.factor(x, Context::default()).unwrap()
}

/// The length of what is missing, as a share of the whole.
fn error(factors: &Factors, x: &Matrix) -> f64 {
    let a = x.values().mapv(|value| f64::from(value.max(0.0)));
    let rest = &a - &factors.words.dot(&factors.neurons);
    (rest.iter().map(|value| value * value).sum::<f64>() / a.iter().map(|value| value * value).sum::<f64>()).sqrt()
}

#[test]
fn errors_are_those_of_scikit_learn() {
    let expected = golden::json("factors", "expected.json");
    let rows: Vec<Vec<f32>> = serde_json::from_value(expected["x"].clone()).unwrap();
    let x = matrix(Array2::from_shape_fn((rows.len(), rows[0].len()), |(row, column)| rows[row][column]));
    for factors in [2, 4] {
        let want = expected["errors"][factors.to_string()].as_f64().unwrap();
        let run = |seed| factor(Factorization { factors, rounds: 20_000, tolerance: 1e-10, seed }, &x);
        let found: Vec<Factors> = (0..10).map(run).collect();
        let least = found.iter().map(|found| *found.errors.last().unwrap()).fold(f64::INFINITY, f64::min);
        assert_close("error", &least, &want, Tol::abs(1e-5));
        for found in &found {
            assert_close("what it says", found.errors.last().unwrap(), &error(found, &x), Tol::abs(1e-9));
            assert!(found.errors.windows(2).all(|pair| pair[1] <= pair[0] + 1e-12), "it rises: {:?}", found.errors);
            assert!(found.words.iter().chain(&found.neurons).all(|&value| value >= 0.0));
        }
    }
}

#[test]
fn data_of_few_factors_are_found_again() {
    let mut random = Random::new(1);
    let words = Array2::from_shape_simple_fn((60, 3), || random.normal().max(0.0));
    let neurons = Array2::from_shape_simple_fn((3, 25), || random.normal().max(0.0));
    let x = matrix(words.dot(&neurons).mapv(|value| value as f32));
    let found = factor(Factorization { factors: 3, rounds: 5000, tolerance: 1e-9, ..Factorization::default() }, &x);
    assert!(error(&found, &x) < 1e-3, "{}", error(&found, &x));
}

#[test]
fn two_blocks_of_words_are_two_factors() {
    let x = matrix(Array2::from_shape_fn((10, 6), |(row, column)| {
        if (row < 6) == (column < 3) { 1.0 + (row * column) as f32 / 50.0 } else { -1.0 }
    }));
    let found = factor(Factorization { factors: 2, ..Factorization::default() }, &x);
    let of_row = |row: usize| usize::from(found.words[[row, 1]] > found.words[[row, 0]]);
    assert!((0..6).all(|row| of_row(row) == of_row(0)) && (6..10).all(|row| of_row(row) != of_row(0)));
    let first = found.neurons.row(of_row(0)).to_owned();
    assert!(Factors::largest(&first, 3).iter().all(|&neuron| neuron < 3), "{first}");
    assert_close("length", &first.dot(&first), &1.0, Tol::abs(1e-12));
}

#[test]
fn more_factors_than_words_and_nothing_above_zero_are_no_panic() {
    let x = matrix(Array2::from_elem((2, 5), -1.0));
    let found = factor(Factorization::default(), &x);
    assert_eq!((found.words.dim(), found.neurons.dim()), ((2, 2), (2, 5)));
    assert!(found.words.iter().all(|&value| value == 0.0));
    assert!(Factors::largest(&found.words.column(0).to_owned(), 3).is_empty());
}

#[test]
fn threads_change_no_bit() {
    let mut random = Random::new(3);
    let x = matrix(Array2::from_shape_simple_fn((700, 300), || random.normal() as f32));
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| factor(Factorization { rounds: 5, ..Factorization::default() }, &x))
    };
    let one = run(1);
    assert!(one == run(2) && one == run(8));
}

#[test]
fn what_cannot_be_factored_is_said() {
    let x = matrix(Array2::ones((4, 3)));
    let refused = |factorization: Factorization, x: &Matrix, memory| {
        factorization.factor(x, Context { memory, ..Context::default() }).unwrap_err().to_string()
    };
    let none = Factorization { factors: 0, ..Factorization::default() };
    assert!(refused(none, &x, 1 << 20).contains("factors = 0: expected at least 1"));
    assert!(refused(Factorization::default(), &x, 10).contains("8 bytes for every activation"));
    let mut bad = Array2::ones((4, 3));
    bad[[2, 1]] = f32::NAN;
    assert!(refused(Factorization::default(), &matrix(bad), 1 << 20).contains("in row 2"));
    assert!(refused(Factorization::default(), &matrix(Array2::zeros((0, 3))), 1 << 20).contains("words and neurons"));
}
