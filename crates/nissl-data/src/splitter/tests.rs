use proptest::prelude::*;

use super::*;

fn check(text: &str, expected: &[&str]) {
    let got: Vec<&str> = split_sentences(text).into_iter().map(|span| &text[span]).collect();
    assert_eq!(got, expected, "{text}");
}

#[test]
fn stops_questions_and_exclamations_end_sentences() {
    check("One. Two? Three! Four", &["One.", "Two?", "Three!", "Four"]);
    check("What?! No... Yes… Fine.", &["What?!", "No...", "Yes…", "Fine."]);
    check("  In 1859. Down, Kent.\n\n", &["In 1859.", "Down, Kent."]);
    check("", &[]);
    check(" \n ", &[]);
}

#[test]
fn closing_quotes_and_brackets_stay_with_their_sentence() {
    check("\"Go!\" \"Why?\" He went. (He did.) So.", &["\"Go!\"", "\"Why?\"", "He went.", "(He did.)", "So."]);
    check("„Ja.“ Er ging.", &["„Ja.“ Er ging."]);
    check("¿Qué? ¿Quién? «No.» Vino.", &["¿Qué?", "¿Quién?", "«No.»", "Vino."]);
}

#[test]
fn no_sentence_begins_with_a_small_letter() {
    check("\"Who?\" he said. e. e. cummings wrote. it", &["\"Who?\" he said. e. e. cummings wrote. it"]);
}

#[test]
fn abbreviations_and_initials_end_no_sentence() {
    check(
        "Mr. Reed met Dr. J. R. Smith of H.M.S. Beagle. See vol. 2.",
        &["Mr. Reed met Dr. J. R. Smith of H.M.S. Beagle.", "See vol. 2."],
    );
    check("So am I. Then (cf. Darwin) it ended.", &["So am I.", "Then (cf. Darwin) it ended."]);
}

#[test]
fn wide_stops_need_no_space() {
    check("你好。再见！「好。」走吧", &["你好。", "再见！", "「好。」", "走吧"]);
    check("3.14 is a number.Next", &["3.14 is a number.Next"]);
}

proptest! {
    #[test]
    fn sentences_hold_everything_but_white_space(text in "([A-Za-zé.!?\"' \n。]){0,80}") {
        let spans = split_sentences(&text);
        let kept: String = spans.iter().map(|span| &text[span.clone()]).collect();
        let strip = |text: &str| text.chars().filter(|c| !c.is_whitespace()).collect::<String>();
        prop_assert_eq!(strip(&kept), strip(&text));
        prop_assert!(spans.windows(2).all(|pair| pair[0].end <= pair[1].start));
        prop_assert!(spans.iter().all(|span| text[span.clone()].trim().len() == span.len() && !span.is_empty()));
    }
}
