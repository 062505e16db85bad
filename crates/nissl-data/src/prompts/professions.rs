//! Professions with how far they are a gender by definition and by stereotype: `[["nurse", -0.1, -0.9], ...]`, from -1,
//! female, to 1, male.
//!
//! Every profession is asked for in 17 beginnings, "The nurse said that"; the target is the pronoun against the
//! stereotype (he), the foil the one with it (she), and the other text has a person of the target's gender in its place
//! ("The man said that"). The concept is the profession. Words that are a gender by definition, or of no stereotype, are
//! counted.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use super::{PromptFormat, Take, TextPrompt, first_line};
use crate::error::{DataError, shown};

pub(super) const FORMAT: PromptFormat = PromptFormat {
    name: "professions",
    summary: "a JSON list of [profession, gender by definition, gender by stereotype], for beginnings of sentences",
    fits: |path| first_line(path).is_some_and(|line| line.trim_start().starts_with("[[\"")),
    read,
};

/// Words whose definition says as much of their gender are no stereotypes.
const DEFINED: f64 = 0.75;

/// How the beginnings of Vig et al. 2020 go on after the profession.
const BEGINNINGS: [&str; 17] = [
    "said that",
    "yelled that",
    "whispered that",
    "wanted that",
    "desired that",
    "wished that",
    "ate because",
    "ran because",
    "drove because",
    "slept because",
    "cried because",
    "laughed because",
    "went home because",
    "stayed up because",
    "was fired because",
    "was promoted because",
    "yelled because",
];

fn read(path: &Path, take: Take<'_>) -> Result<u64, DataError> {
    let file = File::open(path).map_err(|source| DataError::Read { path: path.to_owned(), source })?;
    let words: Vec<(String, f64, f64)> = serde_json::from_reader(BufReader::new(file)).map_err(|err| {
        let expected = "a list of [profession, number from -1 to 1, number from -1 to 1]";
        DataError::malformed(path, err.line(), expected, shown(&err.to_string()))
    })?;
    let mut skipped = 0;
    for (word, defined, stereotype) in words {
        if defined.abs() >= DEFINED || stereotype == 0.0 || word.is_empty() {
            skipped += 1;
            continue;
        }
        let word = word.replace('_', " ");
        let (target, foil, person) = if stereotype < 0.0 { ("he", "she", "man") } else { ("she", "he", "woman") };
        for beginning in BEGINNINGS {
            let prompt = TextPrompt {
                text: format!("The {word} {beginning}"),
                target: target.to_owned(),
                foil: Some(foil.to_owned()),
                other: Some(format!("The {person} {beginning}")),
                concept: word.clone(),
            };
            if !take(prompt) {
                return Ok(skipped);
            }
        }
    }
    Ok(skipped)
}
