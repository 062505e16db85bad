//! What is saved as JSON is read back the same, in a form that a person can write, and nothing unknown is taken.

use std::fmt::Debug;

use nissl_core::{
    Concept, Edit, EditSpec, Excerpt, HookPlan, HookPoint, ModelInfo, NeuronId, Output, Pool, Positions, Profile,
    Prompt, Provenance, Ranking, Site, SiteInfo, Units, WordScore,
};
use proptest::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::names::point;

fn comes_back<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T) {
    let text = serde_json::to_string(value).unwrap();
    assert_eq!(&serde_json::from_str::<T>(&text).unwrap(), value, "{text}");
}

/// A field that the type has not is refused by name.
fn refuses_unknown_fields<T: Serialize + DeserializeOwned + Debug>(value: &T) {
    let mut json = serde_json::to_value(value).unwrap();
    json.as_object_mut().unwrap().insert("no_such_field".to_owned(), json!(1));
    let err = serde_json::from_value::<T>(json).unwrap_err().to_string();
    assert!(err.contains("no_such_field"), "{err}");
}

fn neuron() -> NeuronId {
    "blocks.3.mlp.hook_post[1207]".parse().unwrap()
}

#[test]
fn names_are_saved_as_text_and_old_and_new_ones_are_read() {
    assert_eq!(json!(Site::MlpPost), json!("mlp_post"));
    assert_eq!(json!(HookPoint::new(3, Site::MlpPost)), json!("blocks.3.mlp.hook_post"));
    assert_eq!(json!(neuron()), json!("blocks.3.mlp.hook_post[1207]"));
    let read: NeuronId = serde_json::from_value(json!("blocks.3.mlp.out.hook_in[1207]")).unwrap();
    assert_eq!(read, neuron());
    let err = serde_json::from_value::<HookPoint>(json!("blocks.3.mlp.hook_pst")).unwrap_err().to_string();
    assert!(err.contains("did you mean mlp.hook_post?"), "{err}");
}

#[test]
fn a_plan_written_by_hand_may_leave_out_what_is_usual() {
    let plan: HookPlan = serde_json::from_value(json!({
        "capture": ["blocks.0.mlp.hook_post", "0.resid_post"],
        "edits": [
            {"point": "blocks.0.mlp.hook_post", "edit": "zero"},
            {"point": "0.mlp_post", "units": {"some": [3, 1]}, "positions": {"in_sentence": [-1]},
             "edit": {"set": {"value": 2.5}}},
        ],
    }))
    .unwrap();
    let point = HookPoint::new(0, Site::MlpPost);
    let edits = vec![
        EditSpec { point, units: Units::All, positions: Positions::All, edit: Edit::Zero, when: None },
        EditSpec {
            point,
            units: Units::Some(vec![3, 1]),
            positions: Positions::InSentence(vec![-1]),
            edit: Edit::Set { value: 2.5 },
            when: None,
        },
    ];
    let capture = vec![point, HookPoint::new(0, Site::ResidPost)];
    assert_eq!(plan, HookPlan { capture, edits, output: Output::None });
    refuses_unknown_fields(&plan);
    refuses_unknown_fields(&plan.edits[0]);
}

#[test]
fn reports_come_back_the_same() {
    comes_back(&Ranking { neurons: vec![neuron()], scores: vec![0.1] });
    comes_back(&Concept::new("Number=Plur"));
    comes_back(&[Pool::Mean, Pool::Max, Pool::RoundRobin].to_vec());
    comes_back(&Prompt { tokens: vec![1, 2], target: 3, foil: Some(4), ..Prompt::default() });
    let provenance = Provenance { seed: Some(7), ..Provenance::of_method("probeless", json!({"min_count": 5})) };
    comes_back(&provenance);
    let excerpt = Excerpt { row: 4, sentence: 1, position: 0, activation: -0.3, context: "a “b”".to_owned() };
    let word = WordScore { name: "b".to_owned(), score: 1.0, deviation: -2.5, count: 3 };
    let profile =
        Profile { words: vec![word], top: vec![excerpt.clone()], bottom: vec![excerpt], ..Profile::new(neuron()) };
    comes_back(&profile);
    let info = ModelInfo {
        name: "m".to_owned(),
        family: "gpt2".to_owned(),
        n_layers: 2,
        d_model: 3,
        n_heads: 1,
        n_kv_heads: 1,
        d_head: 3,
        d_mlp: 12,
        d_vocab: 100,
        n_ctx: 8,
        causal: true,
        has_logits: false,
        sites: vec![SiteInfo { site: Site::MlpPost, width: 12, weight: "h.{}.mlp.c_fc".to_owned() }],
        fingerprint: "f".to_owned(),
        encoder: None,
    };
    comes_back(&info);
    refuses_unknown_fields(&Ranking::default());
    refuses_unknown_fields(&provenance);
    refuses_unknown_fields(&profile);
    refuses_unknown_fields(&info);
    refuses_unknown_fields(&Concept::new("a"));
}

fn edit() -> impl Strategy<Value = Edit> {
    let values = || proptest::collection::vec(-1e30_f32..1e30, 0..5);
    prop_oneof![
        Just(Edit::Zero),
        values().prop_map(|values| Edit::Mean { values }),
        (-1e30_f32..1e30).prop_map(|value| Edit::Set { value }),
        (-1e30_f32..1e30).prop_map(|factor| Edit::Scale { factor }),
        values().prop_map(|values| Edit::Add { values }),
        values().prop_map(|values| Edit::Patch { values }),
    ]
}

fn spec() -> impl Strategy<Value = EditSpec> {
    let units = prop_oneof![Just(Units::All), proptest::collection::vec(0..9_u32, 0..4).prop_map(Units::Some)];
    let positions = prop_oneof![
        Just(Positions::All),
        proptest::collection::vec(-9..9_i64, 0..4).prop_map(Positions::InSentence),
        proptest::collection::vec(0..9_usize, 0..4).prop_map(Positions::Rows),
    ];
    (point(), units, positions, edit()).prop_map(|(point, units, positions, edit)| EditSpec {
        point,
        units,
        positions,
        edit,
        when: None,
    })
}

proptest! {
    #[test]
    fn any_plan_comes_back_the_same(
        capture in proptest::collection::vec(point(), 0..5),
        edits in proptest::collection::vec(spec(), 0..5),
        output in proptest::sample::select(vec![Output::None, Output::Last, Output::All]),
    ) {
        comes_back(&HookPlan { capture, edits, output });
    }
}
