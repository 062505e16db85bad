#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use nissl_testing::conformance::{Recorder, check_attributor};
use nissl_testing::{Fact, Tol, ToyModel, Unit, assert_close};

use super::*;

const FACTS: [Fact; 3] = [
    Fact { subject: 0, relation: 10, object: 5 },
    Fact { subject: 1, relation: 10, object: 6 },
    Fact { subject: 2, relation: 11, object: 7 },
];

fn ask(fact: &Fact, before: u32) -> Prompt {
    let (tokens, target) = (vec![before, fact.subject, fact.relation], fact.object);
    Prompt { tokens, target, concept: format!("fact {}", fact.subject), ..Prompt::default() }
}

/// The probabilities that gates are open, concept after concept, and what is told.
fn open(method: &DiffMask, model: &ToyModel, prompts: &[Prompt]) -> (Array2<f32>, Vec<String>) {
    let recorder = Recorder::default();
    let ctx = Context { progress: &recorder, ..Context::default() };
    let scores = method.score(model, prompts, ctx).unwrap();
    (scores.values().to_owned(), recorder.notes())
}

#[test]
fn gates_are_open_as_often_as_the_hard_concrete_says() {
    for (theta, want) in [(-2.0, 0.400_975), (0.0, 0.831_822), (2.0, 0.973_367)] {
        assert_close("P(z > 0)", &is_open(theta), &want, Tol::abs(1e-6));
        assert_close("without noise", &usual_gate(is_open(theta)), &gate(theta).0, Tol::abs(1e-9));
        // Of many draws so many are above 0; the slope is that of the gate.
        let noise = |step: usize| {
            let even = (step as f64 + 0.5) / 10_000.0;
            (even / (1.0 - even)).ln()
        };
        let above = (0..10_000).filter(|&step| gate(theta + noise(step)).0 > 0.0).count();
        assert_close("drawn", &(above as f64 / 10_000.0), &want, Tol::abs(2e-4));
        let (up, down) = (gate(theta + 1e-5).0, gate(theta - 1e-5).0);
        assert_close("slope", &gate(theta).1, &((up - down) / 2e-5), Tol::abs(1e-6));
    }
}

#[test]
fn of_the_facts_the_one_that_is_asked_for_is_kept() {
    let model = ToyModel::facts(20, &FACTS, 5.0);
    let prompts: Vec<Prompt> = FACTS.iter().flat_map(|fact| [13, 14].map(|before| ask(fact, before))).collect();
    let (open, notes) = open(&DiffMask::default(), &model, &prompts);
    for (fact, open) in open.outer_iter().enumerate() {
        for (neuron, &open) in open.iter().enumerate() {
            assert!(
                if neuron == fact { open > 0.9 } else { open < 0.1 },
                "fact {fact}: neuron {neuron} is open at {open}"
            );
        }
    }
    assert!(notes[0].starts_with("fact 0: 1 of 3 neurons are kept; "), "{notes:?}");
}

/// Neurons 0 and 1 each shut the one of the next layer that takes 3 from the target; neuron 2 speaks for another token.
fn either() -> ToyModel {
    let cause = || Unit { key: vec![(0, 1.0)], bias: 0.0, value: vec![(3, 1.0)] };
    let idle = Unit { key: vec![(0, 1.0)], bias: 0.0, value: vec![] };
    let shut = Unit { key: vec![(1, 1.0), (3, -1.0)], bias: 0.0, value: vec![(2, -3.0)] };
    ToyModel::new(4, vec![vec![cause(), cause(), idle], vec![shut]])
}

#[test]
fn where_either_of_two_suffices_not_both_are_given_up() {
    let prompt = Prompt { tokens: vec![0, 1], target: 2, ..Prompt::default() };
    // Without one of them predictions are off by 0.122 nats, without both by 0.529.
    let method = DiffMask { layers: vec![0], value: Away::Zero, margin: 0.13, ..DiffMask::default() };
    let (open, _) = open(&method, &either(), &[prompt]);
    let open = open.row(0);
    assert!(open[0].max(open[1]) > 0.9 && open[2] < 0.1, "{open}");
}

#[test]
fn a_wide_margin_keeps_nothing_and_none_keeps_all_that_matters() {
    let unit = |gamma| Unit::fact(FACTS[0], gamma);
    let model = ToyModel::new(20, vec![vec![unit(5.0), unit(3.0)]]);
    let kept = |margin| {
        let method = DiffMask { margin, value: Away::Zero, ..DiffMask::default() };
        open(&method, &model, &[ask(&FACTS[0], 13)]).0.row(0).iter().filter(|&&open| open > 0.5).count()
    };
    assert_eq!([10.0, 0.0].map(kept), [0, 2]);
}

#[test]
fn what_masks_do_is_the_divergence_of_predictions() {
    let model = ToyModel::facts(20, &FACTS, 5.0);
    let prompts = [ask(&FACTS[0], 13)];
    let method = DiffMask { tokens: 20, value: Away::Zero, ..DiffMask::default() };
    let study = Study::new(DiffMask::NAME, (&model, &prompts, Context::default()), "mlp_post", &[]).unwrap();
    let removal = method.value.removal(method.places);
    let layer = method.layer(&study, 0, &removal.learn(DiffMask::NAME, &study).unwrap()).unwrap();
    let predictions = method.predictions(&study).unwrap();
    let off = |gate: f64| method.effects(&study, &layer, &predictions, &[vec![gate, 1.0, 1.0]]).unwrap().remove(0);
    assert_close("all gates open", &off(1.0).off, &0.0, Tol::abs(1e-6));
    // Logits are 1 at three tokens and 5 times the gate at the object.
    let softmax = |gate: f64| {
        let mut weights = vec![1.0_f64; 20];
        for token in [13, 0, 10] {
            weights[token] = 1_f64.exp();
        }
        weights[5] = (5.0 * gate).exp();
        let sum: f64 = weights.iter().sum();
        weights.into_iter().map(|weight| weight / sum).collect::<Vec<f64>>()
    };
    let far = |gate: f64| softmax(1.0).iter().zip(softmax(gate)).map(|(p, q)| p * (p / q).ln()).sum::<f64>();
    assert_close("shut", &off(0.0).off, &far(0.0), Tol::abs(1e-5));
    assert_close("half", &off(0.5).off, &far(0.5), Tol::abs(1e-5));
    assert_close("slope", &off(0.5).slopes[0], &((far(0.501) - far(0.499)) / 0.002), Tol::abs(2e-3));
}

#[test]
fn it_obeys_the_rules_of_attributors() {
    let method = DiffMask { value: Away::Median, places: Places::Target, tokens: 2, steps: 40, ..DiffMask::default() };
    check_attributor("diff-mask, of few tokens", &method);
}

#[test]
fn parameters_out_of_range_are_refused() {
    let refused = |method: DiffMask| {
        let model = ToyModel::facts(20, &FACTS, 5.0);
        method.score(&model, &[ask(&FACTS[0], 13)], Context::default()).unwrap_err().to_string()
    };
    let default = DiffMask::default;
    assert!(refused(DiffMask { steps: 0, ..default() }).contains("steps"));
    assert!(refused(DiffMask { tokens: 0, ..default() }).contains("tokens"));
    assert!(refused(DiffMask { margin: f64::NAN, ..default() }).contains("margin"));
    assert!(refused(DiffMask { rate: 0.0, ..default() }).contains("rate"));
    assert!(refused(DiffMask { multiplier_rate: -1.0, ..default() }).contains("multiplier_rate"));
}
