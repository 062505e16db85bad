use std::fs;

use tempfile::TempDir;

use super::*;
use crate::corpus::open;

/// Reads `t.word` with `t.label` beside it.
fn read(words: &str, labels: Option<&str>, options: &ReadOptions) -> (Result<Vec<Sentence>, String>, CorpusCounts) {
    let folder = TempDir::new().expect("a folder for the test");
    let path = folder.path().join("t.word");
    fs::write(&path, words).expect("the words are written");
    if let Some(labels) = labels {
        fs::write(folder.path().join("t.label"), labels).expect("the labels are written");
    }
    let mut reader = open(&path, options).expect("the files can be opened");
    let sentences: Result<Vec<Sentence>, DataError> = reader.by_ref().collect();
    let place = format!("{}{}", folder.path().display(), std::path::MAIN_SEPARATOR);
    (sentences.map_err(|error| error.to_string().replace(&place, "")), reader.counts().clone())
}

fn error(words: &str, labels: &str, level: LabelLevel) -> String {
    let options = ReadOptions { label_level: level, ..ReadOptions::default() };
    read(words, Some(labels), &options).0.expect_err("the files do not match")
}

#[test]
fn each_word_has_its_label() {
    let options = ReadOptions { label_column: "pos".to_owned(), ..ReadOptions::default() };
    let (sentences, counts) = read("the  mat sat\r\n\r\nméow\r\n", Some("DT NN\tVB\n\nUH\n"), &options);
    let sentences = sentences.expect("the files match");
    let first = &sentences[0];
    assert_eq!((first.id.as_str(), first.line, first.text.as_str()), ("1", 1, "the mat sat"));
    let words: Vec<_> = first.words.iter().map(|w| (w.form.as_str(), w.span.clone(), w.label("pos"))).collect();
    assert_eq!(words, [("the", 0..3, Some("DT")), ("mat", 4..7, Some("NN")), ("sat", 8..11, Some("VB"))]);
    assert_eq!((sentences[1].id.as_str(), sentences[1].line, sentences[1].words[0].span.clone()), ("2", 3, 0..5));
    assert_eq!((counts.sentences, counts.words, counts.empty), (2, 4, 1));
}

#[test]
fn a_line_can_hold_the_label_of_its_sentence() {
    let options = ReadOptions { label_level: LabelLevel::Sentence, ..ReadOptions::default() };
    let sentences = read("so good\nbad\nwell\n", Some("very positive\nnegative\n\n"), &options).0.expect("they match");
    let labels: Vec<_> = sentences.iter().map(|sentence| sentence.label("label")).collect();
    assert_eq!(labels, [Some("very positive"), Some("negative"), None]);
    assert!(sentences.iter().flat_map(|sentence| &sentence.words).all(|word| word.labels.is_empty()));
}

#[test]
fn there_need_be_no_labels() {
    let sentences = read("a b\n", None, &ReadOptions::default()).0.expect("words alone are fine");
    assert_eq!(sentences[0].words.len(), 2);
    assert!(sentences[0].words[0].labels.is_empty());
}

#[test]
fn a_line_with_another_number_of_labels_is_named() {
    assert_eq!(
        error("a\nb c d\n", "X\nX X\n", LabelLevel::Word),
        "t.label:2: expected 3 labels, one for each word of t.word:2, got 2"
    );
    assert_eq!(
        error("b c\n", "positive\n", LabelLevel::Word),
        "t.label:1: expected 2 labels, one for each word of t.word:1, got 1; \
         if each line holds the label of its sentence, read it with label level 'sentence'"
    );
    assert_eq!(
        error("\nb\n", "X\nX\n", LabelLevel::Word),
        "t.label:1: expected 0 labels, one for each word of t.word:1, got 1"
    );
    assert_eq!(
        error("\nb\n", "X\nX\n", LabelLevel::Sentence),
        "t.label:1: expected a blank line, as in t.word:1, got 'X'"
    );
}

#[test]
fn files_of_another_length_are_named() {
    for level in [LabelLevel::Word, LabelLevel::Sentence] {
        assert_eq!(
            error("a\nb\n", "X\n", level),
            "t.label:2: expected a line of labels for t.word:2, got the end of the file"
        );
        assert_eq!(error("a\n", "X\n\nY\n", level), "t.label:3: expected the end of the file, as in t.word, got 'Y'");
    }
    let (sentences, _) = read("a\n", Some("X\n\n\n"), &ReadOptions::default());
    assert_eq!(sentences.map(|sentences| sentences.len()), Ok(1), "blank lines at the end do no harm");
}

#[test]
fn a_label_file_that_is_named_must_be_there() {
    let folder = TempDir::new().expect("a folder for the test");
    let path = folder.path().join("t.in");
    fs::write(&path, "a\n").expect("the words are written");
    let missing = folder.path().join("tags");
    let options = ReadOptions { label_file: Some(missing.clone()), ..ReadOptions::default() };
    let error = open(&path, &options).err().expect("the file is missing");
    assert_eq!(error.to_string(), format!("cannot read {}", missing.display()));
}
