//! Scores and rankings.

use ndarray::{Array2, array};
use nissl_core::{Concept, HookPoint, NeuronId, Pool, Provenance, Ranking, Scores, Site, site_columns};
use proptest::prelude::*;

fn neurons(n: usize) -> Vec<NeuronId> {
    site_columns(&[(HookPoint::new(0, Site::MlpPost), n)])
}

fn concepts(n: usize) -> Vec<Concept> {
    (0..n).map(|idx| Concept::new(format!("c{idx}"))).collect()
}

fn scores(values: Array2<f32>) -> Scores {
    let (n_concepts, n_neurons) = values.dim();
    Scores::new(values, concepts(n_concepts), neurons(n_neurons), Provenance::default()).unwrap()
}

fn idx(ranking: &Ranking) -> Vec<u32> {
    ranking.neurons.iter().map(|neuron| neuron.idx).collect()
}

#[test]
fn ties_are_broken_by_neuron_id() {
    let ranking = Ranking::from_scores(&neurons(4), &[1.0, 3.0, 1.0, 3.0], &[false; 4]);
    assert_eq!((idx(&ranking), &ranking.scores[..]), (vec![1, 3, 0, 2], &[3.0, 3.0, 1.0, 1.0][..]));
    assert_eq!((ranking.top(2), ranking.top(9).len()), (&[neurons(4)[1], neurons(4)[3]][..], 4));
    assert_eq!(ranking.rank(neurons(4)[2]), Some(3));
    assert_eq!(ranking.rank(NeuronId::new(HookPoint::new(1, Site::MlpPost), 2)), None);
}

#[test]
fn constant_neurons_come_last_whatever_their_score() {
    let ranking = Ranking::from_scores(&neurons(3), &[9.0, -1.0, 5.0], &[true, false, false]);
    assert_eq!(idx(&ranking), [2, 1, 0]);
    let scores = scores(array![[9.0, 1.0, 5.0], [9.0, 3.0, 2.0]]).with_constant(vec![true, false, false]).unwrap();
    assert_eq!((idx(&scores.ranking(0)), idx(&scores.ranking(1))), (vec![2, 1, 0], vec![1, 2, 0]));
    for pool in [Pool::Mean, Pool::Max, Pool::RoundRobin] {
        assert_eq!(idx(&scores.overall(pool))[2], 0, "{pool:?}");
    }
}

#[test]
fn each_pool_is_what_its_name_says() {
    let scores = scores(array![[6.0, 5.0, 0.0, 1.0], [0.0, 4.0, 5.5, 1.0]]);
    let overall = |pool| (idx(&scores.overall(pool)), scores.overall(pool).scores);
    assert_eq!(overall(Pool::Mean), (vec![1, 0, 2, 3], vec![4.5, 3.0, 2.75, 1.0]));
    assert_eq!(overall(Pool::Max), (vec![0, 2, 1, 3], vec![6.0, 5.5, 5.0, 1.0]));
    // First 0 and 2, then 1 (second of both), then 3.
    assert_eq!(overall(Pool::RoundRobin), (vec![0, 2, 1, 3], vec![4.0, 3.0, 2.0, 1.0]));
    assert_eq!((scores.concept("c1"), scores.concept("c2")), (Some(1), None));
}

#[test]
fn scores_of_wrong_shape_or_value_are_refused() {
    let make = |values: Array2<f32>, n_concepts, n_neurons| {
        let provenance = Provenance::of_method("tried", serde_json::json!({}));
        Scores::new(values, concepts(n_concepts), neurons(n_neurons), provenance).map_err(|err| err.to_string())
    };
    assert_eq!(make(array![[1.0, 2.0]], 2, 2).unwrap_err(), "concepts of the scores: expected 1, got 2");
    assert_eq!(make(array![[1.0, 2.0]], 1, 3).unwrap_err(), "neurons of the scores: expected 2, got 3");
    let want = "tried gave a score that is not finite for blocks.0.mlp.hook_post[1] and concept 'c0'";
    assert_eq!(make(array![[1.0, f32::NAN]], 1, 2).unwrap_err(), want);
    assert_eq!(make(array![[1.0, f32::INFINITY]], 1, 2).unwrap_err(), want);
    let two = scores(array![[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]]);
    let error = |sign| two.clone().with_sign(sign).unwrap_err().to_string();
    assert_eq!(error(Array2::zeros((3, 2))), "concepts of the signs: expected 2, got 3");
    assert_eq!(error(Array2::zeros((2, 4))), "neurons of the signs: expected 3, got 4");
    assert_eq!(two.clone().with_constant(vec![true]).unwrap_err().to_string(), "constant marks: expected 3, got 1");
    assert_eq!(two.sign(), None);
    assert_eq!(two.with_sign(Array2::ones((2, 3))).unwrap().sign(), Some(&Array2::ones((2, 3))));
}

