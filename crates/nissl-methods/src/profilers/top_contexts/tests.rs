#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use ndarray::Array2;
use nissl_core::{HookPoint, Matrix, Site, site_columns};
use nissl_testing::Random;

use super::*;

fn profile(method: &TopContexts, text: &TextRows, column: &[f32]) -> Result<Profile, MethodError> {
    let values = Array2::from_shape_vec((column.len(), 1), column.to_vec()).unwrap();
    let x = Matrix::new(values, site_columns(&[(HookPoint::new(0, Site::MlpPost), 1)])).unwrap();
    let mut profiles = method.profile(TextActivations::new(&x, text)?, Context::default())?;
    Ok(profiles.remove(0))
}

fn contexts(excerpts: &[Excerpt]) -> Vec<&str> {
    excerpts.iter().map(|excerpt| excerpt.context.as_str()).collect()
}

fn text(sentences: &[&str]) -> TextRows {
    let numbered = sentences.iter().enumerate();
    TextRows::from_words(numbered.flat_map(|(idx, text)| text.split(' ').map(move |word| (idx as u32, word))))
}

#[test]
fn contexts_end_in_their_row_and_stay_in_their_sentence() {
    let text = text(&["the big dog ate", "a cat ran"]);
    let method = TopContexts { k: 3, window: 3, ..TopContexts::default() };
    let found = profile(&method, &text, &[0.0, 0.0, 1.0, 3.0, 2.0, 0.0, 0.0]).unwrap();
    assert_eq!(contexts(&found.top), ["big dog ate", "a", "the big dog"]);
    let first = Excerpt { row: 3, sentence: 0, position: 3, activation: 3.0, context: "big dog ate".to_owned() };
    assert_eq!(found.top[0], first);
    assert_eq!((found.top[1].row, found.top[1].sentence, found.top[1].position), (4, 1, 0));
    assert!(found.bottom.is_empty());
}

#[test]
fn of_equal_activations_the_earlier_row_comes_first() {
    let text = text(&["a b", "c d e"]);
    let method = TopContexts { k: 2, window: 1, bottom: true, ..TopContexts::default() };
    let found = profile(&method, &text, &[0.0, 1.0, 1.0, 0.0, 1.0]).unwrap();
    assert_eq!((contexts(&found.top), contexts(&found.bottom)), (vec!["b", "c"], vec!["a", "d"]));
}

#[test]
fn a_context_that_reads_the_same_is_kept_once_where_it_is_highest() {
    let text = text(&["a b", "a b", "a b", "c b"]);
    let column = [0.0, 1.0, 0.0, 3.0, 0.0, 3.0, 0.0, 2.0];
    let rows = |dedup, k| {
        let method = TopContexts { k, dedup, ..TopContexts::default() };
        profile(&method, &text, &column).unwrap().top.iter().map(|one| one.row).collect::<Vec<_>>()
    };
    assert_eq!(rows(Dedup::Exact, 3), [3, 7, 0]);
    assert_eq!(rows(Dedup::None, 4), [3, 5, 7, 1]);
}

/// Sorts all rows, then drops contexts that were there before.
fn by_definition(method: &TopContexts, text: &TextRows, column: &[f32], sign: f32) -> Vec<(usize, String)> {
    let mut rows: Vec<usize> = (0..column.len()).collect();
    rows.sort_by(|&a, &b| (sign * column[b]).total_cmp(&(sign * column[a])).then(a.cmp(&b)));
    let mut found: Vec<(usize, String)> = Vec::new();
    for row in rows {
        let start = text.sentence_rows(row).start.max((row + 1).saturating_sub(method.window));
        let context = (start..=row).map(|row| text.word(row)).collect::<Vec<_>>().join(" ");
        if method.dedup == Dedup::None || found.iter().all(|(_, other)| *other != context) {
            found.push((row, context));
        }
    }
    found.truncate(method.k);
    found
}

