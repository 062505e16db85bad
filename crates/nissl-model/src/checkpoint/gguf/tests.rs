#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::fs;

use nissl_core::nearest;
use proptest::prelude::*;

use super::super::testing::{damaged, golden, open_as, read_all, refusal, try_bytes};
use super::super::{Checkpoint, Dtype, Quant, Weight};
use crate::tokenizer::Tokenizer;

/// A file of settings (as bytes) and tensors: name, dimensions, type, offset; then data.
fn file(settings: &[Vec<u8>], tensors: &[(&str, &[u64], u32, u64)], data: usize) -> Vec<u8> {
    let mut bytes = [b"GGUF", &3u32.to_le_bytes()[..]].concat();
    bytes.extend([tensors.len() as u64, settings.len() as u64].map(u64::to_le_bytes).concat());
    bytes.extend(settings.concat());
    for (name, dims, kind, offset) in tensors {
        bytes.extend([&text(name)[..], &(dims.len() as u32).to_le_bytes()].concat());
        bytes.extend(dims.iter().flat_map(|dim| dim.to_le_bytes()));
        bytes.extend([&kind.to_le_bytes()[..], &offset.to_le_bytes()].concat());
    }
    bytes.resize(bytes.len().next_multiple_of(32) + data, 0);
    bytes
}

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat()
}

/// A setting: name, type, value.
fn setting(name: &str, kind: u32, value: &[u8]) -> Vec<u8> {
    [&text(name)[..], &kind.to_le_bytes(), value].concat()
}

fn list(kind: u32, n: u64, items: &[u8]) -> Vec<u8> {
    [&kind.to_le_bytes()[..], &n.to_le_bytes(), items].concat()
}

/// Why a file is refused as a model.
fn model_refusal(bytes: &[u8]) -> String {
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("x.gguf");
    fs::write(&path, bytes).unwrap();
    super::model(&path).map(|_| ()).unwrap_err().to_string()
}

#[test]
fn every_quantized_type_is_decoded_as_the_reference_decodes_it() {
    let expected = Checkpoint::open(&golden("quantized.safetensors")).unwrap();
    let checkpoint = Checkpoint::open(&golden("quantized.gguf")).unwrap();
    assert_eq!(checkpoint.names().collect::<Vec<_>>(), expected.names().collect::<Vec<_>>());
    for name in expected.names() {
        let want = expected.tensor(name).unwrap();
        let want_values = want.to_f32().unwrap();
        let got = checkpoint.f32(name, want.shape).unwrap();
        let same = |got: &[f32], from: usize| {
            for (i, got) in got.iter().enumerate() {
                let want = want_values[from + i];
                assert!(got.to_bits() == want.to_bits(), "{name}, number {}: {got}, want {want}", from + i);
            }
        };
        same(&got, 0);
        // From and to anywhere, as matrices are packed and rows are looked up.
        let any: Vec<Option<usize>> = vec![None; want.shape.len()];
        let weight = Weight::new(checkpoint.tensor(name).unwrap(), &any).unwrap();
        for (start, len) in [(0, 1), (1, 31), (3, 64), (30, 70), (250, 20), (511, 2), (512, 512), (1535, 1)] {
            if start + len <= want_values.len() {
                let mut out = vec![f32::NAN; len];
                weight.decode(start, &mut out);
                same(&out, start);
            }
        }
    }
    let kinds = ["Q2_K", "Q3_K", "Q4_0", "Q4_1", "Q4_K", "Q5_0", "Q5_1", "Q5_K", "Q6_K", "Q8_0"];
    for kind in kinds {
        let Dtype::Quantized(quant) = checkpoint.tensor(kind).unwrap().dtype else { panic!("{kind}") };
        assert_eq!(quant.name(), kind);
    }
    read_all(&checkpoint);
}

