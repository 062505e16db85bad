//! What moving activations between two texts does to a prediction: by neuron, head, layer and position.

use std::path::PathBuf;

use nissl_core::{Context, Model, Progress};
use nissl_data::{PromptOptions, TextPrompt};
use nissl_methods::ablating::Mean;
use nissl_methods::attributors::Metric;
use nissl_methods::patching::{Patched, Patching, Where};
use nissl_model::LoadOptions;
use serde::{Deserialize, Serialize};

use crate::error::TaskError;
use crate::output::write_json;
use crate::prompts::{Asked, PromptSummary};
use crate::report::{Head, head};
use crate::sets::{Set, Sets};
use crate::tasks::sites::ModelSummary;

/// One sentence about the task.
pub const SUMMARY: &str = "Move activations from another text and measure what that does to predictions";

/// What to move.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Folder, file or Hub name.
    pub model: String,
    /// How the model is loaded.
    pub load: LoadOptions,
    /// A file or folder of prompts, with another text each.
    pub file: Option<PathBuf>,
    /// What of it is wanted.
    pub read: PromptOptions,
    /// More prompts.
    pub prompts: Vec<TextPrompt>,
    /// Sets of neurons that are moved: `3.mlp_post[42,50-59]`, `0.attn_z[h3]`, several joined by ` + `. Every layer of the
    /// residual stream is one if nothing is said.
    pub sets: Vec<String>,
    /// Sites of which every layer is a set: `mlp_post`, `2-4.attn_z`.
    pub layers: Vec<String>,
    /// Whether every attention head is a set.
    pub heads: bool,
    /// Sites of which every neuron is a set.
    pub units: Vec<String>,
    /// What is measured.
    pub metric: Metric,
    /// At which positions.
    pub places: Where,
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
            file: None,
            read: PromptOptions::default(),
            prompts: Vec::new(),
            sets: Vec::new(),
            layers: Vec::new(),
            heads: false,
            units: Vec::new(),
            metric: Metric::LogProb,
            places: Where::Each,
            out: None,
            memory: Context::MEMORY,
        }
    }
}

/// What it does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Task, version and config.
    #[serde(flatten)]
    pub head: Head<Config>,
    /// The model.
    pub model: ModelSummary,
    /// The prompts.
    pub prompts: PromptSummary,
    /// The metric after the texts.
    pub own: Mean,
    /// After the other texts.
    pub other: Mean,
    /// One entry a set.
    pub sets: Vec<SetReport>,
}

/// What moving a set does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetReport {
    /// What it is called.
    pub name: String,
    /// Number of its neurons.
    pub neurons: usize,
    /// One entry, or one a position.
    pub places: Vec<PlaceReport>,
}

/// What moving a set at some positions does.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlaceReport {
    /// The position, from the end: -1 is the last; none if several are meant.
    pub position: Option<i64>,
    /// Prompts that have it.
    pub prompts: usize,
    /// By how much the metric changes.
    pub change: Mean,
    /// That change as a share of the one from the texts to the other texts; none if there is none.
    pub share: Option<f64>,
}

/// Moves activations.
///
/// # Errors
/// If the model or the prompts cannot be read, a prompt has no other text, a set is not of the model's neurons, or the
/// user stops it.
pub fn run(config: &Config, progress: &dyn Progress) -> Result<Report, TaskError> {
    let Config { model, file, read, prompts, .. } = config;
    let (model, prompts, summary) =
        Asked { model, load: &config.load, file: file.as_deref(), read, prompts }.ready(progress)?;
    let resid = ["resid".to_owned()];
    let Config { sets, layers, heads, units, .. } = config;
    let mut wanted = Sets { named: sets, layers, heads: *heads, units };
    if wanted.is_empty() {
        wanted.layers = &resid;
    }
    let sets = wanted.of(model.info())?;
    let neurons: Vec<_> = sets.iter().map(|set| set.neurons.clone()).collect();
    let patching = Patching { metric: config.metric, places: config.places, both: false };
    let ctx = Context { memory: config.memory, progress };
    let found = patching.patch(&model, &prompts, &neurons, ctx)?;
    let each = config.places == Where::Each;
    let reports = sets.iter().enumerate().map(|(idx, set)| set_report(set, idx, &found, each)).collect();
    let report = Report {
        head: head("patch", config),
        model: ModelSummary::of(model.info()),
        prompts: summary,
        own: Mean::of(found.iter().map(|patched| patched.own)),
        other: Mean::of(found.iter().map(|patched| patched.other)),
        sets: reports,
    };
    if let Some(out) = &config.out {
        write_json(out, &report)?;
    }
    Ok(report)
}

fn set_report(set: &Set, idx: usize, found: &[Patched], each: bool) -> SetReport {
    // Texts of several lengths are laid end to end.
    let n_places = if each { found.iter().map(|patched| patched.n_tokens).max().unwrap_or(0) } else { 1 };
    let place = |from_end: usize| {
        let at = |patched: &Patched| patched.patched[idx].len().checked_sub(from_end);
        let own = found.iter().filter_map(|patched| Some((patched, patched.patched[idx][at(patched)?])));
        let change = Mean::of(own.clone().map(|(patched, moved)| moved - patched.own));
        let total = Mean::of(own.clone().map(|(patched, _)| patched.other - patched.own)).mean;
        PlaceReport {
            position: each.then_some(-(from_end as i64)),
            prompts: own.count(),
            change,
            share: (total != 0.0).then(|| change.mean / total),
        }
    };
    let places = (1..=n_places).rev().map(place).collect();
    SetReport { name: set.name.clone(), neurons: set.neurons.len(), places }
}

#[cfg(test)]
mod tests;
