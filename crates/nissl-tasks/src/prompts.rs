//! What tasks that ask a model questions share: its prompts, as tokens.

use std::path::Path;

use nissl_core::{Model, Progress, Prompt};
use nissl_data::{PromptOptions, TextPrompt, read_prompts};
use nissl_model::{LanguageModel, LoadOptions};
use serde::{Deserialize, Serialize};

use crate::error::TaskError;

mod tokens;

pub(crate) use tokens::Coder;

/// Which model is asked what.
pub(crate) struct Asked<'a> {
    /// Folder, file or Hub name.
    pub(crate) model: &'a str,
    /// How it is loaded.
    pub(crate) load: &'a LoadOptions,
    /// A file or folder of prompts.
    pub(crate) file: Option<&'a Path>,
    /// What of it is wanted.
    pub(crate) read: &'a PromptOptions,
    /// More prompts.
    pub(crate) prompts: &'a [TextPrompt],
}

/// What became of the prompts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PromptSummary {
    /// Those that were used.
    pub used: usize,
    /// Lines of the file that hold none.
    pub skipped: u64,
    /// Those that were left out, by reason.
    pub left_out: Vec<LeftOut>,
}

/// Prompts that were left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeftOut {
    /// Why.
    pub why: String,
    /// How many.
    pub prompts: usize,
    /// The first of them.
    pub first: String,
}

impl Asked<'_> {
    /// Loads the model and makes the prompts its tokens.
    ///
    /// # Errors
    /// If the model or the prompts cannot be read, or no prompt is left.
    pub(crate) fn ready(
        &self,
        progress: &dyn Progress,
    ) -> Result<(LanguageModel, Vec<Prompt>, PromptSummary), TaskError> {
        if self.model.is_empty() {
            return Err(TaskError::config("model", "a folder, a file or a Hub name", "nothing"));
        }
        let texts = self.texts()?;
        progress.stage("load the model", None, "models");
        let model = LanguageModel::load_with(self.model, self.load, progress)?;
        let (prompts, summary) = tokens_of(&model, texts)?;
        Ok((model, prompts, summary))
    }

    /// The prompts as tokens of a model that is there.
    ///
    /// # Errors
    /// If the prompts cannot be read, or none is left.
    pub(crate) fn coded(&self, model: &LanguageModel) -> Result<(Vec<Prompt>, PromptSummary), TaskError> {
        tokens_of(model, self.texts()?)
    }

    /// The prompts, and the lines that hold none.
    fn texts(&self) -> Result<(Vec<TextPrompt>, u64), TaskError> {
        let (mut texts, mut skipped) = (self.prompts.to_vec(), 0);
        if let Some(file) = self.file {
            let read = read_prompts(file, self.read)?;
            skipped = read.skipped;
            texts.extend(read.prompts);
        }
        if texts.is_empty() {
            return Err(TaskError::config("prompts", "a prompt and its target, or a file of them", "none"));
        }
        Ok((texts, skipped))
    }
}

fn tokens_of(
    model: &LanguageModel,
    (texts, skipped): (Vec<TextPrompt>, u64),
) -> Result<(Vec<Prompt>, PromptSummary), TaskError> {
    let coder = Coder::new(model, model.tokenizer()?)?;
    let (prompts, left_out) = coded(&coder, &texts)?;
    if prompts.is_empty() {
        let reasons: Vec<String> = left_out.iter().map(|out| format!("{} ({})", out.why, out.first)).collect();
        let expected = format!("prompts that {} can take", model.info().name);
        return Err(TaskError::config("prompts", expected, format!("none: {}", reasons.join("; "))));
    }
    let summary = PromptSummary { used: prompts.len(), skipped, left_out };
    Ok((prompts, summary))
}

/// Prompts as tokens, and those that the model cannot take, by reason.
fn coded(coder: &Coder<'_>, texts: &[TextPrompt]) -> Result<(Vec<Prompt>, Vec<LeftOut>), TaskError> {
    let (mut prompts, mut left_out) = (Vec::new(), Vec::<LeftOut>::new());
    for text in texts {
        match coder.prompt(text)? {
            Ok(prompt) => prompts.push(prompt),
            Err(why) => match left_out.iter_mut().find(|out| out.why == why) {
                Some(out) => out.prompts += 1,
                None => left_out.push(LeftOut { why, prompts: 1, first: format!("{} {}", text.text, text.target) }),
            },
        }
    }
    Ok((prompts, left_out))
}

/// The concepts of prompts with the numbers of their prompts, in the order in which they first come.
pub(crate) fn by_concept(prompts: &[Prompt]) -> Vec<(String, Vec<usize>)> {
    let mut concepts: Vec<(String, Vec<usize>)> = Vec::new();
    for (idx, prompt) in prompts.iter().enumerate() {
        match concepts.iter_mut().find(|(name, _)| *name == prompt.concept) {
            Some((_, own)) => own.push(idx),
            None => concepts.push((prompt.concept.clone(), vec![idx])),
        }
    }
    concepts
}
