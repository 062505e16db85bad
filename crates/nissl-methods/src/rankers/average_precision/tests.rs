#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use ndarray::{Array2, array, s};
use nissl_core::{Activations as _, Concept, HookPoint, Labels, Matrix, Site, site_columns};
use nissl_testing::planted::key;
use nissl_testing::{PlantedActivations, Random, Tol, assert_close, conformance::Recorder, select_columns};

use super::*;

fn matrix(values: Array2<f32>) -> Matrix {
    let neurons = site_columns(&[(HookPoint::new(0, Site::MlpPost), values.ncols())]);
    Matrix::new(values, neurons).unwrap()
}

fn score(method: &AveragePrecision, x: &Matrix, labels: &Labels) -> Result<Scores, MethodError> {
    method.score(LabeledActivations::new(x, labels)?, Context::default())
}

/// The average precision of one neuron for rows marked 1.
fn check(values: &[f32], marked: &[u32], want: f64) {
    let x = matrix(Array2::from_shape_vec((values.len(), 1), values.to_vec()).unwrap());
    let labels = Labels::single(vec![Concept::new("c")], marked.iter().map(|&mark| (mark == 1).then_some(0)));
    let scores = score(&AveragePrecision::default(), &x, &labels).unwrap();
    assert_close("AP", &scores.values()[[0, 0]], &want, Tol::rel(1e-7));
}

#[test]
fn the_closed_forms_hold() {
    check(&[0.9, 0.8, 0.7, 0.1], &[1, 0, 1, 0], 5.0 / 6.0);
    check(&[3.0, 3.0, 1.0, 0.0, 0.0], &[1, 0, 1, 0, 0], 7.0 / 12.0);
    check(&[2.0, 1.0, 0.0, -1.0], &[0, 0, 1, 1], 5.0 / 12.0);
    check(&[0.5, 0.5, 0.5, 0.5], &[1, 0, 1, 0], 0.5);
    check(&[0.0, -0.0, 0.0], &[0, 1, 0], 1.0 / 3.0);
    check(&[5.0, 4.0, -1.0], &[1, 1, 0], 1.0);
}

/// Average precision by definition: for every distinct value from high to low, recall gained times precision.
fn by_definition(values: &[f32], positive: &[bool]) -> f64 {
    let mut thresholds = values.to_vec();
    thresholds.sort_by(|a, b| b.total_cmp(a));
    thresholds.dedup();
    let n = positive.iter().filter(|&&positive| positive).count() as f64;
    let mut before = 0.0;
    let mut area = 0.0;
    for threshold in thresholds {
        let seen: Vec<usize> = (0..values.len()).filter(|&row| values[row] >= threshold).collect();
        let found = seen.iter().filter(|&&row| positive[row]).count() as f64;
        area += (found - before) / n * (found / seen.len() as f64);
        before = found;
    }
    area
}

#[test]
fn every_concept_and_both_ends_agree_with_the_definition() {
    let mut random = Random::new(2);
    for n_rows in [3, 40, 1500] {
        // Column 0 has few distinct values, column 1 has hardly a tie.
        let x = matrix(Array2::from_shape_fn((n_rows, 2), |(_, column)| match column {
            0 => random.below(9) as f32 - 4.0,
            _ => random.normal() as f32,
        }));
        let concepts = ["a", "b", "c"].map(Concept::new).to_vec();
        let rows: Vec<Vec<u32>> = (0..n_rows).map(|_| (0..3).filter(|_| random.chance(0.3)).collect()).collect();
        let labels = Labels::several(concepts, [vec![0, 1], vec![2]].into_iter().chain(rows.into_iter().skip(2)));
        let high = score(&AveragePrecision::default(), &x, &labels).unwrap();
        let both = score(&AveragePrecision { signed: true, ..AveragePrecision::default() }, &x, &labels).unwrap();
        for concept in 0..3 {
            for neuron in 0..2 {
                let values = x.values().column(neuron).to_vec();
                let negated: Vec<f32> = values.iter().map(|value| -value).collect();
                let up = by_definition(&values, &labels.mask(concept));
                let down = by_definition(&negated, &labels.mask(concept));
                let place = format!("{n_rows} rows, concept {concept}, neuron {neuron}");
                assert_close(&place, &high.values()[[concept, neuron]], &up, Tol::rel(1e-6));
                assert_close(&place, &both.values()[[concept, neuron]], &up.max(down), Tol::rel(1e-6));
                assert_eq!(both.sign().unwrap()[[concept, neuron]] == -1, down > up, "{place}: sign");
            }
        }
    }
}

