//! Sentences in running prose, by rules.

use std::ops::Range;

/// Words after which a full stop ends no sentence.
const ABBREVIATIONS: &[&str] = &[
    "adm", "bros", "bzw", "capt", "cf", "ch", "chap", "co", "col", "dr", "dra", "esq", "fig", "figs", "fr", "frl",
    "gen", "gov", "hon", "hr", "lieut", "lt", "maj", "messrs", "mlle", "mme", "mr", "mrs", "ms", "mt", "nr", "pp",
    "pres", "prof", "rev", "sen", "sergt", "sgt", "sr", "sra", "st", "viz", "vgl", "vol", "vols", "vs",
];

/// Cuts prose into sentences: at `.`, `!`, `?` or `…` (and their full-width forms) with the quotes and brackets that
/// close after them, when white space follows and then something that can begin a sentence. No sentence begins with a
/// small letter, after an abbreviation (`Mr.`, `vol.`), after letters with stops between (`e.g.`, `H.M.S.`) or after an
/// initial (`J. Smith`). White space between sentences belongs to none. Written for European languages; Chinese and
/// Japanese full stops need no space after.
///
/// ```
/// let text = "\"Is it you, Mr. Reed?\" I asked. He said: no.";
/// let sentences: Vec<&str> = nissl_data::split_sentences(text).into_iter().map(|span| &text[span]).collect();
/// assert_eq!(sentences, ["\"Is it you, Mr. Reed?\"", "I asked.", "He said: no."]);
/// ```
pub fn split_sentences(text: &str) -> Vec<Range<usize>> {
    let mut spans = Vec::new();
    let mut start = 0;
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        if !is_end(c) {
            continue;
        }
        let mut end = at + c.len_utf8();
        let mut wide = is_wide_end(c);
        while let Some(&(next, c)) = chars.peek() {
            if !is_end(c) && !is_closing(c) {
                break;
            }
            wide |= is_wide_end(c);
            end = next + c.len_utf8();
            chars.next();
        }
        let stop = c == '.' && end == at + 1;
        if (wide || text[end..].starts_with(char::is_whitespace))
            && begins_sentence(&text[end..])
            && !(stop && is_abbreviation(&text[start..at]))
        {
            push_trimmed(&mut spans, text, start..end);
            start = end;
        }
    }
    push_trimmed(&mut spans, text, start..text.len());
    spans
}

fn is_end(c: char) -> bool {
    matches!(c, '.' | '!' | '?' | '…') || is_wide_end(c)
}

fn is_wide_end(c: char) -> bool {
    matches!(c, '。' | '！' | '？' | '｡')
}

fn is_closing(c: char) -> bool {
    matches!(c, '"' | '\'' | '”' | '’' | '»' | '›' | ')' | ']' | '}' | '」' | '』' | '）')
}

/// Whether what follows, after white space and opening marks, can begin a sentence.
fn begins_sentence(rest: &str) -> bool {
    let opening = |c: char| {
        c.is_whitespace()
            || matches!(c, '"' | '\'' | '“' | '‘' | '„' | '‚' | '«' | '‹' | '(' | '[' | '{' | '¿' | '¡' | '_' | '*')
    };
    rest.trim_start_matches(opening).chars().next().is_none_or(|c| !c.is_lowercase())
}

/// Whether the word before a full stop is an abbreviation or an initial.
fn is_abbreviation(before: &str) -> bool {
    let word = before.rsplit(|c: char| c.is_whitespace() || is_opening_before(c)).next().unwrap_or("");
    let mut chars = word.chars();
    if let (Some(initial), None) = (chars.next(), chars.next()) {
        // "I" is more often a word than an initial.
        return initial.is_uppercase() && initial != 'I';
    }
    let dotted = word.contains('.')
        && word.split('.').all(|part| part.chars().count() == 1 && !part.starts_with(char::is_numeric));
    dotted || ABBREVIATIONS.contains(&word.to_lowercase().as_str())
}

fn is_opening_before(c: char) -> bool {
    matches!(c, '(' | '[' | '"' | '\'' | '“' | '‘' | '—' | '-')
}

fn push_trimmed(spans: &mut Vec<Range<usize>>, text: &str, span: Range<usize>) {
    let piece = &text[span.clone()];
    let trimmed = piece.trim();
    if !trimmed.is_empty() {
        let start = span.start + (piece.len() - piece.trim_start().len());
        spans.push(start..start + trimmed.len());
    }
}

#[cfg(test)]
mod tests;
