#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use nissl_testing::conformance::{Recorder, check_attributor};
use nissl_testing::{Tol, assert_close};
use nissl_testing::{ToyModel, Unit};

use super::*;

/// ln of the odds of 11 against 12 is .2 x + .5 z + b₃ x z: x is token 4 instead of token 3, z the first neuron.
fn model(interaction: f32) -> ToyModel {
    let mediator = Unit { key: vec![(4, 1.0)], bias: 0.0, value: vec![(11, 0.5), (18, 1.0)] };
    let idle = Unit { key: vec![(4, 1.0)], bias: 0.0, value: vec![(17, 1.0)] };
    let direct = Unit { key: vec![(4, 1.0)], bias: 0.0, value: vec![(11, 0.2)] };
    let both = Unit { key: vec![(4, 1.0), (18, 1.0)], bias: -1.0, value: vec![(11, interaction)] };
    ToyModel::new(20, vec![vec![mediator, idle], vec![direct, both]])
}

fn prompt() -> Prompt {
    Prompt { tokens: vec![3], target: 11, foil: Some(12), other: Some(vec![4]), ..Prompt::default() }
}

/// The effects of the neurons of the first block, and what was told.
fn effects(interaction: f32, effect: Effect) -> (Vec<f64>, String) {
    let recorder = Recorder::default();
    let method = Mediation { site: "mlp_post".to_owned(), layers: vec![0], effect, min_prob: 0.0 };
    let ctx = Context { progress: &recorder, ..Context::default() };
    let scores = method.score(&model(interaction), &[prompt()], ctx).unwrap();
    (scores.values().row(0).iter().map(|&value| f64::from(value)).collect(), recorder.notes().join("\n"))
}

#[test]
fn effects_are_those_of_the_closed_form_without_and_with_interaction() {
    for (interaction, total) in [(0.0, "1.0138"), (0.3, "1.7183")] {
        let (indirect, notes) = effects(interaction, Effect::Indirect);
        assert_close("indirect", &indirect, &vec![0.648_721, 0.0], Tol::abs(1e-5));
        assert!(notes.contains(total), "{notes}");
        let (direct, _) = effects(interaction, Effect::Direct);
        assert_close("direct", &direct[0], &0.221_403, Tol::abs(1e-5));
    }
}

#[test]
fn prompts_whose_continuations_are_improbable_are_left_out_and_counted() {
    let method = Mediation { min_prob: 0.5, ..Mediation::default() };
    let err = method.score(&model(0.0), &[prompt()], Context::default()).unwrap_err().to_string();
    assert!(err.contains("1 prompts whose target and foil have less than 0.5 together"), "{err}");
}

#[test]
fn it_conforms_with_its_options() {
    let method = Mediation { site: "mlp_post".to_owned(), min_prob: 0.0, ..Mediation::default() };
    check_attributor("mediation, of MLP neurons", &method);
}
