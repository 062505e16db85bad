#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use nissl_testing::conformance::check_attributor;
use nissl_testing::{Fact, ToyModel, Unit};
use nissl_testing::{Tol, assert_close};

use super::*;

const FACT: Fact = Fact { subject: 3, relation: 7, object: 11 };

fn prompt() -> Prompt {
    Prompt { tokens: vec![3, 7], target: 11, ..Prompt::default() }
}

fn score(model: &ToyModel, method: &Ablation) -> Vec<f64> {
    let scores = method.score(model, &[prompt()], Context::default()).unwrap();
    scores.values().row(0).iter().map(|&value| f64::from(value)).collect()
}

#[test]
fn without_its_neuron_a_fact_loses_what_the_closed_form_says() {
    let model = ToyModel::facts(20, &[FACT, Fact { subject: 4, relation: 7, object: 12 }], 5.0);
    let (c, g) = (2.0 * 1.0_f64.exp() + 17.0, 5.0_f64.exp());
    let lost = (g / (g + c)).ln() - (1.0 / (1.0 + c)).ln();
    assert_close("log-probability", &score(&model, &Ablation::default()), &vec![lost, 0.0], Tol::abs(1e-5));
    let logit = Ablation { metric: Metric::Logit, ..Ablation::default() };
    assert_close("logit", &score(&model, &logit), &vec![5.0, 0.0], Tol::abs(1e-5));
    let halved = Ablation { value: Replacement::Scale, ..logit };
    assert_close("half", &score(&model, &halved), &vec![2.5, 0.0], Tol::abs(1e-5));
}

#[test]
fn a_neuron_that_never_changes_has_no_effect_if_it_becomes_its_mean() {
    let constant = Unit { key: Vec::new(), bias: 2.0, value: vec![(11, 1.0)] };
    let model = ToyModel::new(20, vec![vec![constant, Unit::fact(FACT, 5.0), Unit::default()]]);
    let of = |value| score(&model, &Ablation { value, metric: Metric::Logit, ..Ablation::default() });
    assert_close("zero", &of(Replacement::Zero), &vec![2.0, 5.0, 0.0], Tol::abs(1e-5));
    // The fact's neuron is 0 at one of the two positions.
    assert_close("mean", &of(Replacement::Mean), &vec![0.0, 2.5, 0.0], Tol::abs(1e-5));
    assert_close("median", &of(Replacement::Median), &vec![0.0, 5.0, 0.0], Tol::abs(1e-5));
    let draws = of(Replacement::Resample);
    assert_close("constant", &draws[0], &0.0, Tol::abs(1e-5));
    let mean = |draws| {
        let method = Ablation { value: Replacement::Resample, metric: Metric::Logit, draws, ..Ablation::default() };
        score(&model, &method)[1]
    };
    assert!((mean(400) - 2.5).abs() < 0.4, "{}", mean(400));
}

#[test]
fn of_two_neurons_that_each_suffice_neither_has_an_effect() {
    // A second block writes 5 to the object where either neuron is on: it reads their sum, cut at one.
    let mark = |value: Vec<(u32, f32)>| Unit { value, ..Unit::fact(FACT, 0.0) };
    let first = vec![mark(vec![(19, 1.0)]), mark(vec![(19, 1.0)]), Unit::default()];
    let on = Unit { key: vec![(19, 1.0)], bias: 0.0, value: vec![(11, 5.0)] };
    let cut = Unit { key: vec![(19, 1.0)], bias: -1.0, value: vec![(11, -5.0)] };
    let model = ToyModel::new(20, vec![first, vec![on, cut]]);
    let effects = score(&model, &Ablation { metric: Metric::Logit, layers: vec![0], ..Ablation::default() });
    assert_close("either", &effects, &vec![0.0, 0.0, 0.0], Tol::abs(1e-6));
}

#[test]
fn a_neuron_becomes_what_it_is_for_a_class() {
    let model = ToyModel::facts(20, &[FACT], 5.0);
    let of_class = |tokens: &[u32], class: &str| {
        let (tokens, concept) = (tokens.to_vec(), class.to_owned());
        Prompt { tokens, target: 11, concept, ..Prompt::default() }
    };
    let prompts = [of_class(&[3, 7], "known"), of_class(&[4, 7], "other")];
    let of = |class: &str| {
        let (value, class) = (Replacement::ClassMean, class.to_owned());
        let method = Ablation { value, class, metric: Metric::Logit, places: Places::Target, ..Ablation::default() };
        method.score(&model, &prompts, Context::default()).map(|scores| scores.values().column(0).to_vec())
    };
    // 1 at one of the two positions of the one, 0 at those of the other.
    assert_eq!(of("known").unwrap(), [2.5, 2.5]);
    assert_eq!(of("other").unwrap(), [5.0, 0.0]);
    assert!(of("none").unwrap_err().to_string().contains("class = none: expected a concept"));
}

#[test]
fn it_conforms_with_its_options() {
    let method = Ablation { value: Replacement::Mean, places: Places::Target, ..Ablation::default() };
    check_attributor("ablation, to the mean", &method);
}
