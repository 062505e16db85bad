#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::fs;
use std::panic::catch_unwind;
use std::path::PathBuf;

use rayon::prelude::*;

use super::*;

/// The most cuts, and the most flipped bits, that a file is tried with.
const CUTS: usize = 80;
const FLIPS: usize = 120;

fn hostile() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/hostile")
}

/// About `most` numbers below `n`: all of the first half as many, and some of the rest.
fn spread(n: usize, most: usize) -> impl Iterator<Item = usize> {
    let first = n.min(most / 2);
    let step = (n - first).div_ceil(most / 2).max(1);
    (0..first).chain((first..n).step_by(step))
}

#[test]
fn nothing_that_was_found_nor_its_kin_makes_a_reader_panic() {
    let mut seeds = Vec::new();
    for &(name, read) in READERS {
        for entry in fs::read_dir(hostile().join(name)).unwrap() {
            let path = entry.unwrap().path();
            seeds.push((read, fs::read(&path).unwrap(), path));
        }
    }
    assert!(seeds.len() >= READERS.len());
    seeds.par_iter().for_each(|(read, bytes, path)| {
        let try_one = |what: String, bytes: &[u8]| {
            assert!(catch_unwind(|| read(bytes)).is_ok(), "{}, {what}", path.display());
        };
        try_one("as it is".to_owned(), bytes);
        for cut in spread(bytes.len(), CUTS) {
            try_one(format!("cut to {cut} bytes"), &bytes[..cut]);
        }
        for flip in spread(8 * bytes.len(), FLIPS) {
            let mut bytes = bytes.clone();
            bytes[flip / 8] ^= 1 << (flip % 8);
            try_one(format!("bit {flip} flipped"), &bytes);
        }
    });
}

#[test]
fn the_small_files_are_accepted_and_so_reach_what_they_are_for() {
    for &(name, read) in READERS {
        for entry in fs::read_dir(hostile().join(name)).unwrap() {
            let path = entry.unwrap().path();
            let file = path.file_name().unwrap().to_str().unwrap();
            if let Some(small) = file.strip_prefix("small-") {
                let refused = ["call", "pickle"].contains(&small);
                assert_eq!(read(&fs::read(&path).unwrap()), !refused, "{}", path.display());
            }
        }
    }
}

#[test]
fn every_folder_of_hostile_files_is_of_a_reader() {
    let all = fs::read_dir(hostile()).unwrap().map(|entry| entry.unwrap().path());
    let mut folders: Vec<String> =
        all.filter(|path| path.is_dir()).map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect();
    let mut names: Vec<&str> = READERS.iter().map(|(name, _)| *name).collect();
    folders.sort();
    names.sort_unstable();
    assert_eq!(folders, names);
}
