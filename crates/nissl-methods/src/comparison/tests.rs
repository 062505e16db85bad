#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use nissl_core::{Matrix, Site as Place, site_columns};
use nissl_testing::{Random, Tol, assert_close};

use super::*;

/// P-PAIR: columns that two models share, under noise, and columns of their own.
const N: usize = 4000;
const WIDTH: usize = 120;
const SHARED: usize = 6;

fn matrix(values: Array2<f32>) -> Matrix {
    let half = values.ncols() / 2;
    let sites = [0, 1]
        .map(|layer| (HookPoint::new(layer, Place::MlpPost), if layer == 0 { half } else { values.ncols() - half }));
    Matrix::new(values, site_columns(&sites)).unwrap()
}

fn noise(random: &mut Random, n: usize, width: usize) -> Array2<f32> {
    Array2::from_shape_simple_fn((n, width), || random.normal() as f32)
}

/// Two models, and for each shared column of the first its place in the second.
fn pair(seed: u64) -> (Matrix, Matrix, Vec<usize>) {
    let mut random = Random::new(seed);
    let concepts = noise(&mut random, N, SHARED);
    let model = |random: &mut Random| {
        let mut x = noise(random, N, WIDTH);
        for column in 0..SHARED {
            x.column_mut(column).zip_mut_with(&concepts.column(column), |own, &shared| *own = shared + 0.3 * *own);
        }
        x
    };
    let (first, second) = (model(&mut random), model(&mut random));
    let order = random.permutation(WIDTH);
    let places = (0..SHARED).map(|column| order.iter().position(|&from| from == column).unwrap()).collect();
    (matrix(first), matrix(second.select(Axis(1), &order)), places)
}

fn compare(a: &Matrix, b: &Matrix) -> Compared {
    Comparison::default().compare(a, b, Context::default()).unwrap()
}

#[test]
fn shared_neurons_are_found_with_their_partners_and_exceed_the_baseline() {
    for seed in [1, 2, 3] {
        let (a, b, places) = pair(seed);
        let compared = compare(&a, &b);
        for (idx, found) in compared.neurons.iter().enumerate() {
            let excess = found.excess().unwrap();
            if idx < SHARED {
                assert_eq!(found.partner, b.neurons()[places[idx]], "seed {seed}, neuron {idx}");
                assert!(excess > 0.5 && found.correlation > 0.85, "seed {seed}, neuron {idx}: {found:?}");
            } else {
                assert!(excess < 0.2, "seed {seed}, neuron {idx}: {found:?}");
            }
        }
    }
}

#[test]
fn correlations_are_those_of_the_definition_and_a_copy_is_found_whatever_its_order_scale_and_sign() {
    let (a, b, _) = pair(5);
    let compared = compare(&a, &b);
    let correlation = |i: usize, j: usize| {
        let (x, y) = (a.values().column(i).mapv(f64::from), b.values().column(j).mapv(f64::from));
        let (x, y) = (&x - x.mean().unwrap(), &y - y.mean().unwrap());
        x.dot(&y) / (x.dot(&x) * y.dot(&y)).sqrt()
    };
    for i in [0, 7, 119] {
        let all: Vec<f64> = (0..WIDTH).map(|j| correlation(i, j)).collect();
        let most = all.iter().copied().fold(0.0, |m: f64, v| m.max(v.abs()));
        assert_close("largest in size", &compared.neurons[i].correlation.abs(), &most, Tol::abs(1e-6));
        let highest = all.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        assert_close("highest", &compared.neurons[i].highest, &highest, Tol::abs(1e-6));
    }
    let order = Random::new(9).permutation(WIDTH);
    let mut copy = a.values().select(Axis(1), &order);
    for (idx, mut column) in copy.axis_iter_mut(Axis(1)).enumerate() {
        column.mapv_inplace(|value| if idx % 2 == 0 { 3.0 * value + 1.0 } else { -0.5 * value });
    }
    let copy = matrix(copy);
    for (idx, found) in compare(&a, &copy).neurons.iter().enumerate() {
        assert_close("a copy", &found.correlation.abs(), &1.0, Tol::abs(1e-5));
        assert_eq!(found.partner, copy.neurons()[order.iter().position(|&from| from == idx).unwrap()]);
    }
}

