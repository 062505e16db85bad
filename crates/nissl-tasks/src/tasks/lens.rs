//! The logit lens: what every layer predicts, and what a neuron's weights say.

use std::io::Write as _;
use std::path::PathBuf;

use nissl_core::{Context, Model, NeuronId, Progress};
use nissl_methods::lens::{Fold, Lens};
use nissl_model::{LanguageModel, LoadOptions};
use serde::{Deserialize, Serialize};

use crate::error::TaskError;
use crate::html;
use crate::output::write_whole;
use crate::report::{Head, head};
use crate::tasks::sites::ModelSummary;

mod neurons;
mod page;
mod text;
mod tokens;

pub use neurons::{Connection, NeuronReport, ReaderReport, TokenWeight};
pub use text::{Guessed, LayerReport, PositionReport, TargetKind, TextReport, TokenReport};

use tokens::Names;

/// One sentence about the task.
pub const SUMMARY: &str = "Read layers and neurons through the unembedding: the logit lens";

/// What to look at, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Folder or Hub name.
    pub model: String,
    /// How the model is loaded.
    pub load: LoadOptions,
    /// A text: what does each layer predict at each of its tokens?
    pub text: Option<String>,
    /// Neurons: which tokens do their weights promote, which excite them, which neurons are they joined to?
    pub neurons: Vec<NeuronId>,
    /// The sites that are read at the text's tokens: `resid_post`, `2-4.resid_mid`, `blocks.3.hook_mlp_out`.
    pub sites: Vec<String>,
    /// The positions of the text, from 0, negative ones from its end; all if empty.
    pub positions: Vec<i64>,
    /// Tokens and neurons a list.
    pub top: usize,
    /// Whether the norms on the way are folded into a neuron's weights.
    pub fold: Fold,
    /// The neurons that others are looked for among.
    pub partners: Partners,
    /// Also write an HTML page.
    pub html: Option<PathBuf>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            model: String::new(),
            load: LoadOptions::default(),
            text: None,
            neurons: Vec::new(),
            sites: vec!["resid_post".to_owned()],
            positions: Vec::new(),
            top: 5,
            fold: Fold::default(),
            partners: Partners::default(),
            html: None,
        }
    }
}

/// Among which neurons the strongest connections are looked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Partners {
    /// MLP neurons; the gates and states of an LSTM.
    #[default]
    Mlp,
    /// What attention heads write, and read.
    Attn,
    /// Both.
    All,
}

/// What was seen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Task, version and config.
    #[serde(flatten)]
    pub head: Head<Config>,
    /// The model.
    pub model: ModelSummary,
    /// What the layers predict at the text's tokens, if a text was given.
    pub text: Option<TextReport>,
    /// One entry a neuron, in the order in which they were asked for.
    pub neurons: Vec<NeuronReport>,
}

/// The most tokens and neurons of a list.
const MOST: usize = 1000;

/// Looks at the text and the neurons.
///
/// # Errors
/// If the model cannot be loaded, has no head or no tokenizer for a text, a site, position or neuron is not there, the
/// page cannot be written, or the user stops it.
pub fn run(config: &Config, progress: &dyn Progress) -> Result<Report, TaskError> {
    if config.model.is_empty() {
        return Err(TaskError::config("model", "a folder or a Hub name", "nothing"));
    }
    if config.text.is_none() && config.neurons.is_empty() {
        return Err(TaskError::config("text or neurons", "a text, a neuron, or both", "neither"));
    }
    if config.top == 0 || config.top > MOST {
        return Err(TaskError::config("top", format!("1 to {MOST}"), config.top.to_string()));
    }
    let model = LanguageModel::load_with(&config.model, &config.load, progress)?;
    let ctx = Context { progress, ..Context::default() };
    let lens = Lens::new(&model, config.fold)?;
    let names = Names::new(&model, lens.weights().n_logits());
    let text = config.text.as_deref().map(|text| text::read(config, text, &model, lens, &names, ctx)).transpose()?;
    progress.stage("read the weights", Some(config.neurons.len() as u64), "neurons");
    let mut neurons = Vec::with_capacity(config.neurons.len());
    for &neuron in &config.neurons {
        neurons.push(neurons::read(config, neuron, &model, lens, &names, ctx)?);
        progress.step(neurons.len() as u64);
    }
    let report = Report { head: head("lens", config), model: ModelSummary::of(model.info()), text, neurons };
    if let Some(path) = &config.html {
        let page = html::render_lens(&page::of(&report));
        write_whole(path, |file| file.write_all(page.as_bytes()))?;
    }
    Ok(report)
}

#[cfg(test)]
mod tests;
