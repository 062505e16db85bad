use proptest::prelude::*;

use super::*;

fn check(text: &str, split: WordSplit, expected: &[&str]) {
    let got: Vec<&str> = split_words(text, split).into_iter().map(|span| &text[span]).collect();
    assert_eq!(got, expected, "{text}");
}

#[test]
fn punctuation_stands_apart_and_its_runs_stay_whole() {
    check(
        "Well -- don't (ever)... 3.14!",
        WordSplit::Unicode,
        &["Well", "--", "don't", "(", "ever", ")", "...", "3.14", "!"],
    );
    check("full-fledged\u{a0}crème", WordSplit::Unicode, &["full", "-", "fledged", "crème"]);
    check("\"?!\"", WordSplit::Unicode, &["\"", "?", "!", "\""]);
    check("a . . b", WordSplit::Unicode, &["a", ".", ".", "b"]);
}

#[test]
fn white_space_alone_can_split() {
    check(" Well, don't\t(ever)  ", WordSplit::Whitespace, &["Well,", "don't", "(ever)"]);
    check("", WordSplit::Whitespace, &[]);
}

#[test]
fn words_are_found_one_behind_the_other() {
    assert_eq!(find_words("  a  b\u{a0}c ", ["a", "b", "c"]), Some(vec![2..3, 5..6, 8..9]));
    assert_eq!(find_words("20\u{a0}000 m", ["20 000", "m"]), Some(vec![0..7, 8..9]));
    assert_eq!(find_words("no-one", ["no", "-", "one"]), Some(vec![0..2, 2..3, 3..6]));
    assert_eq!(find_words("", []), Some(vec![]));
}

#[test]
fn a_text_of_other_words_is_not_found() {
    assert_eq!(find_words("a b", ["a"]), None, "more text than words");
    assert_eq!(find_words("a", ["a", "b"]), None, "more words than text");
    assert_eq!(find_words("20000", ["20 000"]), None, "a space that is not there");
    assert_eq!(find_words("é", ["e"]), None);
}

proptest! {
    #[test]
    fn words_hold_everything_but_white_space(text in "\\PC{0,60}") {
        for split in [WordSplit::Unicode, WordSplit::Whitespace] {
            let spans = split_words(&text, split);
            let kept: String = spans.iter().map(|span| &text[span.clone()]).collect();
            let strip = |text: &str| text.chars().filter(|c| !c.is_whitespace()).collect::<String>();
            prop_assert_eq!(strip(&kept), strip(&text));
            prop_assert!(spans.iter().all(|span| !span.is_empty()));
            prop_assert_eq!(find_words(&text, spans.iter().map(|span| &text[span.clone()])), Some(spans.clone()));
        }
    }
}