#[test]
fn versions_differ_in_how_wide_counts_are() {
    let short = |text: &str| [&(text.len() as u32).to_le_bytes()[..], text.as_bytes()].concat();
    let mut bytes = b"GGUF\x01\0\0\0\x01\0\0\0\x01\0\0\0".to_vec();
    bytes.extend([short("general.name"), 8u32.to_le_bytes().to_vec(), short("old")].concat());
    bytes.extend([short("w"), [1u32, 2, 0].map(u32::to_le_bytes).concat(), vec![0; 8]].concat());
    bytes.resize(bytes.len().next_multiple_of(32), 0);
    bytes.extend([1.5f32, -2.0].map(f32::to_le_bytes).concat());
    let (_folder, opened) = open_as("x.gguf", &bytes);
    assert_eq!(opened.unwrap().f32("w", &[2]).unwrap(), &[1.5, -2.0][..]);
    let mut two = file(&[], &[("w", &[2], 0, 0)], 8);
    two[4] = 2;
    let (_folder, opened) = open_as("x.gguf", &two);
    assert_eq!(opened.unwrap().f32("w", &[2]).unwrap(), &[0.0, 0.0][..]);
}

#[test]
fn a_hostile_file_is_refused_with_what_is_wrong() {
    let one = |dims: &[u64], kind, offset| file(&[], &[("w", dims, kind, offset)], 64);
    let set = |kind, value: &[u8]| file(&[setting("s", kind, value)], &[], 0);
    let header = |from: usize, value: u64| {
        let mut bytes = file(&[], &[], 64);
        bytes[from..from + 8].copy_from_slice(&value.to_le_bytes());
        bytes
    };
    let nested = (0..5).fold(list(4, 0, &[]), |inner, _| list(9, 1, &inner));
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("empty", vec![], "header: expected 4 bytes from byte 0 on, got 0"),
        ("another file", b"GGML\0\0\0\0".to_vec(), "header: expected the letters GGUF, got bytes [47, 47, 4d, 4c]"),
        ("version 4", header(4, 4), "expected version 1, 2 or 3, got 4"),
        ("big-endian", b"GGUF\0\0\0\x03".to_vec(), "got a file with the greatest byte first"),
        ("cut off", file(&[], &[], 0)[..20].to_vec(), "8 bytes from byte 16 on, got 4"),
        ("many tensors", header(8, u64::MAX), "at most 3 tensors in 80 bytes, got 18446744073709551615"),
        ("many settings", header(16, 1 << 40), "at most 5 settings in 72 bytes, got 1099511627776"),
        ("a name of 16 EB", file(&[vec![255; 16]], &[], 0), "18446744073709551615 bytes from byte 32 on"),
        ("a type of none", set(13, &[]), "a type from 0 to 12 for s, got 13"),
        ("a flag of 2", set(7, &[2]), "true or false (0 or 1) for s, got 2"),
        ("a long list", set(9, &list(0, 1 << 50, &[])), "at most 15 items in 15 bytes, got 1125899906842624"),
        ("lists in lists", set(9, &nested), "lists at most 3 deep for s"),
        ("a list of a type of none", set(9, &list(77, 1, &[0; 8])), "a type from 0 to 12 for s, got 77"),
        ("values without end", set(9, &list(0, (1 << 23) + 1, &vec![0; (1 << 23) + 1])), "at most 8388608 values"),
        ("no UTF-8", set(8, &[1, 0, 0, 0, 0, 0, 0, 0, 255]), "text in UTF-8"),
        (
            "one setting twice",
            file(&vec![setting("s", 0, &[1]); 2], &[], 0),
            "field s: expected one setting of this name",
        ),
        (
            "an alignment of 3",
            file(&[setting("general.alignment", 4, &[3, 0, 0, 0])], &[], 0),
            "general.alignment: expected a power of two, got 3",
        ),
        (
            "an alignment of text",
            file(&[setting("general.alignment", 8, &text("\u{7}x"))], &[], 0),
            r"general.alignment: expected a whole number, 0 or more, got '\u{7}x'",
        ),
        ("nine dimensions", one(&[1; 9], 0, 0), "at most 8 dimensions for w, got 9"),
        ("a format of none", one(&[4], 4, 0), "a number format that is read for w, got type 4"),
        ("half a block", one(&[48], 2, 0), "w: expected rows of whole blocks that can be addressed, got Q4_0 [48]"),
        ("a block over two rows", one(&[16, 2], 8, 0), "w: expected rows of whole blocks"),
        ("no dimensions", one(&[], 14, 0), "rows of whole blocks that can be addressed, got Q6_K []"),
        (
            "too large to count",
            one(&[1 << 40, 1 << 40], 0, 0),
            "can be addressed, got F32 [1099511627776, 1099511627776]",
        ),
        ("unaligned", one(&[4], 0, 4), "w: expected an offset that is a multiple of 32, got 4"),
        ("beyond the end", one(&[17], 0, 0), "w: expected 68 bytes for F32 [17] within a file of"),
        ("an offset beyond all", one(&[4], 0, u64::MAX - 31), "16 bytes for F32 [4] within a file of"),
        (
            "overlap",
            file(&[], &[("v", &[16], 0, 0), ("w", &[2], 0, 32)], 64),
            "w: expected no bytes of v, got some of them",
        ),
        (
            "one tensor twice",
            file(&[], &[("w", &[2], 0, 0), ("w", &[2], 0, 32)], 64),
            "w: expected one tensor of this name",
        ),
    ];
    for (what, bytes, expected) in cases {
        let message = refusal("x.gguf", &bytes);
        assert!(message.contains(expected), "{what}: {message}");
    }
}

