#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use nissl_testing::conformance::{Recorder, check_attributor};
use nissl_testing::{Tol, ToyModel, Unit, assert_close};

use super::*;

fn prompt() -> Prompt {
    Prompt { tokens: vec![0, 1], target: 2, ..Prompt::default() }
}

fn unit(value: f32) -> Unit {
    Unit { key: vec![(0, 1.0)], bias: 0.0, value: vec![(2, value)] }
}

fn few() -> Shapley {
    Shapley { metric: Metric::Logit, permutations: 6, ..Shapley::default() }
}

fn signed(method: &Shapley, model: &ToyModel) -> Vec<f64> {
    let scores = method.score(model, &[prompt()], Context::default()).unwrap();
    let sign = scores.sign().unwrap();
    scores.values().row(0).iter().zip(sign.row(0)).map(|(&value, &sign)| f64::from(value) * f64::from(sign)).collect()
}

#[test]
fn what_adds_up_has_its_own_weight() {
    let model = ToyModel::new(4, vec![vec![unit(3.0), unit(-2.0), unit(0.5)]]);
    assert_close("values", &signed(&few(), &model), &vec![3.0, -2.0, 0.5], Tol::abs(1e-6));
}

/// Two neurons either of which shuts the one that takes 1 from the target.
fn either() -> ToyModel {
    let cause = || Unit { key: vec![(0, 1.0)], bias: 0.0, value: vec![(3, 1.0)] };
    let shut = Unit { key: vec![(1, 1.0), (3, -1.0)], bias: 0.0, value: vec![(2, -1.0)] };
    ToyModel::new(4, vec![vec![cause(), cause()], vec![shut]])
}

#[test]
fn two_of_which_either_suffices_have_a_half_each() {
    let method = Shapley { layers: vec![0], places: Places::Target, ..few() };
    for (n, antithetic) in [(40, true), (1, false), (3, false)] {
        let values = signed(&Shapley { permutations: n, antithetic, ..method.clone() }, &either());
        // They sum to the effect of both for any number of orders, which is 1.
        assert_close("efficiency", &(values[0] + values[1]), &1.0, Tol::abs(1e-6));
        if antithetic {
            assert_close("halves", &values, &vec![0.5, 0.5], Tol::abs(1e-6));
        } else {
            assert!((values[0] - 0.5).abs() > 0.1, "an odd number of orders cannot share evenly: {values:?}");
        }
    }
}

#[test]
fn a_truncated_order_gives_the_rest_nothing() {
    let model = ToyModel::new(4, vec![vec![unit(3.0), unit(0.001), unit(0.001)]]);
    let values = signed(&Shapley { truncate: 0.1, permutations: 30, ..few() }, &model);
    assert!((values[0] - 3.0).abs() < 1e-6 && values[1] < 0.000_99 && values[1] + values[2] > 0.0, "{values:?}");
}

#[test]
fn only_candidates_have_a_value_and_intervals_are_told() {
    let model = ToyModel::new(4, vec![vec![unit(3.0), unit(-2.0), unit(0.5)]]);
    let recorder = Recorder::default();
    let ctx = Context { progress: &recorder, ..Context::default() };
    let scores = Shapley { units: 2, ..few() }.score(&model, &[prompt()], ctx).unwrap();
    assert!(scores.values()[[0, 2]].abs() <= 0.0, "it was no candidate");
    let note = recorder.notes().pop().unwrap();
    assert!(note.contains("2 candidates do 1.0000 together") && note.contains("3.0000 ± 0.0000"), "{note}");
}

#[test]
fn what_is_out_of_range_is_refused_and_it_conforms_with_its_options() {
    let said = |method: Shapley| method.score(&either(), &[prompt()], Context::default()).unwrap_err().to_string();
    assert!(said(Shapley { units: 0, ..few() }).contains("units"));
    assert!(said(Shapley { permutations: 0, ..few() }).contains("permutations"));
    assert!(said(Shapley { truncate: 1.5, ..few() }).contains("truncate"));
    let method = Shapley { units: 3, permutations: 3, value: Away::Mean, antithetic: false, ..Shapley::default() };
    check_attributor("shapley, of means", &method);
}
