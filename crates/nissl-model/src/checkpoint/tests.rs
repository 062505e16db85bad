#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::fs;

use ::safetensors as theirs;
use half::{bf16, f16};
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// A file of a header and data.
fn file(header: &str, data: &[u8]) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header.as_bytes());
    bytes.extend_from_slice(data);
    bytes
}

fn folder(files: &[(&str, Vec<u8>)]) -> TempDir {
    let folder = TempDir::new().unwrap();
    for (name, bytes) in files {
        fs::write(folder.path().join(name), bytes).unwrap();
    }
    folder
}

fn open_bytes(bytes: Vec<u8>) -> (TempDir, Result<Checkpoint, LoadError>) {
    let folder = folder(&[(SINGLE, bytes)]);
    let opened = Checkpoint::open(folder.path());
    (folder, opened)
}

#[test]
fn a_dimension_of_zero_hides_none_that_are_too_large() {
    let large = usize::MAX / 2;
    assert_eq!(Dtype::F32.bits(&[0, 5]), Some(0));
    assert_eq!(Dtype::F32.bits(&[2, 3]), Some(192));
    for shape in [[large, large, 0], [0, large, large], [large, 0, large]] {
        assert_eq!(Dtype::F32.bits(&shape), None, "{shape:?}");
    }
}

/// A file as the reference implementation writes it.
fn reference(tensors: &[(&str, theirs::Dtype, &[usize], Vec<u8>)]) -> Vec<u8> {
    let views = tensors.iter().map(|(name, dtype, shape, bytes)| {
        (*name, theirs::tensor::TensorView::new(*dtype, shape.to_vec(), bytes).unwrap())
    });
    theirs::serialize(views, None).unwrap()
}

fn f32_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

const TWO: &str =
    r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F16","shape":[1,2],"data_offsets":[8,12]}}"#;

