#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use ndarray::Array2;
use nissl_core::{Activations, Context, Matrix};
use nissl_testing::golden::neurox;
use nissl_testing::planted::key;
use nissl_testing::{PlantedActivations, Tol, assert_close};

use super::*;
use crate::probes::cholesky::{decompose, forward};
use crate::probes::{ChosenNeurons, Prior};
use crate::random::Random;

const OPTIONS: GaussianOptions = GaussianOptions {
    steps: 8,
    criterion: Criterion::Information,
    prior: Prior::Chosen,
    diagonal: false,
    min_gain: 0.0,
};

/// Two thirds to fit on, a third to judge by.
fn design(x: &dyn Activations) -> Design<'_> {
    let n = x.n_tokens();
    Design::new(x, Context::default(), "test", (0..n).collect(), 2 * n / 3).unwrap()
}

fn tags(planted: &PlantedActivations) -> (Vec<u32>, usize) {
    ((0..planted.x.n_tokens()).map(|row| planted.tag.of(row)[0]).collect(), planted.tag.concepts().len())
}

/// What a set of neurons tells, from densities computed anew.
fn dense(design: &Design<'_>, of: &[u32], n_classes: usize, neurons: &[usize], prior: Prior) -> Told {
    let n_fit = design.n_fit();
    let x = Array2::from_shape_fn((design.n_rows(), neurons.len()), |(row, j)| {
        let values = design.gathered(&[neurons[j]]).unwrap();
        values[row] as f64
    });
    let d = neurons.len();
    let mut densities = Vec::new();
    for class in 0..n_classes as u32 {
        let rows: Vec<usize> = (0..n_fit).filter(|&row| of[row] == class).collect();
        let n = rows.len() as f64;
        let mean: Vec<f64> = (0..d).map(|j| rows.iter().map(|&row| x[[row, j]]).sum::<f64>() / n).collect();
        let scatter = Array2::from_shape_fn((d, d), |(a, b)| {
            rows.iter().map(|&row| (x[[row, a]] - mean[a]) * (x[[row, b]] - mean[b])).sum::<f64>()
        });
        let width = match prior {
            Prior::Chosen => d,
            _ => design.n_columns(),
        };
        let covariance = Array2::from_shape_fn((d, d), |(a, b)| {
            let added = if a == b { scatter[[a, a]] / n } else { 0.0 };
            (scatter[[a, b]] + added) / (n + 2.0 * width as f64 + 4.0)
        });
        let l = decompose(&covariance).unwrap();
        let share = (n / n_fit as f64).ln();
        let density = |row: usize| {
            let off: Vec<f64> = (0..d).map(|j| x[[row, j]] - mean[j]).collect();
            let z = forward(&l, &off);
            let determinant: f64 = (0..d).map(|j| 2.0 * l[[j, j]].ln()).sum();
            let distance: f64 = z.iter().map(|z| z * z).sum();
            share - 0.5 * (d as f64 * std::f64::consts::TAU.ln() + determinant + distance)
        };
        densities.push((n_fit..design.n_rows()).map(density).collect::<Vec<f64>>());
    }
    let (mut information, mut right) = (0.0, 0);
    let judged = &of[n_fit..];
    for (row, &class) in judged.iter().enumerate() {
        let sum: f64 = densities.iter().map(|of| (of[row] - densities[class as usize][row]).exp()).sum();
        information -= sum.log2();
        right += usize::from(densities.iter().all(|of| of[row] <= densities[class as usize][row]));
    }
    let entropy = entropy(judged, n_classes);
    let information = entropy + information / judged.len() as f64;
    Told { information, normalized: information / entropy, accuracy: right as f64 / judged.len() as f64 }
}

