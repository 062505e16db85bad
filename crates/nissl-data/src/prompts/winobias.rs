//! `WinoBias`: numbered sentences with two professions and a pronoun, the pronoun and whom it means in brackets.
//!
//! `1 [The developer] argued with the designer because [she] did not like the design.` The text ends before the pronoun,
//! which is the target; the foil is the pronoun of the other gender. The other text has a man or a woman, as the target
//! says, in the place of whom it means. The concept is the profession.

use std::path::Path;

use super::{PromptFormat, Take, TextPrompt, first_line};
use crate::error::{DataError, shown};
use crate::lines::Lines;

pub(super) const FORMAT: PromptFormat = PromptFormat {
    name: "winobias",
    summary: "WinoBias: numbered sentences with a profession and its pronoun in brackets",
    fits: |path| first_line(path).is_some_and(|line| parts(&line).is_some_and(|parts| pronoun(parts[3]).is_some())),
    read,
};

/// Pronouns, their counterparts, and of whom they speak.
const PRONOUNS: [(&str, &str, &str); 7] = [
    ("he", "she", "man"),
    ("his", "her", "man"),
    ("him", "her", "man"),
    ("himself", "herself", "man"),
    ("she", "he", "woman"),
    ("her", "his", "woman"),
    ("herself", "himself", "woman"),
];

/// What "her" stands before where its counterpart is "him" and not "his".
const AFTER_OBJECT: [&str; 25] = [
    "a", "about", "an", "at", "back", "because", "by", "for", "from", "had", "how", "if", "in", "not", "on", "so",
    "some", "that", "the", "to", "well", "what", "when", "where", "with",
];

fn pronoun(word: &str) -> Option<(&'static str, &'static str)> {
    PRONOUNS.iter().find(|(own, ..)| *own == word).map(|&(_, other, person)| (other, person))
}

/// What stands before, in, between, in, and after the brackets, without the number.
fn parts(line: &str) -> Option<[&str; 5]> {
    let (number, sentence) = line.trim().split_once(' ')?;
    number.parse::<u64>().ok()?;
    let (before, rest) = sentence.split_once('[')?;
    let (first, rest) = rest.split_once(']')?;
    let (between, rest) = rest.split_once('[')?;
    let (second, after) = rest.split_once(']')?;
    Some([before, first, between, second, after])
}

fn read(path: &Path, take: Take<'_>) -> Result<u64, DataError> {
    let mut lines = Lines::open(path)?;
    let mut skipped = 0;
    while let Some(line) = lines.next()? {
        if line.text.trim().is_empty() {
            skipped += 1;
            continue;
        }
        let Some([before, who, between, word, after]) = parts(line.text) else {
            return Err(line.malformed("a number and a sentence with two pairs of brackets", shown(line.text)));
        };
        let Some((mut foil, person)) = pronoun(word) else {
            // The pronoun may come before whom it means: then nothing before it says who that is.
            if pronoun(who).is_some() {
                skipped += 1;
                continue;
            }
            return Err(line.malformed("a pronoun in the second brackets", shown(word)));
        };
        let next = after.trim_start().split(' ').next().unwrap_or_default();
        if word == "her" && (!after.starts_with(' ') || AFTER_OBJECT.contains(&next)) {
            foil = "him";
        }
        let (article, concept) = who.rsplit_once(' ').unwrap_or(("the", who));
        let prompt = TextPrompt {
            text: format!("{before}{who}{between}").trim_end().to_owned(),
            target: word.to_owned(),
            foil: Some(foil.to_owned()),
            other: Some(format!("{before}{article} {person}{between}").trim_end().to_owned()),
            concept: concept.to_owned(),
        };
        if !take(prompt) {
            break;
        }
    }
    Ok(skipped)
}
