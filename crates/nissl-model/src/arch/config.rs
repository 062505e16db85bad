//! Reading config.json field by field, with errors that name file, field, expected and got.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use nissl_core::nearest;
use serde_json::{Map, Value, json};

use super::harmless::is_harmless;
use crate::engine::Activation;
use crate::error::LoadError;

/// The most layers that a model may have.
pub(crate) const MAX_LAYERS: usize = 1 << 12;

/// The most columns that all heads may have together.
const MAX_HEADS: usize = 1 << 22;

/// Sizes of a model that stands for a family, by a part of their names; all others are [`SAMPLE_SIZE`].
const SAMPLE: &[(&str, usize)] = &[("head", 4), ("layer", 2)];
pub(super) const SAMPLE_SIZE: usize = 512;

/// What a family makes of a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FieldUse {
    /// What it computes depends on it.
    Read,
    /// No other value is known.
    Only(String),
    /// It changes no number of a run.
    PassedOver,
}

/// A config.json.
#[derive(Default)]
pub(crate) struct Config {
    path: PathBuf,
    fields: Map<String, Value>,
    /// The fields that were asked for, of configs without some field too, by their names.
    asked: Arc<Mutex<BTreeMap<String, FieldUse>>>,
    /// The names of fields that need not be known.
    allowed: Vec<String>,
    /// Whether it stands for all configs of a family: what must be there is there, all else is not said.
    is_sample: bool,
}

impl Config {
    /// Parses the file's bytes.
    pub(crate) fn parse(path: &Path, bytes: &[u8]) -> Result<Self, LoadError> {
        let fields =
            serde_json::from_slice(bytes).map_err(|source| LoadError::Json { path: path.to_owned(), source })?;
        Ok(Self { path: path.to_owned(), fields, ..Self::default() })
    }

    /// The config of a folder that has none.
    pub(crate) fn empty(path: &Path) -> Self {
        Self { path: path.to_owned(), ..Self::default() }
    }

    /// A config that stands for all of a family.
    pub(super) fn sample() -> Self {
        let fields =
            json!({ "attention_types": [[["global", "local"], 1]], "sliding_window": 64, "dim-vocabs": [SAMPLE_SIZE] });
        Self { is_sample: true, fields: fields.as_object().cloned().unwrap_or_default(), ..Self::default() }
    }

