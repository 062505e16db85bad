//! Sentence vectors, as a folder of the sentence-transformers library says they are made.
//!
//! Such a folder has, beside a model, `modules.json`: a list of what is applied one after the other. Known are a
//! transformer first, a pooling over its tokens, and a normalization to length 1; anything else is refused by name.

use std::path::{Path, PathBuf};

use ndarray::{Array1, Array2, ArrayView2, Axis, s};
use nissl_core::{Batch, HookPlan, HookPoint, Model, ModelError, Site};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::LanguageModel;
use crate::checkpoint::source;
use crate::error::LoadError;
use crate::tokenizer::Encoding;

/// How the vectors of a sentence's tokens become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pooling {
    /// That of the first token.
    First,
    /// That of the last token.
    Last,
    /// Their mean.
    Mean,
    /// Their sum divided by the root of their number.
    MeanSqrtLen,
    /// Of each unit its largest value.
    Max,
}

/// How a folder's sentence vectors are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentenceVectors {
    /// The poolings whose results stand side by side.
    pub poolings: Vec<Pooling>,
    /// Whether vectors are brought to length 1.
    pub normalized: bool,
    /// Tokens of the longest text, with special ones; the rest is cut off. None: as many as the model reads.
    pub max_tokens: Option<usize>,
}

#[derive(Deserialize)]
struct Module {
    path: String,
    #[serde(rename = "type")]
    kind: String,
}

/// Switches of a pooling, in the order in which their results stand side by side.
const MODES: &[(&str, Pooling)] = &[
    ("pooling_mode_cls_token", Pooling::First),
    ("pooling_mode_max_tokens", Pooling::Max),
    ("pooling_mode_mean_tokens", Pooling::Mean),
    ("pooling_mode_mean_sqrt_len_tokens", Pooling::MeanSqrtLen),
    ("pooling_mode_lasttoken", Pooling::Last),
];

impl SentenceVectors {
    /// What a model's folder says, or the format of a file that is a model by itself; none if nothing is said.
    ///
    /// # Errors
    /// If a file is not there or not JSON, or if a module or an option is not known.
    pub fn from_folder(folder: &Path) -> Result<Option<Self>, LoadError> {
        if let Some((whole, _)) = source::whole(folder) {
            return Ok((whole.vectors)());
        }
        let path = folder.join("modules.json");
        let Ok(bytes) = std::fs::read(&path) else { return Ok(None) };
        let modules: Vec<Module> = json(&path, &bytes)?;
        let mut vectors = Self { poolings: Vec::new(), normalized: false, max_tokens: max_tokens(folder)? };
        for (idx, module) in modules.iter().enumerate() {
            match module.kind.rsplit('.').next().unwrap_or_default() {
                "Transformer" if idx == 0 => {}
                "Pooling" if idx == 1 => vectors.poolings = poolings(&folder.join(&module.path).join("config.json"))?,
                "Normalize" if idx == 2 => vectors.normalized = true,
                _ => return Err(wrong(&path, "Transformer, then Pooling, then perhaps Normalize", &module.kind)),
            }
        }
        if vectors.poolings.is_empty() {
            return Err(wrong(&path, "a Pooling", "none"));
        }
        Ok(Some(vectors))
    }

    /// The tokens of a text that are read: of a longer one the first, and the special ones at its end.
    pub fn tokens(&self, model: &LanguageModel, text: &Encoding) -> Vec<u32> {
        let most = self.max_tokens.unwrap_or(usize::MAX).min(model.info().n_ctx);
        if text.len() <= most {
            return text.ids.clone();
        }
        let end = text.special.iter().rev().take_while(|special| **special).count().min(most);
        [&text.ids[..most - end], &text.ids[text.len() - end..]].concat()
    }

