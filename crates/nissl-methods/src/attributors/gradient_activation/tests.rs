#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use nissl_testing::conformance::check_attributor;
use nissl_testing::{Fact, ToyModel};
use nissl_testing::{Tol, assert_close};

use super::*;

const FACT: Fact = Fact { subject: 3, relation: 7, object: 11 };

fn prompt(target: u32) -> Prompt {
    Prompt { tokens: vec![3, 7], target, ..Prompt::default() }
}

#[test]
fn of_a_logit_it_is_what_ablation_takes_away() {
    // The logit is linear in the neuron, which writes 5 to the object.
    let model = ToyModel::facts(20, &[FACT], 5.0);
    let method = GradientActivation { metric: Metric::Logit, ..GradientActivation::default() };
    let scores = method.score(&model, &[prompt(11)], Context::default()).unwrap();
    assert_close("the fact's neuron", &f64::from(scores.values()[[0, 0]]), &5.0, Tol::abs(1e-3));
}

#[test]
fn opposed_prompts_cancel_unless_absolute_contributions_are_averaged() {
    let against = Fact { object: 12, ..FACT };
    let model = ToyModel::facts(20, &[FACT, against], 5.0);
    // The neuron speaks for the object of one prompt and, by the softmax, against that of the other.
    let prompts = [prompt(11), prompt(12)];
    let score = |absolute| {
        let method = GradientActivation { absolute, ..GradientActivation::default() };
        f64::from(method.score(&model, &prompts, Context::default()).unwrap().values()[[0, 0]])
    };
    assert!(score(false) < 0.1 * score(true), "{} and {}", score(false), score(true));
}

#[test]
fn it_conforms_with_its_options() {
    let method = GradientActivation {
        metric: Metric::Probability,
        places: Places::Target,
        absolute: true,
        ..GradientActivation::default()
    };
    check_attributor("gradient-activation, of the probability", &method);
}
