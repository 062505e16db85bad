//! Own prompts: a JSON object a line, `{"text": "The capital of France is", "target": "Paris", "foil": "Rome"}`.

use std::path::Path;

use serde_json::Value;

use super::{PromptFormat, Take, first_line};
use crate::error::{DataError, shown};
use crate::lines::Lines;

pub(super) const FORMAT: PromptFormat = PromptFormat {
    name: "jsonl",
    summary: "one JSON object a line: text, target, and if wanted foil, other, concept",
    fits: |path| {
        let object = first_line(path).and_then(|line| serde_json::from_str::<Value>(&line).ok());
        object.is_some_and(|value| value.get("target").is_some())
    },
    read,
};

fn read(path: &Path, take: Take<'_>) -> Result<u64, DataError> {
    let mut lines = Lines::open(path)?;
    let mut skipped = 0;
    while let Some(line) = lines.next()? {
        if line.text.trim().is_empty() {
            skipped += 1;
            continue;
        }
        let prompt = serde_json::from_str(line.text)
            .map_err(|err| line.malformed(format!("an object with text and target ({err})"), shown(line.text)))?;
        if !take(prompt) {
            break;
        }
    }
    Ok(skipped)
}
