//! A vocabulary with its special tokens, as tokenizer.json spells them.

use std::collections::{BTreeMap, HashMap};
use std::fs;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};

use super::folder::Folder;
use crate::error::LoadError;

/// What special tokens are for, as tokenizer_config.json calls it.
const ROLES: &[&str] =
    &["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token", "src_lang"];

/// A token that is found in a text as it is, before anything else is done with the text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "the fields of the files")]
pub(crate) struct Added {
    content: String,
    #[serde(default)]
    single_word: bool,
    #[serde(default)]
    lstrip: bool,
    #[serde(default)]
    rstrip: bool,
    #[serde(default)]
    normalized: bool,
    #[serde(default = "yes")]
    special: bool,
}

fn yes() -> bool {
    true
}

impl Added {
    /// A special token that is nothing but its text.
    pub(crate) fn special(content: &str) -> Self {
        let content = content.to_owned();
        Self { content, single_word: false, lstrip: false, rstrip: false, normalized: false, special: true }
    }

    /// A token that is none of the text's, or one that is.
    pub(super) fn new(content: &str, special: bool) -> Self {
        Self { special, ..Self::special(content) }
    }

    /// A token of the text that is found when it is normalized.
    pub(super) fn in_normalized(content: &str) -> Self {
        Self { normalized: true, ..Self::new(content, false) }
    }
}

/// A special token that a convention has if no file says otherwise.
pub(super) struct Role {
    /// What it is for: one of [`ROLES`].
    pub(super) role: &'static str,
    pub(super) content: &'static str,
    /// Whether the white space before and after it belongs to it.
    pub(super) spaces: (bool, bool),
}

/// A role with its usual token.
pub(super) const fn role(role: &'static str, content: &'static str) -> Role {
    Role { role, content, spaces: (false, false) }
}

/// Tokens and their numbers.
#[derive(Debug, Default)]
pub(crate) struct Tokens {
    by_id: BTreeMap<u32, String>,
    ids: HashMap<String, u32>,
    added: BTreeMap<u32, Added>,
    roles: BTreeMap<&'static str, String>,
}

/// A token that is put before or after a text.
#[derive(Clone, Copy)]
pub(super) struct Put {
    role: &'static str,
    /// Whether it is there unless a setting says otherwise.
    usual: bool,
    /// The setting that turns it on and off.
    flag: Option<&'static str>,
}

impl Put {
    const fn always(role: Option<&'static str>) -> Option<Self> {
        match role {
            Some(role) => Some(Self { role, usual: true, flag: None }),
            None => None,
        }
    }
}

/// What is put around a text, by roles.
#[derive(Clone, Copy)]
pub(super) struct Around {
    before: Option<Put>,
    after: [Option<Put>; 2],
}

impl Around {
    /// The beginning and the end of a sequence, as flags say.
    pub(super) const fn flags(before: bool, after: bool) -> Self {
        let first = Put { role: "bos_token", usual: before, flag: Some("add_bos_token") };
        let last = Put { role: "eos_token", usual: after, flag: Some("add_eos_token") };
        Self { before: Some(first), after: [Some(last), None] }
    }

    /// Always these.
    pub(super) const fn always(before: Option<&'static str>, after: [Option<&'static str>; 2]) -> Self {
        Self { before: Put::always(before), after: [Put::always(after[0]), Put::always(after[1])] }
    }

    /// Always the class before and the separator after it.
    pub(super) const CLASS: Self = Self::always(Some("cls_token"), [Some("sep_token"), None]);
    /// Always the end of a sequence after it.
    pub(super) const END: Self = Self::always(None, [Some("eos_token"), None]);
}

impl Tokens {
    /// Gives a token a number; a token that had it before loses it.
    pub(crate) fn set(&mut self, id: u32, token: impl Into<String>) {
        let token = token.into();
        if let Some(old) = self.ids.insert(token.clone(), id) {
            self.by_id.remove(&old);
        }
        if let Some(old) = self.by_id.insert(id, token.clone())
            && old != token
        {
            self.ids.remove(&old);
        }
    }

    pub(super) fn id(&self, token: &str) -> Option<u32> {
        self.ids.get(token).copied()
    }

    /// Whether the numbers are those from 0 on, each once, up to the last.
    pub(super) fn is_dense(&self) -> bool {
        self.by_id.keys().last().is_none_or(|&last| last as usize + 1 == self.by_id.len())
    }

