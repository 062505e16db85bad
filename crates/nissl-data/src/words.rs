//! Words in a text: found where the annotation says they are, or cut where there is none.

use std::ops::Range;

use unicode_segmentation::UnicodeSegmentation;

use crate::options::WordSplit;

/// Finds the words in the text by walking along it: each word must follow the one before, with nothing but white space
/// between them. A space inside a word matches any white space. `None` if the text is not made of these words.
///
/// ```
/// assert_eq!(nissl_data::find_words("Hi, you", ["Hi", ",", "you"]), Some(vec![0..2, 2..3, 4..7]));
/// assert_eq!(nissl_data::find_words("Hi, you", ["Hi", "you"]), None);
/// ```
pub fn find_words<'a>(text: &str, forms: impl IntoIterator<Item = &'a str>) -> Option<Vec<Range<usize>>> {
    let mut at = 0;
    let mut spans = Vec::new();
    for form in forms {
        at += text[at..].len() - text[at..].trim_start().len();
        let length = match_form(&text[at..], form)?;
        spans.push(at..at + length);
        at += length;
    }
    text[at..].trim_start().is_empty().then_some(spans)
}

/// How many bytes at the start of `text` the form takes.
fn match_form(text: &str, form: &str) -> Option<usize> {
    if text.starts_with(form) {
        return Some(form.len());
    }
    let mut rest = text;
    let mut parts = form.split_whitespace();
    rest = rest.strip_prefix(parts.next()?)?;
    for part in parts {
        let after = rest.trim_start();
        if after.len() == rest.len() {
            return None;
        }
        rest = after.strip_prefix(part)?;
    }
    Some(text.len() - rest.len())
}

/// Cuts a text into words; white space belongs to none.
///
/// ```
/// use nissl_data::{WordSplit, split_words};
/// let text = "I don't... know";
/// let words: Vec<&str> = split_words(text, WordSplit::Unicode).into_iter().map(|span| &text[span]).collect();
/// assert_eq!(words, ["I", "don't", "...", "know"]);
/// ```
pub fn split_words(text: &str, split: WordSplit) -> Vec<Range<usize>> {
    match split {
        WordSplit::Whitespace => text
            .split_whitespace()
            .map(|word| {
                let start = word.as_ptr() as usize - text.as_ptr() as usize;
                start..start + word.len()
            })
            .collect(),
        WordSplit::Unicode => {
            let mut spans: Vec<Range<usize>> = Vec::new();
            for (start, piece) in text.split_word_bound_indices() {
                // A combining mark after a space is one piece with it.
                let start = start + piece.len() - piece.trim_start().len();
                let piece = piece.trim();
                if piece.is_empty() {
                    continue;
                }
                match spans.last_mut() {
                    Some(last) if last.end == start && repeats(&text[last.clone()], piece) => last.end += piece.len(),
                    _ => spans.push(start..start + piece.len()),
                }
            }
            spans
        }
    }
}

/// Whether `piece` is the punctuation mark that `run` consists of.
fn repeats(run: &str, piece: &str) -> bool {
    let mut chars = piece.chars();
    match (chars.next(), chars.next()) {
        (Some(mark), None) => !mark.is_alphanumeric() && run.chars().all(|c| c == mark),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
