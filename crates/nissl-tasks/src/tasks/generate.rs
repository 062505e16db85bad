//! Text that a model goes on with, with neurons changed on the way.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Instant;

use nissl_core::{Batch, End, Generated, Generation, HookPlan, Model, NewToken, Progress};
use nissl_model::{LanguageModel, LoadOptions, TextStream, Tokenizer, WeightFormat};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use crate::edit_text;
use crate::error::TaskError;
use crate::report::{Head, head};

/// One sentence about the task.
pub const SUMMARY: &str = "Let a model go on with a text, with any of its neurons changed on the way";

/// What to go on with, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Folder, file or Hub name.
    pub model: String,
    /// The texts to go on with.
    pub prompts: Vec<String>,
    /// A file of more of them, one a line.
    pub file: Option<PathBuf>,
    /// How tokens are chosen, and when to stop.
    pub options: Generation,
    /// Edits as short texts: `3.mlp_post[42]=0`.
    pub edits: Vec<String>,
    /// A hook plan as JSON, whose edits come before these.
    pub plan: Option<PathBuf>,
    /// Also generate without the edits.
    pub compare: bool,
    /// How the model is loaded; its matrices stay native if that is not said.
    #[serde(deserialize_with = "native_if_not_said")]
    pub load: LoadOptions,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            model: String::new(),
            prompts: Vec::new(),
            file: None,
            options: Generation::default(),
            edits: Vec::new(),
            plan: None,
            compare: false,
            load: LoadOptions { weights: WeightFormat::Native, ..LoadOptions::default() },
        }
    }
}

/// Tokens come one by one: what has to be read for each should be small.
fn native_if_not_said<'de, D: Deserializer<'de>>(from: D) -> Result<LoadOptions, D::Error> {
    let mut fields = Map::deserialize(from)?;
    fields.entry("weights").or_insert_with(|| "native".into());
    serde_json::from_value(Value::Object(fields)).map_err(D::Error::custom)
}

/// What was generated.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Task, version and config.
    #[serde(flatten)]
    pub head: Head<Config>,
    /// One entry a prompt.
    pub texts: Vec<TextReport>,
    /// The same without the edits, if they are compared.
    pub unedited: Option<Vec<TextReport>>,
}

/// A text that was gone on with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextReport {
    /// The prompt.
    pub prompt: String,
    /// What was added.
    pub text: String,
    /// The new tokens.
    pub tokens: Vec<u32>,
    /// The log-probability of each, in nats.
    pub log_probabilities: Vec<f32>,
    /// Why there are no more.
    pub end: End,
    /// The score of the best beam, after a beam search.
    pub score: Option<f32>,
}

/// A piece of text, as it comes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece<'a> {
    /// The prompt, by its place.
    pub prompt: usize,
    /// The text that is added; at first the prompt itself, where it is gone on with and not a source.
    pub text: &'a str,
    /// Whether nothing more comes.
    pub last: bool,
}

