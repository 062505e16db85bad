#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use nissl_core::Labels;
use nissl_testing::PlantedActivations;
use nissl_testing::planted::key;

use super::*;

fn quick() -> TrainOptions {
    let linear = LinearOptions { lambda1: 1e-2, lambda2: 1e-2, tolerance: 1e-3, ..LinearOptions::default() };
    TrainOptions { linear, k: vec![1, 4], draws: 200, ..TrainOptions::default() }
}

fn trained(planted: &PlantedActivations, labels: &Labels, options: &TrainOptions) -> Trained {
    let data = LabeledActivations::new(&planted.x, labels).unwrap().with_text(&planted.text).unwrap();
    train(data, options, Context::default()).unwrap()
}

#[test]
fn the_verb_is_predicted_by_one_neuron_and_is_no_matter_of_memory() {
    let planted = PlantedActivations::new(0, 0.1);
    let Trained { probe, evaluation, ordering } = trained(&planted, &planted.verb, &quick());
    let mut top = ordering.order[..4].to_vec();
    top.sort_unstable();
    assert_eq!(top, key::VERBS);
    assert!(evaluation.accuracy.value > 0.999 && evaluation.converged);
    assert!(evaluation.majority < 0.92);
    let best = evaluation.few[1];
    assert!(best.best.value > 0.999 && best.random < 0.95 && best.worst <= evaluation.majority + 0.01, "{best:?}");
    assert_eq!(evaluation.minimal.unwrap().k, 1);
    // The verb neurons know nothing of words: of a control task they know the larger class.
    assert!(best.selectivity.unwrap() > 0.04, "{best:?}");
    // Applied to all rows it says what it said when it was fitted.
    let z = probe.outputs(&planted.x, Context::default()).unwrap();
    let is_right = |(row, class): (usize, usize)| planted.verb.of(row)[0] as usize == class;
    let right = probe.classes(&z).into_iter().enumerate().filter(|&pair| is_right(pair)).count();
    assert!(right as f64 > 0.999 * planted.verb.n_tokens() as f64);
}

#[test]
fn a_coin_is_not_predicted_better_than_by_its_majority() {
    let planted = PlantedActivations::new(0, 0.1);
    let noise = ChosenNeurons::new(&planted.x, &key::NOISE.collect::<Vec<_>>());
    let data = LabeledActivations::new(&noise, &planted.register).unwrap().with_text(&planted.text).unwrap();
    let evaluation = train(data, &quick(), Context::default()).unwrap().evaluation;
    let Interval { low, high, .. } = evaluation.accuracy;
    assert!(low < 0.53 && high > 0.47 && high - low < 0.1, "{:?}", evaluation.accuracy);
    assert!(evaluation.leakage.unwrap().known_words > 0.99);
}

#[test]
fn word_identity_has_no_selectivity() {
    // A neuron for each word: a control task is as easy as a task that is a function of the word.
    let planted = PlantedActivations::new(0, 0.1);
    let n_types = planted.text.types().len();
    let x = Array2::from_shape_fn((planted.text.n_tokens(), n_types), |(row, word)| {
        f32::from(u8::from(planted.text.type_of()[row] as usize == word))
    });
    let columns = nissl_core::site_columns(&[(planted.x.neurons()[0].point, n_types)]);
    let x = nissl_core::Matrix::new(x, columns).unwrap();
    let data = LabeledActivations::new(&x, &planted.tag).unwrap().with_text(&planted.text).unwrap();
    let linear = LinearOptions { lambda1: 0.0, lambda2: 1e-6, tolerance: 1e-2, ..LinearOptions::default() };
    let options = TrainOptions { linear, k: vec![], minimal_loss: -1.0, ..quick() };
    let control = train(data, &options, Context::default()).unwrap().evaluation.control.unwrap();
    assert!(control.accuracy > 0.99 && control.selectivity <= 0.01, "{control:?}");
}

#[test]
fn a_probe_refuses_activations_without_its_neurons() {
    let planted = PlantedActivations::new(0, 0.1);
    let options = TrainOptions { controls: 0, k: vec![], ..quick() };
    let probe = trained(&planted, &planted.verb, &options).probe;
    let others = ChosenNeurons::new(&planted.x, &[5, 6, 7]);
    let err = probe.outputs(&others, Context::default()).unwrap_err();
    assert_eq!(err.to_string(), "the activations have no blocks.0.mlp.hook_post[0], which the probe reads");
}

#[test]
fn the_path_goes_from_no_neuron_to_many_and_the_best_is_taken() {
    let planted = PlantedActivations::new(0, 0.1);
    let options = TrainOptions { path: 8, controls: 0, k: vec![], ..quick() };
    let evaluation = trained(&planted, &planted.tag, &options).evaluation;
    let neurons: Vec<usize> = evaluation.path.iter().map(|point| point.neurons).collect();
    assert!(neurons.len() == 8 && neurons[0] < 10 && neurons.is_sorted(), "{neurons:?}");
    let best = evaluation.path.iter().map(|point| point.dev_accuracy).fold(0.0, f64::max);
    assert!((evaluation.dev_accuracy - best).abs() < 0.005, "{} of {best}", evaluation.dev_accuracy);
    assert!(evaluation.path.iter().all(|point| point.gap.unwrap() <= 1e-3 * point.objective));
}
