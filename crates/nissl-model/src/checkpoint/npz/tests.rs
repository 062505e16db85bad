#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::fs;

use miniz_oxide::deflate::compress_to_vec;
use proptest::prelude::*;

use super::super::Checkpoint;
use super::super::testing::{damaged, golden, open_as, read_all, refusal, try_bytes, zip, zip_with};

/// An array: what its header says, and its bytes.
fn npy(header: &str, data: &[u8]) -> Vec<u8> {
    [b"\x93NUMPY\x01\0", &(header.len() as u16).to_le_bytes()[..], header.as_bytes(), data].concat()
}

fn described(descr: &str, order: &str, shape: &str) -> String {
    format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}\n")
}

#[test]
fn what_numpy_writes_is_read_stored_and_deflated() {
    let expected = Checkpoint::open(&golden("weights.safetensors")).unwrap();
    // numpy has no such numbers, and holds no array twice here.
    let names: Vec<&str> = expected.names().filter(|name| !["brain", "tied.weight"].contains(name)).collect();
    for file in ["stored.npz", "deflated.npz"] {
        let checkpoint = Checkpoint::open(&golden(file)).unwrap();
        assert_eq!(checkpoint.names().collect::<Vec<_>>(), names, "{file}");
        for name in &names {
            let (got, want) = (checkpoint.tensor(name).unwrap(), expected.tensor(name).unwrap());
            assert_eq!((got.dtype, got.shape, got.bytes), (want.dtype, want.shape, want.bytes), "{file}: {name}");
        }
        read_all(&checkpoint);
    }
}

#[test]
fn columns_become_rows() {
    let values: Vec<u8> = (0..24u8).collect();
    let file = zip(&[("w.npy", &npy(&described("|u1", "True", "(2, 3, 4)"), &values))]);
    let (_folder, opened) = open_as("x.npz", &file);
    let opened = opened.unwrap();
    let got = opened.tensor("w").unwrap();
    assert_eq!(got.shape, [2, 3, 4]);
    for (i, &got) in got.bytes.iter().enumerate() {
        let (a, b, c) = (i / 12, i / 4 % 3, i % 4);
        assert_eq!(usize::from(got), a + 2 * b + 6 * c);
    }
}

#[test]
fn a_hostile_archive_is_refused_with_what_is_wrong() {
    let one = |bytes: &[u8]| zip(&[("w.npy", bytes)]);
    let header = |header: &str| one(&npy(header, &[0; 8]));
    let deflated = |bytes: &[u8], size: usize| zip_with(&[("w.npy", 8, size as u32, &compress_to_vec(bytes, 6))]);
    let array = npy(&described("<f4", "False", "(2,)"), &[0; 8]);
    let zeros = npy(&described("|u1", "False", "(33554432,)"), &vec![0; 32 << 20]);
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("nothing", vec![], "the end of a zip directory"),
        ("another file within", zip(&[("w.txt", b"")]), "w.txt: expected arrays alone (.npy)"),
        ("no array", one(b"\x93NUMPX\x01\0"), "w: expected an array of numpy, got bytes [93, 4e"),
        ("version 9", one(b"\x93NUMPY\x09\0\0\0"), "w: expected version 1, 2 or 3, got 9"),
        (
            "a long header",
            one(b"\x93NUMPY\x02\0\xff\xff\xff\xff"),
            "w: expected 4294967295 bytes from byte 12 on, got 0",
        ),
        (
            "no dictionary",
            header("[]"),
            "w: expected {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }, got []",
        ),
        ("no shape", header("{'descr': '<f4', 'fortran_order': False}"), "w: expected {'descr'"),
        ("a call", header("{'descr': __import__('os').system('true')}"), "w: expected {'descr'"),
        ("a strange key", header("{'x': 1}"), "w: expected {'descr'"),
        ("a negative size", header(&described("<f4", "False", "(-2,)")), "w: expected {'descr'"),
        ("objects", header(&described("|O", "False", "(1,)")), "objects of Python (array w): refused"),
        ("greatest byte first", header(&described(">f4", "False", "(2,)")), "the least byte first, or text, got >f4"),
        ("no type", header(&described("", "False", "(2,)")), "the least byte first, or text, got"),
        ("too few bytes", header(&described("<f4", "False", "(3,)")), "w: expected 12 bytes, got 8 bytes for F32 [3]"),
        (
            "too large to count",
            header(&described("<f4", "True", "(4294967296, 4294967296)")),
            "w: expected a shape that can be addressed",
        ),
        ("damaged", zip_with(&[("w.npy", 8, 9, &[255; 9])]), "w: expected 9 deflated bytes"),
        ("longer than it says", deflated(&array, array.len() - 1), "deflated bytes"),
        ("shorter than it says", deflated(&array, array.len() + 1), "bytes when inflated, got"),
        ("a bomb", deflated(&zeros, zeros.len()), "w: expected at most 16777216 bytes in all arrays of a file of"),
        ("4 GB of nothing", zip_with(&[("w.npy", 8, u32::MAX - 1, &[])]), "got 4294967294 bytes more"),
    ];
    for (what, bytes, expected) in cases {
        let message = refusal("x.npz", &bytes);
        assert!(message.contains(expected), "{what}: {message}");
    }
}

proptest! {
    #[test]
    fn no_damage_to_an_archive_makes_the_reader_panic(
        bytes in prop_oneof![
            damaged(fs::read(golden("stored.npz")).unwrap()),
            damaged(fs::read(golden("deflated.npz")).unwrap()),
        ],
    ) {
        try_bytes("x.npz", &bytes);
    }

    #[test]
    fn no_header_makes_the_reader_panic(
        header in r"\{?('(descr|fortran_order|shape|é)': ?('[<|>é]?[fiuObUS]?[0-9]{0,2}'|True|False|\([0-9]{0,20},?[0-9]{0,3}\)),? ?){0,4}\}?",
        data in proptest::collection::vec(any::<u8>(), 0..40),
    ) {
        try_bytes("x.npz", &zip(&[("w.npy", &npy(&header, &data))]));
    }

    #[test]
    fn no_deflated_bytes_make_the_reader_panic(
        packed in proptest::collection::vec(any::<u8>(), 0..200),
        size in 0u32..100_000,
    ) {
        try_bytes("x.npz", &zip_with(&[("w.npy", 8, size, &packed)]));
    }
}