#[test]
fn increasing_maps_change_no_bit() {
    let mut random = Random::new(3);
    let values = Array2::from_shape_fn((2000, 4), |_| (random.below(500) as f32 - 250.0) / 64.0);
    let labels = Labels::from_names(&(0..2000).map(|_| Some(random.pick(&["a", "b"]))).collect::<Vec<_>>());
    let method = AveragePrecision { signed: true, ..AveragePrecision::default() };
    let plain = score(&method, &matrix(values.clone()), &labels).unwrap();
    let cubed = score(&method, &matrix(values.mapv(|value| value * value * value + 7.0)), &labels).unwrap();
    assert_eq!(plain, cubed);
}

#[test]
fn unlabeled_rows_are_negatives_unless_skipped() {
    let x = matrix(array![[4.0], [3.0], [2.0], [1.0]]);
    let labels = Labels::from_names(&[None, Some("a"), Some("b"), None]);
    let negative = score(&AveragePrecision::default(), &x, &labels).unwrap();
    assert_close("negative", negative.values(), &array![[0.5_f32], [1.0 / 3.0]], Tol::EXACT);
    let method = AveragePrecision { unlabeled: Unlabeled::Skip, ..AveragePrecision::default() };
    let skipped = score(&method, &x, &labels).unwrap();
    assert_close("skipped", skipped.values(), &array![[1.0_f32], [0.5]], Tol::EXACT);
}

#[test]
fn small_values_are_zero_where_asked_for() {
    let x = matrix(array![[0.04], [-0.04], [0.05], [-0.05]]);
    let labels = Labels::from_names(&[Some("a"), Some("b"), Some("a"), Some("b")]);
    let method = AveragePrecision { zero_below: 0.05, ..AveragePrecision::default() };
    let scores = score(&method, &x, &labels).unwrap();
    // From high to low: a | a b | b.
    assert_close("zeroed", scores.values(), &array![[5.0_f32 / 6.0], [5.0 / 12.0]], Tol::rel(1e-7));
    let before = matrix(array![[0.04], [-0.04], [0.05], [-0.05]]);
    assert_eq!(x, before);
}

#[test]
fn constant_neurons_score_the_prevalence_and_come_last() {
    let x = matrix(array![[2.0, 1.0], [2.0, 2.0], [2.0, 3.0], [2.0, 4.0]]);
    let labels = Labels::from_names(&[Some("a"), None, None, None]);
    let scores = score(&AveragePrecision::default(), &x, &labels).unwrap();
    assert_close("scores", &scores.values().slice(s![0, ..]), &[0.25, 0.25], Tol::EXACT);
    assert_eq!(scores.constant(), [true, false]);
    assert_eq!(scores.ranking(0).neurons[1], scores.neurons()[0]);
}

