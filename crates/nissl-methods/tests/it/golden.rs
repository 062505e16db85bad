//! NeuroX's own answers on NeuroX's own data.

use nissl_core::{Context, LabeledActivations, NeuronId, Pool, Profiler, Ranker, Ranking, TextActivations};
use nissl_methods::profilers::TopWords;
use nissl_methods::rankers::{AveragePrecision, Probeless};
use nissl_testing::golden::{NeuroxSet, neurox};
use nissl_testing::{Tol, assert_close};
use serde_json::Value;

/// NeuroX numbers neurons over all layers, 16 a layer.
fn number(neuron: NeuronId) -> u64 {
    u64::from(neuron.point.layer().expect("a site in a block")) * 16 + u64::from(neuron.idx)
}

/// The ranking is NeuroX's order; neurons of one score, which NeuroX orders arbitrarily, are compared as a set.
fn check_order(what: &str, ranking: &Ranking, want: &Value) {
    let want: Vec<u64> = want.as_array().expect("an order").iter().map(|idx| idx.as_u64().expect("a number")).collect();
    let got: Vec<u64> = ranking.neurons.iter().map(|&neuron| number(neuron)).collect();
    assert_eq!(got.len(), want.len(), "{what}");
    let mut start = 0;
    for tie in ranking.scores.chunk_by(|a, b| a.to_bits() == b.to_bits()) {
        let places = start..start + tie.len();
        let (mut got, mut want) = (got[places.clone()].to_vec(), want[places.clone()].to_vec());
        got.sort_unstable();
        want.sort_unstable();
        assert_eq!(got, want, "{what}: places {places:?}");
        start = places.end;
    }
}

fn check_each_tag(set: &NeuroxSet, ranker: &dyn Ranker, want: impl Fn(&str) -> Value) -> Ranking {
    let data = LabeledActivations::new(&set.x, &set.labels).expect("a tag for each word");
    let scores = ranker.score(data, Context::default()).expect("NeuroX scored this too");
    for (idx, concept) in scores.concepts().iter().enumerate() {
        check_order(&concept.name, &scores.ranking(idx), &want(&concept.name));
    }
    assert_eq!(scores.concepts().len(), 3);
    scores.overall(Pool::Mean)
}

#[test]
fn probeless_orders_are_those_of_neurox() {
    let set = neurox();
    let ranker = Probeless { zscore: false, min_count: 1 };
    let overall = check_each_tag(&set, &ranker, |tag| set.expected["probeless_per_tag"][tag].clone());
    check_order("overall", &overall, &set.expected["probeless_overall"]);
}

#[test]
fn average_precision_orders_are_those_that_neurox_calls_iou() {
    let set = neurox();
    let ranker = AveragePrecision { zero_below: 0.05, ..AveragePrecision::default() };
    check_each_tag(&set, &ranker, |tag| set.expected[format!("iou_{tag}").as_str()].clone());
}

#[test]
fn top_words_are_those_of_neurox() {
    let set = neurox();
    let data = TextActivations::new(&set.x, &set.text).expect("a word for each row");
    let check = |method: TopWords, neuron: usize| {
        let profiles = method.profile(data, Context::default()).expect("NeuroX listed this too");
        let want = set.expected[format!("top_words_neuron{neuron}").as_str()].as_array().expect("a list");
        let names: Vec<&str> = profiles[neuron].words.iter().map(|word| word.name.as_str()).collect();
        assert_eq!(names, want.iter().map(|word| word[0].as_str().expect("a word")).collect::<Vec<_>>());
        let scores: Vec<f32> = profiles[neuron].words.iter().map(|word| word.score).collect();
        let want: Vec<f64> = want.iter().map(|word| word[1].as_f64().expect("a score")).collect();
        // NeuroX computes in single precision.
        assert_close("scores", &scores, &want, Tol::rel(1e-6));
    };
    check(TopWords::default(), 0);
    check(TopWords { num: 3, ..TopWords::default() }, 5);
}
