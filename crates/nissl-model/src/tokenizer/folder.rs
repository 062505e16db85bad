//! What lies beside a tokenizer's file: settings, special tokens, the kind of the model.

use std::fmt::Display;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value as Json;

use crate::arch::Config;
use crate::error::LoadError;

/// Classes that say nothing of the tokenizer: what they do stands in the files.
const ANY: &[&str] = &["PreTrainedTokenizer", "PreTrained", "TokenizersBackend"];

/// A model folder, as tokenizers see it.
pub(super) struct Folder<'a> {
    path: &'a Path,
    /// `special_tokens_map.json`, where it counts, before `tokenizer_config.json`.
    settings: Vec<Config>,
    model_type: Option<String>,
}

/// What tokenizers of some classes have in common.
pub(super) struct Convention<T> {
    /// The classes of transformers, without `Fast`.
    pub(super) classes: &'static [&'static str],
    /// The `model_type`s in config.json that have such a tokenizer if no class is named.
    pub(super) model_types: &'static [&'static str],
    pub(super) rules: T,
}

impl<'a> Folder<'a> {
    pub(super) fn open(path: &'a Path) -> Result<Self, LoadError> {
        let config = config(&path.join("tokenizer_config.json"))?;
        let mut settings = Vec::new();
        // Later files have all of it in one place.
        if !config.names().any(|name| name == "added_tokens_decoder") {
            settings.push(self::config(&path.join("special_tokens_map.json"))?);
        }
        settings.push(config);
        let model = self::config(&path.join("config.json"))?;
        let model_type = model.get("model_type").and_then(Json::as_str).map(str::to_owned);
        Ok(Self { path, settings, model_type })
    }

    /// A file of the folder, if it is there.
    pub(super) fn file(&self, name: &str) -> Option<PathBuf> {
        Some(self.path.join(name)).filter(|path| path.is_file())
    }

    /// The folder.
    pub(super) fn path(&self) -> &Path {
        self.path
    }

    /// The tokenizer's class in transformers, without `Fast`, if one is named that says what it does.
    pub(super) fn class(&self) -> Result<Option<&str>, LoadError> {
        let class = self.text("tokenizer_class")?.map(|class| class.strip_suffix("Fast").unwrap_or(class));
        Ok(class.filter(|class| !ANY.contains(class)))
    }

    /// The convention that the folder names: by the tokenizer's class, else by the kind of the model, else the first.
    ///
    /// # Errors
    /// If it names one that is not known.
    pub(super) fn choose<'c, T>(&self, all: &'c [Convention<T>]) -> Result<&'c T, LoadError> {
        let known = |names: fn(&Convention<T>) -> &'static [&'static str]| {
            all.iter().flat_map(names).copied().collect::<Vec<_>>().join(", ")
        };
        if let Some(class) = self.class()? {
            let found = all.iter().find(|convention| convention.classes.contains(&class));
            let expected = || format!("{} (nothing else yet)", known(|convention| convention.classes));
            return found.map(|found| &found.rules).ok_or_else(|| self.wrong("tokenizer_class", expected(), class));
        }
        let Some(model_type) = &self.model_type else {
            return Ok(&all[0].rules);
        };
        let found = all.iter().find(|convention| convention.model_types.contains(&model_type.as_str()));
        found.map(|found| &found.rules).ok_or_else(|| LoadError::Config {
            path: self.path.join("config.json"),
            field: "model_type".to_owned(),
            expected: format!(
                "{} for a tokenizer without tokenizer.json, or tokenizer_class {} in tokenizer_config.json",
                known(|convention| convention.model_types),
                known(|convention| convention.classes)
            ),
            got: model_type.clone(),
        })
    }

    /// The error for a setting.
    pub(super) fn wrong(&self, field: &str, expected: impl Display, got: impl Display) -> LoadError {
        let config = self.settings.iter().find(|config| config.get(field).is_some());
        config.unwrap_or(&self.settings[self.settings.len() - 1]).wrong(field, expected, got)
    }

    /// A setting that is there and not null.
    pub(super) fn get(&self, field: &str) -> Option<&Json> {
        self.settings.iter().find_map(|config| config.get(field))
    }

    /// Whether a setting is null: that it is to have no value, not even a usual one.
    pub(super) fn is_null(&self, field: &str) -> bool {
        self.get(field).is_none() && self.settings.iter().any(|config| config.is_null(field))
    }

    pub(super) fn text(&self, field: &str) -> Result<Option<&str>, LoadError> {
        self.typed(field, "a text", Json::as_str)
    }

    pub(super) fn flag(&self, field: &str) -> Result<Option<bool>, LoadError> {
        self.typed(field, "true or false", Json::as_bool)
    }

    pub(super) fn size(&self, field: &str) -> Result<Option<u64>, LoadError> {
        self.typed(field, "a whole number", Json::as_u64)
    }

    fn typed<'f, T>(
        &'f self,
        field: &str,
        expected: &str,
        read: impl Fn(&'f Json) -> Option<T>,
    ) -> Result<Option<T>, LoadError> {
        self.get(field).map(|value| read(value).ok_or_else(|| self.wrong(field, expected, value))).transpose()
    }
}

/// Reads a file of settings; none if it is not there.
fn config(path: &Path) -> Result<Config, LoadError> {
    match fs::read(path) {
        Ok(bytes) => Config::parse(path, &bytes),
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(Config::empty(path)),
        Err(source) => Err(LoadError::Io { path: path.to_owned(), source }),
    }
}
