use proptest::prelude::*;

use super::*;
use crate::sentence::Label;

/// A row of a form and its labels.
struct Word(&'static str, &'static [(&'static str, &'static str)]);

impl Row for Word {
    fn form(&self) -> &str {
        self.0
    }

    fn label(&self, column: &str) -> Option<&str> {
        self.1.iter().find(|(name, _)| *name == column).map(|(_, label)| *label)
    }
}

const COLUMNS: [&str; 3] = ["upos", "Number", "deprel"];

const ROWS: [Word; 5] = [
    Word("The", &[("upos", "DET"), ("deprel", "det")]),
    Word("dogs", &[("upos", "NOUN"), ("Number", "Plur"), ("deprel", "nsubj")]),
    Word("bark", &[("upos", "VERB"), ("deprel", "root")]),
    Word("dog", &[("upos", "NOUN"), ("Number", "Sing"), ("deprel", "obj")]),
    Word("?!", &[]),
];

fn source(text: &str) -> ConceptSource {
    text.parse().unwrap_or_else(|error| panic!("{error}"))
}

/// The concepts and those of each row, as the sources written in a line each say.
fn build(sources: &[&str]) -> (Vec<String>, Vec<Vec<u32>>) {
    let sources: Vec<ConceptSource> = sources.iter().map(|text| source(text)).collect();
    let mut builder = LabelsBuilder::new(&sources, &COLUMNS).unwrap_or_else(|error| panic!("{error}"));
    for row in &ROWS {
        builder.push(row);
    }
    let labels = builder.finish();
    let names = labels.concepts().iter().map(|concept| concept.name.clone()).collect();
    (names, (0..labels.n_tokens()).map(|row| labels.of(row).to_vec()).collect())
}

fn error(text: &str) -> String {
    text.parse::<ConceptSource>().expect_err("it cannot be understood").to_string()
}

#[test]
fn each_label_of_a_column_is_a_concept() {
    let (names, rows) = build(&["upos"]);
    assert_eq!(names, ["DET", "NOUN", "VERB"]);
    assert_eq!(rows, [vec![0], vec![1], vec![2], vec![1], vec![]]);
    let (names, rows) = build(&["upos: VERB, X"]);
    assert_eq!(names, ["VERB", "X"], "a label that was asked for is there even if no row has it");
    assert_eq!(rows, [vec![], vec![], vec![0], vec![], vec![]]);
}

#[test]
fn labels_of_several_columns_bear_the_name_of_theirs() {
    let (names, rows) = build(&["upos", "Number"]);
    assert_eq!(names, ["upos=DET", "upos=NOUN", "upos=VERB", "Number=Plur", "Number=Sing"]);
    assert_eq!(rows, [vec![0], vec![1, 3], vec![2], vec![1, 4], vec![]]);
}

#[test]
fn word_lists_regexes_and_conditions_are_one_concept_each() {
    let (names, rows) =
        build(&["animal := {dog, dogs}", "{the}", "{the}i", "/^d.*s$/", "/^THE/i", "upos=NOUN & Number=Sing"]);
    assert_eq!(names, ["animal", "{the}", "{the}i", "/^d.*s$/", "/^THE/i", "upos=NOUN & Number=Sing"]);
    assert_eq!(rows, [vec![2, 4], vec![0, 3], vec![], vec![0, 5], vec![]]);
}

#[test]
fn sources_of_one_name_are_one_concept() {
    let (names, rows) = build(&["upos", "NOUN := {bark}"]);
    assert_eq!(names, ["DET", "VERB", "NOUN"], "it stands with the source that names it");
    assert_eq!(rows, [vec![0], vec![2], vec![1, 2], vec![2], vec![]]);
}

#[test]
fn conditions_hold_as_written() {
    let check = |text: &str, expected: [bool; 5]| {
        let expression = Expression::parse(text).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(ROWS.each_ref().map(|row| expression.holds(row)), expected, "{text}");
    };
    check("upos=NOUN", [false, true, false, true, false]);
    check("upos = NOUN|VERB", [false, true, true, true, false]);
    check("upos=NOUN | deprel=root", [false, true, true, true, false]);
    check("deprel=nsubj|obj & Number=Plur", [false, true, false, false, false]);
    check("Number=Plur & deprel=nsubj|obj", [false, true, false, false, false]);
    check("upos=DET | upos=NOUN & Number=Sing", [true, false, false, true, false]);
    check("(upos=DET | upos=NOUN) & Number=Sing", [false, false, false, true, false]);
    check("Number=*", [false, true, false, true, false]);
    check("Number!=*", [true, false, true, false, true]);
    check("upos!=NOUN|DET", [false, false, true, false, true]);
    check("!upos=NOUN & !!upos=*", [true, false, true, false, false]);
    check("!(upos=NOUN | upos=DET)", [false, false, true, false, true]);
    check("form=dog|bark", [false, false, true, true, false]);
    check("form~^d", [false, true, false, true, false]);
    check("form~\"(?i)^(the|dogs)$\"", [true, true, false, false, false]);
    check("form=\"?!\"", [false, false, false, false, true]);
    check("form~\"^\\W+$\"", [false, false, false, false, true]);
    check("\"upos\"=\"NOUN\"", [false, true, false, true, false]);
    check("upos=\"*\"", [false; 5]);
}

#[test]
fn conditions_name_their_columns_once() {
    let expression = Expression::parse("upos=A & (Number=B | upos=C) & form~x").expect("it is well-formed");
    assert_eq!(expression.columns(), ["upos", "Number"]);
}

