#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::collections::BTreeSet;

use nissl_testing::PlantedActivations;

use super::*;

const PARTS: [Part; 3] = [Part::Train, Part::Dev, Part::Test];

fn text() -> TextRows {
    PlantedActivations::new(3, 0.1).text
}

fn sentences(split: &Split, text: &TextRows, part: Part) -> BTreeSet<Vec<String>> {
    let words = |row: usize| text.sentence_rows(row).map(|row| text.word(row).to_owned()).collect();
    split.rows(part).into_iter().map(words).collect()
}

#[test]
fn no_sentence_is_in_two_parts_not_even_twice_the_same() {
    let text = text();
    let split = Split::by_sentence(&text, SplitOptions::default());
    let [train, dev, test] = PARTS.map(|part| sentences(&split, &text, part));
    assert!(train.is_disjoint(&dev) && train.is_disjoint(&test) && dev.is_disjoint(&test));
    assert!(split.parts().iter().all(Option::is_some));
}

#[test]
fn parts_have_their_shares_of_the_rows() {
    let text = text();
    let split = Split::by_sentence(&text, SplitOptions::default());
    for (part, want) in PARTS.into_iter().zip([0.6, 0.2, 0.2]) {
        let share = split.rows(part).len() as f64 / text.n_tokens() as f64;
        assert!((share - want).abs() < 0.01, "{part:?}: {share}");
    }
}

#[test]
fn the_order_of_the_corpus_changes_no_sentences_part() {
    let planted = PlantedActivations::new(3, 0.1);
    let shuffled = planted.with_sentences_shuffled(8);
    let of = |text: &TextRows| {
        let split = Split::by_sentence(text, SplitOptions::default());
        PARTS.map(|part| sentences(&split, text, part))
    };
    assert_eq!(of(&planted.text), of(&shuffled.text));
}

#[test]
fn another_seed_is_another_split() {
    let text = text();
    let split = |seed| Split::by_sentence(&text, SplitOptions { seed, ..SplitOptions::default() });
    assert_eq!(split(1), split(1));
    assert_ne!(split(1), split(2));
}

#[test]
fn disjoint_words_are_in_one_part_each() {
    let text = text();
    let options = SplitOptions { disjoint_words: true, ..SplitOptions::default() };
    let split = Split::by_sentence(&text, options);
    let types = |part| split.rows(part).into_iter().map(|row| text.type_of()[row]).collect::<BTreeSet<u32>>();
    let [train, dev, test] = PARTS.map(types);
    assert!(train.is_disjoint(&dev) && train.is_disjoint(&test) && dev.is_disjoint(&test));
    assert!(!train.is_empty() && !test.is_empty());
}

#[test]
fn leakage_is_what_a_list_of_words_knows() {
    let planted = PlantedActivations::new(3, 0.1);
    let split = Split::by_sentence(&planted.text, SplitOptions::default());
    // The toy grammar gives each word one tag, and every word is common; the register is a coin.
    let of_tag = split.leakage(&planted.text, &planted.tag, Part::Test);
    assert!(of_tag.known_words > 0.999 && of_tag.lookup_accuracy > 0.999, "{of_tag:?}");
    let of_register = split.leakage(&planted.text, &planted.register, Part::Test);
    assert!((of_register.lookup_accuracy - 0.5).abs() < 0.06, "{of_register:?}");
    let disjoint = SplitOptions { disjoint_words: true, ..SplitOptions::default() };
    let of_disjoint = Split::by_sentence(&planted.text, disjoint).leakage(&planted.text, &planted.tag, Part::Test);
    assert!(of_disjoint.known_words < 1e-12);
    assert!(of_disjoint.lookup_accuracy < 0.6, "{of_disjoint:?}");
}

#[test]
fn shares_that_leave_nothing_to_fit_on_are_refused() {
    let check = |train, dev| SplitOptions { train, dev, ..SplitOptions::default() }.check("probe");
    assert!(check(0.5, 0.5).is_ok());
    assert_eq!(
        check(0.0, 0.5).unwrap_err().to_string(),
        "probe: parameter train = 0: expected a share above 0, at most 1"
    );
    assert_eq!(
        check(0.8, 0.3).unwrap_err().to_string(),
        "probe: parameter dev = 0.3: expected a share, with train at most 1"
    );
    assert!(check(f64::NAN, 0.1).is_err() && check(0.5, f64::NAN).is_err());
}
