use std::io::Cursor;

use super::*;
use crate::corpus::CorpusReader;
use crate::options::WordSplit;

fn check(text: &str, options: &ReadOptions, expected: &[(&str, usize)], empty: usize) {
    let input = Box::new(Cursor::new(text.as_bytes().to_vec()));
    let mut reader = CorpusReader::from_reader("t.txt", input, options).expect("the format is known");
    let sentences: Vec<Sentence> = reader.by_ref().map(|sentence| sentence.expect("it is text")).collect();
    let got: Vec<(&str, usize)> = sentences.iter().map(|sentence| (sentence.text.as_str(), sentence.line)).collect();
    assert_eq!(got, expected);
    assert_eq!(reader.counts().empty, empty);
    assert_eq!(reader.counts().sentences, expected.len());
}

const PROSE: &str = "Jane  Eyre\n\n\n\"Why?\" I\nasked. He\twent.\n \nEnd";

#[test]
fn a_line_is_a_sentence_as_it_stands() {
    check("one two\n\n  three \r\n", &ReadOptions::default(), &[("one two", 1), ("  three ", 3)], 1);
    check("", &ReadOptions::default(), &[], 0);
}

#[test]
fn lines_between_blank_ones_are_a_paragraph() {
    let options = ReadOptions { prose: Prose::Paragraphs, ..ReadOptions::default() };
    check(PROSE, &options, &[("Jane Eyre", 1), ("\"Why?\" I asked. He went.", 4), ("End", 7)], 0);
}

#[test]
fn paragraphs_and_lines_can_be_cut_into_sentences() {
    let options = ReadOptions { prose: Prose::Paragraphs, split_sentences: true, ..ReadOptions::default() };
    let expected = [("Jane Eyre", 1), ("\"Why?\"", 4), ("I asked.", 4), ("He went.", 4), ("End", 7)];
    check(PROSE, &options, &expected, 0);
    let options = ReadOptions { split_sentences: true, ..ReadOptions::default() };
    check("One. Two.\n\nThree\n", &options, &[("One.", 1), ("Two.", 1), ("Three", 3)], 1);
}

#[test]
fn words_are_split_as_asked() {
    let forms = |word_split| {
        let options = ReadOptions { word_split, ..ReadOptions::default() };
        let input = Box::new(Cursor::new(b"Well, no.".to_vec()));
        let mut reader = CorpusReader::from_reader("t.txt", input, &options).expect("the format is known");
        let sentence = reader.next().expect("there is a sentence").expect("it is text");
        sentence.words.into_iter().map(|word| word.form).collect::<Vec<String>>()
    };
    assert_eq!(forms(WordSplit::Unicode), ["Well", ",", "no", "."]);
    assert_eq!(forms(WordSplit::Whitespace), ["Well,", "no."]);
}