#[test]
fn mistakes_are_shown_where_they_are() {
    assert_eq!(
        error("upos=NOUN &"),
        "concept 'upos=NOUN &', character 12: expected a condition such as upos=NOUN, got the end"
    );
    assert_eq!(error("upos="), "concept 'upos=', character 6: expected a label, got the end");
    assert_eq!(error("(upos=NOUN"), "concept '(upos=NOUN', character 11: expected & or | or ), got the end");
    assert_eq!(error("upos=NOUN)"), "concept 'upos=NOUN)', character 10: expected & or | or the end, got ')'");
    assert_eq!(error("upos=A upos=B"), "concept 'upos=A upos=B', character 8: expected & or | or the end, got 'upos'");
    assert_eq!(error("é := upos NOUN=X"), "concept 'é := upos NOUN=X', character 11: expected =, != or ~, got 'NOUN'");
    assert_eq!(error("a=\"b"), "concept 'a=\"b', character 3: expected a closing quote, got the end");
    assert_eq!(
        error("a=b & | c=d"),
        "concept 'a=b & | c=d', character 7: expected a condition such as upos=NOUN, got '|'"
    );
    assert_eq!(error("a~"), "concept 'a~', character 3: expected a regular expression, got the end");
    assert_eq!(error("a~["), "pattern '[' is not a regular expression");
    assert_eq!(error("x := {a, b"), "concept 'x := {a, b', character 11: expected } after the words, got the end");
    assert_eq!(error("{ , }"), "concept '{ , }', character 2: expected words with commas between, got none");
    assert_eq!(error("/a"), "concept '/a', character 3: expected / after the regular expression, got the end");
    assert_eq!(error(" := {a}"), "concept ' := {a}', character 1: expected a name before :=, got nothing");
    assert_eq!(
        error("x := upos"),
        "concept 'x := upos', character 6: expected {words}, /regex/ or column=label after a name, got the column 'upos'"
    );
    assert_eq!(
        error("upos & Number"),
        "concept 'upos & Number', character 6: expected a condition such as upos=NOUN, got '&'"
    );
    assert!(error("").contains("expected a column"));
    assert!(error("upos: NOUN,").contains("expected a column"));
    let deep = format!("{}a=b{}", "(".repeat(100_000), ")".repeat(100_000));
    assert!(error(&deep).ends_with("character 65: expected less nesting, got '('"));
}

#[test]
fn columns_that_are_not_there_are_named_with_the_nearest() {
    let error = |text: &str| match LabelsBuilder::new(&[source(text)], &COLUMNS) {
        Err(error) => error.to_string(),
        Ok(_) => panic!("the column is not there"),
    };
    let hint = |name: &str, nearest: &str| {
        format!("concepts: no column is called '{name}'; did you mean {nearest}? (there are: upos, Number, deprel)")
    };
    assert_eq!(error("UPOS"), hint("UPOS", "upos"));
    assert_eq!(error("upos=X & Nubmer=Plur"), hint("Nubmer", "Number"));
    let bad = ConceptSource::Regex { name: "x".to_owned(), pattern: "(".to_owned() };
    let error = LabelsBuilder::new(&[bad], &COLUMNS).err().expect("the pattern is wrong");
    assert_eq!(error.to_string(), "pattern '(' is not a regular expression");
}

#[test]
fn sources_are_plain_data() {
    let json = r#"[
        {"kind": "column", "column": "upos"},
        {"kind": "column", "column": "upos", "only": ["NOUN"]},
        {"kind": "words", "name": "{a, b}i", "words": ["a", "b"], "fold_case": true},
        {"kind": "regex", "name": "x", "pattern": "(?i)^a"},
        {"kind": "predicate", "name": "upos=A", "expression": "upos=A"}
    ]"#;
    let sources: Vec<ConceptSource> = serde_json::from_str(json).expect("the sources are well-formed");
    let texts = ["upos", "upos: NOUN", "{a, b}i", "x := /^a/i", "upos=A"];
    assert_eq!(sources, texts.map(source));
    let again = serde_json::to_string(&sources).expect("sources are plain data");
    assert_eq!(serde_json::from_str::<Vec<ConceptSource>>(&again).expect("they read back"), sources);
    let unknown = r#"{"kind": "column", "column": "upos", "labels": []}"#;
    let error = serde_json::from_str::<ConceptSource>(unknown).expect_err("unknown fields are refused");
    assert!(error.to_string().contains("unknown field `labels`"), "{error}");
}

#[test]
fn words_have_their_labels_and_their_sentences() {
    let label = |column: &str, value: &str| Label { column: column.into(), value: value.to_owned() };
    let word = crate::sentence::Word { span: 0..2, form: "Hi".to_owned(), labels: vec![label("upos", "INTJ")] };
    let labels = vec![label("upos", "S"), label("genre", "talk")];
    let sentence = Sentence { text: "Hi".to_owned(), words: vec![word], labels, ..Sentence::default() };
    let row = WordRow { sentence: &sentence, word: &sentence.words[0] };
    assert_eq!(
        (row.form(), row.label("upos"), row.label("genre"), row.label("x")),
        ("Hi", Some("INTJ"), Some("talk"), None)
    );
    let row = SentenceRow(&sentence);
    assert_eq!((row.form(), row.label("upos")), ("Hi", Some("S")));
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in prop_oneof!["\\PC{0,30}", "[a-b()&|!=~\"*{}/:, \\\\é]{0,30}"]) {
        let _ = text.parse::<ConceptSource>();
        let _ = Expression::parse(&text);
    }

    #[test]
    fn a_condition_and_its_opposite_divide_the_rows(text in "(!?(upos|Number)(=|!=)(NOUN|Plur|\\*)( [&|] )?){1,4}form~o") {
        if let (Ok(expression), Ok(opposite)) = (Expression::parse(&text), Expression::parse(&format!("!({text})"))) {
            for row in &ROWS {
                prop_assert!(expression.holds(row) != opposite.holds(row));
            }
        }
    }
}
