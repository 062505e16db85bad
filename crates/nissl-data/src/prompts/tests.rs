#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::fs;

use super::*;

fn file(name: &str, text: &str) -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, text).unwrap();
    (folder, path)
}

fn read(path: &Path) -> Prompts {
    read_prompts(path, &PromptOptions::default()).unwrap()
}

fn refused(name: &str, format: &str, text: &str) -> String {
    let (_folder, path) = file(name, text);
    let options = PromptOptions { format: Some(format.to_owned()), ..PromptOptions::default() };
    read_prompts(&path, &options).unwrap_err().to_string()
}

const PAIR: &str = "The boy runs\tsingular\tcorrect\tid1\nThe boy run\tsingular\twrong\tid1\n";

#[test]
fn pairs_of_agreement_differ_in_their_last_word() {
    let (_folder, path) =
        file("simple.txt", &format!("{PAIR}\nThe boys runs\tplural\twrong\t2\nThe boys run\tplural\tcorrect\t2\n"));
    let got = read(&path);
    assert_eq!((got.format, got.skipped), ("agreement", 1));
    let short = |p: &TextPrompt| format!("{}|{}|{}|{}", p.text, p.target, p.foil.as_deref().unwrap(), p.concept);
    let got: Vec<String> = got.prompts.iter().map(short).collect();
    assert_eq!(got, ["The boy|runs|run|singular", "The boys|run|runs|plural"]);
}

#[test]
fn a_pair_with_another_half_is_refused_by_line() {
    let other = "The girl run\tsingular\twrong\tid1\n";
    let err = refused("a.txt", "agreement", &format!("{}{other}", &PAIR[..=PAIR.find('\n').unwrap()]));
    assert!(err.contains("a.txt:2: expected the other half of 'The boy' (id1)"), "{err}");
    let err = refused("a.txt", "agreement", "The boy runs\tsingular\tright\tid1\n");
    assert!(err.contains("a.txt:1: expected correct or wrong"), "{err}");
}

#[test]
fn minimal_pairs_that_share_no_beginning_are_counted() {
    let lines = concat!(
        r#"{"sentence_good": "A b.", "sentence_bad": "A c.", "one_prefix_prefix": "A", "one_prefix_word_good": "b", "one_prefix_word_bad": "c", "UID": "p"}"#,
        "\n",
        r#"{"sentence_good": "A b.", "sentence_bad": "D b.", "UID": "p"}"#,
        "\n"
    );
    let (_folder, path) = file("pairs.jsonl", lines);
    let got = read(&path);
    assert_eq!((got.format, got.skipped, got.prompts.len()), ("blimp", 1, 1));
    assert_eq!(got.prompts[0].foil.as_deref(), Some("c"));
}

#[test]
fn facts_are_asked_for_in_every_way_as_far_as_wanted() {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in [
        ("patterns/P19.jsonl", "{\"pattern\": \"[X] was born in [Y].\"}\n{\"pattern\": \"[Y] bore [X].\"}\n\n"),
        ("patterns/P5.jsonl", "{\"pattern\": \"[X] is [Y]\"}\n"),
        (
            "trex/P19.jsonl",
            "{\"sub_label\": \"Ann\", \"obj_label\": \"Rome\"}\n{\"sub_label\": \"Bo\", \"obj_label\": \"Ulm\"}\n",
        ),
        ("trex/P5.jsonl", "{\"sub_label\": \"A\", \"obj_label\": \"B\", \"uuid\": \"1\"}\n"),
    ] {
        fs::create_dir_all(folder.path().join(name).parent().unwrap()).unwrap();
        fs::write(folder.path().join(name), text).unwrap();
    }
    let got = read(folder.path());
    let texts: Vec<&str> = got.prompts.iter().map(|prompt| prompt.text.as_str()).collect();
    let born = ["Ann was born in [MASK].", "[MASK] bore Ann.", "Bo was born in [MASK].", "[MASK] bore Bo."];
    assert_eq!(texts[1..], born, "relations come in the order of their numbers");
    assert_eq!((texts[0], got.skipped, got.prompts[1].concept.as_str()), ("A is [MASK]", 1, "P19 Ann > Rome"));
    let options =
        PromptOptions { only: vec!["P19".to_owned()], concepts: Some(1), each: Some(1), ..PromptOptions::default() };
    assert_eq!(read_prompts(folder.path(), &options).unwrap().prompts, got.prompts[1..2]);
}

