//! JSON lines: one object a line; one of its values is the text, the others are labels of the sentence.
//!
//! Strings, numbers and truth values are labels; null is no label; lists and objects are left out and counted. Objects
//! need not have the same keys, but each needs the text.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::{ColumnNames, Format, SentenceSource};
use crate::corpus::CorpusCounts;
use crate::error::{DataError, shown};
use crate::lines::Lines;
use crate::options::ReadOptions;
use crate::record::{push_label, sentence, text_column};
use crate::sentence::{Label, Sentence};

pub(super) const FORMAT: Format = Format {
    name: "jsonl",
    summary: "one JSON object a line: a key holds the sentence, the others its labels",
    suffixes: &["jsonl", "ndjson"],
    open: |input, options| {
        let wanted = options.label_columns.clone().unwrap_or_default();
        Ok(Box::new(JsonLines {
            lines: input.lines()?,
            options: options.clone(),
            text: None,
            missing: wanted.into_iter().collect(),
            keys: BTreeSet::new(),
            columns: ColumnNames::default(),
        }))
    },
};

struct JsonLines {
    lines: Lines,
    options: ReadOptions,
    /// The key of the text, once an object was seen.
    text: Option<String>,
    /// Label columns that were asked for and have not been seen yet.
    missing: BTreeSet<String>,
    /// Keys that have been seen, to suggest the nearest.
    keys: BTreeSet<String>,
    columns: ColumnNames,
}

/// Keys remembered for suggestions.
const MOST_KEYS: usize = 256;

impl SentenceSource for JsonLines {
    fn next_sentence(&mut self, counts: &mut CorpusCounts) -> Result<Option<Sentence>, DataError> {
        loop {
            let Some(line) = self.lines.next()? else {
                return match self.missing.pop_first() {
                    None => Ok(None),
                    Some(name) => Err(self.unknown(&name)),
                };
            };
            if line.text.trim().is_empty() {
                counts.empty += 1;
                continue;
            }
            let object: Map<String, Value> = serde_json::from_str(line.text)
                .map_err(|error| line.malformed("a JSON object", format!("{}: {error}", shown(line.text))))?;
            let key = match &self.text {
                Some(key) => key.clone(),
                None => text_column(line.path, &self.options, &object.keys().cloned().collect::<Vec<_>>())?,
            };
            let Some(text) = object.get(&key).and_then(Value::as_str) else {
                let got = object.get(&key).map_or("no such key".to_owned(), |value| shown(&value.to_string()));
                return Err(line.malformed(format!("a string as '{key}'"), got));
            };
            let number = line.number;
            if self.text.is_none() {
                self.text = Some(key.clone());
            }
            let labels = self.labels(&object, &key, counts);
            match sentence(text, labels, number, self.options.word_split) {
                Some(sentence) => return Ok(Some(sentence)),
                None => counts.empty += 1,
            }
        }
    }
}

impl JsonLines {
    /// A label column that no object has.
    fn unknown(&self, name: &str) -> DataError {
        DataError::unknown(self.lines.path().display().to_string(), "column", name, self.keys.iter().cloned())
    }

    fn labels(&mut self, object: &Map<String, Value>, text: &str, counts: &mut CorpusCounts) -> Vec<Label> {
        let mut labels = Vec::new();
        for (key, value) in object {
            if self.keys.len() < MOST_KEYS && !self.keys.contains(key) {
                self.keys.insert(key.clone());
            }
            self.missing.remove(key);
            let wanted = match &self.options.label_columns {
                Some(wanted) => wanted.contains(key),
                None => key != text,
            };
            if !wanted {
                continue;
            }
            match value {
                Value::String(value) => push_label(&mut labels, &mut self.columns, key, value),
                Value::Number(_) | Value::Bool(_) => {
                    push_label(&mut labels, &mut self.columns, key, &value.to_string());
                }
                Value::Null => {}
                Value::Array(_) | Value::Object(_) => counts.values_ignored += 1,
            }
        }
        labels
    }
}

#[cfg(test)]
mod tests;