#[test]
fn a_hostile_file_is_refused_with_what_is_wrong() {
    let one = |entry: &str| file(&format!(r#"{{"w":{entry}}}"#), &[0; 8]);
    let two = |b: &str| TWO.replace("[8,12]", b);
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("empty", vec![], "header: expected at least 8 bytes, got a file of 0 bytes"),
        ("huge header", u64::MAX.to_le_bytes().to_vec(), "a length of at most 0 bytes, got 18446744073709551615"),
        ("longer than the file", file("{}", &[])[..9].to_vec(), "a length of at most 1 bytes, got 2"),
        ("no object", file("[]", &[]), "header: expected a JSON object, got byte 0x5b"),
        ("no header", file("", &[]), "header: expected a JSON object, got nothing"),
        ("broken JSON", file(r#"{"w":"#, &[]), "header: expected JSON, got"),
        ("not UTF-8", [&5u64.to_le_bytes()[..], b"{\"\xff\":"].concat(), "header: expected JSON, got"),
        ("deeply nested", file(&format!("{{\"w\":{}", "[".repeat(100_000)), &[]), "header: expected JSON, got w:"),
        ("no type", one(r#"{"shape":[2],"data_offsets":[0,8]}"#), "got w: missing field `dtype`"),
        ("strange field", one(r#"{"dtype":"F32","shape":[2],"data_offsets":[0,8],"x":1}"#), "unknown field `x`"),
        ("strange type", one(r#"{"dtype":"F31","shape":[2],"data_offsets":[0,8]}"#), "w: expected a number format"),
        ("negative", one(r#"{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}"#), "got w: invalid value"),
        ("overflow", one(r#"{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,8]}"#), "be addressed"),
        ("wrong size", one(r#"{"dtype":"F32","shape":[3],"data_offsets":[0,8]}"#), "12 bytes for F32 [3], got 8 bytes"),
        ("half a byte", one(r#"{"dtype":"F4","shape":[15],"data_offsets":[0,8]}"#), "8 bytes for F4 [15], got 8 bytes"),
        (
            "backwards",
            one(r#"{"dtype":"F32","shape":[2],"data_offsets":[8,0]}"#),
            "offsets in order, at most 8, got [8, 0]",
        ),
        ("beyond the end", one(r#"{"dtype":"F32","shape":[3],"data_offsets":[0,12]}"#), "at most 8, got [0, 12]"),
        ("truncated", file(TWO, &[0; 11]), "b: expected offsets in order, at most 11, got [8, 12]"),
        ("overlap", file(&two("[4,8]"), &[0; 12]), "b: expected data from byte 8 on, got from 4 on"),
        ("hole", file(&two("[10,14]"), &[0; 14]), "b: expected data from byte 8 on, got from 10 on"),
        ("bytes left", file(TWO, &[0; 13]), "data: expected 12 bytes, got 13 bytes"),
        ("twice", file(&TWO.replace("\"b\"", "\"a\""), &[0; 12]), "a: expected one tensor of this name, got several"),
    ];
    for (what, bytes, expected) in cases {
        let (folder, opened) = open_bytes(bytes);
        let message = opened.map(|_| ()).expect_err(what).to_string();
        assert!(message.contains(expected), "{what}: {message}");
        assert!(message.contains(&folder.path().join(SINGLE).display().to_string()), "{what}: {message}");
    }
}

#[test]
fn weights_written_by_the_reference_implementation_are_read() {
    let values = [1.5, -2.25, 0.0, 3.0e-8, 65504.0, -1.0];
    let half: Vec<u8> = values.iter().flat_map(|&v| f16::from_f32(v).to_le_bytes()).collect();
    let brain: Vec<u8> = values.iter().flat_map(|&v| bf16::from_f32(v).to_le_bytes()).collect();
    let bytes = reference(&[
        ("w.f32", theirs::Dtype::F32, &[2, 3], f32_bytes(&values)),
        ("w.f16", theirs::Dtype::F16, &[6], half),
        ("w.bf16", theirs::Dtype::BF16, &[3, 2], brain),
        ("ids", theirs::Dtype::I64, &[2], vec![0; 16]),
        ("none", theirs::Dtype::F32, &[0, 3], vec![]),
        ("scalar", theirs::Dtype::F32, &[], f32_bytes(&[7.0])),
    ]);
    let (_folder, opened) = open_bytes(bytes);
    let checkpoint = opened.unwrap();
    assert_eq!(checkpoint.names().collect::<Vec<_>>(), ["ids", "none", "scalar", "w.bf16", "w.f16", "w.f32"]);
    assert_eq!(checkpoint.f32("w.f32", &[2, 3]).unwrap(), &values[..]);
    assert!(matches!(checkpoint.f32("w.f32", &[2, 3]).unwrap(), Cow::Borrowed(_)));
    let rounded = |round: fn(f32) -> f32| values.map(round);
    assert_eq!(checkpoint.f32("w.f16", &[6]).unwrap(), &rounded(|v| f16::from_f32(v).to_f32())[..]);
    assert_eq!(checkpoint.f32("w.bf16", &[3, 2]).unwrap(), &rounded(|v| bf16::from_f32(v).to_f32())[..]);
    assert_eq!(checkpoint.f32("none", &[0, 3]).unwrap().len(), 0);
    assert_eq!(checkpoint.f32("scalar", &[]).unwrap(), &[7.0][..]);
    assert_eq!(checkpoint.tensor("ids").unwrap().dtype.to_string(), "I64");
    checkpoint.release("w.f32");
    checkpoint.release("nothing");
    assert_eq!(checkpoint.f32("w.f32", &[2, 3]).unwrap(), &values[..]);
}

#[test]
fn a_weight_that_does_not_fit_is_named() {
    let bytes = reference(&[
        ("blocks.3.mlp.w_in", theirs::Dtype::F32, &[2, 1], f32_bytes(&[1.0, 2.0])),
        ("ids", theirs::Dtype::I64, &[1], vec![0; 8]),
    ]);
    let (_folder, opened) = open_bytes(bytes);
    let checkpoint = opened.unwrap();
    let message = |name: &str, shape: &[usize]| checkpoint.f32(name, shape).unwrap_err().to_string();
    assert_eq!(message("blocks.3.mlp.w_in", &[1, 2]), "shape of blocks.3.mlp.w_in: expected [1, 2], got [2, 1]");
    assert_eq!(message("ids", &[1]), "number format of ids: expected F32, F16 or BF16, got I64");
    let missing = message("blocks.3.mlp.w_on", &[2, 1]);
    assert!(missing.ends_with("no weight is called 'blocks.3.mlp.w_on'; did you mean blocks.3.mlp.w_in?"), "{missing}");
}

#[test]
fn unaligned_weights_are_read_too() {
    for shift in 0..8 {
        let values = [1.0, -2.0, 3.5];
        let entries = [("a", "U8", shift), ("b", "F32", 12), ("c", "F16", 6), ("d", "BF16", 6)];
        let mut at = 0;
        let entries = entries.map(|(name, dtype, n_bytes)| {
            let n = if dtype == "U8" { n_bytes } else { 3 };
            at += n_bytes;
            format!(r#""{name}":{{"dtype":"{dtype}","shape":[{n}],"data_offsets":[{},{at}]}}"#, at - n_bytes)
        });
        let mut data = vec![0; shift];
        data.extend(f32_bytes(&values));
        data.extend(values.iter().flat_map(|&v| f16::from_f32(v).to_le_bytes()));
        data.extend(values.iter().flat_map(|&v| bf16::from_f32(v).to_le_bytes()));
        let (_folder, opened) = open_bytes(file(&format!("{{{}}}", entries.join(",")), &data));
        let checkpoint = opened.unwrap();
        for name in ["b", "c", "d"] {
            assert_eq!(checkpoint.f32(name, &[3]).unwrap(), &values[..], "{name} at {shift}");
        }
    }
}

#[test]
fn every_16_bit_float_is_converted_exactly() {
    let bits: Vec<u8> = (0..=u16::MAX).flat_map(u16::to_le_bytes).collect();
    let bytes = reference(&[
        ("bf16", theirs::Dtype::BF16, &[65536], bits.clone()),
        ("f16", theirs::Dtype::F16, &[65536], bits),
    ]);
    let (_folder, opened) = open_bytes(bytes);
    let checkpoint = opened.unwrap();
    let half = checkpoint.f32("f16", &[65536]).unwrap();
    let brain = checkpoint.f32("bf16", &[65536]).unwrap();
    for bits in 0..=u16::MAX {
        let same = |got: f32, want: f32| got.to_bits() == want.to_bits() || got.is_nan() && want.is_nan();
        assert!(same(brain[bits as usize], f32::from_bits(u32::from(bits) << 16)), "bf16 {bits:#06x}");
        assert!(same(half[bits as usize], half_value(bits)), "f16 {bits:#06x}");
    }
}

/// A half-precision number by its definition.
fn half_value(bits: u16) -> f32 {
    let (sign, exponent, fraction) = (bits >> 15, i32::from(bits >> 10 & 31), f32::from(bits & 1023));
    let size = match exponent {
        0 => fraction * 2f32.powi(-24),
        31 if fraction > 0.0 => f32::NAN,
        31 => f32::INFINITY,
        _ => (1.0 + fraction / 1024.0) * 2f32.powi(exponent - 15),
    };
    if sign == 1 { -size } else { size }
}

fn shards(index: &str) -> TempDir {
    let one = reference(&[
        ("a", theirs::Dtype::F32, &[1], f32_bytes(&[1.0])),
        ("c", theirs::Dtype::F32, &[1], f32_bytes(&[3.0])),
    ]);
    let two = reference(&[
        ("b", theirs::Dtype::F32, &[1], f32_bytes(&[2.0])),
        ("c", theirs::Dtype::F32, &[1], f32_bytes(&[4.0])),
    ]);
    folder(&[("one.safetensors", one), ("two.safetensors", two), (INDEX, index.as_bytes().to_vec())])
}

#[test]
fn shards_are_read_as_their_index_says() {
    let index = r#"{"metadata":{"total_size":12},"weight_map":{"c":"two.safetensors","a":"one.safetensors","b":"two.safetensors"}}"#;
    let folder = shards(index);
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    let values: Vec<f32> = ["a", "b", "c"].iter().map(|name| checkpoint.f32(name, &[1]).unwrap()[0]).collect();
    assert_eq!((values, checkpoint.n_bytes()), (vec![1.0, 2.0, 4.0], 12));
}

#[test]
fn an_index_that_does_not_fit_is_refused() {
    let cases = [
        (r#"{"weight_map":{"a":"two.safetensors"}}"#, "a: expected it in two.safetensors, got a shard without it"),
        (r#"{"weight_map":{"a":"three.safetensors"}}"#, "three.safetensors: no such file"),
        (r#"{"weight_map":{"a":"../one.safetensors"}}"#, "names of files in the same folder, got '../one.safetensors'"),
        (r#"{"weight_map":{"a":"/etc/passwd"}}"#, "names of files in the same folder"),
        (r#"{"weight_map":{"a":""}}"#, "names of files in the same folder, got ''"),
        (r#"{"weight_map":{"a":"one.safetensors","a":"two.safetensors"}}"#, "a: expected one entry of this name"),
        (r#"{"weight_map":{"a":1}}"#, "invalid type: integer `1`, expected a string"),
        (r"{}", "missing field `weight_map`"),
    ];
    for (index, expected) in cases {
        let folder = shards(index);
        let message = Checkpoint::open(folder.path()).map(|_| ()).expect_err(index).to_string();
        assert!(message.contains(expected), "{index}: {message}");
    }
}

#[test]
fn a_folder_without_weights_says_what_is_there() {
    let cases: [(&[&str], &str); 6] = [
        (&[], "expected model.safetensors or model.safetensors.index.json or pytorch_model.bin or"),
        (&["config.json"], "got config.json"),
        (&["config.json", "model.onnx"], "got model.onnx, whose format is not read"),
        (&["config.json", "model.gguf"], "got model.gguf, which is a model by itself"),
        (&["a.safetensors", "b.safetensors"], "got 2 safetensors files and no model.safetensors.index.json"),
        (&["1", "2", "3", "4", "5", "6", "7", "8"], "got 1, 2, 3, 4, 5, 6 and 2 more"),
    ];
    for (names, expected) in cases {
        let files: Vec<(&str, Vec<u8>)> = names.iter().map(|name| (*name, vec![])).collect();
        let folder = folder(&files);
        let message = Checkpoint::open(folder.path()).map(|_| ()).expect_err(expected).to_string();
        assert!(message.contains(expected), "{message}");
    }
    let folder = folder(&[]);
    assert!(matches!(Checkpoint::open(&folder.path().join("gone")), Err(LoadError::Io { .. })));
}

#[test]
fn the_only_safetensors_file_is_taken_whatever_its_name() {
    let folder = folder(&[("adapter.safetensors", file(TWO, &[0; 12]))]);
    assert!(Checkpoint::open(folder.path()).unwrap().contains("b"));
}

#[test]
fn the_fingerprint_does_not_see_how_a_model_is_cut_into_files() {
    let whole = reference(&[
        ("a", theirs::Dtype::F32, &[1], f32_bytes(&[1.0])),
        ("b", theirs::Dtype::F32, &[1], f32_bytes(&[2.0])),
        ("c", theirs::Dtype::F32, &[1], f32_bytes(&[4.0])),
    ]);
    let mut other = whole.clone();
    *other.last_mut().unwrap() ^= 1;
    let index = r#"{"weight_map":{"a":"one.safetensors","b":"two.safetensors","c":"two.safetensors"}}"#;
    let cut = shards(index);
    let (_one, whole) = open_bytes(whole);
    let (_two, other) = open_bytes(other);
    let (whole, other, cut) = (whole.unwrap(), other.unwrap(), Checkpoint::open(cut.path()).unwrap());
    assert_eq!(whole.fingerprint(b"{}"), cut.fingerprint(b"{}"));
    assert_ne!(whole.fingerprint(b"{}"), other.fingerprint(b"{}"));
    let (_three, again) = open_bytes(file(TWO, &[0; 12]));
    assert_ne!(again.unwrap().fingerprint(b"{}"), open_bytes(file(TWO, &[0; 12])).1.unwrap().fingerprint(b"{ }"));
}

/// Whatever passes the checks can be read to the last byte.
fn read_all(bytes: Vec<u8>) {
    if let (_folder, Ok(checkpoint)) = open_bytes(bytes) {
        let read: usize = checkpoint.names().map(|name| checkpoint.tensor(name).unwrap().bytes.len()).sum();
        assert_eq!(read, checkpoint.n_bytes());
        for name in checkpoint.names() {
            let tensor = checkpoint.tensor(name).unwrap();
            if let Ok(values) = tensor.to_f32() {
                assert_eq!(values.len(), tensor.shape.iter().product::<usize>());
            }
        }
    }
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        read_all(bytes);
    }

    #[test]
    fn no_header_makes_the_reader_panic(header in r#"\{("[ab]":(\{"dtype":"(F32|F16|F4|X)","shape":\[[0-9]{0,20}\],"data_offsets":\[[0-9]{1,20},[0-9]{1,2}\]\}|[0-9]),?){0,3}\}?"#, n in 0usize..40) {
        read_all(file(&header, &vec![0; n]));
    }

    #[test]
    fn no_damage_to_a_good_file_makes_the_reader_panic(
        changes in proptest::collection::vec((0usize..1000, any::<u8>()), 1..4),
        cut in 0usize..400,
    ) {
        let mut bytes = file(TWO, &[1; 12]);
        for (at, byte) in changes {
            let at = at % bytes.len();
            bytes[at] = byte;
        }
        bytes.truncate(bytes.len().saturating_sub(cut.saturating_sub(200)));
        read_all(bytes);
    }
}
