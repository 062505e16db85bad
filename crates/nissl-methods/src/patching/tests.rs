#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use nissl_core::{Output, Site};
use nissl_testing::{Fact, Tol, ToyModel, Unit, assert_close};

use super::*;

fn neuron(layer: u16, idx: u32) -> NeuronId {
    NeuronId::new(HookPoint::new(layer, Site::MlpPost), idx)
}

fn patch(patching: Patching, model: &ToyModel, prompt: &Prompt, sets: &[Vec<NeuronId>]) -> Patched {
    let prompts = std::slice::from_ref(prompt);
    patching.patch(model, prompts, sets, Context::default()).unwrap().remove(0)
}

/// ln of the odds of 11 against 12 is .2 x + .5 z + b x z: x is token 4 instead of token 3, z the first neuron.
fn mediated(interaction: f32) -> (ToyModel, Prompt) {
    let mediator = Unit { key: vec![(4, 1.0)], bias: 0.0, value: vec![(11, 0.5), (18, 1.0)] };
    let idle = Unit { key: vec![(4, 1.0)], bias: 0.0, value: vec![(17, 1.0)] };
    let direct = Unit { key: vec![(4, 1.0)], bias: 0.0, value: vec![(11, 0.2)] };
    let both = Unit { key: vec![(4, 1.0), (18, 1.0)], bias: -1.0, value: vec![(11, interaction)] };
    let model = ToyModel::new(20, vec![vec![mediator, idle], vec![direct, both]]);
    (model, Prompt { tokens: vec![3], target: 11, foil: Some(12), other: Some(vec![4]), ..Prompt::default() })
}

#[test]
fn effects_are_those_of_the_closed_form_without_and_with_interaction() {
    for (interaction, total) in [(0.0, 1.013_753), (0.3, 1.718_282)] {
        let (model, prompt) = mediated(interaction);
        let patching = Patching { metric: Metric::Difference, places: Where::Differing, both: true };
        let sets = [vec![neuron(0, 0)], vec![neuron(0, 1)], vec![neuron(0, 0), neuron(0, 1)]];
        let got = patch(patching, &model, &prompt, &sets);
        assert_close("total", &got.total(), &total, Tol::abs(1e-5));
        assert_close("indirect", &got.indirect(0), &0.648_721, Tol::abs(1e-5));
        assert_close("direct", &got.direct(0).unwrap(), &0.221_403, Tol::abs(1e-5));
        assert_close("not on a path", &got.indirect(1), &0.0, Tol::abs(1e-6));
        assert_close("together", &got.indirect(2), &got.indirect(0), Tol::abs(1e-6));
        let product = (1.0 + got.direct(0).unwrap()) * (1.0 + got.indirect(0)) - 1.0;
        assert_eq!((product - got.total()).abs() < 1e-5, interaction == 0.0, "interaction shows");
    }
}

#[test]
fn every_set_and_position_is_what_a_run_with_that_patch_gives() {
    let facts = [Fact { subject: 3, relation: 7, object: 11 }, Fact { subject: 4, relation: 7, object: 12 }];
    let model = ToyModel::facts(20, &facts, 5.0);
    let prompt =
        Prompt { tokens: vec![9, 3, 7], target: 11, foil: Some(12), other: Some(vec![9, 4, 7]), ..Prompt::default() };
    let sets: Vec<Vec<NeuronId>> = vec![
        vec![neuron(0, 0)],
        vec![neuron(0, 1)],
        vec![neuron(0, 0), neuron(0, 1)],
        (0..20).map(|unit| NeuronId::new(HookPoint::new(0, Site::AttnOut), unit)).collect(),
    ];
    let patching = Patching { metric: Metric::Difference, places: Where::Each, both: false };
    let got = patch(patching, &model, &prompt, &sets);
    let [own, other] = [&prompt.tokens, prompt.other.as_ref().unwrap()].map(|tokens| Batch::from_sentences([tokens]));
    for (set, found) in sets.iter().zip(&got.patched) {
        for (place, &found) in found.iter().enumerate() {
            let point = set[0].point;
            let from = &model.run(&other, &HookPlan::capture([point])).unwrap().sites[&point];
            let edits = set.iter().map(|neuron| EditSpec {
                point,
                units: Units::Some(vec![neuron.idx]),
                positions: Positions::InSentence(vec![place as i64]),
                edit: Edit::Set { value: from[[place, neuron.idx as usize]] },
                when: None,
            });
            let plan = HookPlan { edits: edits.collect(), output: Output::Last, ..HookPlan::default() };
            let logits = model.run(&own, &plan).unwrap().logits.unwrap();
            assert_close("by hand", &found, &f64::from(logits[[0, 11]] - logits[[0, 12]]), Tol::abs(1e-6));
        }
    }
    assert_close("both ends", &[got.own, got.other][..], &[5.0, -5.0], Tol::abs(1e-5));
    assert_close("both neurons at the end", &got.patched[2][2], &-5.0, Tol::abs(1e-5));
    let all = patch(Patching { places: Where::All, ..patching }, &model, &prompt, &sets[2..3]);
    assert_close("everywhere", &all.patched[0][0], &-5.0, Tol::abs(1e-5));
}

#[test]
fn prompts_without_another_text_and_sets_of_another_model_are_refused() {
    let (model, prompt) = mediated(0.0);
    let refused = |prompt: Prompt, set: NeuronId| {
        let sets = [vec![set]];
        Patching::default().patch(&model, &[prompt], &sets, Context::default()).unwrap_err().to_string()
    };
    assert!(refused(Prompt { other: None, ..prompt.clone() }, neuron(0, 0)).contains("needs another text"));
    assert!(refused(Prompt { other: Some(vec![3, 4]), ..prompt.clone() }, neuron(0, 0)).contains("2 tokens"));
    assert!(refused(prompt, neuron(7, 0)).contains("expected neurons of the model"));
}
