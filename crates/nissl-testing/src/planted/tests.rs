#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use nissl_core::Activations;

use super::*;
use crate::close::{Tol, assert_close};

#[test]
fn the_corpus_has_the_size_and_the_shares_of_the_specification() {
    let planted = PlantedActivations::new(0, 0.1);
    let n = planted.x.n_tokens();
    // A sentence has 9.36 words on average.
    assert!((5_400..=5_830).contains(&n), "{n} rows");
    let share = |labels: &Labels, name: &str| {
        let concept = labels.concepts().iter().position(|concept| concept.name == name).unwrap();
        labels.counts()[concept] as f64 / n as f64
    };
    assert_close("verbs", &share(&planted.verb, "verb"), &(1.0 / 9.36), Tol::rel(0.05));
    assert_close("quoted", &share(&planted.quote, "inside"), &(0.4 * 2.4 / 9.36), Tol::rel(0.15));
    assert_close("register", &share(&planted.register, "high"), &0.5, Tol::abs(0.03));
    assert_eq!(planted.tense.counts().iter().sum::<usize>(), planted.verb.counts()[0]);
    assert_eq!(planted.verb.counts()[0], N_SENTENCES as usize);
}

#[test]
fn without_noise_each_neuron_is_what_the_key_says() {
    let planted = PlantedActivations::new(3, 0.0);
    let x = planted.x.values();
    for (row, verb) in planted.verb.mask(0).into_iter().enumerate() {
        let verb = f32::from(u8::from(verb));
        let want = [verb, 2.0 * verb, -verb, 0.5 * verb + 1.0];
        assert_close("verb neurons", &key::VERBS.map(|neuron| x[[row, neuron]]), &want, Tol::EXACT);
        let tense = match (PAST_FORMS.contains(&planted.text.word(row)), verb > 0.0) {
            (true, _) => 1.0,
            (false, true) => -1.0,
            (false, false) => 0.0,
        };
        assert_close("tense", &x[[row, key::TENSE]], &tense, Tol::EXACT);
        assert_close("dead", &[x[[row, key::DEAD]], x[[row, key::CONSTANT]]], &[0.0_f32, 1.0], Tol::EXACT);
    }
    assert_close("position", &x.column(key::POSITION), &planted.relative_position, Tol::EXACT);
    assert_close("frequency", &x.column(key::FREQUENCY), &planted.frequency, Tol::EXACT);
}

#[test]
fn quotes_are_inside_the_marks_alone() {
    let planted = PlantedActivations::new(1, 0.0);
    let mut open = false;
    for row in 0..planted.x.n_tokens() {
        let word = planted.text.word(row);
        open = open && word != "”";
        assert_eq!(planted.quote.of(row), [u32::from(!open)], "row {row}, {word}");
        open = open || word == "“";
    }
}

#[test]
fn the_seed_fixes_everything_and_the_noise_level_changes_noise_alone() {
    let (one, other) = (PlantedActivations::new(5, 0.1), PlantedActivations::new(5, 0.1));
    assert_eq!((&one.x, &one.text), (&other.x, &other.text));
    let quiet = PlantedActivations::new(5, 0.0);
    assert_eq!((&one.text, &one.tag, &one.register), (&quiet.text, &quiet.tag, &quiet.register));
    assert_ne!(one.x, quiet.x);
    assert_ne!(one.text, PlantedActivations::new(6, 0.1).text);
    assert_eq!(one.layers().neurons()[127].to_string(), "blocks.3.mlp.hook_post[31]");
}

#[test]
fn shuffled_sentences_stay_whole_and_keep_their_labels() {
    let planted = PlantedActivations::new(2, 0.0);
    let shuffled = planted.with_sentences_shuffled(9);
    assert_eq!(shuffled.tag.counts(), planted.tag.counts());
    let n = shuffled.text.n_tokens();
    let stops = (0..n).filter(|&row| shuffled.text.word(row) == ".");
    assert!(stops.into_iter().all(|row| shuffled.text.sentence_rows(row).end == row + 1));
    assert_ne!(shuffled.text, planted.text);
    let rows = planted.with_rows_shuffled(9);
    assert_eq!((rows.text.n_tokens(), rows.tag.counts()), (n, planted.tag.counts()));
}
