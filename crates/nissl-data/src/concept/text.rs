//! Concept sources as a line of text.

use super::{ConceptSource, Expression};
use crate::error::DataError;

/// Between a name and what it names.
const NAMED: &str = ":=";

pub(super) fn parse(text: &str) -> Result<ConceptSource, DataError> {
    let (name, body) = match text.split_once(NAMED) {
        Some((name, body)) => (Some(name.trim()), body),
        None => (None, text),
    };
    let body_at = text.len() - body.trim_start().len();
    let body = body.trim();
    let fail = |at: usize, expected: &str, got: &str| {
        let at = text.get(..at).unwrap_or(text).chars().count() + 1;
        Err(DataError::Expression { text: text.to_owned(), at, expected: expected.to_owned(), got: got.to_owned() })
    };
    if name.is_some_and(str::is_empty) {
        return fail(0, "a name before :=", "nothing");
    }
    let named = |default: &str| name.unwrap_or(default).to_owned();
    if let Some(rest) = body.strip_prefix('{') {
        let (list, fold_case) = match rest.strip_suffix("}i") {
            Some(list) => (list, true),
            None => match rest.strip_suffix('}') {
                Some(list) => (list, false),
                None => return fail(text.trim_end().len(), "} after the words", "the end"),
            },
        };
        let words: Vec<String> = list.split(',').map(|word| word.trim().to_owned()).filter(|w| !w.is_empty()).collect();
        if words.is_empty() {
            return fail(body_at + 1, "words with commas between", "none");
        }
        return Ok(ConceptSource::Words { name: named(body), words, fold_case });
    }
    if let Some(rest) = body.strip_prefix('/') {
        let pattern = match (rest.strip_suffix("/i"), rest.strip_suffix('/')) {
            (Some(pattern), _) => format!("(?i){pattern}"),
            (None, Some(pattern)) => pattern.to_owned(),
            (None, None) => return fail(text.trim_end().len(), "/ after the regular expression", "the end"),
        };
        return Ok(ConceptSource::Regex { name: named(body), pattern });
    }
    if body.contains(['=', '~']) {
        Expression::parse(body).map_err(|error| shift(error, text, body_at))?;
        return Ok(ConceptSource::Predicate { name: named(body), expression: body.to_owned() });
    }
    let (column, only) = match body.split_once(':') {
        Some((column, labels)) => (column.trim(), labels.split(',').map(|l| l.trim().to_owned()).collect()),
        None => (body, Vec::new()),
    };
    if column.is_empty() || only.iter().any(String::is_empty) {
        return fail(body_at, "a column, column: LABEL, LABEL, {words}, /regex/ or column=label", "nothing");
    }
    if let Some(at) = column.find(['(', ')', '&', '|', '!', '"']) {
        return fail(body_at + at, "a condition such as upos=NOUN", &format!("'{}'", &column[at..=at]));
    }
    if name.is_some() {
        return fail(body_at, "{words}, /regex/ or column=label after a name", &format!("the column '{column}'"));
    }
    Ok(ConceptSource::Column { column: column.to_owned(), only })
}

/// An error of a part, placed in the whole text.
fn shift(error: DataError, text: &str, by: usize) -> DataError {
    match error {
        DataError::Expression { at, expected, got, .. } => {
            let at = at + text[..by].chars().count();
            DataError::Expression { text: text.to_owned(), at, expected, got }
        }
        other => other,
    }
}