    /// The tokens in order of their numbers.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &str)> {
        self.by_id.iter().map(|(id, token)| (*id, token.as_str()))
    }

    /// Makes a token one that is found as it is; without it in the vocabulary, nothing happens.
    pub(crate) fn add(&mut self, token: Added) {
        if let Some(id) = self.id(&token.content) {
            self.added.insert(id, token);
        }
    }

    /// Reads the special and added tokens that a folder names, `usual` where it names none.
    ///
    /// A token that is named and not in the vocabulary, nor given a number, is passed over: the model has no row for
    /// it, and a text that spells it stays text.
    ///
    /// # Errors
    /// If one is not spelled as it must be.
    pub(super) fn add_special(&mut self, folder: &Folder<'_>, usual: &[Role]) -> Result<(), LoadError> {
        for (id, token) in numbered(folder)? {
            self.set(id, token.content.clone());
            self.added.insert(id, token);
        }
        for &role in ROLES {
            let usual = usual.iter().find(|usual| usual.role == role);
            let token = match (folder.get(role), usual) {
                (Some(value), _) => added(value).ok_or_else(|| folder.wrong(role, "a token", value))?,
                (None, Some(usual)) if !folder.is_null(role) => {
                    let (lstrip, rstrip) = usual.spaces;
                    Added { lstrip, rstrip, ..Added::special(usual.content) }
                }
                (None, _) => continue,
            };
            self.roles.insert(role, token.content.clone());
            // What has a number was described with it.
            if self.id(&token.content).is_some_and(|id| !self.added.contains_key(&id)) {
                self.add(Added { special: true, ..token });
            }
        }
        for field in ["additional_special_tokens", "extra_special_tokens"] {
            for value in folder.get(field).and_then(Json::as_array).into_iter().flatten() {
                self.add(added(value).ok_or_else(|| folder.wrong(field, "a list of tokens", value))?);
            }
        }
        Ok(())
    }

    /// The token of a role.
    ///
    /// # Errors
    /// If there is none, or it is not in the vocabulary.
    pub(super) fn of_role(&self, folder: &Folder<'_>, role: &str) -> Result<(u32, &str), LoadError> {
        let token = self.roles.get(role).map_or("", String::as_str);
        let id = self.id(token).ok_or_else(|| {
            let got = if token.is_empty() { "none" } else { token };
            folder.wrong(role, "a token of the vocabulary", got.escape_debug())
        })?;
        Ok((id, token))
    }

    /// The `post_processor` that puts special tokens around a text.
    pub(super) fn around(&self, folder: &Folder<'_>, around: Around) -> Result<Json, LoadError> {
        let token = |put: &Put| {
            let wanted = put.flag.map(|flag| folder.flag(flag)).transpose()?.flatten().unwrap_or(put.usual);
            wanted.then(|| self.of_role(folder, put.role)).transpose()
        };
        let all = |puts: &[Option<Put>]| -> Result<Vec<_>, _> {
            puts.iter().flatten().filter_map(|put| token(put).transpose()).collect()
        };
        Ok(template(&all(&[around.before])?, &all(&around.after)?))
    }

    /// `model.vocab` of models that look up tokens.
    pub(super) fn vocab(&self) -> Map<String, Json> {
        self.iter().map(|(id, token)| (token.to_owned(), json!(id))).collect()
    }

    /// `added_tokens`.
    pub(crate) fn added(&self) -> Json {
        let one = |(id, token): (&u32, &Added)| {
            let mut json = json!(token);
            json["id"] = json!(id);
            json
        };
        self.added.iter().map(one).collect()
    }
}

/// A `post_processor` that puts tokens before a text and after it.
pub(crate) fn template(before: &[(u32, &str)], after: &[(u32, &str)]) -> Json {
    if before.is_empty() && after.is_empty() {
        return Json::Null;
    }
    let special = |(_, token): &(u32, &str)| json!({"SpecialToken": {"id": token, "type_id": 0}});
    let texts = |names: &[&str]| -> Vec<Json> {
        let texts = names.iter().map(|id| json!({"Sequence": {"id": id, "type_id": 0}}));
        before.iter().map(special).chain(texts).chain(after.iter().map(special)).collect()
    };
    let known: Map<String, Json> = before
        .iter()
        .chain(after)
        .map(|(id, token)| ((*token).to_owned(), json!({"id": token, "ids": [id], "tokens": [token]})))
        .collect();
    json!({"type": "TemplateProcessing", "single": texts(&["A"]), "pair": texts(&["A", "B"]), "special_tokens": known})
}

/// Tokens that the settings give numbers.
fn numbered(folder: &Folder<'_>) -> Result<Vec<(u32, Added)>, LoadError> {
    let field = "added_tokens_decoder";
    let wrong = |expected: &str, got: &dyn std::fmt::Display| folder.wrong(field, expected, got);
    let mut found = Vec::new();
    if let Some(value) = folder.get(field) {
        let all = value.as_object().ok_or_else(|| wrong("an object", value))?;
        for (id, value) in all {
            let id = id.parse().map_err(|_| wrong("numbers of tokens", &id.escape_debug()))?;
            found.push((id, added(value).ok_or_else(|| wrong("a token", value))?));
        }
    } else if let Some(path) = folder.file("added_tokens.json") {
        let bytes = fs::read(&path).map_err(|source| LoadError::Io { path: path.clone(), source })?;
        let all: BTreeMap<String, u32> =
            serde_json::from_slice(&bytes).map_err(|source| LoadError::Json { path, source })?;
        let mut specials: Vec<Added> = ROLES.iter().filter_map(|role| added(folder.get(role)?)).collect();
        specials.extend(
            folder.get("additional_special_tokens").and_then(Json::as_array).into_iter().flatten().filter_map(added),
        );
        for (content, id) in all {
            let special = specials.iter().any(|token| token.content == content);
            found.push((id, Added { normalized: !special, ..Added::new(&content, special) }));
        }
    }
    Ok(found)
}

/// The text of a token as files spell it.
pub(super) fn content(value: &Json) -> Option<String> {
    added(value).map(|token| token.content)
}

/// A token as files spell it: its text alone, or an object.
fn added(value: &Json) -> Option<Added> {
    match value {
        Json::String(content) => Some(Added::special(content)),
        Json::Object(_) => Added::deserialize(value).ok(),
        _ => None,
    }
}
