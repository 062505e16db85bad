use std::fmt::Write as _;
use std::io::Cursor;

use proptest::prelude::*;

use super::*;
use crate::corpus::CorpusReader;
use crate::options::ReadOptions;

const SAMPLE: &str = include_str!("sample.conllu");

fn reader(text: impl Into<Vec<u8>>, multiword: Multiword) -> CorpusReader {
    let options = ReadOptions { multiword, ..ReadOptions::default() };
    CorpusReader::from_reader("t.conllu", Box::new(Cursor::new(text.into())), &options).expect("the format is known")
}

fn read(text: &str, multiword: Multiword) -> (Vec<Sentence>, CorpusCounts) {
    let mut reader = reader(text, multiword);
    let sentences = reader.by_ref().map(|sentence| sentence.expect("the text is well-formed")).collect();
    (sentences, reader.counts().clone())
}

fn error(text: &str) -> String {
    let mut reader = reader(text, Multiword::Syntactic);
    let error = reader.find_map(Result::err).expect("the text is malformed").to_string();
    assert!(reader.next().is_none(), "nothing comes after an error");
    error
}

/// Each word with its part of the text.
fn places(sentence: &Sentence) -> Vec<(&str, &str)> {
    sentence.words.iter().map(|word| (word.form.as_str(), &sentence.text[word.span.clone()])).collect()
}

fn labels(labels: &[Label]) -> Vec<(&str, &str)> {
    labels.iter().map(|label| (&*label.column, label.value.as_str())).collect()
}

#[test]
fn every_column_is_a_label() {
    let (sentences, _) = read(SAMPLE, Multiword::Syntactic);
    let dogs = &sentences[0].words[2];
    let expected = [("lemma", "dog"), ("upos", "NOUN"), ("xpos", "NNS"), ("Number", "Plur"), ("deprel", "nsubj")];
    assert_eq!(labels(&dogs.labels), expected);
    assert_eq!(dogs.label("Number"), Some("Plur"));
    assert_eq!(dogs.label("Tense"), None);
    assert_eq!(sentences[1].words[7].label("Case"), Some("Acc,Dat"), "several values are one label");
}

#[test]
fn sentences_have_their_names_lines_and_comments() {
    let (sentences, _) = read(SAMPLE, Multiword::Syntactic);
    let names: Vec<(&str, usize)> = sentences.iter().map(|sentence| (sentence.id.as_str(), sentence.line)).collect();
    assert_eq!(names, [("tale-1", 1), ("tale-2", 15), ("3", 31), ("tale-4", 42), ("other-1", 50)]);
    assert_eq!(labels(&sentences[0].labels), [("newdoc", "tale"), ("newpar", "tale-p1"), ("genre", "fiction")]);
    assert_eq!(labels(&sentences[1].labels), [("newdoc", "tale"), ("newpar", "tale-p1")]);
    assert_eq!(labels(&sentences[2].labels), [("newdoc", "tale"), ("newpar", "tale-p2")]);
    assert_eq!(labels(&sentences[4].labels), []);
}

#[test]
fn words_that_spell_a_multiword_token_have_their_own_part() {
    let (sentences, _) = read(SAMPLE, Multiword::Syntactic);
    assert_eq!(places(&sentences[0])[2..6], [("dogs", "dogs"), ("do", "do"), ("n't", "n't"), ("bark", "bark")]);
}

#[test]
fn words_that_do_not_spell_it_share_the_whole() {
    let (sentences, counts) = read(SAMPLE, Multiword::Syntactic);
    assert_eq!(
        places(&sentences[1]),
        [
            ("Vamos", "Vamos"),
            ("a", "al"),
            ("el", "al"),
            ("mar", "mar"),
            (",", ","),
            ("«", "«"),
            ("da", "dámelo"),
            ("me", "dámelo"),
            ("lo", "dámelo"),
            ("»", "»"),
            (".", "."),
        ]
    );
    assert_eq!((counts.multiword_tokens, counts.multiword_shared, counts.words_sharing_span), (3, 2, 5));
}

#[test]
fn a_multiword_token_can_be_one_word() {
    let (sentences, counts) = read(SAMPLE, Multiword::Surface);
    let al = &sentences[1].words[1];
    assert_eq!((al.form.as_str(), &sentences[1].text[al.span.clone()]), ("al", "al"));
    assert_eq!(
        labels(&al.labels),
        [("lemma", "a+el"), ("upos", "ADP+DET"), ("deprel", "case+det"), ("Definite", "Def"), ("Gender", "Masc"),]
    );
    assert_eq!(sentences[0].words[3].label("upos"), Some("AUX+PART"));
    assert_eq!((counts.words, counts.words_sharing_span), (24, 0));
}

