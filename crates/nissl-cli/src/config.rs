//! A task's config from a saved file and from flags, which win.

use std::path::Path;

use anyhow::{Context, bail};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// The config of `task` in a file: a config, or a saved report, which contains one.
pub(crate) fn read(path: &Path, task: &str) -> anyhow::Result<Map<String, Value>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let value: Value =
        serde_json::from_str(&text).with_context(|| format!("{}: expected a config as JSON", path.display()))?;
    let Value::Object(mut object) = value else { bail!("{}: expected a JSON object", path.display()) };
    if let Some(Value::String(of)) = object.get("task")
        && of != task
    {
        bail!("{}: expected a report of {task}, got one of {of}", path.display());
    }
    match object.remove("config") {
        Some(Value::Object(config)) => Ok(config),
        _ => Ok(object),
    }
}

/// The config: the file's fields, replaced by those of `flags` that were given, rest by default.
///
/// `flags` serializes to the fields of the config; one that was not given is left out.
pub(crate) fn overlay<C: DeserializeOwned>(mut base: Map<String, Value>, flags: &impl Serialize) -> anyhow::Result<C> {
    let Value::Object(flags) = serde_json::to_value(flags)? else { bail!("flags are not an object") };
    lay(&mut base, flags);
    serde_json::from_value(Value::Object(base)).context("the config does not fit")
}

/// Lays fields over those of a config, and fields of fields.
fn lay(base: &mut Map<String, Value>, over: Map<String, Value>) {
    for (field, value) in over {
        match (base.get_mut(&field), value) {
            (Some(Value::Object(old)), Value::Object(new)) => lay(old, new),
            (_, value) => {
                base.insert(field, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Config {
        model: String,
        top: usize,
        read: Value,
    }

    fn object(value: &Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn flags_replace_fields_of_the_file_and_leave_the_others() {
        let base = object(&json!({ "model": "a", "top": 3, "read": { "limit": 5, "header": true } }));
        let config: Config = overlay(base, &json!({ "model": "b", "read": { "limit": 9 } })).unwrap();
        assert_eq!(config, Config { model: "b".into(), top: 3, read: json!({ "limit": 9, "header": true }) });
        let base = object(&json!({ "read": { "how": { "value": "mean", "seed": 1 } } }));
        let config: Config = overlay(base, &json!({ "read": { "how": { "seed": 2 } } })).unwrap();
        assert_eq!(config.read, json!({ "how": { "value": "mean", "seed": 2 } }), "fields of fields");
    }

    #[test]
    fn an_unknown_field_is_named() {
        let err = overlay::<Config>(object(&json!({ "modle": "a" })), &json!({})).unwrap_err();
        assert!(format!("{err:#}").contains("modle"), "{err:#}");
    }

    #[test]
    fn a_report_of_another_task_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report.json");
        std::fs::write(&path, r#"{ "task": "rank", "config": { "top": 2 } }"#).unwrap();
        assert_eq!(read(&path, "rank").unwrap(), object(&json!({ "top": 2 })));
        assert!(read(&path, "extract").is_err());
    }
}
