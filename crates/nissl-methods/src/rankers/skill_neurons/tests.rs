#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use ndarray::Array2;
use nissl_core::{HookPoint, Labels, Matrix, Site, TextRows, site_columns};
use nissl_testing::planted::key;
use nissl_testing::{PlantedActivations, Tol, assert_close};

use super::*;

#[test]
fn the_label_itself_is_told_in_full_whatever_its_sign_and_noise_by_half() {
    let planted = PlantedActivations::new(3, 0.0);
    let data = LabeledActivations::new(&planted.x, &planted.verb).unwrap().with_text(&planted.text).unwrap();
    let scores = SkillNeurons::default().score(data, Context::default()).unwrap();
    let verb = scores.concept("verb").unwrap();
    for &idx in &key::VERBS {
        assert!(scores.values()[[verb, idx]] > 1.0 - 1e-6, "{idx}");
    }
    let sign = scores.sign().unwrap();
    assert_eq!([sign[[verb, 0]], sign[[verb, 2]]], [1, -1], "the verb neuron and its negative");
    let noise: Vec<f32> = (100..128).map(|idx| scores.values()[[verb, idx]]).collect();
    assert!(noise.iter().all(|&value| value < 0.2), "{noise:?}");
    assert!(scores.values()[[verb, key::CONSTANT]].abs() <= 0.0);
}

/// 40 sentences of three rows; a neuron that tells the first row's label at one position of each sentence.
fn prompted(at: usize) -> (Matrix, Labels, TextRows) {
    let is_good = |sentence: usize| sentence.is_multiple_of(2);
    let values = Array2::from_shape_fn((120, 2), |(row, column)| {
        let noise = ((row * 7919) % 13) as f32 / 13.0;
        let own = row % 3 == at && column == 0;
        if own { if is_good(row / 3) { -1.0 } else { 1.0 } } else { noise }
    });
    let labels: Vec<Option<&str>> =
        (0..120).map(|row| (row % 3 == 0).then(|| if is_good(row / 3) { "good" } else { "bad" })).collect();
    let text = TextRows::from_words((0..120).map(|row| (row / 3, format!("w{row}"))));
    let neurons = site_columns(&[(HookPoint::new(0, Site::MlpPost), 2)]);
    (Matrix::new(values, neurons).unwrap(), Labels::from_names(&labels), text)
}

#[test]
fn the_best_position_of_a_prompt_counts_with_its_own_baseline() {
    for at in 0..3 {
        let (x, labels, text) = prompted(at);
        let data = LabeledActivations::new(&x, &labels).unwrap().with_text(&text).unwrap();
        let score = |prompt| {
            let scores = SkillNeurons { prompt, ..SkillNeurons::default() }.score(data, Context::default()).unwrap();
            let good = scores.concept("good").unwrap();
            (scores.values()[[good, 0]], scores.sign().unwrap()[[good, 0]], scores.values()[[good, 1]])
        };
        let (told, sign, noise) = score(3);
        assert!(told > 1.0 - 1e-6 && sign == -1, "at {at}: {told}");
        assert!(noise < 0.8);
        if at > 0 {
            assert!(score(at).0 < 0.8, "positions behind the prompt do not count");
        }
    }
}

#[test]
fn rows_with_and_without_a_concept_weigh_the_same_unless_told_otherwise() {
    // One row in five has the concept; the neuron is high in half of these and in a tenth of the others.
    let values = Array2::from_shape_fn((100, 1), |(row, _)| {
        let high = if row % 5 == 0 { row % 10 == 0 } else { row % 10 == 3 && row < 80 };
        if high { 1.0 } else { 0.0 }
    });
    let x = Matrix::new(values, site_columns(&[(HookPoint::new(0, Site::MlpPost), 1)])).unwrap();
    let labels: Vec<Option<&str>> = (0..100).map(|row| (row % 5 == 0).then_some("rare")).collect();
    let labels = Labels::from_names(&labels);
    let data = LabeledActivations::new(&x, &labels).unwrap();
    let score = |balanced| {
        let scores = SkillNeurons { balanced, ..SkillNeurons::default() }.score(data, Context::default()).unwrap();
        scores.values()[[0, 0]]
    };
    // Half of 20 and 72 of 80 are right.
    assert_close("balanced", &score(true), &(0.5 + 0.9 - 1.0), Tol::abs(1e-6));
    assert_close("by rows", &score(false), &(2.0 * 0.82 - 1.0), Tol::abs(1e-6));
}

#[test]
fn what_does_not_fit_is_refused() {
    let (x, labels, text) = prompted(0);
    let data = LabeledActivations::new(&x, &labels).unwrap();
    let said = |method: SkillNeurons, data| method.score(data, Context::default()).unwrap_err().to_string();
    assert!(said(SkillNeurons { prompt: 2, ..SkillNeurons::default() }, data).contains("prompt"));
    assert!(said(SkillNeurons { train: 1.0, ..SkillNeurons::default() }, data).contains("train"));
    let with = data.with_text(&text).unwrap();
    assert!(said(SkillNeurons { prompt: 4, ..SkillNeurons::default() }, with).contains("every position"));
}