#[test]
fn capital_letters_do_not_hinder_spelling() {
    let text = "# text = Cannot\n1-2\tCannot\t_\t_\t_\t_\t_\t_\t_\t_\n1\tcan\t_\tAUX\t_\t_\t0\troot\t_\t_\n2\tnot\t_\tPART\t_\t_\t1\tadvmod\t_\t_\n";
    let (sentences, _) = read(text, Multiword::Syntactic);
    assert_eq!(places(&sentences[0]), [("can", "Can"), ("not", "not")]);
}

#[test]
fn texts_are_rebuilt_where_they_are_missing_or_wrong() {
    let (sentences, counts) = read(SAMPLE, Multiword::Syntactic);
    assert_eq!(sentences[2].text, "Mary won tea, Ann 20 000.");
    assert_eq!(places(&sentences[2])[5], ("20 000", "20 000"));
    assert_eq!(sentences[3].text, "Its words");
    assert_eq!(
        counts,
        CorpusCounts {
            sentences: 5,
            words: 28,
            empty: 1,
            multiword_tokens: 3,
            multiword_shared: 2,
            words_sharing_span: 5,
            empty_nodes: 1,
            texts_rebuilt: 1,
            texts_mismatched: 1,
            values_ignored: 0,
        }
    );
}

#[test]
fn line_ends_marks_and_missing_last_lines_make_no_difference() {
    let (expected, counts) = read(SAMPLE, Multiword::Syntactic);
    for text in [
        SAMPLE.replace('\n', "\r\n"),
        format!("\u{feff}{SAMPLE}"),
        SAMPLE.trim_end().to_owned(),
        format!("{SAMPLE}\n\n\n"),
    ] {
        assert_eq!(read(&text, Multiword::Syntactic), (expected.clone(), counts.clone()));
    }
    let (sentences, counts) = read("", Multiword::Syntactic);
    assert_eq!((sentences.len(), counts), (0, CorpusCounts::default()));
}

#[test]
fn a_second_value_of_a_column_is_left_out_and_counted() {
    let text = "# genre = a\n# genre = b\n1\ta\t_\tX\t_\tCase=Acc|Case=Dat\t0\troot\t_\t_\n";
    let (sentences, counts) = read(text, Multiword::Syntactic);
    assert_eq!((sentences[0].label("genre"), sentences[0].words[0].label("Case")), (Some("a"), Some("Acc")));
    assert_eq!(counts.values_ignored, 2);
}

const WORD: &str = "1\ta\t_\tX\t_\t_\t0\troot\t_\t_";

#[test]
fn malformed_lines_are_named() {
    assert_eq!(error("1\ta\n"), "t.conllu:1: expected 10 columns with tabs between, got 2");
    assert_eq!(error(&format!("{WORD}\n{WORD}\n")), "t.conllu:2: expected word number 2, got '1'");
    assert_eq!(error(&WORD.replacen('1', "one", 1)), "t.conllu:1: expected word number 1, got 'one'");
    assert_eq!(
        error(&WORD.replacen('1', "99999999999999999999999", 1)),
        "t.conllu:1: expected word number 1, got '99999999999999999999999'"
    );
    assert_eq!(error(&WORD.replacen('a', "", 1)), "t.conllu:1: expected a form in the second column, got nothing");
    assert_eq!(
        error("# x\n1\ta\t_\tX\t_\tPlural\t0\troot\t_\t_\n"),
        "t.conllu:2: expected features of the form Name=Value|Name=Value, or _, got 'Plural'"
    );
    assert_eq!(error(&WORD.replacen('1', "2.1", 1)), "t.conllu:1: expected an empty node after word 0, got '2.1'");
}

