#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::collections::BTreeMap;

use candle_core::{D, DType, Tensor as Reference};
use nissl_core::{Batch, EditSpec, HookPlan, HookPoint, Model, ModelInfo, Objective};

use super::*;
use crate::engine::Piece;
use crate::engine::candle::Candle;
use crate::engine::candle::tests::{Loaded, batch, golden, models};
use crate::hooks::{NoCapture, Prepared};
use crate::language_model::LanguageModel;

/// Gradients must agree within this share of the largest one at the site.
const TOLERANCE: f64 = 1e-5;
/// The same where an edit has put values far from where a model is smooth: the forward pass's own rounding grows there.
const EDITED: f64 = 3e-5;

/// By point and sentence (0 but for patterns): the gradients, in f64.
type Found = BTreeMap<(HookPoint, usize), Array2<f64>>;

/// log-probabilities `[T, V]`.
fn log_softmax(logits: &Reference) -> Reference {
    let most = logits.max_keepdim(D::Minus1).unwrap().detach();
    let shifted = logits.broadcast_sub(&most).unwrap();
    let sum = shifted.exp().unwrap().sum_keepdim(D::Minus1).unwrap().log().unwrap();
    shifted.broadcast_sub(&sum).unwrap()
}

fn at(x: &Reference, row: usize, column: u32) -> Reference {
    x.narrow(0, row, 1).unwrap().narrow(1, column as usize, 1).unwrap().sum_all().unwrap()
}

/// The sum of an objective over all sentences, of the logits `[T, V]`.
fn reference(objective: &Objective, logits: &Reference, batch: &Batch) -> Reference {
    let log_probs = log_softmax(logits);
    let row = |sentence: usize, position: i64| {
        let rows = batch.rows(sentence);
        if position < 0 { (rows.end as i64 + position) as usize } else { rows.start + position as usize }
    };
    let mut sum = (logits.sum_all().unwrap() * 0.0).unwrap();
    for sentence in 0..batch.n_sentences() {
        let rows = batch.rows(sentence);
        let parts = match objective {
            Objective::Logit { token, position } => vec![(1.0, at(logits, row(sentence, *position), *token))],
            Objective::LogProb { token, position } => vec![(1.0, at(&log_probs, row(sentence, *position), *token))],
            Objective::Difference { target, foil, position } => {
                let row = row(sentence, *position);
                vec![(1.0, at(&log_probs, row, *target)), (-1.0, at(&log_probs, row, *foil))]
            }
            Objective::ClassLogProb { class, classes, position } => {
                let own = logits.narrow(0, row(sentence, *position), 1).unwrap();
                let classes_idx = Reference::new(classes.as_slice(), logits.device()).unwrap();
                let place = classes.iter().position(|other| other == class).unwrap();
                vec![(1.0, at(&log_softmax(&own.index_select(&classes_idx, 1).unwrap()), 0, place as u32))]
            }
            Objective::Sequence { from, .. } => {
                let places = (*from..rows.len()).map(|i| (rows.start + i - 1, batch.tokens()[rows.start + i]));
                places.map(|(row, token)| (1.0, at(&log_probs, row, token))).collect()
            }
            Objective::Sum { parts } => {
                // One weighted sum a batch: the caller gives only sums that are alike in all sentences.
                if sentence > 0 {
                    continue;
                }
                parts.iter().map(|part| (part.weight, reference(&part.objective, logits, batch))).collect()
            }
            Objective::Loss { .. } => unreachable!("its targets are a sentence's own"),
            Objective::Neuron { .. } => unreachable!("it is none of the logits"),
        };
        for (weight, part) in parts {
            sum = (sum + (part * weight).unwrap()).unwrap();
        }
    }
    sum
}

/// The gradients by the twin in f64.
fn twin(family: &str, plan: &HookPlan, objective: &Objective, batch: &Batch) -> (f64, Found) {
    let twin = Loaded::new(Candle::twin(DType::F64), family);
    let points: Vec<HookPoint> = twin.info.points().map(|(point, _)| point).collect();
    let prepared = Prepared::new(plan, twin.info.n_ctx).differentiated(&points);
    let logits = twin.watched(twin.embed(batch), batch, &prepared, &NoCapture);
    let value = reference(objective, &logits, batch);
    let gradients = value.backward().unwrap();
    let mut found = zeros(&twin.info, batch);
    for (wanted, probe) in twin.engine.probes.lock().unwrap().iter() {
        let point = points[wanted.idx];
        let Some(gradient) = gradients.get(probe) else { continue };
        let gradient = gradient.to_vec2::<f64>().unwrap();
        let width = gradient.first().map_or(0, Vec::len);
        let gradient = Array2::from_shape_vec((gradient.len(), width), gradient.concat()).unwrap();
        match &wanted.piece {
            Piece::Whole => drop(found.insert((point, 0), gradient)),
            Piece::Sentence(sentence) => drop(found.insert((point, *sentence), gradient)),
            Piece::Rows { rows, first_unit } => {
                let all = found.get_mut(&(point, 0)).unwrap();
                for (row, gradient) in rows.iter().zip(gradient.rows()) {
                    if let Some(row) = row {
                        let units = *first_unit..first_unit + gradient.len();
                        all.slice_mut(ndarray::s![*row, units]).assign(&gradient);
                    }
                }
            }
        }
    }
    (value.to_scalar().unwrap(), found)
}

