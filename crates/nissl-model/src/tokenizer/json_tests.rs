#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::PathBuf;

use serde::Deserialize;
use tempfile::TempDir;
use tokenizers::{OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer, PreTokenizerWrapper};

use super::Tokenizer;
use super::byte_level::CUTS;

fn golden() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/tokenizers/older")
}

/// Text, tokens, offsets; none where the reference has none.
type Case = (String, Vec<u32>, Option<Vec<(usize, usize)>>);

const KINDS: &[&str] = &[
    "bert",
    "bert-cased",
    "mpnet",
    "gpt2",
    "gpt2-space",
    "roberta",
    "qwen2",
    "llama",
    "unigram-bytes",
    "characters",
    "t5",
    "xlm-roberta",
    "albert",
    "deberta-v2",
    "xlnet",
    "camembert",
    "mbart",
    "mbart50",
    "gemma",
    "marian",
    "byt5",
    "world",
];

#[test]
fn what_a_marian_writes_is_cut_up_and_spelled_by_its_other_model() {
    let tokenizer = Tokenizer::from_folder(&golden().join("marian")).unwrap().unwrap();
    let cases: Vec<(String, Vec<u32>, String)> =
        serde_json::from_slice(&fs::read(golden().join("marian.target.json")).unwrap()).unwrap();
    let mut others = 0;
    for (text, ids, spelled) in cases {
        assert_eq!(tokenizer.target().encode(&text).unwrap().ids, ids, "{text:?}");
        assert_eq!(tokenizer.target().decode(&ids).unwrap().trim(), spelled, "{text:?}");
        others += usize::from(tokenizer.encode(&text).unwrap().ids != ids);
    }
    assert!(others > 20, "the two models are to be different: {others}");
    assert_ne!(tokenizer.digest(), tokenizer.target().digest());
    assert_eq!(tokenizer.token(tokenizer.token_id(">>fra<<").unwrap()).unwrap(), ">>fra<<");
    assert!(tokenizer.to_json().unwrap_err().to_string().contains("no place in tokenizer.json"));
}

