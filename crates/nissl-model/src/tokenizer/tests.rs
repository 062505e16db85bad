#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::path::PathBuf;
use std::sync::LazyLock;

use proptest::prelude::*;
use serde::Deserialize;
use tempfile::TempDir;

use super::*;

const KINDS: [&str; 3] = ["wordpiece", "bytelevel", "metaspace"];

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/tokenizers")
}

fn tokenizer(kind: &str) -> Tokenizer {
    Tokenizer::from_folder(&golden().join(kind)).unwrap().unwrap()
}

#[derive(Deserialize)]
struct Case {
    text: String,
    ids: Vec<u32>,
    tokens: Vec<String>,
    special: Vec<bool>,
    offsets: Vec<(usize, usize)>,
    decoded: String,
}

fn cases(kind: &str) -> Vec<Case> {
    let text = fs::read_to_string(golden().join("expected.json")).unwrap();
    let mut all: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&text).unwrap();
    serde_json::from_value(all.remove(kind).unwrap()).unwrap()
}

#[test]
fn tokens_offsets_and_text_equal_the_reference() {
    for kind in KINDS {
        let tokenizer = tokenizer(kind);
        for case in cases(kind) {
            let got = tokenizer.encode(&case.text).unwrap();
            let offsets: Vec<Range<usize>> = case.offsets.iter().map(|&(start, end)| start..end).collect();
            let want = Encoding { ids: case.ids.clone(), offsets, special: case.special };
            assert_eq!(got, want, "{kind}: {:?}", case.text);
            assert_eq!(tokenizer.decode(&got.ids).unwrap(), case.decoded, "{kind}");
            let tokens: Vec<String> = got.ids.iter().map(|&id| tokenizer.token(id).unwrap()).collect();
            assert_eq!(tokens, case.tokens, "{kind}");
        }
    }
}

#[test]
fn truncation_and_padding_of_the_file_are_switched_off() {
    for kind in KINDS {
        let file = fs::read_to_string(golden().join(kind).join("tokenizer.json")).unwrap();
        assert!(file.contains("\"truncation\":{") && file.contains("\"padding\":{"), "{kind}");
        let tokenizer = tokenizer(kind);
        let (short, long) = (tokenizer.encode("the").unwrap(), tokenizer.encode(&"the cell ".repeat(300)).unwrap());
        assert!(short.len() < 9 && long.len() >= 600, "{kind}: {} and {}", short.len(), long.len());
    }
}

#[test]
fn a_text_is_its_plain_tokens_between_prefix_and_suffix() {
    let around = [("wordpiece", vec![2], vec![3]), ("bytelevel", vec![], vec![]), ("metaspace", vec![1], vec![])];
    for (kind, prefix, suffix) in around {
        let tokenizer = tokenizer(kind);
        assert_eq!((tokenizer.special_prefix(), tokenizer.special_suffix()), (&prefix[..], &suffix[..]), "{kind}");
        for case in cases(kind) {
            let plain = tokenizer.encode_plain(&case.text).unwrap();
            let joined = [&prefix[..], &plain.ids, &suffix].concat();
            assert_eq!(joined, tokenizer.encode(&case.text).unwrap().ids, "{kind}: {:?}", case.text);
            assert!(!plain.special.contains(&true), "{kind}: {:?}", case.text);
        }
    }
}

#[test]
fn ranges_leave_out_the_space_before_a_word_and_keep_characters_whole() {
    let tokenizer = tokenizer("bytelevel");
    let text = "the grains, é!";
    let encoding = tokenizer.encode(text).unwrap();
    let pieces: Vec<&str> = encoding.offsets.iter().map(|range| &text[range.clone()]).collect();
    assert_eq!(pieces.last(), Some(&"!"));
    assert_eq!(pieces.iter().filter(|piece| **piece == "é").count(), 2);
    assert!(pieces.contains(&"grains") && tokenizer.token_id("Ġgrains").is_some());
}

#[test]
fn a_token_is_shown_as_people_read_it() {
    let shown = |kind: &str, token: &str| {
        let tokenizer = tokenizer(kind);
        tokenizer.token_text(tokenizer.token_id(token).unwrap()).unwrap()
    };
    assert_eq!(shown("bytelevel", "Ġgrains"), " grains");
    assert_eq!(shown("bytelevel", "©"), "©");
    assert_eq!(shown("wordpiece", "##ing"), "##ing");
    assert_eq!(shown("wordpiece", "[CLS]"), "[CLS]");
    assert_eq!(shown("metaspace", "▁grains"), "grains");
    assert_eq!(shown("metaspace", "<0xC3>"), "<0xC3>");
    assert_eq!(tokenizer("wordpiece").token_text(1_000_000), None);
}

#[test]
fn a_batch_equals_its_texts_one_by_one() {
    let tokenizer = tokenizer("wordpiece");
    let cases = cases("wordpiece");
    let texts: Vec<&String> = cases.iter().map(|case| &case.text).cycle().take(100).collect();
    let one_by_one: Vec<Encoding> = texts.iter().map(|text| tokenizer.encode(text).unwrap()).collect();
    assert_eq!(tokenizer.encode_batch(&texts).unwrap(), one_by_one);
}

#[test]
fn a_file_that_is_no_tokenizer_is_named() {
    let folder = TempDir::new().unwrap();
    assert!(Tokenizer::from_folder(folder.path()).unwrap().is_none());
    for text in ["", "{}", "[1]", r#"{"version":"1.0","model":{"type":"BPE"}}"#] {
        fs::write(folder.path().join("tokenizer.json"), text).unwrap();
        let error = Tokenizer::from_folder(folder.path()).unwrap_err();
        assert!(matches!(error, LoadError::Tokenizer { .. }), "{text}: {error}");
        assert!(error.to_string().contains("tokenizer.json: "), "{text}: {error}");
    }
}

