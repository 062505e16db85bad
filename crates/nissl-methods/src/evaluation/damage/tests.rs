#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use nissl_core::{HookPoint, Site};
use nissl_testing::{Fact, Tol, ToyModel, Unit, assert_close};

use super::*;

const OWN: Fact = Fact { subject: 3, relation: 7, object: 11 };
const OTHER: Fact = Fact { subject: 4, relation: 7, object: 12 };

fn neuron(idx: u32) -> NeuronId {
    NeuronId::new(HookPoint::new(0, Site::MlpPost), idx)
}

fn prompt(fact: Fact) -> Prompt {
    Prompt { tokens: vec![fact.subject, fact.relation], target: fact.object, ..Prompt::default() }
}

/// Neuron 0 says the object of `OWN`, 1 that of `OTHER`; 2 fires on the subject of `OWN` as 0 does, and says nothing; 3
/// to 6 never fire.
fn model() -> ToyModel {
    let silent = Unit { value: Vec::new(), ..Unit::fact(OWN, 5.0) };
    let dead = Unit { key: Vec::new(), bias: -1.0, value: vec![(11, 1.0)] };
    let mut units = vec![Unit::fact(OWN, 5.0), Unit::fact(OTHER, 5.0), silent];
    units.extend(vec![dead; 4]);
    ToyModel::new(20, vec![units])
}

fn ranking(order: [u32; 7]) -> Ranking {
    let scores = (0..7).map(|place| 7.0 - place as f32).collect();
    Ranking { neurons: order.map(neuron).to_vec(), scores }
}

#[test]
fn what_is_read_costs_its_words_and_what_only_fires_with_them_costs_nothing() {
    let prompts = [prompt(OWN), prompt(OWN), prompt(OTHER)];
    let (used, encoded) = (ranking([0, 3, 4, 5, 6, 2, 1]), ranking([2, 3, 4, 5, 6, 0, 1]));
    let options = DamageOptions { k: vec![50, 2, 1, 0], random_sets: 3, ..DamageOptions::default() };
    let got = damage((&model(), &prompts, 2), &[&used, &encoded], &options, Context::default()).unwrap();
    assert_eq!((got.words, got.k.clone()), ([2, 1], vec![1, 2]));
    // Two tokens were seen, with logit 1; the object has 5; all others 0.
    let rest = 2.0 * 1.0_f64.exp() + 17.0;
    let (with, without) = ((5.0_f64.exp() + rest).ln() - 5.0, (1.0 + rest).ln());
    assert_close("loss", &[got.loss[0].mean, got.loss[1].mean][..], &[with, with], Tol::abs(1e-5));
    let [used, encoded] = &got.rankings[..] else { panic!("{got:?}") };
    for k in 0..2 {
        assert_close("rise", &used.own[k].mean, &(without - with), Tol::abs(1e-5));
        assert_eq!((used.others[k], encoded.own[k], encoded.others[k]), Default::default());
        let random = used.random[k];
        assert_eq!((random.value, random.low, random.high), (0.0, 0.0, 0.0), "random sets leave out the set itself");
    }
    assert_close("area", &used.area, &(without - with), Tol::abs(1e-5));
    assert!(encoded.area <= 0.0, "what only fires costs no more than chance: {encoded:?}");
    let again = damage((&model(), &prompts, 2), &[&ranking([0, 3, 4, 5, 6, 2, 1])], &options, Context::default());
    assert_eq!(again.unwrap().rankings[0], *used, "a ranking alone gives the same");
    let none = DamageOptions { k: vec![8], ..options };
    let err = damage((&model(), &prompts, 2), &[&ranking([0, 1, 2, 3, 4, 5, 6])], &none, Context::default());
    assert!(err.unwrap_err().to_string().contains("a number of neurons that are ranked"));
}

#[test]
fn rows_of_both_kinds_are_drawn_in_an_order_that_the_seed_gives() {
    let has: Vec<bool> = (0..40).map(|row| row % 3 == 0).collect();
    let [own, others] = drawn_rows(&has, 7);
    assert_eq!((own.len(), others.len()), (14, 26));
    assert!(own.iter().all(|&row| has[row]) && others.iter().all(|&row| !has[row]));
    assert_eq!(drawn_rows(&has, 7), [own.clone(), others]);
    assert_ne!(drawn_rows(&has, 8)[0], own);
}
