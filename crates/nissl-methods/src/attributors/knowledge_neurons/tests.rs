#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use nissl_testing::conformance::{Recorder, check_attributor};
use nissl_testing::{Fact, ToyModel, Unit};

use super::*;

const FACT: Fact = Fact { subject: 3, relation: 7, object: 11 };

/// Prompts of one fact; all but those before `from` also show what a common neuron reads.
fn prompts(n: u32, from: u32) -> Vec<Prompt> {
    let of = |i| Prompt {
        tokens: vec![if i < from { 13 } else { 14 }, 3, 7],
        target: 11,
        concept: "Paris".to_owned(),
        ..Prompt::default()
    };
    (0..n).map(of).collect()
}

/// A neuron of the fact, and one that speaks for the object wherever token 14 was seen.
fn model() -> ToyModel {
    let common = Unit { key: vec![(14, 1.0)], bias: 0.0, value: vec![(11, 4.0)] };
    ToyModel::new(20, vec![vec![Unit::fact(FACT, 5.0), common]])
}

fn score(method: &KnowledgeNeurons, prompts: &[Prompt]) -> Vec<f32> {
    let scores = method.score(&model(), prompts, Context::default()).unwrap();
    scores.values().row(0).to_vec()
}

#[test]
fn a_neuron_of_few_paraphrases_is_not_kept() {
    let fixed = KnowledgeNeurons { adapt: false, ..KnowledgeNeurons::default() };
    assert_eq!(score(&fixed, &prompts(4, 2)), [1.0, 0.0], "it is in half of the prompts");
    assert_eq!(score(&fixed, &prompts(4, 1)), [1.0, 0.75]);
}

#[test]
fn the_share_falls_until_facts_have_neurons_enough() {
    // One neuron a fact is fewer than two: .7 becomes .65, .6, .55, .5, at which both are kept.
    assert_eq!(score(&KnowledgeNeurons::default(), &prompts(4, 2)), [1.0, 0.5]);
    // Six rounds lead to .4 and no further.
    assert_eq!(score(&KnowledgeNeurons::default(), &prompts(4, 3)), [1.0, 0.0]);
}

#[test]
fn facts_with_too_few_prompts_are_named() {
    let recorder = Recorder::default();
    let mut all = prompts(3, 0);
    all.push(Prompt { concept: "Rome".to_owned(), ..prompts(1, 0)[0].clone() });
    let ctx = Context { progress: &recorder, ..Context::default() };
    let scores = KnowledgeNeurons::default().score(&model(), &all, ctx).unwrap();
    assert_eq!(scores.concepts().len(), 1);
    assert!(recorder.notes().iter().any(|note| note.contains("Rome (1 prompts)")), "{:?}", recorder.notes());
    let err = KnowledgeNeurons::default().score(&model(), &prompts(2, 0), Context::default()).unwrap_err();
    assert!(err.to_string().contains("Paris (2 prompts)"), "{err}");
}

#[test]
fn it_conforms_with_its_options() {
    let method = KnowledgeNeurons { adapt: false, rule: Rule::Left, share: 0.5, ..KnowledgeNeurons::default() };
    check_attributor("knowledge-neurons, as published", &method);
}