/// Zeros at every point.
fn zeros(info: &ModelInfo, batch: &Batch) -> Found {
    let mut found = Found::new();
    for (point, width) in info.points() {
        if point.site().is_ragged() {
            for sentence in 0..batch.n_sentences() {
                let n_tokens = batch.sentence(sentence).len();
                found.insert((point, sentence), Array2::zeros((info.n_heads, n_tokens * n_tokens)));
            }
        } else {
            found.insert((point, 0), Array2::zeros((batch.n_tokens(), width)));
        }
    }
    found
}

/// The gradients by our engine, and the sum of the objectives.
fn ours(model: &LanguageModel, plan: &HookPlan, objective: &Objective, batch: &Batch) -> (f64, Found) {
    let points: Vec<HookPoint> = model.info().points().map(|(point, _)| point).collect();
    let gradients = model.gradients(batch, plan, std::slice::from_ref(objective), &points).unwrap();
    let mut found = Found::new();
    for (point, values) in gradients.sites {
        found.insert((point, 0), values.mapv(f64::from));
    }
    for (point, patterns) in gradients.patterns {
        for (sentence, pattern) in patterns.into_iter().enumerate() {
            let (heads, queries, keys) = pattern.dim();
            let flat = pattern.into_shape_with_order((heads, queries * keys)).unwrap();
            found.insert((point, sentence), flat.mapv(f64::from));
        }
    }
    (gradients.values.iter().sum(), found)
}

fn assert_same(label: &str, tolerance: f64, (value, ours): &(f64, Found), (expected, twin): &(f64, Found)) {
    assert!((value - expected).abs() <= 1e-5 * expected.abs().max(1.0), "{label}: value {value}, expected {expected}");
    assert_eq!(ours.keys().collect::<Vec<_>>(), twin.keys().collect::<Vec<_>>(), "{label}");
    let mut largest: BTreeMap<HookPoint, f64> = BTreeMap::new();
    for ((point, _), values) in twin {
        let most = values.iter().fold(0.0f64, |most, v| most.max(v.abs()));
        let entry = largest.entry(*point).or_default();
        *entry = entry.max(most);
    }
    for ((point, sentence), values) in ours {
        let want = &twin[&(*point, *sentence)];
        assert_eq!(values.dim(), want.dim(), "{label} {point}");
        for ((at, got), want) in values.indexed_iter().zip(want) {
            let off = (got - want).abs() / largest[point].max(f64::MIN_POSITIVE);
            assert!(
                got.to_bits() == want.to_bits() || off <= tolerance,
                "{label} {point}.{sentence}{at:?}: got {got}, want {want}: {off:.1e} of the largest {}",
                largest[point]
            );
        }
    }
}

fn objectives(causal: bool) -> Vec<Objective> {
    let mut objectives = vec![
        Objective::log_prob(3),
        Objective::Logit { token: 4, position: 0 },
        Objective::Difference { target: 1, foil: 2, position: -1 },
        Objective::ClassLogProb { class: 2, classes: vec![0, 2, 5], position: 0 },
        Objective::sum([(0.5, Objective::log_prob(1)), (-2.0, Objective::Logit { token: 1, position: -1 })]),
    ];
    if causal {
        objectives.push(Objective::sequence());
    }
    objectives
}

#[test]
fn gradients_at_every_site_equal_the_twins_in_f64() {
    for family in models() {
        let model = LanguageModel::from_folder(&golden(family), family).unwrap();
        let batch = batch(model.info());
        for objective in objectives(model.info().causal) {
            let plan = HookPlan::default();
            let label = format!("{family} {objective:?}");
            let (ours, twin) = (ours(&model, &plan, &objective, &batch), twin(family, &plan, &objective, &batch));
            assert_same(&label, TOLERANCE, &ours, &twin);
        }
    }
}

#[test]
fn gradients_through_every_edit_equal_the_twins_in_f64() {
    for family in models() {
        let model = LanguageModel::from_folder(&golden(family), family).unwrap();
        let text = std::fs::read_to_string(golden(family).join("edits.json")).unwrap();
        let edits: Vec<EditSpec> = serde_json::from_str(&text).unwrap();
        let token = |i: usize| (i * 31 % model.info().d_vocab) as u32;
        // The edits name rows of the batch that they were made for, of 7, 1 and 17 tokens.
        let batch = Batch::from_sentences([7, 1, 17].map(|n| (0..n).map(|i| token(i + n)).collect::<Vec<u32>>()));
        let objective = Objective::log_prob(3);
        for edit in edits {
            let label = format!("{family} {edit:?}");
            let plan = HookPlan { edits: vec![edit], ..HookPlan::default() };
            let (ours, twin) = (ours(&model, &plan, &objective, &batch), twin(family, &plan, &objective, &batch));
            assert_same(&label, EDITED, &ours, &twin);
        }
    }
}
