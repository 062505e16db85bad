#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use nissl_core::NoProgress;
use nissl_testing::conformance::check_attributor;
use nissl_testing::{Fact, Tol, ToyModel, Unit, assert_close};

use super::*;

fn prompt() -> Prompt {
    Prompt { tokens: vec![0, 1], target: 2, ..Prompt::default() }
}

fn signed(method: &Conductance, model: &ToyModel) -> Vec<f64> {
    let scores = method.score(model, &[prompt()], Context::default()).unwrap();
    let sign = scores.sign().unwrap();
    scores.values().row(0).iter().zip(sign.row(0)).map(|(&value, &sign)| f64::from(value) * f64::from(sign)).collect()
}

#[test]
fn of_two_linear_layers_it_is_the_product_of_both() {
    // The stream after both tokens is (1, 1): neurons (3, 1) of weights (3, 1).
    let unit = |key: &[(u32, f32)], value| Unit { key: key.to_vec(), bias: 0.0, value: vec![(2, value)] };
    let model = ToyModel::new(4, vec![vec![unit(&[(0, 1.0), (1, 2.0)], 3.0), unit(&[(1, 1.0)], 1.0)]]);
    let method = Conductance { metric: Metric::Logit, baseline: Baseline::Zero, steps: 3, ..Conductance::default() };
    assert_close("conductances", &signed(&method, &model), &vec![9.0, 1.0], Tol::abs(2e-3));
}

#[test]
fn a_layer_through_which_everything_flows_sums_to_the_effect_of_the_text() {
    let fact = Fact { subject: 0, relation: 1, object: 2 };
    let model = ToyModel::facts(6, &[fact], 5.0);
    for layer in ["resid_pre", "resid_mid", "resid_post"] {
        let baseline = Baseline::Zero;
        let method = Conductance { site: layer.to_owned(), baseline, ..Conductance::default() };
        let recorder = nissl_testing::conformance::Recorder::default();
        let ctx = Context { progress: &recorder, ..Context::default() };
        method.score(&model, &[prompt()], ctx).unwrap();
        let note = recorder.notes().pop().unwrap();
        let share: f64 = note.split("within ").nth(1).unwrap().split('%').next().unwrap().parse().unwrap();
        assert!(share < 1.0, "{note}");
    }
    // The ReLU opens half of the way: with three parts and no halving it is missed by more.
    let zero = || Conductance { baseline: Baseline::Zero, ..Conductance::default() };
    let (coarse, fine) = (Conductance { steps: 3, refine: 0, ..zero() }, zero());
    let neuron = |method: &Conductance| signed(method, &model)[0];
    let exact = neuron(&Conductance { steps: 400, ..zero() });
    assert!((neuron(&fine) - exact).abs() < 5e-3 * exact.abs(), "{} and {exact}", neuron(&fine));
    assert!((neuron(&coarse) - exact).abs() > 2.0 * (neuron(&fine) - exact).abs());
}

#[test]
fn a_neuron_that_nothing_reads_has_none() {
    let fact = Fact { subject: 0, relation: 1, object: 2 };
    let idle = Unit { key: vec![(0, 1.0)], bias: 0.0, value: Vec::new() };
    let model = ToyModel::new(6, vec![vec![Unit::fact(fact, 5.0), idle]]);
    let found = signed(&Conductance { steps: 5, baseline: Baseline::Zero, ..Conductance::default() }, &model);
    assert!(found[0] > 0.1 && found[1].abs() < 1e-9, "{found:?}");
}

#[test]
fn no_steps_are_refused_and_it_conforms_with_its_options() {
    let none = Conductance { steps: 0, ..Conductance::default() };
    let ctx = Context { progress: &NoProgress, ..Context::default() };
    let err = none.score(&ToyModel::facts(6, &[], 1.0), &[prompt()], ctx).unwrap_err();
    assert!(err.to_string().contains("steps"), "{err}");
    let method = Conductance { steps: 4, metric: Metric::LogProb, baseline: Baseline::Zero, ..Conductance::default() };
    check_attributor("conductance, of the log-probability from zero", &method);
}
