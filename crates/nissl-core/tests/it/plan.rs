//! Hook plans: each check with the words of its error, and what edits do.

use nissl_core::{
    Batch, Condition, Edit, EditSpec, HookPlan, HookPoint, ModelInfo, NeuronId, Output, PlanError, Positions, Site,
    SiteInfo, Units,
};
use proptest::prelude::*;

const WIDTH: usize = 4;

fn model() -> ModelInfo {
    let site = |site, width| SiteInfo { site, width, weight: String::new() };
    ModelInfo {
        name: "tiny".to_owned(),
        family: "toy".to_owned(),
        n_layers: 2,
        d_model: 3,
        n_heads: 1,
        n_kv_heads: 1,
        d_head: 3,
        d_mlp: WIDTH,
        d_vocab: 9,
        n_ctx: 8,
        causal: true,
        has_logits: true,
        sites: vec![
            site(Site::Embed, 3),
            site(Site::MlpPost, WIDTH),
            site(Site::ResidPost, 3),
            site(Site::FinalNorm, 3),
        ],
        fingerprint: String::new(),
        encoder: None,
    }
}

/// Two sentences, five tokens.
fn batch() -> Batch {
    Batch::from_sentences([[1, 2, 3].as_slice(), &[4, 5]])
}

fn point(name: &str) -> HookPoint {
    name.parse().unwrap()
}

fn edit(units: Units, positions: Positions, edit: Edit) -> HookPlan {
    let edits = vec![EditSpec { point: point("1.mlp_post"), units, positions, edit, when: None }];
    HookPlan { edits, ..HookPlan::default() }
}

fn check(plan: &HookPlan) -> Result<(), String> {
    plan.check(&model(), &batch()).map_err(|err: PlanError| err.to_string())
}

fn refused(plan: &HookPlan, want: &str) {
    assert_eq!(check(plan).unwrap_err(), want);
}

fn values(n: usize) -> Vec<f32> {
    vec![0.5; n]
}

#[test]
fn a_model_lists_its_points_in_order_of_the_forward_pass() {
    let model = model();
    let points: Vec<(String, usize)> = model.points().map(|(point, width)| (point.to_string(), width)).collect();
    let want = [
        ("hook_embed", 3),
        ("blocks.0.mlp.hook_post", 4),
        ("blocks.0.hook_resid_post", 3),
        ("blocks.1.mlp.hook_post", 4),
        ("blocks.1.hook_resid_post", 3),
        ("ln_final.hook_normalized", 3),
    ];
    assert_eq!(points, want.map(|(name, width)| (name.to_owned(), width)));
    assert!(model.points().all(|(point, width)| model.width(point) == Some(width)));
}

#[test]
fn a_point_that_the_model_has_not_is_refused_with_the_nearest() {
    refused(
        &HookPlan::capture([point("0.mlp_post"), point("2.mlp_post")]),
        "blocks.2.mlp.hook_post: tiny has no such hook point; did you mean blocks.0.mlp.hook_post?",
    );
    refused(
        &HookPlan::capture([point("1.mlp_pre")]),
        "blocks.1.mlp.hook_pre: tiny has no such hook point; did you mean blocks.1.mlp.hook_post?",
    );
    let spec = EditSpec {
        point: point("7.resid_post"),
        units: Units::All,
        positions: Positions::All,
        edit: Edit::Zero,
        when: None,
    };
    let err = check(&HookPlan { edits: vec![spec], ..HookPlan::default() }).unwrap_err();
    assert!(err.starts_with("blocks.7.hook_resid_post: tiny has no such hook point"), "{err}");
}

#[test]
fn a_unit_or_position_out_of_range_is_refused_by_number() {
    refused(
        &edit(Units::Some(vec![3, 4]), Positions::All, Edit::Zero),
        "blocks.1.mlp.hook_post[4]: the site has 4 units, from 0 to 3",
    );
    refused(
        &edit(Units::All, Positions::Rows(vec![4, 5]), Edit::Zero),
        "edit at blocks.1.mlp.hook_post: token row 5 is out of range, the batch has 5 tokens",
    );
    // Places beyond a sentence are passed over.
    assert_eq!(check(&edit(Units::All, Positions::InSentence(vec![2, -3, 99]), Edit::Zero)), Ok(()));
}

