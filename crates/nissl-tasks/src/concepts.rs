//! Concepts as the user gives them: lines of text, or a file.

use std::fs;
use std::path::Path;

use nissl_data::ConceptSource;
use serde::Deserialize;
use serde_json::Value;

use crate::error::TaskError;

/// The concepts of the lines, then those of the file: JSON (a list of lines or of [`ConceptSource`] objects), or text
/// with a concept a line, where empty lines and those that begin with `#` are passed over.
///
/// # Errors
/// If the file cannot be read or a concept not be understood.
pub(crate) fn read(lines: &[String], file: Option<&Path>) -> Result<Vec<ConceptSource>, TaskError> {
    let mut sources = lines.iter().map(|line| line.parse()).collect::<Result<Vec<ConceptSource>, _>>()?;
    if let Some(path) = file {
        let text = fs::read_to_string(path).map_err(|source| TaskError::io("read", path, source))?;
        sources.extend(parse(path, &text)?);
    }
    Ok(sources)
}

fn parse(path: &Path, text: &str) -> Result<Vec<ConceptSource>, TaskError> {
    if !text.trim_start().starts_with('[') {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        return Ok(lines.map(str::parse).collect::<Result<_, _>>()?);
    }
    let wrong =
        |expected: &str, got: String| TaskError::Format { path: path.to_owned(), expected: expected.into(), got };
    let list: Vec<Value> =
        serde_json::from_str(text).map_err(|err| wrong("a list of concepts as JSON", err.to_string()))?;
    let concept = |(idx, value): (usize, Value)| match value {
        Value::String(line) => Ok(line.parse()?),
        value => ConceptSource::deserialize(value)
            .map_err(|err| wrong("a concept", format!("{err} in number {} of the list", idx + 1))),
    };
    list.into_iter().enumerate().map(concept).collect()
}

/// Whether it is a label column of the corpus, which a store keeps anyway.
pub(crate) fn is_column(source: &ConceptSource) -> bool {
    matches!(source, ConceptSource::Column { .. })
}

/// The name of the concept; for a column, the column's.
pub(crate) fn name(source: &ConceptSource) -> &str {
    match source {
        ConceptSource::Column { column: name, .. }
        | ConceptSource::Words { name, .. }
        | ConceptSource::Regex { name, .. }
        | ConceptSource::Predicate { name, .. } => name,
    }
}

/// How a concept was made, in words.
pub(crate) fn describe(source: &ConceptSource) -> String {
    match source {
        ConceptSource::Column { column, .. } => format!("label of the column {column}"),
        ConceptSource::Words { words, fold_case, .. } => {
            let case = if *fold_case { ", upper or lower case" } else { "" };
            format!("one of {} words{case}", words.len())
        }
        ConceptSource::Regex { pattern, .. } => format!("words that match {pattern}"),
        ConceptSource::Predicate { expression, .. } => expression.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_text_files_and_json_files_say_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let expected = read(&["upos".to_owned(), "city := {Paris, London}".to_owned()], None).unwrap();
        let json = r#"["upos", {"kind": "words", "name": "city", "words": ["Paris", "London"]}]"#;
        for text in ["# cities\nupos\n\n  city := {Paris, London}\n", json] {
            let path = folder.path().join("concepts");
            fs::write(&path, text).unwrap();
            assert_eq!(read(&[], Some(&path)).unwrap(), expected, "{text}");
        }
        assert_eq!(expected.iter().map(name).collect::<Vec<_>>(), ["upos", "city"]);
    }

    #[test]
    fn a_wrong_entry_is_named_with_file_and_number() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("concepts.json");
        fs::write(&path, r#"["upos", {"kind": "wrods"}]"#).unwrap();
        let err = read(&[], Some(&path)).unwrap_err().to_string();
        assert!(err.contains("concepts.json") && err.contains("number 2") && err.contains("wrods"), "{err}");
    }
}
