//! The documents that a reader counts on.

use super::Problem;
use crate::tree::{Tree, has_extension};

/// Files of the root that must be there, with a text that must be in them.
const PAGES: &[(&str, &str)] = &[
    ("README.md", "MIT OR Apache-2.0"),
    ("ARCHITECTURE.md", "Invariant:"),
    ("CONTRIBUTING.md", "cargo xtask ci"),
    ("GLOSSARY.md", "Also called"),
    ("CHANGELOG.md", "## "),
    ("LICENSE-MIT", "WITHOUT WARRANTY OF ANY KIND"),
    ("LICENSE-APACHE", "END OF TERMS AND CONDITIONS"),
];

/// The headings of a method file, in their order.
const HEADINGS: &[&str] = &["Computes", "Input", "Output", "Parameters", "Cost", "Errors", "Differs", "Source"];

/// Folders whose files are methods.
const METHOD_FOLDERS: &[&str] = &["rankers", "profilers", "attributors", "groups"];

/// Most lines of ARCHITECTURE.md: it is to be read in one go.
const ARCHITECTURE_LINES: usize = 200;

/// The pages of the root are there.
pub(super) fn licenses_and_pages(tree: &Tree, problems: &mut Vec<Problem>) {
    for (path, holds) in PAGES {
        match tree.text(path) {
            None => problems.push(Problem::new(path, 0, "is missing")),
            Some(text) if !text.contains(holds) => {
                problems.push(Problem::new(path, 0, format!("does not say `{holds}`")));
            }
            Some(_) => {}
        }
    }
}

/// ARCHITECTURE.md is short and names every crate.
pub(super) fn architecture(tree: &Tree, problems: &mut Vec<Problem>) {
    let path = "ARCHITECTURE.md";
    let text = tree.text(path).unwrap_or_default();
    let lines = text.lines().count();
    if lines > ARCHITECTURE_LINES {
        problems.push(Problem::new(path, 0, format!("{lines} lines: at most {ARCHITECTURE_LINES}")));
    }
    for (name, _) in tree.manifests() {
        if !text.contains(&format!("`{name}`")) {
            problems.push(Problem::new(path, 0, format!("does not name `{name}`")));
        }
    }
}

/// A method file says in its header what it computes, from what, at what cost, and after whom.
pub(super) fn method_headings(tree: &Tree, problems: &mut Vec<Problem>) {
    for (path, text) in tree.rust() {
        let Some((folder, name)) = path.strip_prefix("crates/nissl-methods/src/").and_then(|p| p.split_once('/'))
        else {
            continue;
        };
        let is_method = METHOD_FOLDERS.contains(&folder) && !name.contains('/');
        if !is_method || name == "mod.rs" || name.ends_with("tests.rs") {
            continue;
        }
        let header: Vec<&str> = text.lines().take_while(|line| line.starts_with("//!")).collect();
        let found: Vec<&str> = header
            .iter()
            .filter_map(|line| line.strip_prefix("//! ## "))
            .map(|rest| rest.split_whitespace().next().unwrap_or_default())
            .filter(|word| HEADINGS.contains(word))
            .collect();
        if found != HEADINGS {
            let what = format!("its header has the headings {found:?}: expected {HEADINGS:?}, in this order");
            problems.push(Problem::new(path, 1, what));
        }
    }
}

/// The files and folders that the pages of the root name are there.
pub(super) fn named_files(tree: &Tree, problems: &mut Vec<Problem>) {
    for (page, text) in tree.texts().filter(|(path, _)| !path.contains('/') && has_extension(path, "md")) {
        for (i, line) in text.lines().enumerate() {
            for name in line.split('`').skip(1).step_by(2) {
                let is_path = has_extension(name, "rs") || (name.ends_with('/') && !name.contains(' '));
                let stands_for_any = name.contains("NAME");
                let there =
                    |path: &str| path.ends_with(name) || path.contains(&format!("/{name}")) || path.starts_with(name);
                if is_path && !stands_for_any && !tree.files.keys().any(|path| there(path)) {
                    problems.push(Problem::new(page, i + 1, format!("names `{name}`, which is not there")));
                }
            }
        }
    }
}

/// The test command of the README is the one that `.ci/run` calls.
pub(super) fn commands_of_the_readme(tree: &Tree, problems: &mut Vec<Problem>) {
    let command = "cargo xtask ci";
    let runs = |text: &str| text.lines().any(|line| line.trim().trim_start_matches("exec ") == command);
    for path in ["README.md", ".ci/run"] {
        if !tree.text(path).is_some_and(runs) {
            problems.push(Problem::new(path, 0, format!("does not call `{command}`")));
        }
    }
}
