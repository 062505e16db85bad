#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use ndarray::array;
use nissl_core::{HookPoint, Matrix, Site, TextRows, site_columns};
use nissl_testing::{Tol, assert_close};

use super::*;

fn distribution(shares: &[(&str, f32)]) -> Vec<WordScore> {
    let word = |&(name, score): &(&str, f32)| WordScore { name: name.to_owned(), score, deviation: 0.0, count: 1 };
    shares.iter().map(word).collect()
}

#[test]
fn distances_of_distributions_have_their_closed_forms() {
    let (one, half, other) =
        (distribution(&[("a", 1.0)]), distribution(&[("a", 0.5), ("b", 0.5)]), distribution(&[("c", 1.0)]));
    assert_close("half in common", &hellinger(&one, &half), &0.541_196, Tol::abs(1e-6));
    assert_close("the same", &hellinger(&half, &half), &0.0, Tol::EXACT);
    assert_close("nothing in common", &hellinger(&half, &other), &1.0, Tol::abs(1e-9));
    assert_close("either way", &hellinger(&half, &one), &hellinger(&one, &half), Tol::EXACT);
}

#[test]
fn rows_go_to_the_largest_neuron_and_words_share_its_mass() {
    let values = array![
        [3.0, 1.0, 9.0, -1.0],
        [1.0, 0.0, 9.0, -2.0],
        [0.0, 2.0, 9.0, -3.0],
        [-1.0, -1.0, 9.0, -0.5],
        [4.0, 4.0, 9.0, -9.0],
    ];
    let x = Matrix::new(values, site_columns(&[(HookPoint::new(0, Site::MlpPost), 4)])).unwrap();
    let text = TextRows::from_words(["a", "b", "a", "c", "a"].map(|word| (0, word)));
    let data = TextActivations::new(&x, &text).unwrap();
    let profiles = TxRay::default().profile(data, Context::default()).unwrap();
    let shares = |idx: usize| {
        profiles[idx].words.iter().map(|word| (word.name.as_str(), word.score, word.count)).collect::<Vec<_>>()
    };
    // The constant neuron wins nothing; of equal ones the first does; negative winners share by number.
    assert_eq!(shares(0), [("a", 7.0 / 8.0, 2), ("b", 1.0 / 8.0, 1)]);
    assert_eq!(shares(1), [("a", 1.0, 1)]);
    assert_eq!(shares(2), []);
    assert_eq!(shares(3), [("c", 1.0, 1)]);
    let numbers: Vec<(&str, f32)> = profiles[0].numbers.iter().map(|n| (n.name.as_str(), n.value)).collect();
    assert_eq!(numbers, [("wins", 3.0), ("length", 2.0)]);
    let rare = TxRay { min_wins: 2, ..TxRay::default() }.profile(data, Context::default()).unwrap();
    assert!(rare[1].words.is_empty() && !rare[0].words.is_empty());
}
