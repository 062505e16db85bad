//! ParaRel's facts: a folder with `patterns/P19.jsonl` (ways to say a relation) and `trex/P19.jsonl` (its facts).
//!
//! Every fact is asked for in every way; the concept is `P19 Allan Peiper > Alexandra`.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::{BLANK, PromptFormat, Take, TextPrompt};
use crate::error::{DataError, shown};
use crate::lines::Lines;

pub(super) const FORMAT: PromptFormat = PromptFormat {
    name: "pararel",
    summary: "a folder with patterns/ and trex/, a JSON-lines file for each relation in both",
    fits: |path| path.join("patterns").is_dir() && path.join("trex").is_dir(),
    read,
};

#[derive(Deserialize)]
struct Pattern {
    pattern: String,
}

#[derive(Deserialize)]
struct Fact {
    sub_label: String,
    obj_label: String,
}

/// The objects of a file, and the lines without one.
fn objects<T: DeserializeOwned>(path: &Path, expected: &str) -> Result<(Vec<T>, u64), DataError> {
    let mut lines = Lines::open(path)?;
    let (mut objects, mut skipped) = (Vec::new(), 0);
    while let Some(line) = lines.next()? {
        if line.text.trim().is_empty() {
            skipped += 1;
            continue;
        }
        let malformed = |err| line.malformed(format!("{expected} ({err})"), shown(line.text));
        objects.push(serde_json::from_str(line.text).map_err(malformed)?);
    }
    Ok((objects, skipped))
}

/// The relations for which there are patterns, in the order of their numbers.
fn relations(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    let fail = |source| DataError::Read { path: folder.to_owned(), source };
    let entries = std::fs::read_dir(folder).map_err(fail)?;
    let paths = entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>().map_err(fail)?;
    let mut paths: Vec<PathBuf> =
        paths.into_iter().filter(|path| path.extension().is_some_and(|suffix| suffix == "jsonl")).collect();
    let number = |path: &PathBuf| {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        (stem.trim_start_matches('P').parse::<u64>().unwrap_or(u64::MAX), stem)
    };
    paths.sort_by_key(number);
    Ok(paths)
}

fn read(path: &Path, take: Take<'_>) -> Result<u64, DataError> {
    let mut skipped = 0;
    for patterns in relations(&path.join("patterns"))? {
        let facts = path.join("trex").join(patterns.file_name().unwrap_or_default());
        if !facts.is_file() {
            skipped += 1;
            continue;
        }
        let relation = patterns.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let (ways, empty) = objects::<Pattern>(&patterns, "an object with pattern")?;
        skipped += empty;
        let (facts, empty) = objects::<Fact>(&facts, "an object with sub_label and obj_label")?;
        skipped += empty;
        for Fact { sub_label, obj_label } in facts {
            let concept = format!("{relation} {sub_label} > {obj_label}");
            for Pattern { pattern } in &ways {
                let text = pattern.replacen("[Y]", BLANK, 1).replace("[X]", &sub_label);
                let (target, concept) = (obj_label.clone(), concept.clone());
                if !take(TextPrompt { text, target, concept, ..TextPrompt::default() }) {
                    return Ok(skipped);
                }
            }
        }
    }
    Ok(skipped)
}
