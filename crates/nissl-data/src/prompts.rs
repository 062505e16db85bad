//! Prompts: texts with a word that is to be predicted, for methods that run the model.
//!
//! A format of prompts is one file and one line in [`PROMPT_FORMATS`].

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::DataError;

mod agreement;
mod blimp;
mod jsonl;
mod pararel;
mod professions;
#[cfg(test)]
mod tests;
mod winobias;

/// Where the target stands in a text; it follows the text if this is not in it.
pub const BLANK: &str = "[MASK]";

/// A text and the word that is to be predicted in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextPrompt {
    /// The text, with [`BLANK`] for the target, or before it.
    pub text: String,
    /// The word that is to be predicted.
    pub target: String,
    /// A word that it is compared with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub foil: Option<String>,
    /// Another text of the same form, from which activations are moved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other: Option<String>,
    /// What the prompt stands for: a fact, a condition.
    #[serde(default)]
    pub concept: String,
}

/// What of the prompts is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PromptOptions {
    /// Name of the format; found out if `None`.
    pub format: Option<String>,
    /// Only concepts whose name begins with one of these; all if empty.
    pub only: Vec<String>,
    /// Only the first so many concepts.
    pub concepts: Option<usize>,
    /// Only the first so many prompts of a concept.
    pub each: Option<usize>,
}

/// A format of prompts.
#[derive(Clone, Copy, Debug)]
pub struct PromptFormat {
    /// Its name.
    pub name: &'static str,
    /// One sentence.
    pub summary: &'static str,
    /// Whether a path looks like it.
    fits: fn(&Path) -> bool,
    /// Hands every prompt to a function until that says no; returns the lines that hold no prompt.
    read: fn(&Path, Take<'_>) -> Result<u64, DataError>,
}

/// What takes prompts until it says no.
type Take<'a> = &'a mut dyn FnMut(TextPrompt) -> bool;

/// Every format, one line each; the first that fits is taken.
pub const PROMPT_FORMATS: &[PromptFormat] =
    &[pararel::FORMAT, blimp::FORMAT, jsonl::FORMAT, agreement::FORMAT, professions::FORMAT, winobias::FORMAT];

/// Prompts, and what was left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prompts {
    /// The prompts, those of a concept as they come.
    pub prompts: Vec<TextPrompt>,
    /// Name of the format.
    pub format: &'static str,
    /// Lines that hold no prompt of this form.
    pub skipped: u64,
}

/// Reads prompts.
///
/// # Errors
/// If the file cannot be read or a line is not of the format, which says which; or the format is unknown or cannot be
/// told.
pub fn read_prompts(path: &Path, options: &PromptOptions) -> Result<Prompts, DataError> {
    let names = || PROMPT_FORMATS.iter().map(|format| format.name);
    let format = match &options.format {
        Some(name) => PROMPT_FORMATS
            .iter()
            .find(|format| format.name == name)
            .ok_or_else(|| DataError::unknown("prompts", "format", name, names()))?,
        None => PROMPT_FORMATS.iter().find(|format| (format.fits)(path)).ok_or_else(|| DataError::UnknownSuffix {
            path: path.to_owned(),
            known: names().map(str::to_owned).collect(),
        })?,
    };
    let mut of_concept: Vec<(String, usize)> = Vec::new();
    let mut prompts = Vec::new();
    let skipped = (format.read)(path, &mut |prompt| {
        if !options.only.is_empty() && !options.only.iter().any(|only| prompt.concept.starts_with(only.as_str())) {
            return true;
        }
        let known = of_concept.iter().rposition(|(concept, _)| *concept == prompt.concept);
        if known.is_none() && options.concepts == Some(of_concept.len()) {
            // Concepts of which more may come are those that were begun.
            return options.each.is_none_or(|each| of_concept.iter().any(|(_, n)| *n < each));
        }
        let idx = known.unwrap_or_else(|| {
            of_concept.push((prompt.concept.clone(), 0));
            of_concept.len() - 1
        });
        let (_, n) = &mut of_concept[idx];
        if options.each.is_none_or(|each| *n < each) {
            *n += 1;
            prompts.push(prompt);
        }
        true
    })?;
    Ok(Prompts { prompts, format: format.name, skipped })
}

/// The first line of a file that says something; nothing if it cannot be read.
fn first_line(path: &Path) -> Option<String> {
    let mut lines = crate::lines::Lines::open(path).ok()?;
    while let Ok(Some(line)) = lines.next() {
        if !line.text.trim().is_empty() {
            return Some(line.text.to_owned());
        }
    }
    None
}