#[test]
fn a_rotated_layer_is_the_same_as_a_whole_and_another_neuron_by_neuron() {
    let mut random = Random::new(4);
    let own = noise(&mut random, 2000, 96);
    let turned = own.dot(&rotation::orthogonal(96, 7)) * 2.5;
    let one =
        |values: Array2<f32>| Matrix::new(values, site_columns(&[(HookPoint::new(0, Place::MlpPost), 96)])).unwrap();
    let layer = compare(&one(own), &one(turned)).layers[0];
    assert_close("CKA", &layer.cka.unwrap(), &1.0, Tol::abs(1e-5));
    assert!(layer.max_corr < 0.6, "{layer:?}");
}

#[test]
fn the_closed_form_of_cka_and_constant_neurons() {
    // Four points at the ends of two axes, against their first coordinate: 1/√2.
    let x = ndarray::array![[1.0_f32, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]];
    let y = ndarray::array![[1.0_f32, 5.0], [-1.0, 5.0], [0.0, 5.0], [0.0, 5.0]];
    let one =
        |values: Array2<f32>| Matrix::new(values, site_columns(&[(HookPoint::new(0, Place::MlpPost), 2)])).unwrap();
    let (x, y) = (one(x), one(y));
    let compared = compare(&x, &y);
    assert_close("CKA", &compared.layers[0].cka.unwrap(), &0.5_f64.sqrt(), Tol::abs(1e-6));
    assert_close("with itself", &compared.neurons[0].correlation, &1.0, Tol::abs(1e-6));
    let back = compare(&y, &x);
    assert_close("a constant neuron", &back.neurons[1].correlation, &0.0, Tol::abs(0.0));
}

#[test]
fn little_memory_changes_no_bit_beyond_rounding_and_none_is_an_error() {
    let (a, b, _) = pair(6);
    let whole = compare(&a, &b);
    let little = Context { memory: 4 * 4 * N * 11, ..Context::default() };
    let tiled = Comparison::default().compare(&a, &b, little).unwrap();
    for (one, two) in whole.neurons.iter().zip(&tiled.neurons) {
        assert_eq!(one.partner, two.partner);
        assert_close("correlation", &two.correlation, &one.correlation, Tol::abs(1e-6));
        assert_close("baseline", &two.baseline.unwrap(), &one.baseline.unwrap(), Tol::abs(1e-5));
    }
    for (one, two) in whole.layers.iter().zip(&tiled.layers) {
        assert_close("CKA", &two.cka.unwrap(), &one.cka.unwrap(), Tol::rel(1e-5));
    }
    assert!(Comparison::default().compare(&a, &b, Context { memory: 100, ..Context::default() }).is_err());
    for n_threads in [1, 2, 8] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap();
        assert_eq!(pool.install(|| compare(&a, &b)), whole, "{n_threads} threads");
    }
}

#[test]
fn random_matrices_are_what_they_are_called() {
    for width in [1, 3, 64, 65, 200] {
        let turn = rotation::orthogonal(width, 3).mapv(f64::from);
        assert_close("orthogonal", &turn.t().dot(&turn), &Array2::<f64>::eye(width), Tol::abs(1e-5));
        let columns = rotation::gaussian(width, 3).mapv(|value| f64::from(value).powi(2)).sum_axis(Axis(0));
        assert_close("length 1", &columns, &vec![1.0; width], Tol::abs(1e-5));
    }
    // Every neuron has a part in every column.
    let turn = rotation::orthogonal(200, 3);
    let small = turn.iter().filter(|value| value.abs() < 1e-4).count();
    assert!(small < 200, "{small} of 40,000 parts are next to nothing");
}
