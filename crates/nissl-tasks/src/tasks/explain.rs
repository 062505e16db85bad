//! What neurons fire on, in formulas, features and words: one neuron or all.

use std::io::Write as _;
use std::path::PathBuf;

use nissl_core::{Activations, Context, MethodError, NeuronId, Profile, Profiler, Progress, TextActivations};
use nissl_methods::{Method, MethodEntry, MethodKind};
use nissl_model::LoadOptions;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::chosen::chosen;
use crate::error::TaskError;
use crate::labels::{labels, of_all_columns};
use crate::output::write_whole;
use crate::report::{Head, head};
use crate::select::recorded;
use crate::tasks::extract::StoreSummary;
use crate::tasks::inspect::columns;
use crate::tasks::rank::{Failure, open_store};

mod alignment;

use alignment::align;
pub use alignment::{AlignOptions, Aligned, Alignment};

/// One sentence about the task.
pub const SUMMARY: &str = "Explain neurons by formulas of concepts, features and words";

/// What to explain.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Folder of the store.
    pub store: PathBuf,
    /// The neurons; all that are recorded if empty.
    pub neurons: Vec<NeuronId>,
    /// Only these sites, where no neurons are named; all that are recorded if empty.
    pub sites: Vec<String>,
    /// The methods, see `nissl methods`.
    pub methods: Vec<String>,
    /// Parameters by name: `words` for every method that has it, or `compositional.words`.
    pub set: Map<String, Value>,
    /// The concepts that neurons are explained by, beside words; the labels of all columns with few enough of them if
    /// none is given, here or in `concepts_file`.
    pub concepts: Vec<String>,
    /// A file of concepts.
    pub concepts_file: Option<PathBuf>,
    /// The recorded model, where neurons are to be aligned with repeated text too: only those in the report.
    pub model: Option<String>,
    /// How the model is loaded.
    pub load: LoadOptions,
    /// How.
    pub align: AlignOptions,
    /// Neurons in the report: those that the first method explains best.
    pub best: usize,
    /// A file for all neurons, one a line as JSON.
    pub out: Option<PathBuf>,
    /// Bytes for blocks of activations.
    pub memory: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            store: PathBuf::new(),
            neurons: Vec::new(),
            sites: Vec::new(),
            methods: ["compositional", "variance-reduction", "lookup"].map(str::to_owned).to_vec(),
            set: Map::new(),
            concepts: Vec::new(),
            concepts_file: None,
            model: None,
            load: LoadOptions::default(),
            align: AlignOptions::default(),
            best: 20,
            out: None,
            memory: Context::MEMORY,
        }
    }
}

/// The explanations.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Task, version and config.
    #[serde(flatten)]
    pub head: Head<Config>,
    /// The store.
    pub store: StoreSummary,
    /// Number of neurons that were looked at.
    pub explained: usize,
    /// The neurons that the first method explains best; those that were asked for by name, all in their order.
    pub neurons: Vec<NeuronReport>,
    /// The methods that did not go well.
    pub failed: Vec<Failure>,
}

/// What the methods say of a neuron.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NeuronReport {
    /// The neuron.
    pub name: NeuronId,
    /// One entry a method.
    pub methods: Vec<MethodProfile>,
    /// What it is aligned with, where the model was given.
    #[serde(default)]
    pub alignment: Option<Alignment>,
}

/// What a method says of a neuron.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MethodProfile {
    /// The method.
    pub name: String,
    /// What it found.
    pub profile: Profile,
}

impl NeuronReport {
    /// How well the first method explains it: its best formula's score, else its first number, else nothing.
    fn score(&self) -> f32 {
        let first = self.methods.first().map(|method| &method.profile);
        let of = |profile: &Profile| {
            let explained = profile.explanations.first().map(|explanation| explanation.score);
            explained.or_else(|| profile.numbers.first().map(|number| number.value))
        };
        first.and_then(of).unwrap_or(f32::NEG_INFINITY)
    }
}

/// Explains the neurons.
///
/// # Errors
/// If the store cannot be read, a neuron, concept or method is unknown, every method fails, the model is not the recorded
/// one or cannot run, or the user stops it.
pub fn run(config: &Config, progress: &dyn Progress) -> Result<Report, TaskError> {
    let methods = profilers(config)?;
    let store = open_store(&config.store)?;
    let text = store.text()?;
    progress.stage("look for concepts", None, "columns");
    let labels = if config.concepts.is_empty() && config.concepts_file.is_none() {
        of_all_columns(&store)?
    } else {
        labels(&store, &config.concepts, config.concepts_file.as_deref())?
    };
    let x: Box<dyn Activations> = if config.neurons.is_empty() {
        Box::new(recorded(&store, &config.sites)?)
    } else {
        Box::new(columns(&store, &config.neurons)?)
    };
    let data = TextActivations::new(x.as_ref(), &text)?.with_labels(&labels)?;
    let ctx = Context { memory: config.memory, progress };
    let empty = |&name: &NeuronId| NeuronReport { name, methods: Vec::new(), alignment: None };
    let mut neurons: Vec<NeuronReport> = x.neurons().iter().map(empty).collect();
    let (mut failed, mut first) = (Vec::new(), None);
    for (entry, profiler) in &methods {
        match profiler.profile(data, ctx) {
            Ok(profiles) => {
                for (neuron, profile) in neurons.iter_mut().zip(profiles) {
                    neuron.methods.push(MethodProfile { name: entry.name.to_owned(), profile });
                }
            }
            Err(MethodError::Cancelled) => {
                return Err(TaskError::Cancelled { resume: "nothing was written".to_owned() });
            }
            Err(err) => {
                failed.push(Failure { name: entry.name.to_owned(), error: err.to_string() });
                first = first.or(Some(err));
            }
        }
    }
    if let Some(err) = first
        && failed.len() == methods.len()
    {
        return Err(err.into());
    }
    if let Some(path) = &config.out {
        write_whole(path, |file| {
            neurons.iter().try_for_each(|neuron| {
                serde_json::to_writer(&mut *file, neuron)?;
                file.write_all(b"\n")
            })
        })?;
    }
    let explained = neurons.len();
    if config.neurons.is_empty() {
        neurons.sort_by(|a, b| b.score().total_cmp(&a.score()).then_with(|| a.name.cmp(&b.name)));
        neurons.truncate(config.best);
    } else {
        neurons.sort_by_key(|neuron| config.neurons.iter().position(|&name| name == neuron.name));
    }
    align(config, (&store, &text), &mut neurons, ctx)?;
    let store = StoreSummary::of(&config.store, &store);
    Ok(Report { head: head("explain", config), store, explained, neurons, failed })
}

type Chosen = (&'static MethodEntry, Box<dyn Profiler>);

/// The profilers with their parameters.
fn profilers(config: &Config) -> Result<Vec<Chosen>, TaskError> {
    let chosen = chosen(&config.methods, &config.set, MethodKind::Profiler)?;
    let profiler =
        |(entry, method)| if let Method::Profiler(profiler) = method { Some((entry, profiler)) } else { None };
    Ok(chosen.into_iter().filter_map(profiler).collect())
}

#[cfg(test)]
mod tests;
