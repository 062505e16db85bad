//! The words that make a neuron as active as can be.

use std::fs;
use std::path::PathBuf;

use nissl_core::{Context, Model, Progress};
use nissl_methods::input_generation::{Found, InputGeneration, Optimizer, Tokens};
use nissl_model::{LanguageModel, LoadOptions, Tokenizer};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::TaskError;
use crate::keeping::Keeping;
use crate::output::write_json;
use crate::report::{Head, head};
use crate::sets::{Set, Sets};
use crate::tasks::sites::ModelSummary;

/// One sentence about the task.
pub const SUMMARY: &str = "Generate the words that make a neuron as active as can be";

/// For which neurons, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Folder, file or Hub name.
    pub model: String,
    /// How it is loaded.
    pub load: LoadOptions,
    /// Neurons, `3.mlp_pre[42]`, or groups whose mean counts: `3.mlp_pre[42,50-59]`, several joined by ` + `.
    pub neurons: Vec<String>,
    /// A text, whose runs of words the search tries.
    pub text: Option<PathBuf>,
    /// Lines of it that are read, at most.
    pub lines: usize,
    /// How.
    pub how: InputGeneration,
    /// A file for the report, JSON.
    pub out: Option<PathBuf>,
    /// Bytes for activations.
    pub memory: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            model: String::new(),
            load: LoadOptions::default(),
            neurons: Vec::new(),
            text: None,
            lines: 2000,
            how: InputGeneration::default(),
            out: None,
            memory: Context::MEMORY,
        }
    }
}

/// What was generated.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Task, version and config.
    #[serde(flatten)]
    pub head: Head<Config>,
    /// The model.
    pub model: ModelSummary,
    /// Tokens that texts are made of.
    pub tokens: usize,
    /// One entry a neuron or group.
    pub neurons: Vec<NeuronReport>,
}

/// What was generated for a neuron or a group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NeuronReport {
    /// What it is called.
    pub name: String,
    /// Number of its neurons.
    pub neurons: usize,
    /// One entry an optimizer, the best text first.
    pub found: Vec<TextReport>,
}

/// A text that was found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextReport {
    /// How.
    pub optimizer: Optimizer,
    /// What its tokens spell.
    pub text: String,
    /// Its tokens, each as people read it.
    pub tokens: Vec<String>,
    /// Their numbers.
    pub ids: Vec<u32>,
    /// The neuron's activation.
    pub activation: f64,
    /// The activation of what entered the model when this text was the nearest one; none for a search.
    pub relaxed: Option<f64>,
    /// The climb, or the place among the text's runs, that it comes from.
    pub origin: usize,
    /// The best activation of any climb so far, after each look at the nearest texts.
    pub curve: Vec<f64>,
}

/// Generates texts.
///
/// # Errors
/// If the model or the text cannot be read, the model has no tokenizer or gives no gradients, a neuron is not the
/// model's, a parameter is out of range, or the user stops it.
pub fn run(config: &Config, progress: &dyn Progress) -> Result<Report, TaskError> {
    if config.model.is_empty() {
        return Err(TaskError::config("model", "a folder, a file or a Hub name", "nothing"));
    }
    if config.neurons.is_empty() {
        return Err(TaskError::config("neurons", "a neuron such as 3.mlp_pre[42], or a group of them", "none"));
    }
    progress.stage("load the model", None, "models");
    let model = LanguageModel::load_with(&config.model, &config.load, progress)?;
    let sets = Sets { named: &config.neurons, ..Sets::default() }.of(model.info())?;
    let tokenizer = model.tokenizer()?;
    let tokens = tokens(&model, tokenizer);
    let corpus = corpus(config, tokenizer)?;
    let keeping = Keeping::new(progress, config.out.clone(), &(config, &model.info().fingerprint, &corpus));
    let ctx = Context { memory: config.memory, progress: &keeping };
    let mut reports = Vec::with_capacity(sets.len());
    for set in &sets {
        let found = config.how.generate(&model, &set.neurons, (&tokens, &corpus), ctx);
        let found = found.map_err(|err| keeping.told(err.into()))?;
        reports.push(neuron_report(set, found, &config.how, tokenizer)?);
    }
    let model = ModelSummary::of(model.info());
    let report = Report { head: head("generate-input", config), model, tokens: tokens.allowed.len(), neurons: reports };
    if let Some(out) = &config.out {
        write_json(out, &report)?;
    }
    keeping.finish();
    Ok(report)
}

/// The tokens of texts: those that spell something by themselves, and the special ones around them.
fn tokens(model: &LanguageModel, tokenizer: &Tokenizer) -> Tokens {
    let n_tokens = model.info().d_vocab.min(tokenizer.vocab_size()) as u32;
    // What a decoder leaves out is special; a part of a character is no text either.
    let spells =
        |id: &u32| tokenizer.decode(&[*id]).is_ok_and(|text| !text.trim().is_empty() && !text.contains('\u{fffd}'));
    let allowed = (0..n_tokens).into_par_iter().filter(spells).collect();
    Tokens { allowed, before: tokenizer.special_prefix().to_vec(), after: tokenizer.special_suffix().to_vec() }
}

/// The lines of the text as tokens.
fn corpus(config: &Config, tokenizer: &Tokenizer) -> Result<Vec<Vec<u32>>, TaskError> {
    let Some(path) = &config.text else { return Ok(Vec::new()) };
    let failed = |source| TaskError::Io { action: "read", path: path.clone(), source };
    let text = fs::read_to_string(path).map_err(failed)?;
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).take(config.lines).collect();
    let encoded: Vec<_> = lines.par_iter().map(|line| tokenizer.encode_plain(line)).collect();
    encoded.into_iter().map(|line| Ok(line?.ids)).collect()
}

fn neuron_report(
    set: &Set,
    mut found: Vec<Found>,
    how: &InputGeneration,
    tokenizer: &Tokenizer,
) -> Result<NeuronReport, TaskError> {
    let sign = if how.lowest { -1.0 } else { 1.0 };
    found.sort_by(|a, b| (sign * b.activation).total_cmp(&(sign * a.activation)));
    let text = |found: Found| {
        let token = |&id: &u32| tokenizer.token_text(id).unwrap_or_default();
        Ok(TextReport {
            optimizer: found.optimizer,
            text: tokenizer.decode(&found.tokens)?,
            tokens: found.tokens.iter().map(token).collect(),
            ids: found.tokens,
            activation: found.activation,
            relaxed: found.relaxed,
            origin: found.origin,
            curve: found.curve,
        })
    };
    let found = found.into_iter().map(text).collect::<Result<Vec<_>, TaskError>>()?;
    Ok(NeuronReport { name: set.name.clone(), neurons: set.neurons.len(), found })
}

#[cfg(test)]
mod tests;
