//! The checks of the source tree. `cargo test -p xtask` runs them all.

mod documents;
mod lists;
mod manifests;
mod sizes;
mod sources;
mod words;

use std::fmt;

use crate::tree::Tree;

/// Something in the tree that is not as it should be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    /// The file, from the root.
    pub(crate) path: String,
    /// The line, from 1; 0 for the whole file.
    pub(crate) line: usize,
    /// What is wrong and what is expected.
    pub(crate) what: String,
}

impl Problem {
    fn new(path: &str, line: usize, what: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, what: what.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.path, self.what),
            line => write!(f, "{}:{line}: {}", self.path, self.what),
        }
    }
}

/// A check looks at the tree and appends what it finds.
type Check = fn(&Tree, &mut Vec<Problem>);

/// Every check.
pub(crate) const CHECKS: &[Check] = &[
    documents::licenses_and_pages,
    documents::architecture,
    documents::method_headings,
    documents::named_files,
    documents::commands_of_the_readme,
    lists::every_file_is_listed,
    manifests::dependency_table,
    manifests::inheritance,
    sizes::source_files,
    sizes::large_files,
    sources::file_docs,
    sources::attributes,
    sources::unsafe_code,
    sources::waiting_tests,
    words::whitespace,
    words::unwanted,
];

/// What all checks find, in the order of the files.
pub(crate) fn problems(tree: &Tree) -> Vec<Problem> {
    let mut problems = Vec::new();
    for check in CHECKS {
        check(tree, &mut problems);
    }
    problems.sort_by(|a, b| (&a.path, a.line).cmp(&(&b.path, b.line)));
    problems
}

/// Whether a Rust file holds nothing but tests.
fn is_test_file(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    name == "tests.rs" || name.ends_with("_tests.rs") || path.contains("/tests/") || path.starts_with("tests/")
}

/// The line, from 0, at which a file's inline tests begin; the number of lines if it has none.
fn test_start(text: &str) -> usize {
    let lines: Vec<&str> = text.lines().collect();
    let is_inline_module = |i: usize| {
        lines[i].trim() == "#[cfg(test)]"
            && lines.get(i + 1).is_some_and(|next| next.starts_with("mod ") && next.ends_with('{'))
    };
    (0..lines.len()).find(|&i| is_inline_module(i)).unwrap_or(lines.len())
}

#[cfg(test)]
mod tests;
