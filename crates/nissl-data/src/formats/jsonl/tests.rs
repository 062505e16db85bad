use std::io::Cursor;

use super::*;
use crate::corpus::CorpusReader;

fn read(text: &str, options: &ReadOptions) -> (Result<Vec<Sentence>, String>, CorpusCounts) {
    let input = Box::new(Cursor::new(text.as_bytes().to_vec()));
    let mut reader = CorpusReader::from_reader("t.jsonl", input, options).expect("the format is known");
    let sentences: Result<Vec<Sentence>, DataError> = reader.by_ref().collect();
    (sentences.map_err(|error| error.to_string()), reader.counts().clone())
}

fn error(text: &str, options: &ReadOptions) -> String {
    read(text, options).0.expect_err("the lines are refused")
}

fn labels(sentence: &Sentence) -> Vec<(&str, &str)> {
    sentence.labels.iter().map(|label| (&*label.column, label.value.as_str())).collect()
}

#[test]
fn objects_give_sentences_with_labels() {
    let text = r#"{"id": 7, "text": "A film.", "good": true, "tags": ["x"], "note": null, "by": "me"}

{"text": " "}
{"score": 0.5, "text": "Ende"}
"#;
    let (sentences, counts) = read(text, &ReadOptions::default());
    let sentences = sentences.expect("the lines are well-formed");
    assert_eq!(sentences[0].text, "A film.");
    assert_eq!(labels(&sentences[0]), [("id", "7"), ("good", "true"), ("by", "me")]);
    assert_eq!((labels(&sentences[1]), sentences[1].line), (vec![("score", "0.5")], 4));
    assert_eq!((counts.sentences, counts.empty, counts.values_ignored), (2, 2, 1));
}

#[test]
fn keys_can_be_named_and_chosen() {
    let options = ReadOptions {
        text_column: Some("good".to_owned()),
        label_columns: Some(vec!["kind".to_owned()]),
        ..ReadOptions::default()
    };
    let text = "{\"good\": \"a\", \"bad\": \"b\"}\n{\"good\": \"c\", \"kind\": \"k\"}\n";
    let sentences = read(text, &options).0.expect("the keys are there, if not in every line");
    assert_eq!(labels(&sentences[0]), []);
    assert_eq!(labels(&sentences[1]), [("kind", "k")]);
}

#[test]
fn keys_that_are_not_there_are_named_with_the_nearest() {
    let text = "{\"sentence\": \"a\", \"label\": 1}\n";
    let wrong = ReadOptions { text_column: Some("sentences".to_owned()), ..ReadOptions::default() };
    assert_eq!(
        error(text, &wrong),
        "t.jsonl: no column is called 'sentences'; did you mean sentence? (there are: sentence, label)"
    );
    let wrong = ReadOptions { label_columns: Some(vec!["lable".to_owned()]), ..ReadOptions::default() };
    assert_eq!(
        error(text, &wrong),
        "t.jsonl: no column is called 'lable'; did you mean label? (there are: label, sentence)"
    );
}

#[test]
fn malformed_lines_are_named() {
    let options = ReadOptions::default();
    let not_json = error("{\"text\": \"a\"}\nnonsense\n", &options);
    assert!(not_json.starts_with("t.jsonl:2: expected a JSON object, got 'nonsense': "), "{not_json}");
    assert!(error("[1]\n", &options).starts_with("t.jsonl:1: expected a JSON object, got '[1]': "));
    assert_eq!(
        error("{\"text\": \"a\"}\n{\"txt\": \"b\"}\n", &options),
        "t.jsonl:2: expected a string as 'text', got no such key"
    );
    assert_eq!(error("{\"text\": 3}\n", &options), "t.jsonl:1: expected a string as 'text', got '3'");
    let deep = format!("{{\"text\": {}1{}}}", "[".repeat(10_000), "]".repeat(10_000));
    assert!(error(&deep, &options).starts_with("t.jsonl:1: expected a JSON object, got"), "deep nesting is refused");
}
