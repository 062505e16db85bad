//! The fact model: what a unit does is what it is for, what a copy of it does is nothing.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use nissl_core::{Batch, HookPoint, Site, TextRows};
use nissl_testing::{Fact, Tol, ToyModel, Unit, assert_close};

use super::*;
use crate::evaluation::firing::firing;

const RELATION: u32 = 7;

/// Four facts in units 0 to 3, a copy of unit 0 that writes nothing (unit 4), a fact in two halves (units 5 and 6), and
/// units that do nothing.
fn model() -> ToyModel {
    let fact = |subject| Fact { subject, relation: RELATION, object: subject + 8 };
    let mut units: Vec<Unit> = (0..4).map(|subject| Unit::fact(fact(subject), 5.0)).collect();
    units.push(Unit { value: Vec::new(), ..units[0].clone() });
    units.extend([Unit::fact(fact(4), 2.5), Unit::fact(fact(4), 2.5)]);
    units.resize(20, Unit::default());
    ToyModel::new(20, vec![units])
}

fn unit(idx: u32) -> NeuronId {
    NeuronId::new(HookPoint::new(0, Site::MlpPost), idx)
}

/// From a subject of which nothing is known to one with a fact: the base implies its own subject, whose logit is above
/// those of all that was not said.
fn pairs(subject: u32) -> Vec<Prompt> {
    let base = |unknown: u32| Prompt {
        tokens: vec![unknown, RELATION],
        target: unknown,
        foil: None,
        other: Some(vec![subject, RELATION]),
        ..Prompt::default()
    };
    [5, 6, 17, 18, 19].map(base).to_vec()
}

#[test]
fn a_unit_that_holds_a_fact_carries_it_and_its_unused_copy_does_not() {
    let model = model();
    let sets = [vec![unit(0)], vec![unit(4)], vec![unit(0), unit(4)], vec![unit(1)]];
    let options = InterchangeOptions { random_sets: 8, ..InterchangeOptions::default() };
    let found = interchange((&model, &pairs(0)), &sets, &options, Context::default()).unwrap();
    assert_eq!((found.pairs, found.left_out), (5, 0));
    let success: Vec<f64> = found.sets.iter().map(|set| set.success.value).collect();
    assert_eq!(success, [1.0, 0.0, 1.0, 0.0], "the unit, its copy, both, another fact's");
    assert_eq!(found.sets[0].success, Interval { value: 1.0, low: 1.0, high: 1.0 });
    // The way from the base, 1 - 0, to the source, 0 - 5: the unit carries 5 of 6.
    assert_close("share", &found.sets[0].share.value, &(5.0 / 6.0), Tol::abs(1e-6));
    assert_close("copy", &found.sets[1].share.value, &0.0, Tol::abs(1e-9));
    assert_eq!(found.sets[1].random.map(|random| random.low), Some(0.0));
    assert!(found.sets[0].random.unwrap().high <= 0.0, "no other unit carries it");
    let whole = [(0..20).map(unit).collect::<Vec<_>>()];
    let found = interchange((&model, &pairs(0)), &whole, &options, Context::default()).unwrap();
    assert_eq!((found.sets[0].success.value, found.sets[0].random), (1.0, None), "there are no others");
}

#[test]
fn both_fire_on_the_subject_alone() {
    let model = model();
    // Every subject before the relation, a sentence each; what is claimed is the relation behind subject 0.
    let sentences: Vec<[u32; 2]> = (0..7).chain(17..20).map(|subject| [subject, RELATION]).collect();
    let plan = HookPlan::capture([unit(0).point]);
    let values = &model.run(&Batch::from_sentences(&sentences), &plan).unwrap().sites[&unit(0).point];
    let rows = sentences.iter().enumerate().flat_map(|(idx, tokens)| tokens.map(|token| (idx as u32, token)));
    let text = TextRows::from_words(rows.map(|(sentence, token)| (sentence, token.to_string())));
    let claimed: Vec<bool> = (0..text.n_tokens()).map(|row| row == 1).collect();
    for (idx, want) in [(0, 1.0), (4, 1.0), (1, 0.0)] {
        let column = values.column(idx).to_vec();
        let found = firing(&text, &claimed, (&column, 0.0), 0, 0);
        assert_close("F1", &found.f1.unwrap().value, &want, Tol::abs(1e-12));
    }
}

#[test]
fn half_of_a_fact_goes_half_of_the_way() {
    let found = interchange(
        (&model(), &pairs(4)),
        &[vec![unit(5)], vec![unit(5), unit(6)]],
        &InterchangeOptions::default(),
        Context::default(),
    )
    .unwrap();
    assert_close("half", &found.sets[0].share.value, &(2.5 / 6.0), Tol::abs(1e-6));
    assert_close("both", &found.sets[1].share.value, &(5.0 / 6.0), Tol::abs(1e-6));
}

#[test]
fn pairs_that_the_model_does_not_tell_apart_are_left_out() {
    let mut all = pairs(0);
    // The base implies something that the model does not put before the object.
    all[1].target = 15;
    all[2].other = Some(vec![18, RELATION]);
    all[2].foil = Some(8);
    let found =
        interchange((&model(), &all), &[vec![unit(0)]], &InterchangeOptions::default(), Context::default()).unwrap();
    assert_eq!((found.pairs, found.left_out), (3, 2));
    let none =
        interchange((&model(), &all[1..3]), &[vec![unit(0)]], &InterchangeOptions::default(), Context::default());
    assert_eq!(none.unwrap(), Interchange { pairs: 0, left_out: 2, sets: Vec::new() });
}

#[test]
fn places_by_themselves_and_prompts_without_a_source_are_refused() {
    let each = InterchangeOptions { places: Where::Each, ..InterchangeOptions::default() };
    let refused = |prompts: &[Prompt], options: &InterchangeOptions| {
        interchange((&model(), prompts), &[vec![unit(0)]], options, Context::default()).unwrap_err().to_string()
    };
    assert!(refused(&pairs(0), &each).contains("all, differing or target"));
    let alone = [Prompt { other: None, ..pairs(0).remove(0) }];
    assert!(refused(&alone, &InterchangeOptions::default()).contains("needs another text"));
}
