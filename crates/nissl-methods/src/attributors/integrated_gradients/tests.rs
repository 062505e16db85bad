#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use nissl_testing::conformance::{Recorder, check_attributor};
use nissl_testing::{Fact, ToyModel, Unit};
use nissl_testing::{Tol, assert_close};

use super::*;

const FACT: Fact = Fact { subject: 3, relation: 7, object: 11 };

fn prompt() -> Prompt {
    Prompt { tokens: vec![3, 7], target: 11, ..Prompt::default() }
}

fn score(model: &ToyModel, method: &IntegratedGradients) -> Scores {
    method.score(model, &[prompt()], Context::default()).unwrap()
}

#[test]
fn the_attribution_of_a_fact_is_that_of_the_closed_form() {
    // σ(γ - ln c) - σ(-ln c) with c = 2e + 17 is .826008; midpoints give .826325, left points .816222.
    let model = ToyModel::facts(20, &[FACT, Fact { subject: 4, relation: 7, object: 12 }], 5.0);
    for (rule, want) in [(Rule::Midpoint, 0.826_325), (Rule::Left, 0.816_222)] {
        let scores = score(&model, &IntegratedGradients { rule, ..IntegratedGradients::default() });
        assert_close("the fact's neuron", &f64::from(scores.values()[[0, 0]]), &want, Tol::abs(2e-4));
        assert_close("another fact's", &f64::from(scores.values()[[0, 1]]), &0.0, Tol::abs(1e-6));
    }
    let fine = score(&model, &IntegratedGradients { steps: 400, ..IntegratedGradients::default() });
    assert_close("many steps", &f64::from(fine.values()[[0, 0]]), &0.826_008, Tol::abs(2e-4));
}

#[test]
fn two_neurons_of_a_fact_share_it_and_a_copy_that_writes_nothing_has_no_part() {
    let half = Unit::fact(FACT, 2.5);
    let copy = Unit { value: Vec::new(), ..Unit::fact(FACT, 5.0) };
    let model = ToyModel::new(20, vec![vec![half.clone(), copy, half]]);
    let scores = score(&model, &IntegratedGradients::default());
    let values = scores.values();
    assert_close("halves", &f64::from(values[[0, 0]]), &f64::from(values[[0, 2]]), Tol::abs(1e-6));
    assert_close("both", &f64::from(values[[0, 0]] + values[[0, 2]]), &0.826_325, Tol::abs(2e-4));
    assert_close("the copy", &f64::from(values[[0, 1]]), &0.0, Tol::abs(0.0));
    assert_eq!(scores.sign().unwrap()[[0, 0]], 1);
}

#[test]
fn how_far_attributions_are_from_complete_is_told() {
    let notes = |rule| {
        let recorder = Recorder::default();
        let ctx = Context { progress: &recorder, ..Context::default() };
        let model = ToyModel::facts(20, &[FACT], 5.0);
        let method = IntegratedGradients { rule, ..IntegratedGradients::default() };
        method.score(&model, &[prompt()], ctx).unwrap();
        recorder.notes().join("\n")
    };
    assert!(notes(Rule::Midpoint).contains("within 0.0"), "{}", notes(Rule::Midpoint));
    assert!(notes(Rule::Left).contains("within 1.18%"), "{}", notes(Rule::Left));
}

#[test]
fn a_path_on_which_the_prediction_tips_over_is_split_where_it_does() {
    // The object's logit rises by 1 while the neuron goes from .36 to .44, and nowhere else: of 20 midpoints two lie
    // there, which stand for a tenth of the path.
    let first = Unit { value: vec![(19, 1.0)], ..Unit::fact(FACT, 0.0) };
    let step = |bias: f32, value| Unit { key: vec![(19, 12.5)], bias: -12.5 * bias, value: vec![(11, value)] };
    let model = ToyModel::new(20, vec![vec![first, Unit::default()], vec![step(0.36, 1.0), step(0.44, -1.0)]]);
    let ig = IntegratedGradients { metric: Metric::Logit, layers: vec![0], ..IntegratedGradients::default() };
    let of =
        |refine, rule| f64::from(score(&model, &IntegratedGradients { rule, refine, ..ig.clone() }).values()[[0, 0]]);
    assert_close("as it is", &of(0, Rule::Midpoint), &1.25, Tol::abs(0.03));
    assert_close("split", &of(5, Rule::Midpoint), &1.0, Tol::abs(0.01));
    assert_close("as published", &of(5, Rule::Left), &of(0, Rule::Left), Tol::abs(0.0));
}

#[test]
fn it_conforms_with_its_options() {
    let all = IntegratedGradients { places: Places::All, metric: Metric::Difference, ..IntegratedGradients::default() };
    check_attributor("integrated-gradients, all places", &all);
    let left = IntegratedGradients { rule: Rule::Left, metric: Metric::LogProb, steps: 5, ..all };
    check_attributor("integrated-gradients, left points", &left);
}

#[test]
fn no_steps_and_sites_that_are_not_there_are_refused() {
    let model = ToyModel::facts(20, &[FACT], 5.0);
    let refused =
        |method: IntegratedGradients| method.score(&model, &[prompt()], Context::default()).unwrap_err().to_string();
    let ig = IntegratedGradients::default;
    assert!(refused(IntegratedGradients { steps: 0, ..ig() }).contains("steps = 0: expected at least 1"));
    assert!(refused(IntegratedGradients { site: "attn_z".to_owned(), ..ig() }).contains("site = attn_z"));
    assert!(refused(IntegratedGradients { layers: vec![3], ..ig() }).contains("layers = 3"));
    assert!(refused(IntegratedGradients { metric: Metric::Difference, ..ig() }).contains("foil"));
}