#[test]
fn multiword_tokens_must_fit_their_words() {
    let token = |id: &str| format!("{id}\tab\t_\t_\t_\t_\t_\t_\t_\t_\n");
    assert_eq!(
        error(&format!("{}{WORD}\n\n", token("1-2"))),
        "t.conllu:3: expected word 2 of the multiword token 'ab', got the end of the sentence"
    );
    let starts = |got: &str| format!("expected a multiword token of several words from {got} on");
    assert_eq!(error(&token("2-3")), format!("t.conllu:1: {}, got '2-3'", starts("1")));
    assert_eq!(error(&token("1-1")), format!("t.conllu:1: {}, got '1-1'", starts("1")));
    assert_eq!(error(&(token("1-2") + &token("1-2"))), format!("t.conllu:2: {}, got '1-2'", starts("3")));
    let huge = token("1-18446744073709551615");
    assert_eq!(error(&huge), "t.conllu:1: expected word 1 of the multiword token 'ab', got the end of the sentence");
}

#[test]
fn bytes_that_are_not_text_are_named() {
    let mut bytes = format!("{WORD}\n\n").into_bytes();
    bytes.extend(b"# text = caf\xe9\n");
    let mut reader = reader(bytes, Multiword::Syntactic);
    assert!(reader.next().is_some_and(|sentence| sentence.is_ok()));
    let error = reader.next().and_then(Result::err).expect("Latin-1 is refused");
    assert_eq!(error.to_string(), "t.conllu:3: byte 13 of the line (0xe9) is not valid UTF-8");
}

/// Something like CoNLL-U: right lines, wrong lines, and anything else.
fn lines() -> impl Strategy<Value = String> {
    let id = prop_oneof!["[0-3]", "[0-3]-[0-4]", "[0-3]\\.[0-3]", "\\PC{0,3}"];
    let field = prop_oneof![Just("_".to_owned()), "[a-zé ]{0,3}", "[A-Z]=[a-z]", "SpaceAfter=No"];
    let word =
        (id, prop::collection::vec(field, 8..11)).prop_map(|(id, fields)| format!("{id}\t{}", fields.join("\t")));
    let line =
        prop_oneof![4 => word, 1 => Just(String::new()), 1 => "# (text|sent_id|newdoc|x) = [a-zé ]{0,6}", 1 => "\\PC*"];
    prop::collection::vec(line, 0..12).prop_map(|lines| lines.join("\n"))
}

fn check_spans(text: &[u8]) -> Result<(), TestCaseError> {
    for multiword in [Multiword::Syntactic, Multiword::Surface] {
        for sentence in reader(text, multiword).map_while(Result::ok) {
            prop_assert!(!sentence.words.is_empty());
            prop_assert!(sentence.words.iter().all(|word| !sentence.text[word.span.clone()].trim().is_empty()));
            prop_assert!(sentence.words.windows(2).all(|pair| pair[0].span.start <= pair[1].span.start));
        }
    }
    Ok(())
}

/// A sentence as CoNLL-U writes it: forms, labels and whether a space follows.
fn written() -> impl Strategy<Value = Vec<(String, String, bool)>> {
    prop::collection::vec(("[a-zé#'.]{1,4}", "[A-Z]{1,3}", any::<bool>()), 1..8)
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        check_spans(&bytes)?;
    }

    #[test]
    fn nor_do_lines_that_look_like_it(text in lines()) {
        check_spans(text.as_bytes())?;
    }

    #[test]
    fn what_is_written_is_read(words in written(), with_text in any::<bool>()) {
        let mut text = String::new();
        let mut rows = String::new();
        for (idx, (form, upos, space)) in words.iter().enumerate() {
            let misc = if *space { "_" } else { "SpaceAfter=No" };
            writeln!(rows, "{}\t{form}\t_\t{upos}\t_\t_\t0\tdep\t_\t{misc}", idx + 1).expect("strings can be written to");
            text += form;
            if *space && idx + 1 < words.len() {
                text.push(' ');
            }
        }
        let head = if with_text { format!("# text = {text}\n") } else { String::new() };
        let (sentences, counts) = read(&format!("{head}{rows}\n"), Multiword::Syntactic);
        prop_assert_eq!(sentences.len(), 1);
        prop_assert_eq!(&sentences[0].text, &text);
        prop_assert_eq!((counts.texts_rebuilt, counts.texts_mismatched), (usize::from(!with_text), 0));
        prop_assert_eq!(sentences[0].words.len(), words.len());
        for (word, (form, upos, _)) in sentences[0].words.iter().zip(&words) {
            prop_assert_eq!(&word.form, form);
            prop_assert_eq!(&text[word.span.clone()], form);
            prop_assert_eq!(word.label("upos"), Some(upos.as_str()));
        }
    }
}
