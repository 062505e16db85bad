use std::io::Cursor;

use super::*;
use crate::corpus::CorpusReader;

fn read(name: &str, text: &[u8], options: &ReadOptions) -> (Result<Vec<Sentence>, String>, CorpusCounts) {
    match CorpusReader::from_reader(name, Box::new(Cursor::new(text.to_vec())), options) {
        Err(error) => (Err(error.to_string()), CorpusCounts::default()),
        Ok(mut reader) => {
            let sentences: Result<Vec<Sentence>, DataError> = reader.by_ref().collect();
            (sentences.map_err(|error| error.to_string()), reader.counts().clone())
        }
    }
}

fn error(name: &str, text: &[u8], options: &ReadOptions) -> String {
    read(name, text, options).0.expect_err("the table is refused")
}

fn labels(sentence: &Sentence) -> Vec<(&str, &str)> {
    sentence.labels.iter().map(|label| (&*label.column, label.value.as_str())).collect()
}

#[test]
fn a_table_gives_sentences_with_labels() {
    let text = "\u{feff}label,sentence,source\r\n1,\"A \"\"fine\"\", odd\nfilm.\",web\r\n, ,\r\n0,No,\r\n";
    let (sentences, counts) = read("t.csv", text.as_bytes(), &ReadOptions::default());
    let sentences = sentences.expect("the table is well-formed");
    assert_eq!(sentences[0].text, "A \"fine\", odd\nfilm.");
    let words: Vec<&str> = sentences[0].words.iter().map(|word| word.form.as_str()).collect();
    assert_eq!(words, ["A", "\"", "fine", "\"", ",", "odd", "film", "."]);
    assert_eq!(labels(&sentences[0]), [("label", "1"), ("source", "web")]);
    assert_eq!(labels(&sentences[1]), [("label", "0")], "an empty value is no label");
    assert_eq!((sentences[0].line, sentences[1].line, sentences[1].id.as_str()), (2, 5, "2"));
    assert_eq!((counts.sentences, counts.empty), (2, 1));
}

#[test]
fn quotes_are_marks_like_others_in_tabs() {
    let text = b"sentence\tlabel\n\"Quoted\t1\nan \"odd\" one\t0\n";
    let sentences = read("t.tsv", text, &ReadOptions::default()).0.expect("the table is well-formed");
    let texts: Vec<&str> = sentences.iter().map(|sentence| sentence.text.as_str()).collect();
    assert_eq!(texts, ["\"Quoted", "an \"odd\" one"]);
}

#[test]
fn columns_can_be_named_and_chosen() {
    let text = b"a,b,c\nx,y,z\n";
    let options = ReadOptions {
        text_column: Some("b".to_owned()),
        label_columns: Some(vec!["c".to_owned()]),
        ..ReadOptions::default()
    };
    let sentences = read("t.csv", text, &options).0.expect("the columns are there");
    assert_eq!((sentences[0].text.as_str(), labels(&sentences[0])), ("y", vec![("c", "z")]));
}

#[test]
fn columns_without_names_are_numbered() {
    let text = b"so it goes\tplural\nand so on\tsingular\n";
    let options = ReadOptions { header: false, text_column: Some("column1".to_owned()), ..ReadOptions::default() };
    let sentences = read("t.tsv", text, &options).0.expect("the columns are there");
    assert_eq!(sentences.len(), 2);
    assert_eq!((sentences[0].text.as_str(), sentences[0].line), ("so it goes", 1));
    assert_eq!(labels(&sentences[0]), [("column2", "plural")]);
    let sentences = read("t.tsv", b"", &options).0.expect("an empty table without a header is no error");
    assert!(sentences.is_empty());
}

#[test]
fn columns_that_are_not_there_are_named_with_the_nearest() {
    let wrong = ReadOptions { text_column: Some("sentense".to_owned()), ..ReadOptions::default() };
    assert_eq!(
        error("t.csv", b"label,sentence\n1,a\n", &wrong),
        "t.csv: no column is called 'sentense'; did you mean sentence? (there are: label, sentence)"
    );
    let wrong = ReadOptions { label_columns: Some(vec!["Labels".to_owned()]), ..ReadOptions::default() };
    assert_eq!(
        error("t.csv", b"label,sentence\n1,a\n", &wrong),
        "t.csv: no column is called 'Labels'; did you mean label? (there are: label, sentence)"
    );
    assert_eq!(
        error("t.csv", b"good,bad\nx,y\n", &ReadOptions::default()),
        "t.csv: no column is called 'text' (there are: good, bad)"
    );
}

#[test]
fn malformed_tables_are_named() {
    let options = ReadOptions::default();
    assert_eq!(
        error("t.csv", b"label,text\n1,a\n0,b,c\n", &options),
        "t.csv:3: expected 2 columns as in the first line, got 3"
    );
    assert_eq!(error("t.csv", b"", &options), "t.csv:1: expected a line that names the columns, got an empty file");
    assert_eq!(
        error("t.csv", b"label,text\n1,a\n0,caf\xe9\n", &options),
        "t.csv:3: byte 6 of the line (0xe9) is not valid UTF-8"
    );
}
