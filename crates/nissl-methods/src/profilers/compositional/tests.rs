#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use nissl_core::{HookPoint, Labels, Matrix, Site, TextRows, site_columns};
use nissl_testing::planted::key;
use nissl_testing::{PlantedActivations, Random, Tol, assert_close};

use super::formula::{Formula, Op};
use super::*;

fn above_half() -> Compositional {
    Compositional { threshold: Threshold::Value, value: 0.5, ..Compositional::default() }
}

fn explain(method: &Compositional, data: &PlantedActivations) -> Vec<Vec<Explanation>> {
    let data = TextActivations::new(&data.x, &data.text).unwrap().with_labels(&data.tag).unwrap();
    method.profile(data, Context::default()).unwrap().into_iter().map(|profile| profile.explanations).collect()
}

#[test]
fn the_modifier_neuron_is_adjectives_and_adverbs_but_one() {
    for seed in 0..3 {
        let found = explain(&above_half(), &PlantedActivations::new(seed, 0.0)).swap_remove(key::MODIFIER);
        let texts: Vec<&str> = found.iter().map(|one| one.text.as_str()).collect();
        assert_eq!(texts, ["(ADJ OR ADV) AND NOT 'very'", "ADJ OR ADV", "ADJ"], "draw {seed}");
        assert_close("exact", &found[0].score, &1.0, Tol::EXACT);
        assert_eq!(found.iter().map(|one| one.length).collect::<Vec<_>>(), [4, 2, 1]);
        assert!(found[1].score < 1.0 && found[1].score > found[2].score);
    }
}

#[test]
fn long_formulas_cost_where_a_penalty_is_asked_for() {
    let method = Compositional { penalty: 0.5, ..above_half() };
    let found = explain(&method, &PlantedActivations::new(0, 0.0)).swap_remove(key::MODIFIER);
    assert_eq!(found[0].text, "ADJ");
}

#[test]
fn the_search_finds_what_trying_everything_finds() {
    let mut random = Random::new(8);
    let n_rows = 400;
    let words: Vec<String> = (0..n_rows).map(|_| format!("w{}", random.below(6))).collect();
    let text = TextRows::from_words(words.iter().map(|word| (0, word)));
    let concepts = (0..6).map(|idx| nissl_core::Concept::new(format!("c{idx}"))).collect();
    let rows: Vec<Vec<u32>> = (0..n_rows).map(|_| (0..6).filter(|_| random.chance(0.3)).collect()).collect();
    let labels = Labels::several(concepts, &rows);
    let values = ndarray::Array2::from_shape_fn((n_rows, 12), |_| random.normal() as f32);
    let x = Matrix::new(values, site_columns(&[(HookPoint::new(0, Site::MlpPost), 12)])).unwrap();
    // A beam that nothing falls out of.
    let method = Compositional { beam: 5000, rounds: 3, alpha: 0.2, min_count: 1, ..Compositional::default() };
    let data = TextActivations::new(&x, &text).unwrap().with_labels(&labels).unwrap();
    let profiles = method.profile(data, Context::default()).unwrap();
    let features: Vec<Vec<bool>> = (0..6)
        .map(|word| words.iter().map(|w| *w == format!("w{word}")).collect())
        .chain((0..6).map(|concept| labels.mask(concept)))
        .collect();
    let ops: [fn(bool, bool) -> bool; 3] = [|a, b| a || b, |a, b| a && b, |a, b| a && !b];
    for (neuron, profile) in profiles.iter().enumerate() {
        let column = x.values().column(neuron).to_vec();
        let bar = quantile(&column, 0.8, &mut Vec::new());
        let fires: Vec<bool> = column.iter().map(|&value| value > bar).collect();
        let iou = |rows: &[bool]| {
            let both = rows.iter().zip(&fires).filter(|(a, b)| **a && **b).count() as f64;
            let either = rows.iter().zip(&fires).filter(|(a, b)| **a || **b).count() as f64;
            both / either
        };
        let mut best = 0.0_f64;
        for a in &features {
            for b in &features {
                for first in ops {
                    let two: Vec<bool> = a.iter().zip(b).map(|(&a, &b)| first(a, b)).collect();
                    best = best.max(iou(&two));
                    for c in &features {
                        for second in ops {
                            let three: Vec<bool> = two.iter().zip(c).map(|(&a, &b)| second(a, b)).collect();
                            best = best.max(iou(&three));
                        }
                    }
                }
            }
        }
        assert_close(&format!("neuron {neuron}"), &profile.explanations[0].score, &best, Tol::rel(1e-6));
    }
}

#[test]
fn formulas_that_say_the_same_in_another_order_are_one() {
    let make = |first, joined: &[(Op, u32)]| Formula { first, joined: joined.to_vec() };
    let same = |a: &Formula, b: &Formula| a.canonical() == b.canonical();
    assert!(same(&make(1, &[(Op::Or, 2), (Op::And, 3)]), &make(2, &[(Op::Or, 1), (Op::And, 3)])));
    assert!(same(&make(1, &[(Op::And, 2), (Op::AndNot, 3)]), &make(2, &[(Op::AndNot, 3), (Op::And, 1)])));
    assert!(!same(&make(1, &[(Op::And, 2)]), &make(1, &[(Op::Or, 2)])));
    assert!(!same(&make(1, &[(Op::AndNot, 2)]), &make(2, &[(Op::AndNot, 1)])));
    let names = ["a", "b", "c", "d"].map(str::to_owned);
    let formula = make(0, &[(Op::Or, 1), (Op::AndNot, 2), (Op::And, 3), (Op::Or, 2)]);
    assert_eq!(formula.text(&names), "((a OR b) AND NOT c AND d) OR c");
    assert_eq!(formula.length(), 6);
}

#[test]
fn neurons_that_fire_rarely_are_passed_over() {
    let planted = PlantedActivations::new(0, 0.0);
    let method = Compositional { min_acts: 10_000, ..above_half() };
    assert!(explain(&method, &planted).iter().all(Vec::is_empty));
}

#[test]
fn parameters_out_of_range_are_refused_by_name() {
    let planted = PlantedActivations::new(0, 0.0);
    let data = TextActivations::new(&planted.x, &planted.text).unwrap();
    let text = |method: Compositional| method.profile(data, Context::default()).unwrap_err().to_string();
    let defaults = Compositional::default;
    assert!(text(Compositional { penalty: 0.0, ..defaults() }).contains("penalty = 0: expected a number above 0"));
    assert!(text(Compositional { beam: 0, ..defaults() }).contains("beam = 0: expected at least 1"));
    assert!(text(Compositional { alpha: 1.0, ..defaults() }).contains("alpha = 1: expected a number between"));
}
