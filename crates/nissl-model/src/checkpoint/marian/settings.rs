//! The settings of a model of Marian's: the flat part of YAML that it writes, lines of `name: value` and of lists.

use std::path::Path;

use serde_json::{Map, Value as Json};

use crate::checkpoint::cursor::malformed;
use crate::error::LoadError;

/// Reads the settings; what is no line of this kind is refused.
pub(super) fn parse(path: &Path, text: &str) -> Result<Map<String, Json>, LoadError> {
    let wrong = |number: usize, expected: &str, line: &str| {
        let got: String = line.chars().take(80).flat_map(char::escape_debug).collect();
        malformed(path, format!("settings, line {}", number + 1), expected, got)
    };
    let mut fields = Map::new();
    // The list that is being read.
    let mut list: Option<String> = None;
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        if let Some(item) = line.trim_start().strip_prefix("- ") {
            let items = list.as_ref().and_then(|name| fields.get_mut(name)).and_then(Json::as_array_mut);
            let items = items.ok_or_else(|| wrong(number, "an item of a list after the list's name", line))?;
            items.push(scalar(item.trim()).ok_or_else(|| wrong(number, "an item that is one value", line))?);
            continue;
        }
        let (name, value) = line.split_once(':').ok_or_else(|| wrong(number, "name: value", line))?;
        if name.is_empty() || name.starts_with([' ', '\t', '#']) {
            return Err(wrong(number, "name: value", line));
        }
        list = value.trim().is_empty().then(|| name.to_owned());
        let value = match value.trim() {
            "" | "[]" => Json::Array(Vec::new()),
            value => scalar(value).ok_or_else(|| wrong(number, "a value that is no list or object", line))?,
        };
        if fields.insert(name.to_owned(), value).is_some() {
            return Err(wrong(number, "a name that did not come before", name));
        }
    }
    Ok(fields)
}

/// A value that stands in one line; none if it is a list or an object.
fn scalar(text: &str) -> Option<Json> {
    let quoted = |mark: char| text.strip_prefix(mark)?.strip_suffix(mark);
    if let Some(text) = quoted('"').or_else(|| quoted('\'')) {
        return Some(text.into());
    }
    match text {
        "true" => Some(true.into()),
        "false" => Some(false.into()),
        "~" | "null" => Some(Json::Null),
        _ if text.starts_with(['[', '{', '&', '*', '!', '|', '>']) => None,
        _ => Some(serde_json::from_str::<serde_json::Number>(text).map_or_else(|_| text.into(), Json::Number)),
    }
}