#[test]
fn older_files_give_the_tokens_and_offsets_of_the_reference() {
    let mut wrong = Vec::new();
    for kind in KINDS {
        let tokenizer = Tokenizer::from_folder(&golden().join(kind)).unwrap().unwrap();
        let cases: Vec<Case> =
            serde_json::from_slice(&fs::read(golden().join(format!("{kind}.json"))).unwrap()).unwrap();
        assert!(cases.len() > 40, "{kind}");
        for (text, ids, offsets) in cases {
            let got = tokenizer.encode(&text).unwrap();
            let name = |id: &u32| tokenizer.token(*id).unwrap_or_default();
            let names = |ids: &[u32]| ids.iter().map(name).collect::<Vec<_>>();
            if got.ids != ids {
                wrong.push(format!("{kind}: {text:?}:\n   got {:?}\n  want {:?}", names(&got.ids), names(&ids)));
            } else if let Some(want) = offsets {
                let want: Vec<Range<usize>> = want.iter().map(|&(start, end)| start..end).collect();
                if got.offsets != want {
                    wrong.push(format!("{kind}: {text:?}:\n   got {:?}\n  want {want:?}", got.offsets));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn texts_in_the_longest_tokens_come_back_whole() {
    let tokenizer = Tokenizer::from_folder(&golden().join("world")).unwrap().unwrap();
    let cases: Vec<Case> = serde_json::from_slice(&fs::read(golden().join("world.json")).unwrap()).unwrap();
    for (text, _, _) in cases {
        let got = tokenizer.encode(&text).unwrap();
        assert_eq!(tokenizer.decode(&got.ids).unwrap(), text);
    }
    let got = tokenizer.encode("神 cell").unwrap();
    assert_eq!(got.offsets, [0..3, 4..8]);
    assert_eq!(tokenizer.decode(&[0]).unwrap(), "");
    assert_eq!(tokenizer.token(0).as_deref(), Some("<|endoftext|>"));
    assert!(tokenizer.to_json().unwrap_err().to_string().contains("no place in tokenizer.json"));
}

#[test]
fn a_world_vocabulary_that_is_wrong_is_refused_by_its_line() {
    let whole = fs::read_to_string(golden().join("world/rwkv_vocab_small.txt")).unwrap();
    let said = |old: &str, new: &str| {
        let folder = TempDir::new().unwrap();
        assert!(whole.contains(old), "{old}");
        fs::write(folder.path().join("rwkv_vocab_v1.txt"), whole.replacen(old, new, 1)).unwrap();
        Tokenizer::from_folder(folder.path()).unwrap_err().to_string()
    };
    for (old, new, expected) in [
        ("\n34 '!' 1\n", "\n34 '!' 2\n", "line 34: expected a number, a Python literal and its length"),
        ("\n34 '!' 1\n", "\n34 '!\\q' 3\n", "line 34: expected a number, a Python literal"),
        ("\n34 '!' 1\n", "\n34 exit() 6\n", "line 34: expected a number, a Python literal"),
        ("\n34 '!' 1\n", "\n33 '!' 1\n", "line 34: expected a number that no line before has"),
        ("\n34 '!' 1\n", "\n0 '!' 1\n", "line 34: expected a number from 1 to"),
        ("\n34 '!' 1\n", "\n4000000000 '!' 1\n", "line 34: expected a number from 1 to"),
        ("\n34 '!' 1\n", "\n", "expected one for every byte, got none for 0x21"),
        ("\n34 '!' 1\n", "\n34 '' 0\n", "line 34: expected a number, a Python literal"),
    ] {
        let said = said(old, new);
        assert!(said.contains(expected), "{said}: expected {expected}");
    }
}

#[derive(Deserialize)]
struct Cuts {
    texts: Vec<String>,
    #[serde(flatten)]
    pieces: BTreeMap<String, Vec<Vec<(usize, usize)>>>,
}

#[test]
fn texts_are_cut_up_as_the_references_cut_them() {
    let cuts: Cuts = serde_json::from_slice(&fs::read(golden().join("cuts.json")).unwrap()).unwrap();
    assert!(cuts.pieces.len() >= 8);
    for (name, pieces) in &cuts.pieces {
        let cut = CUTS.iter().find(|cut| cut.names.contains(&name.as_str())).unwrap();
        let cutter: PreTokenizerWrapper = serde_json::from_value(cut.pre_tokenizer(false)).unwrap();
        for (text, want) in cuts.texts.iter().zip(pieces) {
            let mut pieces = PreTokenizedString::from(text.as_str());
            cutter.pre_tokenize(&mut pieces).unwrap();
            let got = pieces.get_splits(OffsetReferential::Original, OffsetType::Char);
            let got: Vec<(usize, usize)> = got.into_iter().map(|(_, span, _)| span).collect();
            assert_eq!(got, *want, "{name}: {text:?}");
        }
    }
}

/// A folder of files with these texts.
fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = TempDir::new().unwrap();
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

fn ids(files: &[(&str, &str)], text: &str) -> Vec<u32> {
    Tokenizer::from_folder(folder(files).path()).unwrap().unwrap().encode(text).unwrap().ids
}

#[test]
fn files_that_are_no_tokenizer_are_refused_with_what_is_wrong() {
    let vocab = ("vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\na\n");
    let json = ("vocab.json", r#"{"a": 0, "b": 1, "ab": 2, "<|endoftext|>": 3}"#);
    let merges = ("merges.txt", "#version: 0.2\na b\n");
    let cases: &[(&[(&str, &str)], &str)] = &[
        (&[("vocab.txt", "a\nb")], "field unk_token: expected a token of the vocabulary, got [UNK]"),
        (&[("vocab.txt", "")], "field unk_token: expected a token of the vocabulary, got [UNK]"),
        (&[("vocab.txt", "[UNK]\n[CLS]")], "field sep_token: expected a token of the vocabulary, got [SEP]"),
        (&[vocab, ("config.json", r#"{"model_type": "roformer"}"#)], "config.json: field model_type: expected bert,"),
        (
            &[vocab, ("tokenizer_config.json", r#"{"tokenizer_class": "PhobertTokenizer"}"#)],
            "tokenizer_class: expected BertTokenizer, DistilBertTokenizer",
        ),
        (
            &[vocab, ("tokenizer_config.json", r#"{"do_basic_tokenize": false}"#)],
            "do_basic_tokenize: expected true (nothing else yet), got false",
        ),
        (&[vocab, ("tokenizer_config.json", r#"{"do_lower_case": "no"}"#)], "do_lower_case: expected true or false"),
        (&[vocab, ("special_tokens_map.json", r#"{"cls_token": "x"}"#)], "special_tokens_map.json: field cls_token"),
        (&[vocab, ("special_tokens_map.json", "[]")], "special_tokens_map.json: invalid type"),
        (&[json, ("merges.txt", "a b c\n")], "merges.txt: line 1: expected tokens of the vocabulary"),
        (&[json, ("merges.txt", "#version: 0.2\n\na b\nb a\n")], "line 4: expected tokens of the vocabulary"),
        (&[json, ("merges.txt", "ab\n")], "line 1: expected two tokens with a space between them, got 'ab'"),
        (&[("vocab.json", "{\"a\": -1}"), merges], "vocab.json: invalid value: integer `-1`"),
        (&[json, merges, ("config.json", r#"{"model_type": "clip"}"#)], "model_type: expected gpt2,"),
        (&[json, merges, ("added_tokens.json", r#"{"x": "y"}"#)], "added_tokens.json: invalid type"),
        (
            &[("tokenizer_config.json", r#"{"tokenizer_class": "ByT5Tokenizer", "extra_ids": 99999999}"#)],
            "extra_ids: expected at most 65536, got 99999999",
        ),
    ];
    for (files, expected) in cases {
        let message = Tokenizer::from_folder(folder(files).path()).unwrap_err().to_string();
        assert!(message.contains(expected), "{expected}: {message}");
    }
}

#[test]
fn bytes_that_are_no_utf_8_are_refused() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("vocab.txt"), b"[UNK]\n\xff\n").unwrap();
    let message = Tokenizer::from_folder(folder.path()).unwrap_err().to_string();
    assert!(message.contains("vocab.txt: stream did not contain valid UTF-8"), "{message}");
}

#[test]
fn a_token_that_comes_twice_has_its_last_number() {
    let files = [("vocab.txt", "[UNK]\n[CLS]\n[SEP]\nthe\ncell\nthe\n")];
    assert_eq!(ids(&files, "the cell"), [1, 5, 4, 2]);
}

#[test]
fn added_tokens_have_the_numbers_that_the_files_give_them() {
    let vocab = ("vocab.txt", "[UNK]\n[CLS]\n[SEP]\na\n");
    let added = ("added_tokens.json", r#"{"[ent]": 9, "New": 12}"#);
    let special = ("special_tokens_map.json", r#"{"additional_special_tokens": ["[ent]"]}"#);
    let folder = folder(&[vocab, added, special]);
    let encoding = Tokenizer::from_folder(folder.path()).unwrap().unwrap().encode("a[ent]newa").unwrap();
    assert_eq!(encoding.ids, [1, 3, 9, 12, 3, 2]);
    assert_eq!(encoding.offsets, [0..0, 0..1, 1..6, 6..9, 9..10, 0..0]);
}

#[test]
fn a_vocabulary_with_every_byte_is_one_of_bytes() {
    let tokens: BTreeMap<String, u32> = (0..=255).map(|byte| (format!("<0x{byte:02X}>"), 255 - byte)).collect();
    let files = folder(&[("vocab.json", &serde_json::to_string(&tokens).unwrap())]);
    let tokenizer = Tokenizer::from_folder(files.path()).unwrap().unwrap();
    let encoding = tokenizer.encode("a<é\0").unwrap();
    assert_eq!(encoding.ids, [b'a', b'<', 0xc3, 0xa9, 0].map(|byte| 255 - u32::from(byte)));
    assert_eq!(encoding.offsets, [0..1, 1..2, 2..4, 2..4, 4..5]);
    assert_eq!(tokenizer.decode(&encoding.ids).unwrap(), "a<é\0");
}

#[test]
fn the_characters_of_a_rule_are_written_down_as_a_vocabulary() {
    // The rule of a small model: tab 0, newline 1, then from the space on, without the capital letters' second half.
    let rule = |c: char| match c {
        '\t' => Some(0),
        '\n' => Some(1),
        ' '..='Z' => Some(c as u32 - 30),
        'a'..='z' => Some(c as u32 - 31),
        _ => None,
    };
    let all: BTreeMap<String, u32> =
        (0..128u8).filter_map(|c| Some((char::from(c).to_string(), rule(c.into())?))).collect();
    let json = serde_json::to_string(&all).unwrap();
    assert_eq!(ids(&[("vocab.json", &json)], "To be, ^ or\n"), [54, 80, 2, 67, 70, 14, 2, 2, 80, 83, 1]);
}