#[test]
fn the_list_is_that_of_a_sort_of_all_rows() {
    let mut random = Random::new(5);
    for round in 0..60 {
        let mut sentence = 0;
        let n_rows = 1 + random.below(400);
        let text = TextRows::from_words((0..n_rows).map(|_| {
            sentence += u32::from(random.chance(0.2));
            (sentence, random.pick(&["a", "b", "c"]))
        }));
        let n_values = 2 + random.below(40);
        let mut column: Vec<f32> = (0..n_rows).map(|_| random.below(n_values) as f32 + 1.0).collect();
        column[0] = 0.5;
        let method = TopContexts {
            k: 1 + random.below(30),
            window: 1 + random.below(4),
            dedup: random.pick(&[Dedup::Exact, Dedup::None]),
            bottom: true,
            random_bins: 0,
        };
        if n_rows == 1 {
            continue;
        }
        let found = profile(&method, &text, &column).unwrap();
        let listed = |list: &[Excerpt]| list.iter().map(|one| (one.row, one.context.clone())).collect::<Vec<_>>();
        assert_eq!(listed(&found.top), by_definition(&method, &text, &column, 1.0), "round {round}, top, {method:?}");
        assert_eq!(listed(&found.bottom), by_definition(&method, &text, &column, -1.0), "round {round}, bottom");
    }
}

#[test]
fn a_detector_of_one_word_has_contexts_that_end_in_it() {
    let text = text(&["the dog ate soup", "soup ate the dog", "a dog ran", "some soup ran"]);
    let column: Vec<f32> = (0..text.n_tokens()).map(|row| f32::from(u8::from(text.word(row) == "soup"))).collect();
    let found = profile(&TopContexts { k: 3, ..TopContexts::default() }, &text, &column).unwrap();
    assert_eq!(contexts(&found.top), ["the dog ate soup", "soup", "some soup"]);
}

#[test]
fn a_constant_neuron_has_no_contexts() {
    let text = text(&["a b c"]);
    let method = TopContexts { bottom: true, ..TopContexts::default() };
    assert_eq!(profile(&method, &text, &[0.5; 3]).unwrap().top, []);
    assert_eq!(profile(&method, &text, &[0.0, -0.0, 0.0]).unwrap().bottom, []);
}

#[test]
fn a_parameter_out_of_range_is_refused_by_name() {
    let text = text(&["a b"]);
    let error = |method| profile(&method, &text, &[1.0, 2.0]).unwrap_err().to_string();
    let want = "top-contexts: parameter k = 0: expected at least 1";
    assert_eq!(error(TopContexts { k: 0, ..TopContexts::default() }), want);
    let want = "top-contexts: parameter window = 0: expected at least 1";
    assert_eq!(error(TopContexts { window: 0, ..TopContexts::default() }), want);
}

#[test]
fn contexts_of_every_height_are_taken_from_their_bins() {
    let mut random = Random::new(2);
    let column: Vec<f32> = (0..500).map(|_| random.normal() as f32).collect();
    let words: Vec<String> = (0..500).map(|_| format!("w{}", random.below(200))).collect();
    let text = TextRows::from_words(words.iter().map(|word| (0, word)));
    let method = TopContexts { random_bins: 5, window: 1, ..TopContexts::default() };
    let found = profile(&method, &text, &column).unwrap().sampled;
    assert_eq!(found.len(), 25);
    let mut sorted = column.clone();
    sorted.sort_by(f32::total_cmp);
    for (bin, of_bin) in found.chunks(5).enumerate() {
        let (low, high) = (sorted[100 * bin], sorted[100 * bin + 99]);
        assert!(of_bin.iter().all(|one| (low..=high).contains(&one.activation)), "bin {bin}: {of_bin:?}");
        assert!(of_bin.iter().all(|one| column[one.row].to_bits() == one.activation.to_bits()));
    }
    // Few values: bins that nothing lies in have nothing.
    let two = profile(&method, &text, &column.iter().map(|&value| value.signum()).collect::<Vec<_>>()).unwrap().sampled;
    assert!(two.len() == 10 && two.iter().all(|one| one.activation.abs() > 0.5), "{two:?}");
}