#[test]
fn a_site_without_units_has_none_to_choose() {
    let mut model = model();
    model.sites[1].width = 0;
    let err = edit(Units::Some(vec![0]), Positions::All, Edit::Zero).check(&model, &batch()).unwrap_err();
    assert_eq!(err.to_string(), "blocks.1.mlp.hook_post[0]: the site has 0 units, from 0 to 0");
}

#[test]
fn a_wrong_number_of_values_is_refused() {
    let counted = |edit_name: &str, expected: usize, got: usize| {
        format!("edit '{edit_name}' at blocks.1.mlp.hook_post: expected {expected} values, got {got}")
    };
    let two = || Units::Some(vec![0, 3]);
    let rows = || Positions::Rows(vec![0, 2, 4]);
    let cases = [
        (edit(Units::All, Positions::All, Edit::Mean { values: values(3) }), counted("mean", 4, 3)),
        (edit(two(), rows(), Edit::Add { values: values(4) }), counted("add", 2, 4)),
        (edit(Units::All, Positions::All, Edit::Patch { values: values(4) }), counted("patch", 20, 4)),
        (edit(two(), rows(), Edit::Patch { values: values(5) }), counted("patch", 6, 5)),
    ];
    for (plan, want) in cases {
        refused(&plan, &want);
    }
    for plan in [
        edit(Units::All, Positions::All, Edit::Mean { values: values(4) }),
        edit(two(), Positions::InSentence(vec![0]), Edit::Add { values: values(2) }),
        edit(Units::All, Positions::All, Edit::Patch { values: values(20) }),
        edit(two(), rows(), Edit::Patch { values: values(6) }),
        edit(Units::Some(Vec::new()), Positions::All, Edit::Zero),
    ] {
        assert_eq!(check(&plan), Ok(()));
    }
}

#[test]
fn a_patch_must_name_its_rows() {
    for values in [values(0), values(4)] {
        refused(
            &edit(Units::All, Positions::InSentence(vec![0]), Edit::Patch { values }),
            "edit 'patch' at blocks.1.mlp.hook_post: positions in the sentence name no rows; \
             expected all rows or rows of the batch",
        );
    }
}

#[test]
fn a_value_that_is_not_finite_is_refused() {
    let cases = [
        (Edit::Set { value: f32::NAN }, "set", "NaN"),
        (Edit::Scale { factor: f32::INFINITY }, "scale", "inf"),
        (Edit::Add { values: vec![0.0, 0.0, f32::NEG_INFINITY, 0.0] }, "add", "-inf"),
    ];
    for (bad, name, value) in cases {
        refused(
            &edit(Units::All, Positions::All, bad),
            &format!("edit '{name}' at blocks.1.mlp.hook_post: value {value} is not finite"),
        );
    }
}

#[test]
fn the_first_thing_wrong_is_named() {
    let mut plan = edit(Units::Some(vec![9]), Positions::Rows(vec![9]), Edit::Set { value: f32::NAN });
    assert!(check(&plan).unwrap_err().contains("[9]: the site has 4 units"));
    plan.capture = vec![point("9.mlp_post")];
    assert!(check(&plan).unwrap_err().contains("no such hook point"));
}

#[test]
fn edits_change_the_chosen_units_alone() {
    let old = [1.0, 2.0, 3.0, 4.0];
    let two = Units::Some(vec![3, 1]);
    let cases = [
        (Edit::Zero, [1.0, 0.0, 3.0, 0.0]),
        (Edit::Set { value: 7.0 }, [1.0, 7.0, 3.0, 7.0]),
        (Edit::Scale { factor: -2.0 }, [1.0, -4.0, 3.0, -8.0]),
        (Edit::Mean { values: vec![5.0, 6.0] }, [1.0, 6.0, 3.0, 5.0]),
        (Edit::Add { values: vec![10.0, 20.0] }, [1.0, 22.0, 3.0, 14.0]),
        // The second row of the patch.
        (Edit::Patch { values: vec![0.0, 0.0, 8.0, 9.0] }, [1.0, 9.0, 3.0, 8.0]),
    ];
    for (edit, want) in cases {
        let mut row = old;
        edit.apply(&mut row, &two, 1);
        assert_eq!(row.map(f32::to_bits), want.map(f32::to_bits), "{}", edit.name());
    }
}