    /// Whether it has no field at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.fields.is_empty() && !self.is_sample
    }

    /// The config as if a field were not there.
    pub(crate) fn without(&self, field: &str) -> Self {
        let mut fields = self.fields.clone();
        fields.remove(field);
        let (path, asked) = (self.path.clone(), Arc::clone(&self.asked));
        Self { path, fields, asked, is_sample: self.is_sample, ..Self::default() }
    }

    /// The config as if a field that is not there were this.
    pub(crate) fn with_default(&self, field: &str, value: Value) -> Self {
        let mut config = self.without(field);
        config.fields.insert(field.to_owned(), self.fields.get(field).cloned().unwrap_or(value));
        config
    }

    /// The file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The error for a field.
    pub(crate) fn wrong(&self, field: &str, expected: impl Display, got: impl Display) -> LoadError {
        LoadError::Config {
            path: self.path.clone(),
            field: field.to_owned(),
            expected: expected.to_string(),
            got: got.to_string(),
        }
    }

    /// Whether a field is there and null.
    pub(crate) fn is_null(&self, field: &str) -> bool {
        self.fields.get(field).is_some_and(Value::is_null)
    }

    /// A field that is there and not null.
    pub(crate) fn get(&self, field: &str) -> Option<&Value> {
        self.ask(field, FieldUse::Read);
        self.value(field)
    }

    fn value(&self, field: &str) -> Option<&Value> {
        self.fields.get(field).filter(|value| !value.is_null())
    }

    /// Remembers what a field is for; what was said first holds, but for what is passed over and read all the same.
    fn ask(&self, field: &str, what: FieldUse) {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(asked.get(field), None | Some(FieldUse::PassedOver)) {
            asked.insert(field.to_owned(), what);
        }
    }

    /// The fields that were asked for.
    pub(super) fn uses(&self) -> BTreeMap<String, FieldUse> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn read<'a, T>(
        &'a self,
        field: &str,
        expected: &str,
        read: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, LoadError> {
        self.get(field).map(|value| read(value).ok_or_else(|| self.wrong(field, expected, value))).transpose()
    }

    /// A field that must be there.
    fn required<T>(&self, field: &str, expected: &str, value: Option<T>) -> Result<T, LoadError> {
        value.ok_or_else(|| self.wrong(field, expected, "nothing"))
    }

    /// A text.
    pub(crate) fn text(&self, field: &str) -> Result<String, LoadError> {
        let value = self.read(field, "a text", Value::as_str)?;
        self.required(field, "a text", value).map(str::to_owned)
    }

    /// A text, or `default` if there is none.
    pub(crate) fn text_or(&self, field: &str, default: &str) -> Result<String, LoadError> {
        Ok(self.read(field, "a text", Value::as_str)?.unwrap_or(default).to_owned())
    }

    /// Fields that a family knows, and that change no number of a run.
    pub(crate) fn pass_over(&self, fields: &[&str]) {
        for field in fields {
            self.ask(field, FieldUse::PassedOver);
        }
    }

    /// A whole number, or `default` if there is none.
    pub(crate) fn size_or(&self, field: &str, default: usize) -> Result<usize, LoadError> {
        let value = self.read(field, "a whole number", Value::as_u64)?;
        value.map_or(Ok(default), |n| usize::try_from(n).map_err(|_| self.wrong(field, "a smaller number", n)))
    }

    /// A whole number.
    pub(crate) fn size(&self, field: &str) -> Result<usize, LoadError> {
        let sample = || SAMPLE.iter().find(|(part, _)| field.contains(part)).map_or(SAMPLE_SIZE, |(_, size)| *size);
        if self.is_sample && self.get(field).is_none() {
            return Ok(sample());
        }
        self.required(field, "a whole number", self.get(field))?;
        self.size_or(field, 0)
    }

    /// A finite number, or `default` if there is none.
    pub(crate) fn number_or(&self, field: &str, default: f64) -> Result<f64, LoadError> {
        Ok(self.read(field, "a number", Value::as_f64)?.unwrap_or(default))
    }

    /// A number.
    pub(crate) fn number(&self, field: &str) -> Result<f64, LoadError> {
        if self.is_sample && self.get(field).is_none() {
            return Ok(1.0);
        }
        self.required(field, "a number", self.get(field))?;
        self.number_or(field, 0.0)
    }

    /// A list of numbers.
    pub(crate) fn numbers(&self, field: &str) -> Result<Vec<f64>, LoadError> {
        let list = self.read(field, "a list of numbers", |value| {
            value.as_array()?.iter().map(Value::as_f64).collect::<Option<Vec<f64>>>()
        })?;
        self.required(field, "a list of numbers", list)
    }

    /// A list of texts, if there is one.
    pub(crate) fn texts(&self, field: &str) -> Result<Option<Vec<String>>, LoadError> {
        self.read(field, "a list of texts", |value| {
            value.as_array()?.iter().map(|text| text.as_str().map(str::to_owned)).collect()
        })
    }

    /// The number of layers.
    pub(crate) fn layers(&self, field: &str) -> Result<usize, LoadError> {
        match self.size(field)? {
            n if (1..=MAX_LAYERS).contains(&n) => Ok(n),
            n => Err(self.wrong(field, format!("1 to {MAX_LAYERS}"), n)),
        }
    }

    /// The number of heads, and the width of a head: that of `field`, or what they share a width of `d_model` into.
    pub(crate) fn heads(&self, heads: &str, field: &str, d_model: usize) -> Result<(usize, usize), LoadError> {
        let n_heads = self.size(heads)?;
        if n_heads == 0 || self.get(field).is_none() && !d_model.is_multiple_of(n_heads) {
            return Err(self.wrong(heads, format!("a divisor of the width {d_model}"), n_heads));
        }
        let d_head = self.size_or(field, d_model / n_heads)?;
        if n_heads.checked_mul(d_head).is_none_or(|width| width > MAX_HEADS) {
            return Err(self.wrong(heads, format!("heads that are {MAX_HEADS} wide together at most"), n_heads));
        }
        Ok((n_heads, d_head))
    }

    /// Yes or no, or `default` if it is not said.
    pub(crate) fn flag_or(&self, field: &str, default: bool) -> Result<bool, LoadError> {
        Ok(self.read(field, "true or false", Value::as_bool)?.unwrap_or(default))
    }

    /// An option of which only one value is known: any other would compute something else, so it is refused.
    pub(crate) fn only(&self, field: &str, allowed: &Value) -> Result<(), LoadError> {
        self.ask(field, FieldUse::Only(allowed.to_string()));
        match self.value(field) {
            Some(value) if value != allowed => Err(self.wrong(field, format!("{allowed} (nothing else yet)"), value)),
            _ => Ok(()),
        }
    }

    /// A size divided into so many parts, which must have a whole size.
    pub(crate) fn divided(&self, size: &str, parts: &str) -> Result<usize, LoadError> {
        let (whole, n) = (self.size(size)?, self.size(parts)?);
        if n == 0 || !whole.is_multiple_of(n) {
            return Err(self.wrong(parts, format!("a divisor of {size} = {whole}"), n));
        }
        Ok(whole / n)
    }

    /// The names of `n` labels, `LABEL_<number>` where the config has none.
    pub(crate) fn labels(&self, n: usize) -> Vec<String> {
        let named = self.get("id2label").and_then(Value::as_object);
        let name = |label: usize| named.and_then(|names| names.get(&label.to_string())).and_then(Value::as_str);
        (0..n).map(|label| name(label).map_or_else(|| format!("LABEL_{label}"), str::to_owned)).collect()
    }

    /// Numbers of tokens, one or a list; what is none is passed over.
    pub(crate) fn tokens(&self, field: &str) -> Vec<u32> {
        let number = |value: &Value| value.as_u64().and_then(|n| u32::try_from(n).ok());
        match self.get(field) {
            Some(Value::Array(list)) => list.iter().filter_map(number).collect(),
            value => value.and_then(number).into_iter().collect(),
        }
    }

    /// Tokens that a config for generation never lets come; texts of several tokens are passed over.
    pub(crate) fn never(&self) -> Option<Vec<u32>> {
        let number = |value: &Value| value.as_u64().and_then(|n| u32::try_from(n).ok());
        let one = |text: &Value| match text.as_array().map(Vec::as_slice) {
            Some([token]) => number(token),
            _ => None,
        };
        let texts = self.get("bad_words_ids").and_then(Value::as_array);
        let suppressed = self.get("suppress_tokens").and_then(Value::as_array);
        if texts.is_none() && suppressed.is_none() {
            return None;
        }
        Some(
            texts
                .into_iter()
                .flatten()
                .filter_map(one)
                .chain(suppressed.into_iter().flatten().filter_map(number))
                .collect(),
        )
    }

    /// A field within an object, for options that are grouped.
    pub(crate) fn group(&self, field: &str) -> Result<Option<Self>, LoadError> {
        let value = self.read(field, "an object", Value::as_object)?;
        Ok(value.map(|fields| Self { path: self.path.clone(), fields: fields.clone(), ..Self::default() }))
    }

    /// The names of the fields that are there and not null.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().filter(|(_, value)| !value.is_null()).map(|(name, _)| name.as_str())
    }

    /// Forgets what was asked for.
    pub(crate) fn forget(&self) {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// The fields that were not asked for and that may change what a model computes: set, and not known to say something
    /// else.
    pub(crate) fn unasked(&self) -> Vec<String> {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let is_set = |value: &Value| match value {
            Value::Null | Value::Bool(false) => false,
            Value::Array(list) => !list.is_empty(),
            Value::Object(fields) => !fields.is_empty(),
            _ => true,
        };
        let fields = self
            .fields
            .iter()
            .filter(|(name, value)| is_set(value) && !is_harmless(name) && !asked.contains_key(*name));
        fields.map(|(name, _)| name.clone()).collect()
    }

    /// Takes fields that the family does not know.
    pub(super) fn allow(&mut self, fields: &[String]) {
        self.allowed = fields.to_vec();
    }

    /// Refuses fields that were not asked for and may change what a model computes, but for those that are allowed.
    pub(super) fn refuse_unasked(&self, family: &'static str) -> Result<(), LoadError> {
        let Some(field) = self.unasked().into_iter().find(|field| !self.allowed.contains(field)) else { return Ok(()) };
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        Err(LoadError::UnknownOption {
            path: self.path.clone(),
            got: self.fields.get(&field).map(Value::to_string).unwrap_or_default(),
            family,
            nearest: nearest(&field, asked.keys().map(String::as_str)),
            field,
        })
    }

    /// An activation function by its name in transformers.
    pub(crate) fn activation(&self, field: &str, default: &str) -> Result<Activation, LoadError> {
        let name = self.read(field, "the name of an activation function", Value::as_str)?.unwrap_or(default);
        match name {
            "gelu" => Ok(Activation::GeluErf),
            "gelu_new" | "gelu_pytorch_tanh" | "gelu_fast" => Ok(Activation::GeluTanh),
            "relu" => Ok(Activation::Relu),
            "silu" | "swish" => Ok(Activation::Silu),
            "tanh" => Ok(Activation::Tanh),
            _ => Err(self.wrong(field, "gelu, gelu_new, gelu_pytorch_tanh, gelu_fast, relu, silu or tanh", name)),
        }
    }
}
