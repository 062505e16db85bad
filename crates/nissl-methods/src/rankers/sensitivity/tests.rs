#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use nissl_testing::PlantedActivations;
use nissl_testing::conformance::Recorder;
use nissl_testing::planted::key;

use super::*;

#[test]
fn exclusive_and_polysemous_neurons_are_told_apart() {
    let planted = PlantedActivations::new(3, 0.1);
    let listening = Recorder::default();
    let ctx = Context { progress: &listening, ..Context::default() };
    let method = Sensitivity::default();
    let data = LabeledActivations::new(&planted.x, &planted.topic).unwrap();
    let scores = method.score(data, ctx).unwrap();
    let topic = Sensitive { neuron: PlantedActivations::neuron(key::TOPIC), concepts: vec![0, 1] };
    assert_eq!(method.sensitive(&scores), [topic]);
    let data = LabeledActivations::new(&planted.x, &planted.verb).unwrap();
    let scores = method.score(data, ctx).unwrap();
    let verb = scores.concept("verb").unwrap();
    let exclusive: Vec<usize> = method
        .sensitive(&scores)
        .iter()
        .filter(|one| one.concepts == [verb])
        .map(|one| one.neuron.idx as usize)
        .collect();
    // The other rows are found by the low end of the same neurons, and of nothing else.
    assert_eq!(exclusive, Vec::<usize>::new());
    assert!(key::VERBS.iter().all(|&idx| method.sensitive(&scores).iter().any(|one| one.neuron.idx as usize == idx)));
    let note = "sensitivity: 0 neurons find one concept alone, 1 several, with average precision above 0.9";
    assert_eq!(listening.notes()[0], note);
}

#[test]
fn the_bound_must_be_a_share() {
    let planted = PlantedActivations::new(3, 0.1);
    let data = LabeledActivations::new(&planted.x, &planted.verb).unwrap();
    let err = Sensitivity { exclusive: 2.0, ..Sensitivity::default() }.score(data, Context::default()).unwrap_err();
    assert_eq!(err.to_string(), "sensitivity: parameter exclusive = 2: expected a number from 0 to 1");
}
