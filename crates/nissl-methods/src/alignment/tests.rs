#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use ndarray::array;
use nissl_core::{Matrix, Site, site_columns};
use nissl_testing::{Tol, ToyModel, Unit, assert_close};

use super::*;

fn texts(found: &BTreeSet<Candidate>, kind: CandidateKind) -> Vec<&str> {
    found.iter().filter(|one| one.kind == kind).map(|one| one.text.as_str()).collect()
}

#[test]
fn words_are_cut_into_stem_and_longest_ending() {
    assert_eq!(morphemes("walked"), Some(("walk", "ed")));
    assert_eq!(morphemes("nations"), Some(("nat", "ions")), "the longest that leaves a stem");
    assert_eq!(morphemes("the"), None);
    assert_eq!(morphemes("is"), None, "two letters are no stem");
    assert_eq!(morphemes("1990s"), None, "digits are no stem");
    assert_eq!(morphemes("größer"), Some(("größ", "er")));
}

#[test]
fn candidates_are_words_morphemes_and_phrases_without_marks() {
    let found = candidates(&["The", "cats", "slept", ",", "the", "dog"], 3);
    assert_eq!(texts(&found, CandidateKind::Word), ["cats", "dog", "slept", "the"]);
    assert_eq!(texts(&found, CandidateKind::Morpheme), ["cat", "s"]);
    assert_eq!(texts(&found, CandidateKind::Phrase), ["cats slept", "the cats", "the cats slept", "the dog"]);
}

#[test]
fn repeated_texts_are_cut_at_the_length_and_framed() {
    let text = Repeated::new(&[7, 7, 7, 7], 3, (&[1], &[2, 3]));
    assert_eq!((text.tokens, text.places), (vec![1, 7, 7, 7, 2, 3], vec![1, 2, 3]));
}

#[test]
fn sentences_of_the_same_words_are_kept_once_and_the_highest_come_first() {
    let words = [(0, "a"), (0, "b"), (1, "c"), (2, "a"), (2, "b"), (3, "d"), (3, "a")];
    let text = TextRows::from_words(words);
    let x = array![[1.0], [3.0], [2.0], [9.0], [9.0], [5.0], [0.0]];
    let x = Matrix::new(x, site_columns(&[(HookPoint::new(0, Site::MlpPost), 1)])).unwrap();
    let data = TextActivations::new(&x, &text).unwrap();
    let found = top_sentences(data, 2, Context::default()).unwrap().remove(0);
    assert_eq!(found, [TopSentence { row: 5, mean: 2.5 }, TopSentence { row: 0, mean: 2.0 }]);
}

/// Neuron 0 answers to token 3; neuron 1 to any token that stood before, as attention adds the earlier ones.
fn model() -> ToyModel {
    let again = (0..10).map(|token| (token, 1.0)).collect();
    let lemma = Unit { key: vec![(3, 1.0)], ..Unit::default() };
    let repetition = Unit { key: again, bias: -1.0, ..Unit::default() };
    ToyModel::new(10, vec![vec![lemma, repetition]])
}

#[test]
fn a_detector_is_aligned_with_its_word_and_a_repetition_neuron_with_none() {
    let point = HookPoint::new(0, Site::MlpPost);
    let neurons = [NeuronId::new(point, 0), NeuronId::new(point, 1)];
    let repeated: Vec<Repeated> = (0..10).map(|token| Repeated::new(&[token; 8], 6, (&[], &[]))).collect();
    let degrees = degrees(&model(), &repeated, &neurons, Context::default()).unwrap();
    let control = [0, 1, 5, 7].map(|text| degrees.row(text).to_vec());
    let control = |neuron: usize| control.iter().map(|row| f64::from(row[neuron])).sum::<f64>() / 4.0;
    // On its own repeats the detector's mean is that of the residual stream there: the token itself and those before.
    let trace = model().run(&Batch::from_sentences([&repeated[3].tokens]), &HookPlan::capture([point])).unwrap();
    let mean = trace.sites[&point].column(0).iter().map(|&value| f64::from(value)).sum::<f64>() / 6.0;
    assert_close("degree", &degrees[[3, 0]], &mean, Tol::rel(1e-6));
    assert!(mean > 0.5 && degrees.column(0).iter().enumerate().all(|(text, &value)| text == 3 || value == 0.0));
    assert_close("control of the detector", &control(0), &0.0, Tol::EXACT);
    // The repetition neuron is high on everything that is repeated, and on nothing beyond that.
    assert!(control(1) > 0.5);
    for text in 0..10 {
        assert_close("less the control", &(f64::from(degrees[[text, 1]]) - control(1)), &0.0, Tol::abs(1e-6));
    }
    let empty = super::degrees(&model(), &[Repeated::default()], &neurons, Context::default()).unwrap_err();
    assert_eq!(empty.to_string(), "prompt 0: nothing is repeated in it");
}

#[test]
fn selectivity_is_the_distance_of_means_over_the_range() {
    let text = TextRows::from_words([(0, "The"), (0, "cats"), (0, "slept"), (1, "the"), (1, "cat")]);
    let column = [0.0, 1.0, 0.2, 0.1, 0.9];
    let of = |name: &str, kind| selectivity(&text, &column, &Candidate { text: name.to_owned(), kind });
    let close = |what: &str, got: Option<f64>, want: f64| assert_close(what, &got.unwrap(), &want, Tol::abs(1e-6));
    close("word", of("the", CandidateKind::Word), 0.05 - 0.7);
    close("ending", of("s", CandidateKind::Morpheme), 1.0 - 0.3);
    close("phrase", of("the cat", CandidateKind::Phrase), 0.9 - 0.325);
    assert_eq!(of("dog", CandidateKind::Word), None);
}