#[test]
fn concepts_that_no_row_or_every_row_has_are_left_out_by_name() {
    let x = matrix(array![[2.0], [1.0]]);
    let concepts = ["none", "some", "all"].map(Concept::new).to_vec();
    let labels = Labels::several(concepts, [vec![1, 2], vec![2]]);
    let listening = Recorder::default();
    let ctx = Context { progress: &listening, ..Context::default() };
    let data = LabeledActivations::new(&x, &labels).unwrap();
    let scores = AveragePrecision::default().score(data, ctx).unwrap();
    assert_eq!(scores.concepts(), [Concept::new("some")]);
    let note = "average-precision left out 2 of 3 concepts: none (0 rows, min_count 1), all (all 2 rows have it)";
    assert_eq!(listening.notes(), [note]);
    let all = Labels::from_names(&[Some("all"); 2]);
    let text = score(&AveragePrecision::default(), &x, &all).unwrap_err().to_string();
    let want =
        "average-precision needs at least 1 concepts with enough rows, got 0; left out: all (all 2 rows have it)";
    assert_eq!(text, want);
}

#[test]
fn a_parameter_out_of_range_is_refused_by_name() {
    let x = matrix(array![[2.0], [1.0]]);
    let labels = Labels::from_names(&[Some("a"), None]);
    let text = |method| score(&method, &x, &labels).unwrap_err().to_string();
    let defaults = AveragePrecision::default;
    for bad in [-0.1, f64::NAN, f64::INFINITY] {
        let want = format!("average-precision: parameter zero_below = {bad}: expected a finite number, 0 or more");
        assert_eq!(text(AveragePrecision { zero_below: bad, ..defaults() }), want);
    }
    let want = "average-precision: parameter min_count = 0: expected at least 1";
    assert_eq!(text(AveragePrecision { min_count: 0, ..defaults() }), want);
}

#[test]
fn pooled_sentences_score_as_a_matrix_of_their_values() {
    let planted = PlantedActivations::new(3, 0.1);
    let mut starts: Vec<usize> = Vec::new();
    while starts.last().is_none_or(|&last| planted.text.sentence_rows(last).end < planted.text.n_tokens()) {
        starts.push(starts.last().map_or(0, |&last| planted.text.sentence_rows(last).end));
    }
    let few = select_columns(&planted.x, &[key::QUOTE, key::TOPIC, 70]);
    // Whether there is something in quotes, or food, is said of the sentence.
    let food = |start: &usize| planted.text.sentence_rows(*start).any(|row| planted.topic.of(row) == [0]);
    let labels = Labels::single(planted.topic.concepts()[..1].to_vec(), starts.iter().map(|s| food(s).then_some(0)));
    let whole = Labels::single(
        planted.topic.concepts()[..1].to_vec(),
        (0..planted.text.n_tokens()).map(|row| (planted.topic.of(row) == [0]).then_some(0)),
    );
    for (pool, of) in [
        (SentencePool::Max, (|rows| rows.iter().copied().fold(f64::MIN, f64::max)) as fn(&[f64]) -> f64),
        (SentencePool::Mean, |rows| rows.iter().sum::<f64>() / rows.len() as f64),
        (SentencePool::Sum, |rows| rows.iter().sum()),
    ] {
        let value = |(sentence, neuron): (usize, usize)| {
            let rows: Vec<f64> = planted
                .text
                .sentence_rows(starts[sentence])
                .map(|row| f64::from(few.values()[[row, neuron]]))
                .collect();
            of(&rows) as f32
        };
        let pooled = Matrix::new(Array2::from_shape_fn((starts.len(), 3), value), few.neurons().to_vec()).unwrap();
        let plain = AveragePrecision::default();
        let want = plain.score(LabeledActivations::new(&pooled, &labels).unwrap(), Context::default()).unwrap();
        let data = LabeledActivations::new(&few, &whole).unwrap();
        let method = AveragePrecision { pool, ..plain };
        let got = method.score(data.with_text(&planted.text).unwrap(), Context::default()).unwrap();
        assert_eq!(got.values(), want.values(), "{pool:?}");
        assert!(
            pool != SentencePool::Max || got.values()[[0, 1]] > 0.95,
            "the topic neuron finds sentences about food: {:?}",
            got.values()
        );
        let err = method.score(data, Context::default()).unwrap_err().to_string();
        assert!(err.ends_with("expected none, where sentences are not known"), "{err}");
    }
}