/// Generates, and hands every piece of text of the edited run to `show` as it comes.
///
/// # Errors
/// If the model, its tokenizer or a file cannot be read, an edit cannot be understood or does not fit the model, or the
/// model cannot generate.
pub fn run_streaming(
    config: &Config,
    progress: &dyn Progress,
    show: &mut dyn FnMut(Piece<'_>),
) -> Result<Report, TaskError> {
    if config.model.is_empty() {
        return Err(TaskError::config("model", "a folder, a file or a Hub name", "nothing"));
    }
    let prompts = prompts(config)?;
    let model = LanguageModel::load_with(&config.model, &config.load, progress)?;
    let plan = edit_text::plan(config.plan.as_deref(), &config.edits, model.info())?;
    let tokenizer = model.tokenizer()?;
    // Where a source is read, what is written may have another one.
    let target = if model.info().encoder.is_some() { tokenizer.target() } else { tokenizer };
    let mut batch = Batch::new();
    for prompt in &prompts {
        if model.info().encoder.is_some() {
            batch.push(&tokenizer.encode(prompt)?.ids); // a source is a whole text, the target begins by itself
            continue;
        }
        let tokens = tokenizer.encode_plain(prompt)?.ids;
        batch.push(&[tokenizer.special_prefix(), tokens.as_slice()].concat());
    }
    let job = Job { config, progress, model: &model, tokenizer: target, prompts: &prompts, batch };
    // What the edits change is told apart best if it is known what would have been.
    let unedited = if config.compare { Some(job.generate(&HookPlan::default(), &mut |_| ())?) } else { None };
    let texts = job.generate(&plan, show)?;
    Ok(Report { head: head("generate", config), texts, unedited })
}

/// Generates.
///
/// # Errors
/// As [`run_streaming`].
pub fn run(config: &Config, progress: &dyn Progress) -> Result<Report, TaskError> {
    run_streaming(config, progress, &mut |_| ())
}

fn prompts(config: &Config) -> Result<Vec<String>, TaskError> {
    let mut prompts = config.prompts.clone();
    if let Some(path) = &config.file {
        let text = std::fs::read_to_string(path).map_err(|source| TaskError::io("read", path, source))?;
        prompts.extend(text.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned));
    }
    if prompts.is_empty() {
        return Err(TaskError::config("prompts", "a text to go on with", "none"));
    }
    Ok(prompts)
}

struct Job<'a> {
    config: &'a Config,
    progress: &'a dyn Progress,
    model: &'a LanguageModel,
    /// Of what is written.
    tokenizer: &'a Tokenizer,
    prompts: &'a [String],
    batch: Batch,
}

impl Job<'_> {
    fn generate(&self, plan: &HookPlan, show: &mut dyn FnMut(Piece<'_>)) -> Result<Vec<TextReport>, TaskError> {
        // A target is a text of its own; other texts go on.
        let goes_on = self.model.info().encoder.is_none();
        let before = |prompt| if goes_on { self.batch.sentence(prompt) } else { &[] };
        let new_stream = |prompt| TextStream::new(self.tokenizer, before(prompt));
        let mut streams: Vec<(TextStream<'_>, String)> =
            (0..self.prompts.len()).map(|prompt| (new_stream(prompt), String::new())).collect();
        let mut failed = None;
        let mut begun: Option<Instant> = None;
        let mut n_tokens = 0;
        let on_token = &mut |new: NewToken| {
            if begun.is_none() && goes_on {
                self.prompts.iter().enumerate().for_each(|(prompt, text)| show(Piece { prompt, text, last: false }));
            }
            // The first token came with the prompt.
            n_tokens += usize::from(begun.is_some());
            begun.get_or_insert_with(Instant::now);
            let (stream, text) = &mut streams[new.prompt];
            match stream.push(new.token) {
                Ok(piece) => {
                    show(Piece { prompt: new.prompt, text: &piece, last: false });
                    text.push_str(&piece);
                }
                Err(err) => failed = Some(err),
            }
            if failed.is_some() || self.progress.cancelled() {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        };
        let found: Vec<Generated> = self.model.generate(&self.batch, &self.config.options, plan, on_token)?;
        if let Some(err) = failed {
            return Err(err.into());
        }
        let seconds = begun.map_or(0.0, |begun| begun.elapsed().as_secs_f64());
        let mut texts = Vec::with_capacity(found.len());
        for (prompt, (found, (mut stream, mut text))) in found.into_iter().zip(streams).enumerate() {
            let rest = stream.finish()?;
            show(Piece { prompt, text: &rest, last: true });
            text.push_str(&rest);
            texts.push(TextReport {
                prompt: self.prompts[prompt].clone(),
                text,
                tokens: found.tokens,
                log_probabilities: found.log_probabilities,
                end: found.end,
                score: found.score,
            });
        }
        if n_tokens > 0 && self.config.options.n_beams < 2 {
            let rate = n_tokens as f64 / seconds.max(1e-9);
            self.progress.note(&format!("{n_tokens} tokens after the first, {rate:.1} tokens/s"));
        }
        Ok(texts)
    }
}

#[cfg(test)]
mod tests;
