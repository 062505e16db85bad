//! For the tests of the formats: files that are made, found, damaged and read to the last byte.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::fs;
use std::path::PathBuf;

use proptest::prelude::*;
use tempfile::TempDir;

use super::{Checkpoint, LoadError};

/// A small file that the library which defines the format has written.
pub(super) fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/checkpoints").join(name)
}

/// Opens bytes as a file of this name.
pub(super) fn open_as(name: &str, bytes: &[u8]) -> (TempDir, Result<Checkpoint, LoadError>) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, bytes).unwrap();
    let opened = Checkpoint::open(&path);
    (folder, opened)
}

/// Why bytes as a file of this name are refused.
pub(super) fn refusal(name: &str, bytes: &[u8]) -> String {
    let (_folder, opened) = open_as(name, bytes);
    opened.map(|_| ()).expect_err(name).to_string()
}

/// Whatever passes the checks can be read to the last byte.
pub(super) fn read_all(checkpoint: &Checkpoint) {
    let mut n_bytes = 0;
    for name in checkpoint.names() {
        let tensor = checkpoint.tensor(name).unwrap();
        n_bytes += tensor.bytes.len();
        if let Ok(values) = tensor.to_f32() {
            assert_eq!(values.len(), tensor.shape.iter().product::<usize>());
        }
    }
    assert_eq!(n_bytes, checkpoint.n_bytes());
}

/// Opens bytes as a file of this name and reads what is in it, if it is accepted.
pub(super) fn try_bytes(name: &str, bytes: &[u8]) {
    if let (_folder, Ok(checkpoint)) = open_as(name, bytes) {
        read_all(&checkpoint);
    }
}

/// A file with some bytes changed, or cut off.
pub(super) fn damaged(bytes: Vec<u8>) -> impl Strategy<Value = Vec<u8>> {
    // As often at the ends, where the tables are, as anywhere.
    let at = prop_oneof![0..200.min(bytes.len()), 0..bytes.len(), bytes.len().saturating_sub(200)..bytes.len()];
    let byte = prop_oneof![any::<u8>(), Just(0), Just(255), Just(127)];
    let changes = proptest::collection::vec((at, byte), 1..6);
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

/// A zip file of stored entries.
pub(super) fn zip(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let entries = entries.iter().map(|&(name, bytes)| (name, 0u16, bytes.len() as u32, bytes));
    zip_with(&entries.collect::<Vec<_>>())
}

/// A zip file of entries: name, method, size when inflated, bytes.
pub(super) fn zip_with(entries: &[(&str, u16, u32, &[u8])]) -> Vec<u8> {
    let (mut file, mut directory) = (Vec::new(), Vec::new());
    for (name, method, size, bytes) in entries {
        let start = file.len() as u32;
        let mut head = [20u16, 0, *method, 0, 0, 0, 0].map(u16::to_le_bytes).concat();
        head.extend([bytes.len() as u32, *size].map(u32::to_le_bytes).concat());
        head.extend([name.len() as u16, 0].map(u16::to_le_bytes).concat());
        file.extend([b"PK\x03\x04", &head[..], name.as_bytes(), bytes].concat());
        directory.extend([b"PK\x01\x02\x14\x00", &head[..], &[0; 10], &start.to_le_bytes(), name.as_bytes()].concat());
    }
    let (start, n) = (file.len() as u32, entries.len() as u16);
    file.extend(&directory);
    file.extend(b"PK\x05\x06\0\0\0\0");
    file.extend([n, n].map(u16::to_le_bytes).concat());
    file.extend([directory.len() as u32, start].map(u32::to_le_bytes).concat());
    file.extend([0, 0]);
    file
}