#[test]
fn what_picked_neurons_tell_is_that_of_densities_computed_anew() {
    let planted = PlantedActivations::new(4, 0.1);
    let (of, k) = tags(&planted);
    let design = design(&planted.x);
    for prior in [Prior::Chosen, Prior::All] {
        let picked = pick(&design, &of, k, GaussianOptions { prior, ..OPTIONS }).unwrap();
        assert!(picked.order.len() >= 3, "{:?}", picked.order);
        for n in 1..=picked.order.len() {
            let want = dense(&design, &of, k, &picked.order[..n], prior);
            let what = format!("{prior:?}, first {n}");
            assert_close(&what, &picked.curve[n - 1].information, &want.information, Tol::abs(1e-6));
            assert_close(&what, &picked.curve[n - 1].accuracy, &want.accuracy, Tol::abs(1e-3));
        }
        // Of all pairs with the first neuron the best is picked.
        let first = picked.order[0];
        let pair = |&other: &usize| dense(&design, &of, k, &[first, other], prior).information;
        let best = [key::POSITION, key::QUOTE, key::MODIFIER, key::NUMBER, key::FREQUENCY, key::TENSE, 70];
        let others = best.iter().filter(|&&other| other != first).map(pair).fold(f64::MIN, f64::max);
        assert!(picked.curve[1].information >= others - 1e-5, "{} below {others}", picked.curve[1].information);
    }
}

#[test]
fn two_known_normals_tell_what_the_integral_says() {
    let mut random = Random::new(6);
    let mut normal = || {
        let radius = (-2.0 * (1.0 - random.uniform()).ln()).sqrt();
        radius * (std::f64::consts::TAU * random.uniform()).cos()
    };
    for (mu, want) in [(0.5, 0.160_747), (1.0, 0.485_944), (2.0, 0.912_822)] {
        let n = 60_000;
        let x = Array2::from_shape_fn((n, 2), |(row, column)| {
            let side = if row % 2 == 0 { mu } else { -mu };
            (normal() + if column == 1 { side } else { 0.0 }) as f32
        });
        let columns = nissl_core::site_columns(&[(PlantedActivations::neuron(0).point, 2)]);
        let x = Matrix::new(x, columns).unwrap();
        let of: Vec<u32> = (0..n as u32).map(|row| row % 2).collect();
        let picked = pick(&design(&x), &of, 2, OPTIONS).unwrap();
        assert_eq!(picked.order[0], 1);
        assert_close(&format!("μ = {mu}"), &picked.curve[0].information, &want, Tol::abs(0.01));
        // The other neuron tells nothing: picking ends or gains next to nothing.
        let last = picked.curve.last().unwrap().information;
        assert!(last - picked.curve[0].information < 1e-3);
    }
}

#[test]
fn the_first_verb_neuron_tells_all_and_the_next_nothing() {
    let planted = PlantedActivations::new(0, 0.1);
    let of: Vec<u32> = (0..planted.x.n_tokens()).map(|row| planted.verb.of(row)[0]).collect();
    let design = design(&planted.x);
    for criterion in [Criterion::Information, Criterion::Accuracy] {
        let picked = pick(&design, &of, 2, GaussianOptions { criterion, ..OPTIONS }).unwrap();
        assert!(key::VERBS.contains(&picked.order[0]), "{:?}", picked.order);
        assert!(picked.curve[0].normalized > 0.99 && picked.curve[0].accuracy > 0.999, "{:?}", picked.curve[0]);
        assert!(picked.curve.iter().all(|told| told.information - picked.curve[0].information < 0.01));
        assert_eq!(picked.alone[key::DEAD], None);
    }
}

#[test]
fn independent_neurons_are_judged_without_covariances() {
    let planted = PlantedActivations::new(0, 0.1);
    let (of, k) = tags(&planted);
    let design = design(&planted.x);
    let picked = pick(&design, &of, k, GaussianOptions { diagonal: true, ..OPTIONS }).unwrap();
    let whole = pick(&design, &of, k, OPTIONS).unwrap();
    assert_eq!(picked.order[0], whole.order[0]);
    assert_eq!(picked.alone, whole.alone);
}

/// NeuroX picks on the rows that it fits on, from its first eight neurons.
#[test]
fn the_order_is_that_of_neurox() {
    let set = neurox();
    let x = ChosenNeurons::new(&set.x, &[0, 1, 2, 3, 4, 5, 6, 7]);
    let n = x.n_tokens();
    let twice: Vec<usize> = (0..n).chain(0..n).collect();
    let of: Vec<u32> = twice.iter().map(|&row| set.labels.of(row)[0]).collect();
    let design = Design::new(&x, Context::default(), "test", twice, n).unwrap();
    let want: Vec<usize> = serde_json::from_value(set.expected["gaussian_order_first8dims_top4"].clone()).unwrap();
    let options = GaussianOptions { steps: 4, prior: Prior::All, ..OPTIONS };
    assert_eq!(pick(&design, &of, 3, options).unwrap().order, want);
}
