use nissl_testing::golden::neurox;
use serde_json::Value;

use super::*;

fn rows(weights: &[&[f64]]) -> Vec<Vec<f64>> {
    weights.iter().map(|row| row.to_vec()).collect()
}

#[test]
fn a_prefix_ends_with_the_neuron_that_reaches_the_share() {
    let weights = rows(&[&[4.0, 3.0, 2.0, 1.0]]);
    let n = |share| top_neurons(&weights, share)[0].len();
    assert_eq!([0.0, 0.4, 0.41, 0.7, 1.0].map(n), [1, 1, 2, 2, 4]);
    assert_eq!(top_neurons(&rows(&[&[0.0, 0.0]]), 0.5), [Vec::<usize>::new()]);
}

#[test]
fn neurons_come_with_the_share_for_which_a_class_needs_them() {
    let weights = rows(&[&[4.0, 3.0, 2.0, 1.0], &[1.0, 1.0, 1.0, 7.0]]);
    let ten = ordering(&weights, 10);
    assert_eq!((ten.order, ten.cutoffs, ten.tail), (vec![3, 0, 1, 2], vec![2, 2, 2, 2, 2, 3, 3, 3, 4, 4, 4], 4));
    let one = ordering(&weights, 1);
    assert_eq!((one.order, one.cutoffs), (vec![3, 0, 1, 2], vec![2, 4]));
    let sparse = ordering(&rows(&[&[4.0, 3.0, 0.0, 0.0], &[1.0, 0.0, 0.0, 7.0]]), 4);
    assert_eq!((sparse.order, sparse.cutoffs, sparse.tail), (vec![3, 0, 1, 2], vec![2, 2, 2, 3, 3], 3));
}

#[test]
fn a_finer_stride_has_the_same_neurons_at_the_same_shares() {
    let weights = weights_of_neurox();
    let (coarse, fine) = (ordering(&weights, 20), ordering(&weights, 100));
    for (step, &cutoff) in coarse.cutoffs.iter().enumerate() {
        let mut one = coarse.order[..cutoff].to_vec();
        let mut other = fine.order[..fine.cutoffs[step * 5]].to_vec();
        one.sort_unstable();
        other.sort_unstable();
        assert_eq!(one, other);
    }
}

/// The weights that NeuroX took its orders from, `[3, 48]`.
fn weights_of_neurox() -> Vec<Vec<f64>> {
    let golden = nissl_testing::golden::json("neurox", "weights.json");
    serde_json::from_value(golden).expect("rows of numbers")
}

fn list(value: &Value) -> Vec<usize> {
    serde_json::from_value(value.clone()).expect("a list of numbers")
}

fn sorted(mut neurons: Vec<usize>) -> Vec<usize> {
    neurons.sort_unstable();
    neurons
}

const TAGS: [&str; 3] = ["NN", "VB", "DT"];

#[test]
fn top_bottom_and_threshold_neurons_are_those_of_neurox() {
    let (weights, set) = (weights_of_neurox(), neurox());
    let want = |name: &str, class: &str| sorted(list(&set.expected[name][class]));
    let in_order = |neurons: Vec<Vec<usize>>| neurons.into_iter().map(sorted).collect::<Vec<_>>();
    for share in [0.1, 0.2, 0.5] {
        let name = format!("top_neurons_{share}");
        let of_class = |class| sorted(list(&set.expected[name.as_str()]["per_class"][class]));
        assert_eq!(in_order(top_neurons(&weights, share)), TAGS.map(of_class), "{name}");
    }
    assert_eq!(in_order(bottom_neurons(&weights, 0.1)), TAGS.map(|class| want("bottom_0.1", class)));
    assert_eq!(in_order(threshold_neurons(&weights, 2.0)), TAGS.map(|class| want("hard_threshold_2", class)));
}

#[test]
fn the_ordering_is_that_of_neurox_between_cutoffs() {
    let (got, set) = (ordering(&weights_of_neurox(), 100), neurox());
    let want = &set.expected["ordering_stride100"];
    assert_eq!(got.cutoffs, list(&want["cutoffs"]));
    let order = list(&want["ordering"]);
    let mut first = 0;
    for &cutoff in &got.cutoffs {
        // NeuroX adds the neurons of one step in arbitrary order.
        assert_eq!(sorted(got.order[first..cutoff].to_vec()), sorted(order[first..cutoff].to_vec()));
        first = cutoff;
    }
}
