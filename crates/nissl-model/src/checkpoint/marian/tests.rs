#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use proptest::prelude::*;

use super::super::testing::{damaged, open_as, read_all, refusal, try_bytes, zip};
use super::*;

/// Name, type, dimensions and bytes of a tensor.
type Tensor<'a> = (&'a str, u64, &'a [i32], Vec<u8>);

/// A file of these tensors, without any padding.
fn file(tensors: &[Tensor<'_>]) -> Vec<u8> {
    let mut file = [1, tensors.len() as u64].map(u64::to_le_bytes).concat();
    for (name, kind, dims, bytes) in tensors {
        let line = [name.len() as u64 + 1, *kind, dims.len() as u64, bytes.len() as u64];
        file.extend(line.map(u64::to_le_bytes).concat());
    }
    for (name, ..) in tensors {
        file.extend([name.as_bytes(), b"\0"].concat());
    }
    tensors.iter().flat_map(|(_, _, dims, _)| *dims).for_each(|dim| file.extend(dim.to_le_bytes()));
    file.extend(0u64.to_le_bytes());
    for (.., bytes) in tensors {
        file.extend(bytes);
    }
    file
}

/// 8-bit numbers and their factor.
fn codes(codes: &[i8], factor: f32) -> Vec<u8> {
    codes.iter().map(|code| *code as u8).chain(factor.to_le_bytes()).collect()
}

fn small() -> Vec<u8> {
    file(&[
        ("Wemb", INTGEMM8, &[2, 3], codes(&[1, 2, 3, -4, -5, -127], 2.0)),
        ("decoder_l2_rnn_W", INTGEMM8, &[2, 3], codes(&[1, 2, 3, 4, 5, 6], 4.0)),
        ("decoder_l2_rnn_bf", 0x404, &[1, 2], [1.5f32, -2.5].map(f32::to_le_bytes).concat()),
        (SETTINGS, 0x101, &[26], b"type: transformer\nskip: 1\0".to_vec()),
    ])
}

#[test]
fn numbers_of_8_bits_are_divided_by_their_factor_and_lie_as_their_shape_says() {
    let (_folder, opened) = open_as("x.bin", &small());
    let checkpoint = opened.unwrap();
    let values = |name, shape: &[usize]| checkpoint.f32(name, shape).unwrap().into_owned();
    assert_eq!(values("Wemb", &[2, 3]), [0.5, 1.0, 1.5, -2.0, -2.5, -63.5]);
    assert_eq!(values("decoder_l2_rnn_W", &[2, 3]), [0.25, 0.75, 1.25, 0.5, 1.0, 1.5]);
    read_all(&checkpoint);
}

#[test]
fn rows_without_columns_are_no_work() {
    let (_folder, opened) = open_as("x.bin", &file(&[("a", INTGEMM8, &[i32::MAX, 0], codes(&[], 1.0))]));
    assert_eq!(opened.unwrap().tensor("a").unwrap().bytes.len(), 0);
}

#[test]
fn a_model_has_its_settings_and_our_names() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.bin");
    std::fs::write(&path, small()).unwrap();
    // Another format's file of that kind of name, and a shortlist.
    std::fs::write(folder.path().join("lex.bin"), [0xf1; 64]).unwrap();
    let found = || source::whole(folder.path()).map(|(_, file)| file);
    assert_eq!(found(), Some(path.clone()));
    let WholeModel { config, checkpoint, .. } = open(&path).unwrap();
    let config: Json = serde_json::from_slice(&config).unwrap();
    assert_eq!(config["type"], "transformer");
    assert_eq!(config["model_type"], MODEL_TYPE);
    let names = ["Wemb", "decoder.1.rnn.f.bias", "decoder.1.rnn.weight", SETTINGS];
    assert_eq!(checkpoint.names().collect::<Vec<_>>(), names);
    assert_eq!(*checkpoint.f32("decoder.1.rnn.f.bias", &[2]).unwrap(), [1.5, -2.5]);
    std::fs::write(folder.path().join("b.bin"), small()).unwrap();
    assert_eq!(found(), None, "two of them are no model");
}

#[test]
fn an_archive_of_numpys_with_the_settings_in_it_is_the_same_model() {
    let binary = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/models/marian-nmt/model.bin");
    let stored = Checkpoint::open(&binary).unwrap();
    let array = |name: &str| {
        let tensor = stored.tensor(name).unwrap();
        let descr = if tensor.dtype == Dtype::F32 { "<f4" } else { "<i1" };
        let shape = format!("{:?}", tensor.shape).replace(['[', ']'], "");
        let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({shape},), }}\n");
        let file = [b"\x93NUMPY\x01\0", &(header.len() as u16).to_le_bytes()[..], header.as_bytes(), tensor.bytes];
        (format!("{name}.npy"), file.concat())
    };
    let arrays: Vec<(String, Vec<u8>)> = stored.names().map(array).collect();
    let entries: Vec<(&str, &[u8])> = arrays.iter().map(|(name, file)| (name.as_str(), file.as_slice())).collect();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.npz");
    std::fs::write(&path, zip(&entries)).unwrap();
    let (whole, found) = source::whole(folder.path()).unwrap();
    assert_eq!(found, path);
    let (archive, binary) = ((whole.open)(&path).unwrap(), open(&binary).unwrap());
    assert_eq!(archive.config, binary.config);
    assert_eq!(archive.checkpoint.fingerprint(b""), binary.checkpoint.fingerprint(b""));
    let others: Vec<_> = entries.into_iter().filter(|(name, _)| !name.starts_with("special:")).collect();
    std::fs::write(&path, zip(&others)).unwrap();
    assert!(source::whole(&path).is_none(), "without settings it is any archive");
    assert!(Checkpoint::open(&path).is_ok());
}

