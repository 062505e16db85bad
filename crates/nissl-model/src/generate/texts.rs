//! Several texts taken through the network together, a step at a time.

use nissl_core::ModelError;

use super::Run;
use crate::engine::Halt;
use crate::engine::cpu::Cpu;
use crate::hooks::{Hooks, NoCapture, Part};
use crate::language_model::LanguageModel;
use crate::skeletons::Past;
use ndarray::Array2;
use nissl_core::{Model, Output};

/// Texts of prompts, and what is kept of their tokens so far.
pub(super) struct Texts<'a> {
    model: &'a LanguageModel,
    edits: &'a crate::hooks::Prepared<'a>,
    texts: Vec<Text>,
    /// None if every step reads the whole text.
    past: Option<Past<Cpu>>,
}

/// A prompt and what was added to it.
#[derive(Clone)]
struct Text {
    prompt: usize,
    /// The prompt's rows in the batch.
    rows: std::ops::Range<usize>,
    tokens: Vec<u32>,
    /// The first of them are the source, of which there may be none.
    n_source: usize,
    /// Tokens of the target, or of all, that were not chosen.
    n_given: usize,
    /// Tokens that the past knows.
    n_read: usize,
}

impl<'a> Texts<'a> {
    /// A prompt to begin with.
    pub(super) fn new(run: &Run<'a>, prompt: usize) -> Self {
        let tokens = run.given(prompt);
        let n_source = run.n_source(prompt);
        let n_given = tokens.len() - n_source;
        let text = Text { prompt, rows: run.prompts.rows(prompt), tokens, n_source, n_given, n_read: 0 };
        let past = if run.options.cache { run.model.past(1) } else { None };
        Self { model: run.model, edits: run.edits, texts: vec![text], past }
    }

    /// Reads what was not read; the logits after each text, `[n_texts, d_vocab]`.
    /// `n_helpers` more threads help.
    pub(super) fn step(&mut self, n_helpers: usize) -> Result<Array2<f32>, ModelError> {
        let n_ctx = self.model.info().n_ctx;
        let keeps = self.past.is_some();
        let unread = |text: &Text| {
            let first = if keeps { text.n_read } else { text.tokens.len().saturating_sub(n_ctx) };
            let first = if text.n_source > 0 && !keeps { 0 } else { first };
            Part::new(text.rows.clone(), first..text.tokens.len()).after_source(text.n_source)
        };
        let parts: Vec<Part> = self.texts.iter().map(unread).collect();
        let new = self.texts.iter().zip(&parts).flat_map(|(text, part)| &text.tokens[part.positions.clone()]);
        let tokens: Vec<u32> = new.copied().collect();
        let hooks = Hooks::of_parts(self.edits, &NoCapture, parts);
        let (model, past) = (self.model, self.past.as_mut());
        let run = |engine: &Cpu| model.run_group(engine, &tokens, &hooks, past, Output::Last);
        match model.engine().with_helpers(n_helpers, run) {
            Ok(logits) => {
                self.texts.iter_mut().for_each(|text| text.n_read = text.tokens.len());
                Ok(logits.expect("the last logits were asked for"))
            }
            Err(Halt::Done) => Err(ModelError::Engine { what: "a step ended before its logits".to_owned() }),
            Err(Halt::Failed(err)) => Err(err),
        }
    }

    /// The prompt of a text.
    pub(super) fn prompt(&self, idx: usize) -> usize {
        self.texts[idx].prompt
    }

    /// The tokens of a text, or of its target, and how many of them were not chosen.
    pub(super) fn text(&self, idx: usize) -> (&[u32], usize) {
        let Text { tokens, n_source, n_given, .. } = &self.texts[idx];
        (&tokens[*n_source..], *n_given)
    }

    /// Adds a token to a text.
    pub(super) fn push(&mut self, idx: usize, token: u32) {
        self.texts[idx].tokens.push(token);
    }

    /// Goes on with these texts alone, in this order; one that is named twice goes on twice.
    pub(super) fn choose(&mut self, which: &[usize]) {
        if which.iter().copied().eq(0..self.texts.len()) {
            return;
        }
        self.texts = which.iter().map(|&idx| self.texts[idx].clone()).collect();
        self.past = self.past.as_ref().map(|past| past.choose(self.model.engine(), which));
    }

    /// Takes others with these.
    pub(super) fn join(&mut self, other: Self) {
        self.texts.extend(other.texts);
        if let (Some(past), Some(other)) = (&mut self.past, other.past) {
            past.join(self.model.engine(), other);
        }
    }
}