#[test]
fn a_file_that_the_library_would_trip_over_is_refused() {
    let bpe =
        |vocab: &str, merges: &str| format!(r#"{{"model": {{"type": "BPE", "vocab": {vocab}, "merges": {merges}}}}}"#);
    let unigram = |vocab: &str| format!(r#"{{"model": {{"type": "Unigram", "unk_id": 0, "vocab": {vocab}}}}}"#);
    let rules = |text: &str| {
        format!(
            r#"{{"normalizer": {{"type": "Sequence", "normalizers": [{{"type": "Precompiled", "precompiled_charsmap": "{text}"}}]}}}}"#
        )
    };
    let long = format!(r#"[["<unk>", 0.0], ["{}", 0.0]]"#, "a".repeat(100_000));
    let cases = [
        (
            bpe(r#"{"a": 0, "b": 1}"#, r#"[["a", "b"]]"#),
            "model.merges: expected tokens that make one of at most 1 bytes",
        ),
        (
            bpe(r#"{"a": 0, "b": 1}"#, r#"["a b"]"#),
            "model.merges: expected tokens that make one of at most 1 bytes, got one of 2",
        ),
        (unigram(&long), "model.vocab: expected pieces of at most 2048 bytes, got one of 100000"),
        (rules("BAAAAAAAAAA="), "precompiled_charsmap: expected a trie that leads nowhere else, got place 0 of 1"),
        (rules("/////w=="), "precompiled_charsmap: expected a trie and texts, got 4 bytes"),
    ];
    for (text, expected) in cases {
        let message = Tokenizer::from_bytes(Path::new("tokenizer.json"), text.as_bytes()).unwrap_err().to_string();
        assert!(message.contains(expected), "{expected}: {message}");
    }
}

#[test]
fn bytes_become_text_and_bytes_again() {
    for (bytes, text) in [("", ""), ("M", "TQ=="), ("Ma", "TWE="), ("Man", "TWFu"), ("\u{7f}~?\u{7ff}", "f34/378=")] {
        assert_eq!(charsmap::base64(bytes.as_bytes()), text);
        assert_eq!(charsmap::from_base64(text).unwrap(), bytes.as_bytes());
    }
    assert_eq!(charsmap::from_base64("a-b="), None);
}

#[test]
fn the_digest_and_the_size_are_the_files() {
    let [one, two, _] = KINDS.map(tokenizer);
    assert_eq!(one.digest().len(), 64);
    assert_ne!(one.digest(), two.digest());
    assert_eq!((two.vocab_size(), two.token(329).is_some(), two.token(330)), (330, true, None));
}

proptest! {
    #[test]
    fn every_range_lies_in_the_text_on_character_boundaries(text in "[ \\ta-eT.éü神🧠\u{301}<\\[]{0,12}") {
        static ALL: LazyLock<[Tokenizer; 3]> = LazyLock::new(|| KINDS.map(tokenizer));
        for (kind, tokenizer) in KINDS.iter().zip(&*ALL) {
            let encoding = tokenizer.encode(&text).unwrap();
            prop_assert_eq!(encoding.offsets.len(), encoding.len());
            let mut last = 0;
            for (range, special) in encoding.offsets.iter().zip(&encoding.special) {
                let piece = text.get(range.clone());
                prop_assert!(piece.is_some(), "{}: {:?} of {:?}", kind, range, text);
                prop_assert!(*special || range.start >= last, "{}: {:?} goes back in {:?}", kind, range, text);
                last = last.max(range.start);
                let piece = piece.unwrap();
                prop_assert!(piece.trim() == piece || piece.trim().is_empty(), "{}: {:?}", kind, piece);
            }
        }
    }
}

fn of_vocabulary(json: &str) -> Tokenizer {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("vocab.json"), json).unwrap();
    Tokenizer::from_folder(folder.path()).unwrap().unwrap()
}

#[test]
fn characters_of_a_vocabulary_are_tokens_and_others_are_passed_over() {
    let tokenizer = of_vocabulary(
        r#"{"a":7,"ü":1,"\n":2," ":3,"b":4,"<s>":5,"c":6,"\r":8,"d":9,"e":10,"f":11,"g":12,"h":13,"i":14}"#,
    );
    let encoding = tokenizer.encode("aü xX\r\nb").unwrap();
    assert_eq!(encoding.ids, [7, 1, 3, 8, 2, 4]);
    assert_eq!(encoding.offsets, [0..1, 1..3, 3..4, 6..7, 7..8, 8..9]);
    assert_eq!(tokenizer.decode(&encoding.ids).unwrap(), "aü \r\nb");
    assert_eq!((tokenizer.token_id("<s>"), tokenizer.token_text(3).as_deref()), (Some(5), Some(" ")));
    assert!(tokenizer.encode("").unwrap().is_empty());
}

#[test]
fn words_of_a_vocabulary_stand_between_white_space() {
    let tokenizer = of_vocabulary(r#"{"the":0,"<unk>":1,"cat":2}"#);
    let encoding = tokenizer.encode("the  dog\ncat").unwrap();
    assert_eq!((encoding.ids, encoding.offsets), (vec![0, 1, 2], vec![0..3, 5..8, 9..12]));
}