#[test]
fn what_would_compute_something_else_is_refused() {
    let good = fs::read(golden("llama.gguf")).unwrap();
    let change = |from: &str, to: &str| {
        let at = good.windows(from.len()).position(|window| window == from.as_bytes()).unwrap();
        let mut bytes = good.clone();
        bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
        bytes
    };
    let cases = [
        (change("llama", "lamma"), "unknown architecture 'lamma': known are llama, qwen2, qwen3; did you mean llama?"),
        (change("llama.block_count", "llama.block_coins"), "llama.block_count: expected a whole number, got nothing"),
        (change("llama.attention.key_length", "llama.attention.kex_length"), "value_length: expected as wide a head"),
        (change("blk.0.attn_k.weight", "blk.0.attn_q.weight"), "blk.0.attn_q.weight: expected one tensor of this name"),
        (file(&[], &[], 0), "unknown architecture ''"),
    ];
    for (bytes, expected) in cases {
        let message = model_refusal(&bytes);
        assert!(message.contains(expected), "{expected}: {message}");
    }
    assert_eq!(nearest("lamma", ["llama"]).as_deref(), Some("llama"));
}

#[test]
fn a_tokenizer_inside_a_file_is_that_of_its_tokenizer_json() {
    for name in ["bytelevel", "metaspace"] {
        let path = golden(&format!("{name}.gguf"));
        let file = fs::read(&path).unwrap();
        let gguf = super::Gguf::read(&path, &file).unwrap();
        let json = super::tokenizer::json(&gguf).unwrap().unwrap();
        let inside = Tokenizer::from_bytes(&path, json.to_string().as_bytes()).unwrap();
        let folder = golden("..").join("tokenizers");
        let beside = Tokenizer::from_folder(&folder.join(name)).unwrap().unwrap();
        let expected: serde_json::Value =
            serde_json::from_slice(&fs::read(folder.join("expected.json")).unwrap()).unwrap();
        let texts = expected[name].as_array().map(|cases| cases.iter().map(|case| case["text"].as_str().unwrap()));
        let texts: Vec<&str> =
            texts.into_iter().flatten().chain(["The cell keeps the grains.", "née 神 12345\n\n x"]).collect();
        for text in texts {
            let (got, want) = (inside.encode(text).unwrap(), beside.encode(text).unwrap());
            assert_eq!(got, want, "{name}: {text:?}");
            assert_eq!(inside.decode(&got.ids).unwrap(), beside.decode(&want.ids).unwrap(), "{name}: {text:?}");
        }
        assert_eq!(inside.vocab_size(), beside.vocab_size());
    }
}

