#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::tokenizer::Tokenizer;

fn golden(kind: &str, name: &str) -> Vec<u8> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/tokenizers/older");
    fs::read(folder.join(kind).join(name)).unwrap()
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value > 127 {
        bytes.push(value as u8 | 128);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

fn number(field: u64, value: u64) -> Vec<u8> {
    [varint(field << 3), varint(value)].concat()
}

fn message(field: u64, bytes: &[u8]) -> Vec<u8> {
    [varint(field << 3 | 2), varint(bytes.len() as u64), bytes.to_vec()].concat()
}

fn piece(text: &[u8], score: f32, kind: u64) -> Vec<u8> {
    let score = [varint(2 << 3 | 5), score.to_le_bytes().to_vec()].concat();
    message(1, &[message(1, text), score, number(3, kind)].concat())
}

const SMALL: [(&str, f32, u64); 3] = [("<unk>", 0.0, 2), ("<s>", 0.0, 3), ("</s>", 0.0, 3)];

/// A model of pieces, and what is said of training and normalization.
fn model(pieces: &[(&str, f32, u64)], trainer: &[u8], normalizer: &[u8]) -> Vec<u8> {
    let pieces = pieces.iter().flat_map(|(text, score, kind)| piece(text.as_bytes(), *score, *kind));
    [pieces.collect(), message(2, trainer), message(3, normalizer)].concat()
}

/// Opens bytes as a folder's tokenizer, with settings.
fn open(bytes: &[u8], settings: &str) -> Result<Tokenizer, LoadError> {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("tokenizer.model"), bytes).unwrap();
    fs::write(folder.path().join("tokenizer_config.json"), settings).unwrap();
    Tokenizer::from_folder(folder.path()).map(Option::unwrap)
}

fn refusal(bytes: &[u8], settings: &str) -> String {
    open(bytes, settings).unwrap_err().to_string()
}

/// Rules: a trie of these numbers, and texts.
fn rules(trie: &[u32], texts: &[u8]) -> Vec<u8> {
    let trie: Vec<u8> = trie.iter().flat_map(|unit| unit.to_le_bytes()).collect();
    message(2, &[&(trie.len() as u32).to_le_bytes()[..], &trie, texts].concat())
}

#[test]
fn a_hostile_file_is_refused_with_what_is_wrong() {
    let small = |trainer: &[u8], normalizer: &[u8]| model(&SMALL, trainer, normalizer);
    let with = |piece: &[u8]| [small(&[], &[]), piece.to_vec()].concat();
    let mut trie = vec![0u32; 256];
    trie[0] = 1 << 10;
    let far = {
        let mut trie = trie.clone();
        trie[0] = 4096 << 10;
        trie
    };
    // From the root to `a`, whose text begins behind all texts.
    let text = {
        let mut trie = trie.clone();
        trie[1 ^ 0x61] = 0x61 | 1 << 8 | 2 << 10;
        trie[1 ^ 0x61 ^ 2] = 1 << 31 | 9;
        trie
    };
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("empty", vec![], "sentencepiece model: expected pieces, got none: is it a file of another format?"),
        ("text", b"IQ== 0\nIg== 1\n".to_vec(), "sentencepiece model: expected pieces, got none"),
        ("cut off", golden("llama", "tokenizer.model")[..5000].to_vec(), "sentencepiece model: expected at most "),
        ("a number without end", vec![0xff; 11], "a number of at most ten bytes, got a longer one"),
        ("a group", vec![0x0b], "a field of protobuf (wire type 0, 1, 2 or 5), got type 3"),
        ("16 EB", [vec![0x0a], varint(u64::MAX)].concat(), "at most 0 bytes in field 1, got 18446744073709551615"),
        ("a piece that is a number", number(1, 7), "a message in field 1, got a number"),
        ("a field over the end", message(1, &[0x0a, 9, 97]), "piece: expected at most 1 bytes in field 1, got 9"),
        ("no UTF-8", with(&piece(&[0xff], 0.0, 1)), "piece: expected text in UTF-8"),
        ("no text", with(&piece(b"", 0.0, 1)), "piece: expected a text, got none"),
        ("a long piece", with(&piece(&[97; 3000], 0.0, 1)), "piece: expected at most 2048 bytes, got 3000"),
        ("no number", with(&piece(b"a", f32::NAN, 1)), "piece: expected a finite score for 'a', got NaN"),
        ("a type of none", with(&piece(b"a", 0.0, 7)), "piece: expected a type from 1 to 6, got 7"),
        ("twice", with(&piece(b"<s>", 0.0, 1)), "piece 3: expected another text than that of piece 1, got '<s>' again"),
        ("two unknown", with(&piece(b"a", 0.0, 2)), "pieces: expected one unknown piece, got 2 of 4"),
        (
            "words",
            small(&number(3, 3), &[]),
            "trainer_spec: expected pieces by unigram, BPE or characters, got by words",
        ),
        ("a type of none", small(&number(3, 9), &[]), "trainer_spec: expected model_type 1, 2 or 4, got 9"),
        ("suffixes", small(&number(24, 1), &[]), "expected the mark of a space at the start of a piece"),
        ("no bytes", small(&number(35, 1), &[]), "pieces: expected a piece for every byte, got none for <0x00>"),
        ("no trie", small(&[], &message(2, &[1, 0])), "precompiled_charsmap: expected a trie and texts, got 2 bytes"),
        ("a trie of 4 GB", small(&[], &message(2, &[0xff; 8])), "precompiled_charsmap: expected a trie and texts"),
        (
            "a trie that leads away",
            small(&[], &rules(&far, b"")),
            "a trie that leads nowhere else, got place 4096 of 256",
        ),
        ("a small trie", small(&[], &rules(&[0; 8], b"")), "a trie that leads nowhere else, got place 0 of 8"),
        ("a text behind all", small(&[], &rules(&text, b"b\0")), "texts within the texts, got byte 9 of 2"),
        ("texts of bytes", small(&[], &rules(&trie, &[0xff])), "precompiled_charsmap: expected texts in UTF-8"),
    ];
    for (what, bytes, expected) in cases {
        let message = refusal(&bytes, "{}");
        assert!(message.contains(expected), "{what}: {message}");
    }
}