#[test]
fn own_prompts_are_objects_and_what_is_wrong_is_named() {
    let line = r#"{"text": "The capital of France is", "target": "Paris", "foil": "Rome", "concept": "France"}"#;
    let (_folder, path) = file("own.jsonl", line);
    assert_eq!(read(&path).prompts[0].concept, "France");
    let err = refused("own.jsonl", "jsonl", "{\"text\": \"a\", \"targets\": \"b\"}");
    assert!(err.contains("own.jsonl:1") && err.contains("unknown field `targets`"), "{err}");
    let err = refused("own.jsonl", "blip", "");
    assert!(err.contains("did you mean blimp?"), "{err}");
    let (_folder, path) = file("x.txt", "just a text\n");
    let err = read_prompts(&path, &PromptOptions::default()).unwrap_err().to_string();
    assert!(err.contains("pararel, blimp, jsonl, agreement, professions, winobias"), "{err}");
}

#[test]
fn professions_are_asked_for_against_their_stereotype() {
    let list = r#"[["nurse", -0.1, -0.9], ["actress", -1.0, 0.0], ["fire_chief", 0.0, 0.5], ["aide", 0.2, 0.0]]"#;
    let (_folder, path) = file("professions.json", list);
    let got = read(&path);
    assert_eq!((got.format, got.prompts.len(), got.skipped), ("professions", 34, 2));
    let want = |text: &str, (target, foil, other): (&str, &str, &str), concept: &str| TextPrompt {
        text: text.to_owned(),
        target: target.to_owned(),
        foil: Some(foil.to_owned()),
        other: Some(other.to_owned()),
        concept: concept.to_owned(),
    };
    assert_eq!(got.prompts[0], want("The nurse said that", ("he", "she", "The man said that"), "nurse"));
    let chief = ("she", "he", "The woman yelled because");
    assert_eq!(got.prompts[33], want("The fire chief yelled because", chief, "fire chief"));
    let err = refused("p.json", "professions", "[[\"nurse\", 1],\n [\"x\"]]");
    assert!(err.contains("p.json:1: expected a list of [profession"), "{err}");
    assert!(refused("p.json", "professions", "").contains("expected a list"));
    assert!(refused("p.json", "professions", "[[\"nurse\", 1, null]]").contains("expected a list"));
}

#[test]
fn sentences_of_winobias_end_before_their_pronoun() {
    let lines = "1 [The developer] argued with the designer because [she] did not like it.\n\n\
                 2 The mechanic gave [the clerk] a present and wished [her] happy birthday.\n\
                 3 The baker thanked [the cook] and asked [her] for help.\n\
                 4 Because [he] was late, [the cook] ran.\n";
    let (_folder, path) = file("anti.txt.dev", lines);
    let got = read(&path);
    assert_eq!((got.format, got.prompts.len(), got.skipped), ("winobias", 3, 2));
    let short = |p: &TextPrompt| {
        format!("{}|{}|{}|{}", p.target, p.foil.as_deref().unwrap(), p.concept, p.other.as_deref().unwrap())
    };
    let got: Vec<String> = got.prompts.iter().map(short).collect();
    assert_eq!(got[0], "she|he|developer|The woman argued with the designer because");
    assert_eq!(got[1], "her|his|clerk|The mechanic gave the woman a present and wished");
    assert_eq!(got[2], "her|him|cook|The baker thanked the woman and asked");
    for (line, want) in
        [("1 no brackets", "two pairs of brackets"), ("1 [A] b [they] c", "a pronoun"), ("x [a] [she]", "a number")]
    {
        let err = refused("w.txt", "winobias", line);
        assert!(err.contains("w.txt:1") && err.contains(want), "{err}");
    }
    assert!(refused("w.txt", "winobias", "1 ]a[ [she]").contains("two pairs"));
}
