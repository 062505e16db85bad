//! From a model and prompts to rankings: on which neurons a prediction depends.

use std::path::PathBuf;
use std::sync::Mutex;

use nissl_core::{Attributor, Context, MethodError, Model, Progress, Prompt, Scores};
use nissl_data::{PromptOptions, TextPrompt};
use nissl_methods::{Method, MethodEntry, MethodKind};
use nissl_model::{LanguageModel, LoadOptions};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::chosen::chosen;
use crate::error::TaskError;
use crate::keeping::Keeping;
use crate::output::write_json;
use crate::prompts::Asked;
pub use crate::prompts::{LeftOut, PromptSummary};
use crate::report::{Head, head};
use crate::tasks::rank::{Failure, MethodReport};
use crate::tasks::sites::ModelSummary;

/// One sentence about the task.
pub const SUMMARY: &str = "Rank the neurons of a model by how much its predictions depend on them";

/// Name of the report in the rankings' folder.
const REPORT: &str = "attribute.json";

/// What to attribute.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Folder, file or Hub name.
    pub model: String,
    /// How the model is loaded.
    pub load: LoadOptions,
    /// A file or folder of prompts.
    pub file: Option<PathBuf>,
    /// What of it is wanted.
    pub read: PromptOptions,
    /// More prompts.
    pub prompts: Vec<TextPrompt>,
    /// The methods.
    pub methods: Vec<String>,
    /// Parameters by name: `steps` for every method that has it, or `integrated-gradients.steps`.
    pub set: Map<String, Value>,
    /// Folder for the rankings, a Parquet table a method, and for the report; nothing is written if `None`.
    pub out: Option<PathBuf>,
    /// Best neurons a concept in the report.
    pub top: usize,
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
            methods: vec!["integrated-gradients".to_owned()],
            set: Map::new(),
            out: None,
            top: 10,
            memory: Context::MEMORY,
        }
    }
}

/// The rankings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Task, version and config.
    #[serde(flatten)]
    pub head: Head<Config>,
    /// The model.
    pub model: ModelSummary,
    /// The prompts.
    pub prompts: PromptSummary,
    /// One entry a method that went well.
    pub methods: Vec<MethodReport>,
    /// The methods that did not.
    pub failed: Vec<Failure>,
}

/// Attributes the predictions of prompts to neurons by each method.
///
/// # Errors
/// If the model or the prompts cannot be read, no prompt is left, a method is unknown, every method fails, or the user
/// stops it.
pub fn run(config: &Config, progress: &dyn Progress) -> Result<Report, TaskError> {
    let methods = chosen(&config.methods, &config.set, MethodKind::Attributor)?;
    let asked = Asked {
        model: &config.model,
        load: &config.load,
        file: config.file.as_deref(),
        read: &config.read,
        prompts: &config.prompts,
    };
    let (model, prompts, summary) = asked.ready(progress)?;
    let prefix = config.out.as_ref().map(|out| out.join(REPORT));
    let keeping = Keeping::new(progress, prefix, &(config, &model.info().fingerprint, &prompts));
    let (methods, failed) = attribute(config, &model, &prompts, &methods, &keeping)?;
    let head = head("attribute", config);
    let report = Report { head, model: ModelSummary::of(model.info()), prompts: summary, methods, failed };
    if let Some(out) = &config.out {
        write_json(&out.join(REPORT), &report)?;
    }
    keeping.finish();
    Ok(report)
}

/// Runs each method.
fn attribute(
    config: &Config,
    model: &LanguageModel,
    prompts: &[Prompt],
    methods: &[(&'static MethodEntry, Method)],
    progress: &Keeping<'_>,
) -> Result<(Vec<MethodReport>, Vec<Failure>), TaskError> {
    let (mut reports, mut failed, mut first) = (Vec::new(), Vec::new(), None);
    for (entry, method) in methods {
        let Method::Attributor(attributor) = method else { continue };
        match scores(config, model, prompts, attributor.as_ref(), progress) {
            Ok((scores, notes)) => reports.push(method_report(config, &scores, prompts, notes)?),
            Err(MethodError::Cancelled) => return Err(progress.stopped()),
            Err(err) => {
                failed.push(Failure { name: entry.name.to_owned(), error: err.to_string() });
                first = first.or(Some(err));
            }
        }
    }
    match first {
        Some(err) if reports.is_empty() => Err(err.into()),
        _ => Ok((reports, failed)),
    }
}

fn scores(
    config: &Config,
    model: &LanguageModel,
    prompts: &[Prompt],
    attributor: &dyn Attributor,
    progress: &dyn Progress,
) -> Result<(Scores, Vec<String>), MethodError> {
    let noting = Noting { progress, notes: Mutex::default() };
    let ctx = Context { memory: config.memory, progress: &noting };
    let mut scores = attributor.score(model, prompts, ctx)?;
    scores.provenance.model.clone_from(&model.info().fingerprint);
    Ok((scores, noting.notes.into_inner().expect("no thread panicked")))
}

fn method_report(
    config: &Config,
    scores: &Scores,
    prompts: &[Prompt],
    notes: Vec<String>,
) -> Result<MethodReport, TaskError> {
    let named = |concept: &nissl_core::Concept| {
        let own = |prompt: &&Prompt| {
            prompt.concept == concept.name || (prompt.concept.is_empty() && concept.name == "prompts")
        };
        prompts.iter().filter(own).count()
    };
    let mut report = MethodReport::save(scores, (config.out.as_deref(), config.top), named)?;
    // A neuron without any effect is not among the best.
    report.concepts.iter_mut().for_each(|concept| concept.top.retain(|best| best.score > 0.0));
    Ok(MethodReport { notes, ..report })
}

/// Passes on progress, and keeps what a method says.
struct Noting<'a> {
    progress: &'a dyn Progress,
    notes: Mutex<Vec<String>>,
}

impl Progress for Noting<'_> {
    fn stage(&self, name: &str, total: Option<u64>, unit: &str) {
        self.progress.stage(name, total, unit);
    }
    fn step(&self, done: u64) {
        self.progress.step(done);
    }
    fn note(&self, line: &str) {
        self.notes.lock().expect("no thread panicked").push(line.to_owned());
    }
    fn cancelled(&self) -> bool {
        self.progress.cancelled()
    }
    fn keep(&self, name: &str, done: &dyn Fn() -> Vec<u8>) {
        self.progress.keep(name, done);
    }
    fn kept(&self, name: &str) -> Option<Vec<u8>> {
        self.progress.kept(name)
    }
}

#[cfg(test)]
mod tests;