#[test]
fn settings_that_do_not_fit_are_refused_by_name() {
    let small = model(&SMALL, &[], &[]);
    let cases = [
        (
            r#"{"tokenizer_class": "PegasusTokenizer"}"#,
            "tokenizer_class: expected LlamaTokenizer, CodeLlamaTokenizer, GemmaTok",
        ),
        (r#"{"tokenizer_class": 7}"#, "tokenizer_class: expected a text, got 7"),
        (r#"{"tokenizer_class": "AlbertTokenizer"}"#, "field cls_token: expected a token of the vocabulary, got [CLS]"),
        (r#"{"tokenizer_class": "T5Tokenizer", "extra_ids": 1e9}"#, "extra_ids: expected a whole number"),
        (
            r#"{"tokenizer_class": "T5Tokenizer", "extra_ids": 99999999}"#,
            "extra_ids: expected at most 65536, got 99999999",
        ),
        (r#"{"added_tokens_decoder": {"99": {"content": "x"}}}"#, "pieces: expected numbers without gaps"),
        (
            r#"{"added_tokens_decoder": {"-1": {"content": "x"}}}"#,
            "added_tokens_decoder: expected numbers of tokens, got -1",
        ),
        (
            r#"{"added_tokens_decoder": {"0": {"content": 5}}}"#,
            "added_tokens_decoder: expected a token, got {\"content\":5}",
        ),
        (r#"{"added_tokens_decoder": {"0": {"content": "x"}}}"#, "expected the unknown piece among the tokens"),
        (r#"{"split_by_punct": true}"#, "split_by_punct: expected false (nothing else yet), got true"),
        (r#"{"bos_token": ["<s>"]}"#, "bos_token: expected a token, got [\"<s>\"]"),
        (r#"{"add_bos_token": true, "bos_token": "<t>"}"#, "bos_token: expected a token of the vocabulary, got <t>"),
        (r#"{"add_bos_token": true, "bos_token": null}"#, "bos_token: expected a token of the vocabulary, got none"),
        ("[", "tokenizer_config.json: invalid type: sequence"),
    ];
    for (settings, expected) in cases {
        let message = refusal(&small, settings);
        assert!(message.contains(expected), "{settings}: {message}");
    }
    let first = [("<s>", 0.0, 3), ("<unk>", 0.0, 2), ("</s>", 0.0, 3)];
    let message = refusal(&model(&first, &[], &[]), r#"{"tokenizer_class": "XLMRobertaTokenizerFast"}"#);
    assert!(
        message.contains("pieces: expected <unk>, <s>, </s> first, got [\"<s>\", \"<unk>\", \"</s>\"]"),
        "{message}"
    );
}

#[test]
fn two_models_in_a_folder_are_not_guessed_at() {
    let folder = TempDir::new().unwrap();
    for name in ["source.spm", "target.spm"] {
        fs::write(folder.path().join(name), model(&SMALL, &[], &[])).unwrap();
    }
    let message = Tokenizer::from_folder(folder.path()).unwrap_err().to_string();
    assert!(message.contains("expected one .spm file") && message.ends_with("got 2 .spm files"), "{message}");
    for (vocabulary, expected) in [
        ("{}", "vocab.json: tokens: expected '</s>' among them, got 0 others"),
        (r#"{"</s>": 0, "<pad>": 1}"#, "expected '<unk>' among them, got 2 others"),
        (r#"{"</s>": -1}"#, "vocab.json: invalid value"),
        ("[", "vocab.json: "),
    ] {
        fs::write(folder.path().join("vocab.json"), vocabulary).unwrap();
        fs::write(folder.path().join("config.json"), r#"{"model_type": "marian"}"#).unwrap();
        let message = Tokenizer::from_folder(folder.path()).unwrap_err().to_string();
        assert!(message.contains(expected), "{vocabulary}: {message}");
    }
    for name in ["source.spm", "vocab.json", "config.json"] {
        fs::remove_file(folder.path().join(name)).unwrap();
    }
    assert_eq!(Tokenizer::from_folder(folder.path()).unwrap().unwrap().vocab_size(), 3);
}

#[test]
fn pieces_that_are_made_to_have_endless_merges_are_refused() {
    let texts: Vec<String> = (1..=256).map(|n| "a".repeat(n)).collect();
    let mut pieces: Vec<(&str, f32, u64)> = SMALL.to_vec();
    pieces.extend(texts.iter().map(|text| (text.as_str(), 0.0, 1)));
    let message = refusal(&model(&pieces, &number(3, 2), &[]), "{}");
    assert!(message.contains("pieces: expected pieces made of few others, got of many"), "{message}");
}

#[test]
fn characters_keep_their_places_behind_one_that_is_removed() {
    let tokenizer = open(&golden("t5", "spiece.model"), "{}").unwrap();
    let text = "\u{1}the\u{7} cell";
    let encoding = tokenizer.encode(text).unwrap();
    let shown: Vec<&str> = encoding.offsets.iter().map(|range| &text[range.clone()]).collect();
    assert_eq!(shown, ["\u{1}the", "cell"]);
}

#[test]
fn only_the_first_part_of_a_text_gets_a_space_where_the_settings_say_so() {
    let model = golden("llama", "tokenizer.model");
    let tokens = |settings: &str| {
        let tokenizer = open(&model, settings).unwrap();
        let ids = tokenizer.encode("a</s>a").unwrap().ids;
        ids.iter().map(|&id| tokenizer.token(id).unwrap()).collect::<Vec<_>>()
    };
    let class = r#"{"tokenizer_class": "LlamaTokenizer""#;
    assert_eq!(tokens(&format!("{class}}}")), ["<s>", "▁a", "</s>", "▁a"]);
    assert_eq!(tokens(&format!(r#"{class}, "legacy": false}}"#)), ["<s>", "▁a", "</s>", "a"]);
    assert_eq!(tokens(&format!(r#"{class}, "add_prefix_space": false}}"#)), ["<s>", "a", "</s>", "a"]);
    assert_eq!(
        tokens(&format!(r#"{class}, "add_bos_token": false, "add_eos_token": true}}"#)),
        ["▁a", "</s>", "▁a", "</s>"]
    );
}

#[test]
fn a_symbol_of_the_user_is_one_token_wherever_it_stands() {
    let pieces = [SMALL[0], ("▁", -1.0, 1), ("x", -2.0, 1), ("▁x", -3.0, 1), ("xyx", 0.0, 4)];
    let tokenizer = open(&model(&pieces, &[], &[]), "{}").unwrap();
    let encoding = tokenizer.encode("x xyx").unwrap();
    assert_eq!((encoding.ids, encoding.special), (vec![3, 4], vec![false; 2]));
}

/// Reads bytes as a model of any convention, and encodes with it if it is one.
fn try_bytes(bytes: &[u8]) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("tokenizer.model");
    fs::write(&path, bytes).unwrap();
    if ModelProto::read(Path::new("x"), bytes).is_err() {
        return;
    }
    for class in CONVENTIONS.iter().flat_map(|convention| convention.classes) {
        fs::write(folder.path().join("tokenizer_config.json"), format!(r#"{{"tokenizer_class": "{class}"}}"#)).unwrap();
        if let Ok(Some(tokenizer)) = Tokenizer::from_folder(folder.path()) {
            for text in ["", "The cell  keeps\tﬁne \u{1}神", "e\u{301}<s> x"] {
                let encoding = tokenizer.encode(text).unwrap();
                assert!(encoding.offsets.iter().all(|range| text.get(range.clone()).is_some()));
                tokenizer.decode(&encoding.ids).unwrap();
            }
        }
    }
}

fn damaged(kind: &str, name: &str) -> impl Strategy<Value = Vec<u8>> {
    let bytes = golden(kind, name);
    let changes = proptest::collection::vec((0..bytes.len(), any::<u8>()), 1..4);
    let cut = prop_oneof![4 => Just(bytes.len()), 1 => 0..bytes.len()];
    (changes, cut).prop_map(move |(changes, cut)| {
        let mut bytes = bytes.clone();
        for (at, byte) in changes {
            bytes[at] = byte;
        }
        bytes.truncate(cut);
        bytes
    })
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        try_bytes(&bytes);
        try_bytes(&[model(&SMALL, &[], &[]), bytes].concat());
    }

    #[test]
    fn no_damage_to_a_file_makes_the_reader_panic(
        bytes in prop_oneof![
            damaged("llama", "tokenizer.model"),
            damaged("t5", "spiece.model"),
            damaged("characters", "any.spm"),
            damaged("unigram-bytes", "tokenizer.model"),
        ],
    ) {
        try_bytes(&bytes);
    }

    #[test]
    fn no_rules_make_the_reader_panic(trie in proptest::collection::vec(any::<u32>(), 256..600), text in "[a-z\0]{0,9}") {
        // Mostly places within the trie.
        let trie: Vec<u32> = trie.iter().map(|unit| unit & 0x8003_ffff).collect();
        try_bytes(&model(&SMALL, &[], &rules(&trie, text.as_bytes())));
    }
}
