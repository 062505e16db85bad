//! Minimal pairs of BLiMP: a beginning that two sentences share, the word that makes one good and the other bad.
//!
//! Only pairs that share their beginning have a word to predict; the others are counted. The concept is the paradigm.

use std::path::Path;

use serde::Deserialize;

use super::{PromptFormat, Take, TextPrompt, first_line};
use crate::error::{DataError, shown};
use crate::lines::Lines;

pub(super) const FORMAT: PromptFormat = PromptFormat {
    name: "blimp",
    summary: "BLiMP's minimal pairs, JSON lines with one_prefix_prefix and its two words",
    fits: |path| first_line(path).is_some_and(|line| line.contains("\"sentence_good\"")),
    read,
};

#[derive(Deserialize)]
struct Pair {
    one_prefix_prefix: Option<String>,
    one_prefix_word_good: Option<String>,
    one_prefix_word_bad: Option<String>,
    #[serde(rename = "UID", default)]
    paradigm: String,
}

fn read(path: &Path, take: Take<'_>) -> Result<u64, DataError> {
    let mut lines = Lines::open(path)?;
    let mut skipped = 0;
    while let Some(line) = lines.next()? {
        if line.text.trim().is_empty() {
            skipped += 1;
            continue;
        }
        let pair: Pair = serde_json::from_str(line.text)
            .map_err(|err| line.malformed(format!("a minimal pair as a JSON object ({err})"), shown(line.text)))?;
        let (Some(text), Some(target), foil @ Some(_)) =
            (pair.one_prefix_prefix, pair.one_prefix_word_good, pair.one_prefix_word_bad)
        else {
            skipped += 1;
            continue;
        };
        if !take(TextPrompt { text, target, foil, other: None, concept: pair.paradigm }) {
            break;
        }
    }
    Ok(skipped)
}
