#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use ndarray::array;
use nissl_core::{Condition, Edit, NeuronId, PlanError, Units};

use super::*;
use crate::close::{Tol, assert_close};

const FACT: Fact = Fact { subject: 3, relation: 7, object: 11 };

fn model() -> ToyModel {
    ToyModel::facts(20, &[FACT, Fact { subject: 4, relation: 7, object: 12 }], 5.0)
}

fn prompt() -> Batch {
    Batch::from_sentences([[3, 7].as_slice()])
}

fn edited(point: HookPoint, units: Units, positions: Positions, edit: Edit) -> HookPlan {
    let edits = vec![EditSpec { point, units, positions, edit, when: None }];
    HookPlan { edits, output: Output::Last, ..HookPlan::default() }
}

fn probability(plan: &HookPlan, token: usize) -> f64 {
    let logits = model().run(&prompt(), plan).unwrap().logits.unwrap();
    let exp = logits.row(0).mapv(|logit| f64::from(logit).exp());
    exp[token] / exp.sum()
}

#[test]
fn a_fact_has_the_probability_of_the_closed_form() {
    let plan = HookPlan { output: Output::Last, ..HookPlan::default() };
    assert_close("p(object)", &probability(&plan, 11), &0.868_677, Tol::abs(5e-7));
}

#[test]
fn without_its_neuron_the_fact_is_gone() {
    let plan = |unit| edited(HookPoint::new(0, Site::MlpPost), Units::Some(vec![unit]), Positions::All, Edit::Zero);
    let e = 1.0_f64.exp();
    assert_close("ablated", &probability(&plan(0), 11), &(1.0 / (2.0 * e + 18.0)), Tol::rel(1e-6));
    assert_close("another's", &probability(&plan(1), 11), &0.868_677, Tol::abs(5e-7));
}

#[test]
fn every_site_is_captured_and_later_ones_follow_from_earlier_ones() {
    let model = model();
    let points: Vec<HookPoint> = model.info().points().map(|(point, _)| point).collect();
    let batch = Batch::from_sentences([[3, 7].as_slice(), &[4], &[1, 4, 7]]);
    let trace = model.run(&batch, &HookPlan::capture(points.clone())).unwrap();
    assert_eq!(trace.sites.len(), points.len());
    for (point, width) in model.info().points() {
        assert_eq!(trace.sites[&point].dim(), (6, width), "{point}");
    }
    let at = |site| &trace.sites[&HookPoint::new(0, site)];
    assert_close("mid", &(at(Site::ResidPre) + at(Site::AttnOut)), at(Site::ResidMid), Tol::EXACT);
    assert_close("post", &(at(Site::ResidMid) + at(Site::MlpOut)), at(Site::ResidPost), Tol::EXACT);
    let fires = array![[0.0_f32, 0.0], [1.0, 0.0], [0.0, 0.0], [0.0, 0.0], [0.0, 0.0], [0.0, 1.0]];
    assert_close("neurons", at(Site::MlpPost), &fires, Tol::EXACT);
}

#[test]
fn edits_reach_the_chosen_places_alone() {
    let batch = Batch::from_sentences([[3, 7].as_slice(), &[3, 7, 9]]);
    let point = HookPoint::new(0, Site::MlpPost);
    let run = |positions, edit| {
        let mut plan = edited(point, Units::Some(vec![1]), positions, edit);
        plan.capture = vec![point];
        model().run(&batch, &plan).unwrap().sites[&point].column(1).to_vec()
    };
    let set = || Edit::Set { value: 2.0 };
    assert_eq!(run(Positions::All, set()), [2.0; 5]);
    assert_eq!(run(Positions::InSentence(vec![-1]), set()), [0.0, 2.0, 0.0, 0.0, 2.0]);
    assert_eq!(run(Positions::InSentence(vec![2, -9]), set()), [0.0, 0.0, 0.0, 0.0, 2.0]);
    // The first fact's neuron fires on what follows its subject.
    let where_it_fires = |above, below| {
        let mut plan = edited(point, Units::Some(vec![1]), Positions::All, Edit::Set { value: 2.0 });
        plan.capture = vec![point];
        plan.edits[0].when = Some(Condition { neuron: NeuronId::new(point, 0), above, below });
        model().run(&batch, &plan).unwrap().sites[&point].column(1).to_vec()
    };
    assert_eq!(where_it_fires(Some(0.5), None), [0.0, 2.0, 0.0, 2.0, 2.0]);
    assert_eq!(where_it_fires(None, Some(0.5)), [2.0, 0.0, 2.0, 0.0, 0.0]);
    assert_eq!(where_it_fires(Some(0.5), Some(0.5)), [0.0; 5]);
    assert_eq!(run(Positions::From(1), set()), [0.0, 2.0, 0.0, 2.0, 2.0]);
    assert_eq!(run(Positions::From(-2), set()), [2.0, 2.0, 0.0, 2.0, 2.0]);
    assert_eq!(run(Positions::Generated, set()), [0.0; 5]);
    assert_eq!(run(Positions::Rows(vec![3, 0]), Edit::Patch { values: vec![7.0, 8.0] }), [8.0, 0.0, 0.0, 7.0, 0.0]);
    assert_eq!(run(Positions::All, Edit::Patch { values: vec![1.0, 2.0, 3.0, 4.0, 5.0] }), [1.0, 2.0, 3.0, 4.0, 5.0]);
}

#[test]
fn a_run_patched_into_itself_is_the_same_run() {
    let (model, batch) = (model(), Batch::from_sentences([[3, 7].as_slice(), &[4, 7, 9]]));
    let plain = HookPlan { output: Output::All, ..HookPlan::capture(model.info().points().map(|(point, _)| point)) };
    let trace = model.run(&batch, &plain).unwrap();
    for (point, values) in &trace.sites {
        let edit = Edit::Patch { values: values.iter().copied().collect() };
        let spec = EditSpec { point: *point, units: Units::All, positions: Positions::All, edit, when: None };
        let patched = model.run(&batch, &HookPlan { edits: vec![spec], ..plain.clone() }).unwrap();
        assert_eq!(patched, trace, "{point}");
    }
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let model = model();
    let error = |batch: &Batch, plan: &HookPlan| model.run(batch, plan).unwrap_err();
    let nowhere = HookPlan::capture([HookPoint::new(1, Site::MlpPost)]);
    assert!(matches!(error(&prompt(), &nowhere), ModelError::Plan(PlanError::UnknownPoint { .. })));
    let unknown = Batch::from_sentences([[3, 20].as_slice()]);
    assert!(matches!(error(&unknown, &HookPlan::default()), ModelError::TokenOutOfRange { token: 20, .. }));
    let long = Batch::from_sentences([[3; 65].as_slice()]);
    assert!(matches!(error(&long, &HookPlan::default()), ModelError::TooLong { n_tokens: 65, n_ctx: 64, .. }));
}

#[test]
fn blocks_are_filled_up_to_one_width() {
    let two = ToyModel::new(20, vec![vec![Unit::fact(FACT, 5.0); 3], Vec::new()]);
    assert_eq!((two.info().n_layers, two.info().d_mlp), (2, 3));
    let point = HookPoint::new(1, Site::MlpPost);
    let trace = two.run(&prompt(), &HookPlan::capture([point])).unwrap();
    assert_close("idle", &trace.sites[&point], &Array2::<f32>::zeros((2, 3)), Tol::EXACT);
}
