//! Every method file has its line in the catalogue and every line its file, with the headings of a method's document.

use std::fs;
use std::path::Path;

use nissl_methods::{METHODS, MethodKind};

const HEADINGS: [&str; 8] = ["Computes", "Input", "Output", "Parameters", "Cost", "Errors", "Differs", "Source"];

/// Names by the files of a folder: `top_words.rs` is `top-words`; and the text of each.
fn files(folder: &str) -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(folder);
    let mut files = Vec::new();
    for entry in fs::read_dir(&folder).expect("the folder of a kind") {
        let path = entry.expect("a folder that can be listed").path();
        let stem = path.file_stem().and_then(|stem| stem.to_str()).expect("names of files are text").to_owned();
        if path.is_file() && stem != "mod" {
            files.push((stem.replace('_', "-"), fs::read_to_string(&path).expect("a file that can be read")));
        }
    }
    files.sort();
    files
}

fn check(folder: &str, kind: MethodKind) {
    let files = files(folder);
    let of_files: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
    let mut of_list: Vec<&str> = METHODS.iter().filter(|entry| entry.kind == kind).map(|entry| entry.name).collect();
    of_list.sort_unstable();
    assert_eq!(of_files, of_list, "files of src/{folder} and lines of METHODS");
    for (name, text) in &files {
        let headings: Vec<&str> =
            text.lines().take_while(|line| line.starts_with("//!")).filter_map(|l| l.strip_prefix("//! ## ")).collect();
        assert_eq!(headings, HEADINGS, "headings of {name}");
        let entry = METHODS.iter().find(|entry| entry.name == name).expect("it was just compared");
        let defaults = entry.defaults();
        for (parameter, default) in defaults.as_object().expect("parameters are an object") {
            let default = default.as_str().map_or_else(|| default.to_string(), str::to_owned);
            let default = default.strip_suffix(".0").unwrap_or(&default);
            let line = format!("//! | `{parameter}` | {default} |");
            assert!(text.contains(&line), "{name}: no line '{line}' in the table of parameters");
        }
    }
}

#[test]
fn every_ranker_has_a_line_and_a_document() {
    check("rankers", MethodKind::Ranker);
}

#[test]
fn every_profiler_has_a_line_and_a_document() {
    check("profilers", MethodKind::Profiler);
}

#[test]
fn every_attributor_has_a_line_and_a_document() {
    check("attributors", MethodKind::Attributor);
}
