//! Answers from a file: whoever read the exported items wrote them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use nissl_core::{NeuronId, Progress};
use serde::Deserialize;

use super::{Answer, Item, Judge, Known};
use crate::error::TaskError;
use crate::tasks::judge::Config;

struct Answers {
    path: PathBuf,
    /// The answer of each item, with its line.
    of: BTreeMap<String, (usize, Vec<f64>)>,
}

/// A line: `{"id": "...", "answer": 0.8}`, or a list of numbers. Other fields are those of the item.
#[derive(Deserialize)]
struct Line {
    id: String,
    answer: Numbers,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Numbers {
    One(f64),
    Several(Vec<f64>),
}

pub(super) fn judge<'a>(config: &'a Config, _known: &'a Known<'a>) -> Option<Result<Box<dyn Judge + 'a>, TaskError>> {
    config.answers.as_ref().map(|path| Ok(Box::new(read(path)?) as Box<dyn Judge>))
}

fn read(path: &Path) -> Result<Answers, TaskError> {
    let text = std::fs::read_to_string(path).map_err(|source| TaskError::io("read", path, source))?;
    let mut of = BTreeMap::new();
    for (idx, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let wrong = |expected: &str, got: String| TaskError::Format {
            path: path.to_owned(),
            expected: format!("{expected} in line {}", idx + 1),
            got,
        };
        let Line { id, answer } = serde_json::from_str(line)
            .map_err(|err| wrong("an object with the id of an item and its answer, numbers", err.to_string()))?;
        let numbers = match answer {
            Numbers::One(number) => vec![number],
            Numbers::Several(numbers) => numbers,
        };
        if let Some((before, _)) = of.insert(id.clone(), (idx + 1, numbers)) {
            return Err(wrong("one answer an item", format!("another one of '{id}', as in line {before}")));
        }
    }
    Ok(Answers { path: path.to_owned(), of })
}

impl Judge for Answers {
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn judge(&self, neuron: NeuronId, items: &[Item], _progress: &dyn Progress) -> Result<Vec<Answer>, TaskError> {
        let own = format!("{neuron} ");
        let unknown = self.of.iter().find(|(id, _)| id.starts_with(&own) && !items.iter().any(|item| item.id == **id));
        if let Some((id, (line, _))) = unknown {
            let expected = format!("items that this config draws, in line {line}");
            return Err(TaskError::Format { path: self.path.clone(), expected, got: format!("'{id}'") });
        }
        let answer = |item: &Item| match self.of.get(&item.id) {
            Some((line, numbers)) => item.checked(numbers.clone()).map_err(|why| format!("{why}, in line {line}")),
            None => Err("no answer in the file".to_owned()),
        };
        Ok(items.iter().map(answer).collect())
    }
}
