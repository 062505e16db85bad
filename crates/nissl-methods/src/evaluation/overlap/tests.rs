use nissl_core::{HookPoint, Site};
use nissl_testing::{Tol, assert_close};

use super::*;

fn neurons(idx: &[u32]) -> Vec<NeuronId> {
    idx.iter().map(|&idx| NeuronId::new(HookPoint::new(0, Site::MlpPost), idx)).collect()
}

/// Neurons 0, 1, ... with these scores.
fn scored(scores: &[f32]) -> Ranking {
    let all: Vec<u32> = (0..scores.len() as u32).collect();
    Ranking::from_scores(&neurons(&all), scores, &vec![false; scores.len()])
}

#[test]
fn sets_of_one_size_have_one_overlap_of_which_jaccard_is_a_function() {
    let (a, b) = (neurons(&[1, 2, 3, 4]), neurons(&[3, 4, 5, 6]));
    let o = SetOverlap::Coefficient.of(&a, &b);
    assert_close("coefficient", &o, &0.5, Tol::abs(1e-12));
    assert_close("dice", &SetOverlap::Dice.of(&a, &b), &o, Tol::abs(1e-12));
    assert_close("jaccard", &SetOverlap::Jaccard.of(&a, &b), &(o / (2.0 - o)), Tol::abs(1e-12));
    assert_eq!(common(&a, &b), 2);
    for overlap in [SetOverlap::Jaccard, SetOverlap::Dice, SetOverlap::Coefficient] {
        assert_close("itself", &overlap.of(&a, &a), &1.0, Tol::abs(1e-12));
        assert_close("nothing", &overlap.of(&a, &[]), &0.0, Tol::abs(1e-12));
    }
}

#[test]
fn rank_biased_overlap_is_one_with_itself_and_weighs_the_top() {
    let order: Vec<u32> = (0..200).collect();
    let mut top = order.clone();
    top.swap(0, 150);
    let mut bottom = order.clone();
    bottom.swap(199, 150);
    let rbo = |other: &[u32]| rank_biased(&neurons(&order), &neurons(other), 0.98).expect("not empty");
    assert_close("itself", &rbo(&order), &1.0, Tol::abs(1e-12));
    assert!(rbo(&top) < rbo(&bottom) && rbo(&bottom) < 1.0, "{} {}", rbo(&top), rbo(&bottom));
    assert_eq!(rank_biased(&[], &neurons(&order), 0.98), None);
    // By hand: depths 1 and 2 agree by 0 and 1.
    let swapped = rank_biased(&neurons(&[0, 1]), &neurons(&[1, 0]), 0.5).expect("not empty");
    assert_close("two swapped", &swapped, &(0.25 + 0.25), Tol::abs(1e-12));
}

/// Expected values of scipy.stats: spearmanr, kendalltau, weightedtau of these scores.
#[test]
fn rank_correlations_equal_scipys() {
    let (a, b) = (scored(&[9.0, 8.0, 7.0, 7.0, 5.0, 4.0, 1.0]), scored(&[8.0, 9.0, 7.0, 2.0, 2.0, 5.0, 0.0]));
    assert_close("spearman", &spearman(&a, &b).expect("differ"), &0.809_090_909_090_909_1, Tol::abs(1e-12));
    assert_close("kendall", &kendall(&a, &b).expect("differ"), &0.65, Tol::abs(1e-12));
    let weighted = weighted_kendall(&a, &b).expect("differ");
    assert_close("weighted", &weighted, &WEIGHTED, Tol::abs(1e-12));
}

const WEIGHTED: f64 = 0.659_467_401_485_746_9;

#[test]
fn a_ranking_correlates_with_itself_by_one_and_with_its_reverse_by_minus_one() {
    let up = scored(&[1.0, 2.0, 3.0, 4.0, 5.0]);
    let down = scored(&[5.0, 4.0, 3.0, 2.0, 1.0]);
    for (name, measure) in
        [("spearman", spearman as fn(&Ranking, &Ranking) -> _), ("kendall", kendall), ("weighted", weighted_kendall)]
    {
        assert_close(name, &measure(&up, &up).expect("differ"), &1.0, Tol::abs(1e-12));
        assert_close(name, &measure(&up, &down).expect("differ"), &-1.0, Tol::abs(1e-12));
        assert_eq!(measure(&up, &scored(&[2.0; 5])), None, "{name} of equal scores");
    }
}

#[test]
fn chances_of_sharing_are_those_of_the_hypergeometric_distribution() {
    for (n, k, shared, want) in
        [(768, 50, 8, 0.011_785), (768, 50, 10, 7.733_7e-4), (1024, 50, 8, 2.027_3e-3), (1024, 50, 10, 7.205_4e-5)]
    {
        let got = chance_of_sharing(n, k, shared);
        assert!((got / want - 1.0).abs() < 1e-4, "{n} {k} {shared}: {got} for {want}");
    }
    assert_close("certain", &chance_of_sharing(10, 8, 6), &1.0, Tol::abs(1e-12));
    assert_close("all of few", &chance_of_sharing(4, 2, 2), &(1.0 / 6.0), Tol::abs(1e-12));
}

#[test]
fn holms_procedure_stops_at_the_first_that_is_not_below_its_threshold() {
    assert_eq!(holm(&[0.01, 0.02, 0.03], 0.05), [true, true, true]);
    assert_eq!(holm(&[0.03, 0.04, 0.001], 0.05), [false, false, true]);
    assert!(holm(&[], 0.05).is_empty());
}