    /// The vectors of the sentences of a batch, `[n_sentences, width]`, where the width is that of the residual stream,
    /// as often as there are poolings. An empty sentence has zeros.
    ///
    /// # Errors
    /// As a run of the model.
    pub fn of(&self, model: &LanguageModel, batch: &Batch) -> Result<Array2<f32>, ModelError> {
        let info = model.info();
        let last = HookPoint::new(info.n_layers.saturating_sub(1) as u16, Site::ResidPost);
        let normed = HookPoint::new(0, Site::FinalNorm);
        let point = if info.width(normed).is_some() { normed } else { last };
        let trace = model.run(batch, &HookPlan::capture([point]))?;
        let d_model = info.d_model;
        let mut vectors = Array2::zeros((batch.n_sentences(), d_model * self.poolings.len()));
        for (sentence, mut vector) in vectors.rows_mut().into_iter().enumerate() {
            let tokens = trace.sites[&point].slice(s![batch.rows(sentence), ..]);
            if tokens.is_empty() {
                continue;
            }
            for (part, pooling) in self.poolings.iter().enumerate() {
                vector.slice_mut(s![part * d_model..(part + 1) * d_model]).assign(&pooling.of(&tokens));
            }
            let length = vector.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
            if self.normalized && length > 0.0 {
                vector.mapv_inplace(|value| (f64::from(value) / length) as f32);
            }
        }
        Ok(vectors)
    }
}

impl Pooling {
    /// The vector of some tokens, one or more.
    fn of(self, tokens: &ArrayView2<'_, f32>) -> Array1<f32> {
        let sum = || tokens.mapv(f64::from).sum_axis(Axis(0));
        let n = tokens.nrows() as f64;
        match self {
            Self::First => tokens.row(0).to_owned(),
            Self::Last => tokens.row(tokens.nrows() - 1).to_owned(),
            Self::Mean => sum().mapv(|value| (value / n) as f32),
            Self::MeanSqrtLen => sum().mapv(|value| (value / n.sqrt()) as f32),
            Self::Max => tokens.fold_axis(Axis(0), f32::NEG_INFINITY, |most, value| most.max(*value)),
        }
    }
}

/// What sentence_bert_config.json says of the longest text, where there is one.
fn max_tokens(folder: &Path) -> Result<Option<usize>, LoadError> {
    let path = folder.join("sentence_bert_config.json");
    let Ok(bytes) = std::fs::read(&path) else { return Ok(None) };
    let fields: Map<String, Value> = json(&path, &bytes)?;
    if fields.get("do_lower_case") == Some(&Value::Bool(true)) {
        return Err(LoadError::Config {
            path,
            field: "do_lower_case".to_owned(),
            expected: "false (nothing else yet)".to_owned(),
            got: "true".to_owned(),
        });
    }
    Ok(fields.get("max_seq_length").and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 0))
}

/// The poolings that a config switches on.
fn poolings(path: &Path) -> Result<Vec<Pooling>, LoadError> {
    let bytes = std::fs::read(path).map_err(|source| LoadError::Io { path: path.to_owned(), source })?;
    let fields: Map<String, Value> = json(path, &bytes)?;
    let is_on = |name: &str| fields.get(name) == Some(&Value::Bool(true));
    for name in fields.keys().filter(|name| name.starts_with("pooling_mode_") && is_on(name)) {
        if MODES.iter().all(|(known, _)| known != name) {
            let known: Vec<&str> = MODES.iter().map(|(name, _)| *name).collect();
            return Err(wrong(path, &known.join(", "), name));
        }
    }
    Ok(MODES.iter().filter(|(name, _)| is_on(name)).map(|(_, pooling)| *pooling).collect())
}

fn json<T: serde::de::DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<T, LoadError> {
    serde_json::from_slice(bytes).map_err(|source| LoadError::Json { path: path.to_owned(), source })
}

fn wrong(path: &Path, expected: &str, got: &str) -> LoadError {
    let path: PathBuf = path.to_owned();
    LoadError::Config { path, field: "type".to_owned(), expected: expected.to_owned(), got: got.to_owned() }
}

#[cfg(test)]
mod tests;