proptest! {
    #[test]
    fn a_patch_of_a_rows_own_values_is_the_identity(row in proptest::collection::vec(-1e6_f32..1e6, 1..20)) {
        let mut patched = row.clone();
        Edit::Patch { values: row.clone() }.apply(&mut patched, &Units::All, 0);
        prop_assert_eq!(&patched, &row);
        let half: Vec<u32> = (0..row.len() as u32).step_by(2).collect();
        let values = half.iter().map(|&unit| row[unit as usize]).collect();
        Edit::Patch { values }.apply(&mut patched, &Units::Some(half), 0);
        prop_assert_eq!(patched, row);
    }

    #[test]
    fn all_units_and_every_unit_by_name_are_the_same(row in proptest::collection::vec(-1e3_f32..1e3, 1..20), seed: u8) {
        let by_name = Units::Some((0..row.len() as u32).collect());
        let values: Vec<f32> = row.iter().map(|value| value + seed as f32).collect();
        for edit in [
            Edit::Zero,
            Edit::Set { value: seed as f32 },
            Edit::Scale { factor: 0.5 },
            Edit::Mean { values: values.clone() },
            Edit::Add { values: values.clone() },
            Edit::Patch { values: values.clone() },
        ] {
            let (mut one, mut other) = (row.clone(), row.clone());
            edit.apply(&mut one, &Units::All, 0);
            edit.apply(&mut other, &by_name, 0);
            prop_assert_eq!(one, other);
        }
    }

    #[test]
    fn adding_and_taking_away_or_scaling_by_powers_of_two_is_undone(row in proptest::collection::vec(-512_i16..512, 1..9)) {
        let row: Vec<f32> = row.into_iter().map(f32::from).collect();
        let mut edited = row.clone();
        Edit::Add { values: row.clone() }.apply(&mut edited, &Units::All, 0);
        Edit::Scale { factor: 0.5 }.apply(&mut edited, &Units::All, 0);
        prop_assert_eq!(edited, row);
    }
}

#[test]
fn a_plan_that_asks_for_nothing_asks_for_no_logits() {
    assert_eq!(HookPlan::default(), HookPlan { capture: vec![], edits: vec![], output: Output::None });
}

#[test]
fn a_condition_is_of_a_neuron_that_is_known_when_the_edit_acts() {
    let plan = |neuron: &str, above, below| {
        let mut plan = edit(Units::Some(vec![0]), Positions::All, Edit::Zero);
        plan.edits[0].when = Some(Condition { neuron: neuron.parse::<NeuronId>().unwrap(), above, below });
        plan
    };
    check(&plan("0.resid_post[2]", Some(0.5), None)).unwrap();
    check(&plan("1.mlp_post[3]", None, Some(0.5))).unwrap();
    let before = "edit at blocks.1.mlp.hook_post if ";
    refused(
        &plan("1.resid_post[0]", Some(0.5), None),
        &format!("{before}blocks.1.hook_resid_post[0]: its value is computed after the edit"),
    );
    refused(
        &plan("hook_embed[0]", None, None),
        &format!("{before}hook_embed[0]: it has no bound; expected above, below or both"),
    );
    refused(&plan("hook_embed[9]", Some(0.0), None), "hook_embed[9]: the site has 3 units, from 0 to 2");
    refused(
        &plan("hook_embed[0]", Some(f32::NAN), None),
        "edit 'condition' at blocks.1.mlp.hook_post: value NaN is not finite",
    );
}

#[test]
fn a_condition_of_an_lstm_does_not_wait_for_the_backward_direction() {
    let site = |site| SiteInfo { site, width: WIDTH, weight: String::new() };
    let sites = vec![site(Site::LstmI), site(Site::LstmC)];
    let mut model = ModelInfo { sites, causal: false, ..model() };
    let check = |model: &ModelInfo, unit, neuron| {
        let when = Some(Condition { neuron: NeuronId::new(point("0.lstm_i"), neuron), above: Some(0.1), below: None });
        let units = Units::Some(vec![unit]);
        let spec = EditSpec { point: point("0.lstm_c"), units, positions: Positions::All, edit: Edit::Zero, when };
        let plan = HookPlan { edits: vec![spec], ..HookPlan::default() };
        plan.check(model, &batch()).map_err(|err| err.to_string())
    };
    check(&model, 0, 1).unwrap();
    check(&model, 3, 1).unwrap();
    check(&model, 3, 2).unwrap();
    let refused = check(&model, 1, 2).unwrap_err();
    assert!(refused.ends_with("it is of the backward direction, which is computed after the forward one"), "{refused}");
    model.causal = true;
    check(&model, 1, 2).unwrap();
}