#[test]
fn names_tell_layers_from_0() {
    for (theirs, ours) in [
        ("encoder_l1_self_Wq", Some("encoder.0.self.q.weight")),
        ("decoder_l10_context_bo", Some("decoder.9.context.o.bias")),
        ("encoder_l2_self_Wo_ln_scale", Some("encoder.1.self.norm.weight")),
        ("decoder_l1_ffn_ffn_ln_bias", Some("decoder.0.ffn.norm.bias")),
        ("decoder_l1_ffn_W2", Some("decoder.0.ffn.2.weight")),
        ("decoder_l1_ffn_W2_QuantMultA", None),
        ("decoder_l0_ffn_W2", None),
        ("decoder_ff_logit_out_b", None),
        ("decoder_l1_ffn_", None),
        ("decoder_l1_ffn_é", None),
    ] {
        assert_eq!(name(theirs).as_deref(), ours, "{theirs}");
    }
}

#[test]
fn a_hostile_file_is_refused_with_what_is_wrong() {
    let floats = |dims: &'static [i32], n: usize| file(&[("w", 0x404, dims, vec![0; n])]);
    let mut long_name = floats(&[1], 4);
    long_name[16..24].copy_from_slice(&u64::MAX.to_le_bytes());
    let mut many = floats(&[1], 4);
    many[8..16].copy_from_slice(&(1u64 << 60).to_le_bytes());
    let mut padded = floats(&[1], 4);
    let at = padded.len() - 12;
    padded[at..at + 8].copy_from_slice(&u64::MAX.to_le_bytes());
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("many tensors", many, "expected at most 1 tensors in 66 bytes"),
        ("a long name", long_name, "bytes from byte 48 on"),
        ("padding beyond the end", padded, "bytes from byte 62 on, got 4"),
        ("too few bytes", floats(&[2, 2], 12), "w: expected 16 bytes, got 12 for F32 [2, 2]"),
        ("a dimension below 0", floats(&[-1], 4), "w: expected dimensions of 0 or more, got -1"),
        ("no such size", floats(&[i32::MAX; 3], 4), "w: expected a shape that can be addressed"),
        ("many dimensions", floats(&[1; 9], 4), "expected at most 8 dimensions, got 9"),
        ("another type", file(&[("w", 0x4102, &[1], vec![0; 6])]), "w: expected a type that is read"),
        ("no matrix", file(&[("w", INTGEMM8, &[2], codes(&[1, 2], 1.0))]), "w: expected a matrix of 8-bit numbers"),
        ("no factor", file(&[("w", INTGEMM8, &[1, 2], codes(&[1, 2], 0.0))]), "w: expected a factor above 0, got 0"),
        ("a name twice", file(&[("w", 0x404, &[0], vec![]), ("w", 0x404, &[0], vec![])]), "one tensor of this name"),
    ];
    for (what, bytes, expected) in cases {
        let got = refusal("x.bin", &bytes);
        assert!(got.contains(expected), "{what}: {got}");
    }
    for end in 8..small().len() {
        assert!(refusal("x.bin", &small()[..end]).contains("expected"), "cut to {end} bytes");
    }
}

#[test]
fn settings_are_lines_of_one_value_and_lists() {
    let read = |text: &str| settings::parse(Path::new("x"), text);
    let text = "a: true\nb: -3\nc: 1.5\nd: \"\"\ne: v1.9 at 12:30:01\nf:\n  - 32000\n- 7\ng: []\nh: ~\n\n";
    let want =
        json!({"a": true, "b": -3, "c": 1.5, "d": "", "e": "v1.9 at 12:30:01", "f": [32000, 7], "g": [], "h": null});
    assert_eq!(Json::Object(read(text).unwrap()), want);
    for (text, expected) in [
        ("a: 1\na: 2", "settings, line 2: expected a name that did not come before, got a"),
        ("a", "settings, line 1: expected name: value"),
        ("a:\n  b: 1", "settings, line 2: expected name: value"),
        ("a: 1\n  - 2", "an item of a list after the list's name"),
        ("a: [1, 2]", "a value that is no list or object"),
        ("a: &x 1", "a value that is no list or object"),
        ("a:\n  - {b: 1}", "an item that is one value"),
    ] {
        let got = read(text).unwrap_err().to_string();
        assert!(got.contains(expected), "{text:?}: {got}");
    }
}

proptest! {
    #[test]
    fn damage_is_refused_or_read(bytes in damaged(small())) {
        try_bytes("x.bin", &bytes);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.bin");
        std::fs::write(&path, &bytes).unwrap();
        if let Ok(model) = open(&path) {
            read_all(&model.checkpoint);
        }
    }
}
