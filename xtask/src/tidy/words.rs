//! What stands in no file: stray blanks, notes of unfinished work, paths of somebody's machine.

use super::Problem;
use super::sources::has_word;
use crate::tree::{Tree, has_extension};

/// Words of unfinished work. Written in two halves, since this file is checked as well.
const UNFINISHED: &[&str] = &[concat!("TO", "DO"), concat!("FIX", "ME"), concat!("X", "XX")];

/// Macros of unfinished work.
const STUBS: &[&str] = &[concat!("to", "do!("), concat!("unimplemen", "ted!(")];

/// Folders that exist on one machine alone.
const MACHINE: &[&str] =
    &[concat!("/wo", "rk/"), concat!("/tm", "p/bash"), concat!("/ro", "ot/"), concat!("/ho", "me/")];

/// No trailing blanks, no tabs, no carriage returns; a line end at the end.
pub(super) fn whitespace(tree: &Tree, problems: &mut Vec<Problem>) {
    for (path, text) in tree.texts().filter(|(path, _)| is_ours(path)) {
        for (i, line) in text.split('\n').enumerate() {
            if line.ends_with([' ', '\t', '\r']) {
                problems.push(Problem::new(path, i + 1, "trailing blank"));
            } else if line.contains('\t') {
                problems.push(Problem::new(path, i + 1, "tab"));
            }
        }
        if !text.is_empty() && !text.ends_with('\n') {
            problems.push(Problem::new(path, 0, "the last line has no end"));
        }
    }
}

/// No unfinished work and no machine's paths.
pub(super) fn unwanted(tree: &Tree, problems: &mut Vec<Problem>) {
    for (path, text) in tree.texts().filter(|(path, _)| is_ours(path)) {
        for (i, line) in text.lines().enumerate() {
            let word = UNFINISHED.iter().find(|word| has_word(line, word));
            let stub = STUBS.iter().find(|stub| line.contains(**stub));
            if let Some(found) = word.or(stub) {
                problems.push(Problem::new(path, i + 1, format!("`{found}`: finish it, or say what holds today")));
            }
            if let Some(found) = MACHINE.iter().find(|found| line.contains(**found)) {
                problems.push(Problem::new(path, i + 1, format!("`{found}` exists on one machine alone")));
            }
        }
    }
}

/// Whether people write the file: code and documents, not data and not what tools generate.
fn is_ours(path: &str) -> bool {
    let written = ["rs", "md", "toml", "py", "js", "ts", "css", "html", "sh", "yml", "yaml"];
    (written.iter().any(|e| has_extension(path, e)) || path.starts_with(".ci/")) && !path.contains("/snapshots/")
}