#[test]
fn a_tokenizer_that_is_not_known_is_refused() {
    let texts =
        |items: &[&str]| list(8, items.len() as u64, &items.iter().flat_map(|item| text(item)).collect::<Vec<_>>());
    let base = |model: &str, more: Vec<Vec<u8>>| {
        let own = vec![
            setting("tokenizer.ggml.model", 8, &text(model)),
            setting("tokenizer.ggml.tokens", 9, &texts(&["a", "b", "ab"])),
        ];
        [own, more].concat()
    };
    let numbers = |n: u64| list(6, n, &vec![0; 4 * n as usize]);
    let pre = |name: &str| setting("tokenizer.ggml.pre", 8, &text(name));
    let cases = [
        (base("bert", vec![]), "tokenizer.ggml.model: expected gpt2 or llama (nothing else yet), got bert"),
        (base("gpt2", vec![pre("qwen3")]), "tokenizer.ggml.pre: expected default, gpt-2, phi-2, mpt"),
        (base("gpt2", vec![setting("tokenizer.ggml.merges", 9, &texts(&["ab"]))]), "two tokens with a space"),
        (base("gpt2", vec![setting("tokenizer.ggml.merges", 9, &texts(&["a b", "ab ab"]))]), "got 'ab ab' (merge 1)"),
        (base("llama", vec![]), "tokenizer.ggml.scores: expected a list of numbers, got nothing"),
        (base("llama", vec![setting("tokenizer.ggml.scores", 9, &numbers(2))]), "scores: expected 3 values, got 2"),
        (
            base("llama", vec![setting("tokenizer.ggml.scores", 9, &numbers(3))]),
            "bos_token_id: expected a token, got none",
        ),
        (
            base("gpt2", vec![setting("tokenizer.ggml.token_type", 9, &numbers(3))]),
            "token_type: expected a list of whole",
        ),
        (vec![setting("tokenizer.ggml.model", 8, &text("gpt2"))], "tokenizer.ggml.tokens: expected a list of texts"),
    ];
    for (settings, expected) in cases {
        let folder = tempfile::TempDir::new().unwrap();
        let (path, file) = (folder.path().join("x.gguf"), file(&settings, &[], 0));
        let gguf = super::Gguf::read(&path, &file).unwrap();
        let message = super::tokenizer::json(&gguf).unwrap_err().to_string();
        assert!(message.contains(expected), "{expected}: {message}");
    }
}

#[test]
fn pieces_of_quantized_blocks_are_whole() {
    let all = [
        Quant::Q4_0,
        Quant::Q4_1,
        Quant::Q5_0,
        Quant::Q5_1,
        Quant::Q8_0,
        Quant::Q2K,
        Quant::Q3K,
        Quant::Q4K,
        Quant::Q5K,
        Quant::Q6K,
    ];
    for quant in all {
        assert!(quant.block_len().is_multiple_of(32));
        // Zeros decode to zero, and the last number of the last block is there.
        let mut out = vec![1.0; 2 * quant.block_len()];
        quant.decode(&vec![0; 2 * quant.block_bytes()], 0, &mut out);
        assert!(out.iter().all(|value| value.abs() == 0.0), "{quant:?}");
    }
}

proptest! {
    #[test]
    fn no_damage_to_a_file_makes_the_reader_panic(
        bytes in prop_oneof![
            damaged(fs::read(golden("quantized.gguf")).unwrap()),
            damaged(fs::read(golden("metaspace.gguf")).unwrap()),
            damaged(fs::read(golden("bytelevel.gguf")).unwrap()),
            damaged(fs::read(golden("llama.gguf")).unwrap()),
        ],
    ) {
        try_bytes("x.gguf", &bytes);
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("x.gguf");
        fs::write(&path, &bytes).unwrap();
        if let Ok(model) = super::model(&path) {
            read_all(&model.checkpoint);
            if let Ok(Some(tokenizer)) = model.tokenizer {
                drop(tokenizer.encode("The cell"));
            }
        }
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        try_bytes("x.gguf", &bytes);
        try_bytes("x.gguf", &[b"GGUF\x03\0\0\0", &bytes[..]].concat());
    }
}