#[test]
fn neurons_in_another_order_are_pooled_all_the_same() {
    let mut reversed = neurons(3);
    reversed.reverse();
    let values = array![[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]];
    let scores = Scores::new(values, concepts(2), reversed, Provenance::default()).unwrap();
    assert_eq!(idx(&scores.overall(Pool::RoundRobin)), [0, 2, 1]);
}

proptest! {
    #[test]
    fn a_ranking_is_a_permutation_in_descending_order_with_ties_by_neuron(
        marked in proptest::collection::vec((-3_i8..3, proptest::bool::weighted(0.2)), 0..40),
    ) {
        let neurons = neurons(marked.len());
        let scores: Vec<f32> = marked.iter().map(|&(score, _)| f32::from(score)).collect();
        let constant: Vec<bool> = marked.iter().map(|&(_, constant)| constant).collect();
        let ranking = Ranking::from_scores(&neurons, &scores, &constant);
        let mut sorted = ranking.neurons.clone();
        sorted.sort_unstable();
        prop_assert_eq!(&sorted, &neurons);
        for (place, (&neuron, &score)) in ranking.neurons.iter().zip(&ranking.scores).enumerate() {
            prop_assert_eq!(score.to_bits(), scores[neuron.idx as usize].to_bits());
            prop_assert_eq!(ranking.rank(neuron), Some(place));
        }
        for pair in 0..neurons.len().saturating_sub(1) {
            let (a, b) = (ranking.neurons[pair], ranking.neurons[pair + 1]);
            let key = |neuron: NeuronId| (constant[neuron.idx as usize], -scores[neuron.idx as usize]);
            prop_assert!(key(a) < key(b) || (key(a) == key(b) && a < b), "{} before {}", a, b);
        }
    }

    #[test]
    fn the_order_in_which_neurons_are_given_does_not_matter(
        scores in proptest::collection::vec(-3_i8..3, 1..20),
        rotation in 0..20_usize,
    ) {
        let mut pairs: Vec<(NeuronId, f32)> =
            neurons(scores.len()).into_iter().zip(scores.iter().map(|&score| f32::from(score))).collect();
        let rank = |pairs: &[(NeuronId, f32)]| {
            let (neurons, scores): (Vec<NeuronId>, Vec<f32>) = pairs.iter().copied().unzip();
            Ranking::from_scores(&neurons, &scores, &vec![false; scores.len()])
        };
        let before = rank(&pairs);
        let by = rotation % pairs.len();
        pairs.rotate_left(by);
        prop_assert_eq!(rank(&pairs), before);
    }

    #[test]
    fn every_pool_ranks_every_neuron_once(values in proptest::collection::vec(-4_i8..4, 12)) {
        let values = Array2::from_shape_vec((3, 4), values.into_iter().map(f32::from).collect()).unwrap();
        let scores = scores(values);
        for pool in [Pool::Mean, Pool::Max, Pool::RoundRobin] {
            let mut all = idx(&scores.overall(pool));
            all.sort_unstable();
            prop_assert_eq!(all, vec![0, 1, 2, 3]);
        }
        // The first of the round robin is the first of the first concept.
        prop_assert_eq!(scores.overall(Pool::RoundRobin).neurons[0], scores.ranking(0).neurons[0]);
    }
}
