#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use nissl_core::{Ranking, Site};
use nissl_testing::{Fact, Tol, ToyModel, Unit, assert_close};

use super::*;

const FACT: Fact = Fact { subject: 3, relation: 7, object: 11 };
const OTHER: Fact = Fact { subject: 4, relation: 7, object: 12 };

fn prompt(fact: Fact) -> Prompt {
    Prompt { tokens: vec![fact.subject, fact.relation], target: fact.object, foil: Some(18), ..Prompt::default() }
}

fn neuron(layer: u16, idx: u32) -> NeuronId {
    NeuronId::new(HookPoint::new(layer, Site::MlpPost), idx)
}

fn model() -> ToyModel {
    ToyModel::facts(20, &[FACT, OTHER], 5.0)
}

fn ablate(model: &ToyModel, prompts: &[Prompt], sets: &[Vec<NeuronId>]) -> Ablated {
    Removal::default().ablate((model, prompts, &[]), sets, Context::default()).unwrap()
}

#[test]
fn without_its_neuron_a_fact_is_lost_as_the_closed_forms_say() {
    let sets = [vec![neuron(0, 0)], vec![neuron(0, 1)], vec![neuron(0, 0), neuron(0, 1)], Vec::new()];
    let got = ablate(&model(), &[prompt(FACT), prompt(OTHER)], &sets);
    // Two tokens were seen, with logit 1; the object has 5; all others 0.
    let rest = 2.0 * 1.0_f64.exp() + 17.0;
    let (with, without) = ((5.0_f64.exp() + rest).ln(), (1.0 + rest).ln());
    let p = (5.0 - with).exp();
    // The object goes from p to 1/(1 + rest), the others keep their proportions.
    let kl = p * (5.0 - with + without) + (1.0 - p) * (without - with);
    let own = Effect::of(&got.whole, &got.without[0], &[0]);
    assert_close("loss", &own.loss.mean, &(without - (with - 5.0)), Tol::abs(1e-5));
    assert_close("relative", &own.relative_loss.mean, &(own.loss.mean / (with - 5.0)), Tol::abs(1e-5));
    assert_close("divergence", &own.divergence.mean, &kl, Tol::abs(1e-5));
    assert_close("difference", &own.difference.unwrap().mean, &5.0, Tol::abs(1e-5));
    assert_eq!((got.whole[0].correct, own.accuracy, own.flips, own.agreement), (1.0, 0.0, 1.0, Some(0.0)));
    let other = Effect::of(&got.whole, &got.without[1], &[0]);
    assert_eq!((other.loss, other.accuracy, other.flips), (Mean::default(), 1.0, 0.0));
    let both = Effect::of(&got.whole, &got.without[2], &[0, 1]);
    assert_eq!((both.loss.mean, both.loss.error), (own.loss.mean, 0.0));
    let none = Effect::of(&got.whole, &got.without[3], &[0, 1]);
    assert_eq!((none.divergence.mean, none.accuracy), (0.0, 1.0));
}

#[test]
fn of_two_neurons_that_each_suffice_both_must_go() {
    let mark = Unit { value: vec![(19, 1.0)], ..Unit::fact(FACT, 0.0) };
    let on = Unit { key: vec![(19, 1.0)], bias: 0.0, value: vec![(11, 5.0)] };
    let cut = Unit { key: vec![(19, 1.0)], bias: -1.0, value: vec![(11, -5.0)] };
    let model = ToyModel::new(20, vec![vec![mark.clone(), mark], vec![on, cut]]);
    let sets = [vec![neuron(0, 0)], vec![neuron(0, 1)], vec![neuron(0, 0), neuron(0, 1)]];
    let got = ablate(&model, &[prompt(FACT)], &sets);
    let fall = |set: usize| Effect::of(&got.whole, &got.without[set], &[0]).difference.unwrap().mean;
    assert_close("falls", &[fall(0), fall(1), fall(2)][..], &[0.0, 0.0, 5.0], Tol::abs(1e-5));
}

#[test]
fn what_is_usual_comes_from_other_texts() {
    let removal = Removal { value: Replacement::Mean, ..Removal::default() };
    let sets = [vec![neuron(0, 0)]];
    let fall = |reference: &[Prompt]| {
        let got = removal.ablate((&model(), &[prompt(FACT)], reference), &sets, Context::default()).unwrap();
        Effect::of(&got.whole, &got.without[0], &[0]).difference.unwrap().mean
    };
    assert_close("its own", &fall(&[]), &2.5, Tol::abs(1e-5));
    assert_close("others", &fall(&[prompt(OTHER)]), &5.0, Tol::abs(1e-5));
}

#[test]
fn random_sets_are_of_the_same_points_and_others() {
    let model = ToyModel::new(20, vec![vec![Unit::default(); 8], vec![Unit::default(); 8]]);
    let set = [neuron(0, 2), neuron(0, 5), neuron(1, 0)];
    let sets = random_like(model.info(), &set, 20, 7);
    assert_eq!(sets, random_like(model.info(), &set, 20, 7));
    for drawn in &sets {
        assert_eq!(drawn.iter().filter(|neuron| neuron.point.layer() == Some(0)).count(), 2);
        assert_eq!(drawn.len(), 3);
        assert!(drawn.iter().all(|neuron| !set.contains(neuron)));
    }
    assert!(sets.iter().any(|drawn| drawn != &sets[0]));
}

#[test]
fn steps_of_a_ranking_begin_with_nothing_and_end_with_all() {
    let neurons: Vec<NeuronId> = (0..8).map(|idx| neuron(0, idx)).collect();
    let ranking = Ranking { scores: vec![0.0; 8], neurons: neurons.clone() };
    let steps = steps_of(&ranking, 4, 2, 1);
    assert_eq!(steps.len(), 5);
    assert!(steps[0].iter().flatten().all(Vec::is_empty));
    assert_eq!((steps[1][0][0].as_slice(), steps[1][1][0].as_slice()), (&neurons[..2], &neurons[6..]));
    assert!(steps[2][2].iter().all(|set| set.len() == 4) && steps[2][2][0] != steps[2][2][1]);
    let sorted = |set: &Vec<NeuronId>| {
        let mut set = set.clone();
        set.sort_unstable();
        set
    };
    assert!(steps[4].iter().flatten().all(|set| sorted(set) == neurons));
}

#[test]
fn sets_and_texts_that_do_not_fit_are_refused() {
    let refused = |removal: Removal, prompts: &[Prompt], set: NeuronId| {
        let err = removal.ablate((&model(), prompts, &[]), &[vec![set]], Context::default()).unwrap_err();
        err.to_string()
    };
    assert!(refused(Removal::default(), &[prompt(FACT)], neuron(3, 0)).contains("expected neurons of the model"));
    assert!(refused(Removal::default(), &[], neuron(0, 0)).contains("at least 1"));
    let far = Prompt { target: 99, ..prompt(FACT) };
    assert!(refused(Removal::default(), &[far], neuron(0, 0)).contains("token 99"));
    let none = Removal { draws: 0, value: Replacement::Resample, ..Removal::default() };
    assert!(refused(none, &[prompt(FACT)], neuron(0, 0)).contains("draws = 0"));
}
