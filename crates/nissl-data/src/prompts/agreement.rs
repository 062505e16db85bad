//! Agreement sets: `sentence TAB condition TAB correct|wrong TAB id`, two lines a pair that differ in the last word.
//!
//! The last word of the correct line is the target, that of the wrong one the foil, the condition is the concept.

use std::path::Path;

use super::{PromptFormat, Take, TextPrompt, first_line};
use crate::error::{DataError, shown};
use crate::lines::{Line, Lines};

pub(super) const FORMAT: PromptFormat = PromptFormat {
    name: "agreement",
    summary: "pairs of lines: sentence, condition, correct or wrong, id, with tabs between",
    fits: |path| first_line(path).is_some_and(|line| line.split('\t').count() == 4),
    read,
};

/// A line: what stands before its last word, that word, condition, whether it is correct, id.
struct Half {
    text: String,
    word: String,
    condition: String,
    correct: bool,
    id: String,
}

fn half(line: Line<'_>) -> Result<Half, DataError> {
    let fields: Vec<&str> = line.text.split('\t').collect();
    let [sentence, condition, verdict, id] = fields[..] else {
        let expected = "four fields: sentence, condition, correct or wrong, id";
        return Err(line.malformed(expected, format!("{} fields", fields.len())));
    };
    let correct = match verdict.trim() {
        "correct" => true,
        "wrong" => false,
        other => return Err(line.malformed("correct or wrong", shown(other))),
    };
    let Some((text, word)) = sentence.trim().rsplit_once(' ') else {
        return Err(line.malformed("a sentence of two words or more", shown(sentence)));
    };
    let [text, word, condition, id] = [text, word, condition, id].map(|field| field.trim().to_owned());
    Ok(Half { text, word, condition, correct, id })
}

fn read(path: &Path, take: Take<'_>) -> Result<u64, DataError> {
    let mut lines = Lines::open(path)?;
    let (mut skipped, mut first) = (0, None::<Half>);
    while let Some(line) = lines.next()? {
        if line.text.trim().is_empty() {
            skipped += 1;
            continue;
        }
        let second = half(line)?;
        let Some(one) = first.take() else {
            first = Some(second);
            continue;
        };
        if (&one.text, &one.condition, &one.id) != (&second.text, &second.condition, &second.id)
            || one.correct == second.correct
        {
            let expected = format!("the other half of '{}' ({})", one.text, one.id);
            return Err(line.malformed(expected, shown(line.text)));
        }
        let (right, wrong) = if one.correct { (one, second) } else { (second, one) };
        let (text, target, foil) = (right.text, right.word, Some(wrong.word));
        if !take(TextPrompt { text, target, foil, other: None, concept: right.condition }) {
            return Ok(skipped);
        }
    }
    Ok(skipped + u64::from(first.is_some()))
}
