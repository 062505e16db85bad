#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use nissl_testing::conformance::check_attributor;
use nissl_testing::{Fact, ToyModel};
use nissl_testing::{Tol, assert_close};

use super::*;

const FACTS: [Fact; 2] = [Fact { subject: 3, relation: 7, object: 11 }, Fact { subject: 4, relation: 7, object: 12 }];

fn prompt() -> Prompt {
    Prompt { tokens: vec![3, 7], target: 11, foil: Some(12), other: Some(vec![4, 7]), ..Prompt::default() }
}

fn score(method: &AttributionPatching) -> [f64; 2] {
    let scores = method.score(&ToyModel::facts(20, &FACTS, 5.0), &[prompt()], Context::default()).unwrap();
    let signed = |neuron| f64::from(scores.values()[[0, neuron]]) * f64::from(scores.sign().unwrap()[[0, neuron]]);
    [signed(0), signed(1)]
}

#[test]
fn where_the_metric_is_linear_it_is_what_moving_a_neuron_does() {
    // One neuron goes out, the other comes on: each takes 5 from the difference of the logits.
    for places in [Places::All, Places::Target] {
        let got = score(&AttributionPatching { places, ..AttributionPatching::default() });
        assert_close("both", &got.to_vec(), &vec![-5.0, -5.0], Tol::abs(1e-3));
    }
}

#[test]
fn only_positions_where_the_texts_differ_can_be_moved() {
    // The neurons answer at the second position, where both texts have the same word.
    let got = score(&AttributionPatching { differing: true, ..AttributionPatching::default() });
    assert_close("neither", &got.to_vec(), &vec![0.0, 0.0], Tol::abs(1e-9));
    let stream =
        AttributionPatching { site: "resid_pre".to_owned(), differing: true, ..AttributionPatching::default() };
    let scores = stream.score(&ToyModel::facts(20, &FACTS, 5.0), &[prompt()], Context::default()).unwrap();
    assert!(scores.values()[[0, 3]] > 1.0 && scores.values()[[0, 7]] < 1e-6, "what the first word writes moves");
}

#[test]
fn with_steps_the_estimates_of_a_layer_sum_to_what_moving_it_does() {
    // log p(object) before and after the way: the other fact's object takes its place.
    let of = |steps| score(&AttributionPatching { metric: Metric::LogProb, steps, ..AttributionPatching::default() });
    let (c, g) = (2.0 * 1.0_f64.exp() + 16.0, 5.0_f64.exp());
    let total = (1.0 / (c + 1.0 + g)).ln() - (g / (c + 1.0 + g)).ln();
    let sum = |values: [f64; 2]| values[0] + values[1];
    assert_close("40 steps", &sum(of(40)), &total, Tol::abs(2e-2));
    assert!((sum(of(1)) - total).abs() > 0.5, "one step says {:?} of {total}", of(1));
}

#[test]
fn prompts_without_a_fitting_other_text_are_refused() {
    let model = ToyModel::facts(20, &FACTS, 5.0);
    let refused = |other| {
        let prompts = [prompt(), Prompt { other, ..prompt() }];
        AttributionPatching::default().score(&model, &prompts, Context::default()).unwrap_err().to_string()
    };
    assert!(refused(None).starts_with("prompt 1: attribution-patching needs another text"), "{}", refused(None));
    assert!(refused(Some(vec![4])).contains("1 tokens; expected as many as the text, 2"));
}

#[test]
fn it_conforms_with_its_options() {
    let method = AttributionPatching { steps: 3, metric: Metric::Probability, ..AttributionPatching::default() };
    check_attributor("attribution-patching, three steps", &method);
}
