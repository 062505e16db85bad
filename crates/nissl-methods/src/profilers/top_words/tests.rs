#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use ndarray::{Array2, array};
use nissl_core::{HookPoint, Matrix, Site, site_columns};

use super::*;

fn words(method: &TopWords, words: &[&str], column: &[f32]) -> Result<Vec<WordScore>, MethodError> {
    let values = Array2::from_shape_vec((column.len(), 1), column.to_vec()).unwrap();
    let x = Matrix::new(values, site_columns(&[(HookPoint::new(0, Site::MlpPost), 1)])).unwrap();
    let text = TextRows::from_words(words.iter().map(|&word| (0, word)));
    let mut profiles = method.profile(TextActivations::new(&x, &text)?, Context::default())?;
    Ok(profiles.remove(0).words)
}

/// Name and score of the words that are listed.
fn check(method: &TopWords, text: &[&str], column: &[f32], want: &[(&str, f32)]) {
    let got = words(method, text, column).unwrap();
    let got: Vec<(&str, f32)> = got.iter().map(|word| (word.name.as_str(), word.score)).collect();
    assert_eq!(got, want);
}

const TEXT: [&str; 4] = ["x", "y", "x", "z"];
const COLUMN: [f32; 4] = [4.0, 0.0, 4.0, 0.0];

#[test]
fn words_equally_far_from_the_mean_score_one_in_order_of_the_word() {
    check(&TopWords::default(), &TEXT, &COLUMN, &[("x", 1.0), ("y", 1.0), ("z", 1.0)]);
    check(&TopWords { num: 2, ..TopWords::default() }, &TEXT, &COLUMN, &[("x", 1.0), ("y", 1.0)]);
}

#[test]
fn the_sign_tells_the_two_ends_apart() {
    let signed = TopWords { signed: true, ..TopWords::default() };
    check(&signed, &TEXT, &COLUMN, &[("x", 1.0), ("y", -1.0), ("z", -1.0)]);
    let listed = words(&TopWords::default(), &TEXT, &COLUMN).unwrap();
    let beside: Vec<(f32, u32)> = listed.iter().map(|word| (word.deviation, word.count)).collect();
    assert_eq!(beside, [(1.0, 2), (-1.0, 1), (-1.0, 1)]);
}

#[test]
fn the_threshold_is_strict_and_the_number_takes_the_furthest() {
    // Mean 0; the words deviate by 4, 2, 1 and 1.
    let (text, column) = (["a", "b", "c", "d"], [-4.0, 2.0, 1.0, 1.0]);
    let threshold = |threshold| TopWords { threshold, ..TopWords::default() };
    check(&threshold(0.25), &text, &column, &[("a", 1.0), ("b", 0.5)]);
    check(&threshold(1.0), &text, &column, &[]);
    check(&threshold(0.0), &text, &column, &[("a", 1.0), ("b", 0.5), ("c", 0.25), ("d", 0.25)]);
    let signed = TopWords { num: 3, signed: true, ..TopWords::default() };
    check(&signed, &text, &column, &[("b", 0.5), ("c", 0.25), ("a", -1.0)]);
}

#[test]
fn deviations_of_a_word_that_cancel_score_unless_the_sign_is_kept() {
    let (text, column) = (["a", "a", "b", "b"], [1.0, -1.0, 0.5, -0.5]);
    check(&TopWords::default(), &text, &column, &[("a", 1.0), ("b", 0.5)]);
    check(&TopWords { signed: true, ..TopWords::default() }, &text, &column, &[]);
}

#[test]
fn rare_words_are_passed_over_and_do_not_set_the_scale() {
    let (text, column) = (["a", "a", "b", "b", "once"], [1.0, 1.0, -1.0, -1.0, 0.0]);
    let method = TopWords { min_count: 2, ..TopWords::default() };
    check(&method, &text, &column, &[("a", 1.0), ("b", 1.0)]);
    check(&TopWords { min_count: 3, ..TopWords::default() }, &text, &column, &[]);
}

#[test]
fn a_constant_neuron_has_no_words() {
    check(&TopWords::default(), &TEXT, &[0.1; 4], &[]);
    check(&TopWords::default(), &TEXT, &[0.0, -0.0, 0.0, 0.0], &[]);
}

#[test]
fn parameters_that_do_not_fit_are_refused_by_name() {
    let text = |method| words(&method, &TEXT, &COLUMN).unwrap_err().to_string();
    let defaults = TopWords::default;
    let want = "top-words: parameter threshold = 1.5: expected a number from 0 to 1";
    assert_eq!(text(TopWords { threshold: 1.5, ..defaults() }), want);
    let want = "top-words: parameter num = 3: expected 0 where a threshold is chosen: one of the two decides";
    assert_eq!(text(TopWords { threshold: 0.5, num: 3, ..defaults() }), want);
    let want = "top-words: parameter min_count = 0: expected at least 1";
    assert_eq!(text(TopWords { min_count: 0, ..defaults() }), want);
}

#[test]
fn lists_beyond_the_memory_are_refused_with_the_way_out() {
    let x = Matrix::new(array![[4.0], [0.0], [4.0], [0.0]], site_columns(&[(HookPoint::new(0, Site::MlpPost), 1)]));
    let (x, text) = (x.unwrap(), TextRows::from_words(TEXT.map(|word| (0, word))));
    let data = TextActivations::new(&x, &text).unwrap();
    let little = Context { memory: 64, ..Context::default() };
    let error = TopWords::default().profile(data, little).unwrap_err().to_string();
    assert!(error.starts_with("top-words: parameter num = 0: expected few enough words"), "{error}");
    assert!(TopWords { num: 1, ..TopWords::default() }.profile(data, little).is_ok());
}
