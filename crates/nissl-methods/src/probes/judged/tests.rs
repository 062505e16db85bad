#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use nissl_core::Context;
use nissl_testing::planted::{PlantedActivations, key};

use super::*;

#[test]
fn planted_neurons_tell_more_than_random_ones_and_noise_nothing() {
    let planted = PlantedActivations::new(3, 0.1);
    let data = LabeledActivations::new(&planted.x, &planted.verb).unwrap().with_text(&planted.text).unwrap();
    let options = TrainOptions { k: vec![1, 4], random_sets: 3, ..TrainOptions::default() };
    let verbs: Vec<usize> = key::VERBS.to_vec();
    let noise: Vec<usize> = key::NOISE.collect();
    let judged = judge(data, &options, &[verbs, noise], Context::default()).unwrap();
    let [verbs, noise] = [&judged.orders[0], &judged.orders[1]];
    assert_eq!((verbs[0].k, verbs[1].k), (1, 4));
    // A verb neuron of noise 0.1 tells verbs from the rest; noise tells what the more frequent class does.
    assert!(verbs.iter().all(|first| first.accuracy.value > 0.99), "{verbs:?}");
    assert!(noise.iter().all(|first| (first.accuracy.value - judged.majority).abs() < 0.02), "{noise:?}");
    // Words have random classes in the control task, which a verb neuron knows nothing of.
    assert!(verbs[1].selectivity.unwrap() > 0.05, "{verbs:?}");
    assert!(judged.all.value > 0.99 && judged.random[1].mean < verbs[1].accuracy.value);
    assert!(judged.random[1].low <= judged.random[1].mean && judged.random[1].mean <= judged.random[1].high);
}

#[test]
fn a_set_as_large_as_the_whole_is_left_out() {
    let planted = PlantedActivations::new(3, 0.1);
    let data = LabeledActivations::new(&planted.x, &planted.verb).unwrap();
    let options = TrainOptions { k: vec![0, 2, 128, 500], random_sets: 0, ..TrainOptions::default() };
    let judged = judge(data, &options, &[(0..128).collect()], Context::default()).unwrap();
    assert_eq!(judged.orders[0].iter().map(|first| first.k).collect::<Vec<_>>(), [2]);
    assert!(judged.random.is_empty() && judged.selectivity.is_none());
}
