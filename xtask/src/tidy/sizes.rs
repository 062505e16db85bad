//! How large files may be.

use super::{Problem, is_test_file, test_start};
use crate::tree::{Tree, has_extension};

/// Most lines of a source file, without its tests.
const MAX_LINES: usize = 600;

/// Source files that may be longer, each with its reason.
const LONG: &[(&str, &str)] = &[];

/// Most bytes of a committed file.
const MAX_BYTES: u64 = 1_500_000;

/// Files that may be larger, each with its reason.
const LARGE: &[(&str, &str)] = &[(
    "crates/nissl-tasks/assets/demo/model/model.safetensors",
    "the model of the demo, so that the first command needs no network",
)];

/// Source files are short enough to be read in one go.
pub(super) fn source_files(tree: &Tree, problems: &mut Vec<Problem>) {
    let code = |path: &str| ["rs", "py", "js", "ts", "css"].iter().any(|e| has_extension(path, e));
    for (path, text) in tree.texts().filter(|(path, _)| code(path) && !is_test_file(path)) {
        let lines = test_start(text);
        if lines > MAX_LINES && !LONG.iter().any(|(long, _)| *long == path) {
            let what = format!("{lines} lines without tests: at most {MAX_LINES}; split it by what it is about");
            problems.push(Problem::new(path, 0, what));
        }
    }
    stale(tree, LONG, problems);
}

/// No large file is committed by accident.
pub(super) fn large_files(tree: &Tree, problems: &mut Vec<Problem>) {
    for (path, file) in &tree.files {
        if file.len > MAX_BYTES && !LARGE.iter().any(|(large, _)| large == path) {
            let what = format!("{} bytes: at most {MAX_BYTES}; generate it, or make it smaller", file.len);
            problems.push(Problem::new(path, 0, what));
        }
    }
    stale(tree, LARGE, problems);
}

/// A list of exceptions names no file that is gone.
pub(super) fn stale(tree: &Tree, exceptions: &[(&str, &str)], problems: &mut Vec<Problem>) {
    for (path, _) in exceptions.iter().filter(|(path, _)| !tree.files.contains_key(*path)) {
        problems.push(Problem::new(path, 0, "is on a list of exceptions of xtask, but is not there"));
    }
}
