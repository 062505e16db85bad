//! Text that a model goes on with.
//!
//! `texts` takes several texts through the network step by step, `choose` takes a token from logits, `beam` searches
//! for the most probable text, `stream` turns tokens into text as they come.

mod beam;
mod choose;
mod stream;
mod texts;

use std::ops::ControlFlow;

use nissl_core::{Batch, End, Generated, Generation, HookPlan, Model, ModelError, NewToken, Output};
use rayon::prelude::*;

use crate::arch::Target;
use crate::engine::Halt;
use crate::hooks::{Hooks, NoCapture, Part, Prepared};
use crate::language_model::{Collect, LanguageModel};
use choose::Chooser;
pub(crate) use choose::log_sum_exp;
pub use stream::TextStream;
use texts::Texts;

/// Texts that one thread takes on together: weights are read once for all of them.
const TOGETHER: usize = 8;

/// What a generation goes by.
struct Run<'a> {
    model: &'a LanguageModel,
    prompts: &'a Batch,
    options: &'a Generation,
    stop_tokens: &'a [u32],
    /// The plan's edits alone.
    edits: &'a Prepared<'a>,
}

/// Goes on with every prompt, see [`Model::generate`].
pub(crate) fn generate(
    model: &LanguageModel,
    prompts: &Batch,
    options: &Generation,
    plan: &HookPlan,
    on_token: &mut dyn FnMut(NewToken) -> ControlFlow<()>,
) -> Result<Vec<Generated>, ModelError> {
    check(model, prompts, options, plan)?;
    let edits = HookPlan { edits: plan.edits.clone(), output: Output::Last, ..HookPlan::default() };
    let prepared = Prepared::growing(&edits, model.info().n_ctx).of_model(model.info());
    let stop_tokens = options.stop_tokens.as_deref().unwrap_or(model.end_tokens());
    let run = Run { model, prompts, options, stop_tokens, edits: &prepared };
    let mut done = if options.n_beams > 1 { beam::search(&run, on_token)? } else { one_by_one(&run, on_token)? };
    let plan = HookPlan { output: plan.output, capture: plan.capture.clone(), edits: edits.edits.clone() };
    if plan.output != Output::None || !plan.capture.is_empty() {
        let read = |(prompt, done): (usize, &mut Generated)| {
            let tokens: Vec<u32> = run.given(prompt).into_iter().chain(done.tokens.iter().copied()).collect();
            done.trace = run.trace(prompt, &tokens, &plan)?;
            Ok::<(), ModelError>(())
        };
        done.par_iter_mut().enumerate().try_for_each(read)?;
    }
    Ok(done)
}

fn check(model: &LanguageModel, prompts: &Batch, options: &Generation, plan: &HookPlan) -> Result<(), ModelError> {
    let info = model.info();
    options.check()?;
    plan.check(info, prompts)?;
    model.check_next()?;
    let why = if info.encoder.is_some() && !prompts.has_targets() && model.target().start.is_none() {
        Some("its config has no decoder_start_token_id: expected targets that begin with it".to_owned())
    } else if info.encoder.is_none() && prompts.has_targets() {
        Some("it has no encoder, and the prompts are sources and targets".to_owned())
    } else if !options.stop_texts.is_empty() && model.tokenizer().is_err() {
        Some("stop texts need a tokenizer, and it has none".to_owned())
    } else {
        None
    };
    if let Some(why) = why {
        return Err(ModelError::CannotGenerate { model: info.name.clone(), why });
    }
    for sentence_idx in 0..prompts.n_sentences() {
        let tokens = prompts.sentence(sentence_idx);
        if tokens.is_empty() {
            let why = format!("prompt {sentence_idx} is empty");
            return Err(ModelError::CannotGenerate { model: info.name.clone(), why });
        }
        let n_source = if info.encoder.is_some() { prompts.n_source(sentence_idx) } else { 0 };
        let n_tokens = n_source.max(tokens.len() - n_source);
        if n_tokens > info.n_ctx && !model.slides() {
            return Err(ModelError::TooLong { sentence_idx, n_tokens, n_ctx: info.n_ctx });
        }
        if info.encoder.is_some() && n_source == 0 {
            let why = format!("prompt {sentence_idx} has a target and no source");
            return Err(ModelError::CannotGenerate { model: info.name.clone(), why });
        }
        if let Some(&token) = tokens.iter().find(|&&token| token as usize >= info.d_vocab) {
            return Err(ModelError::TokenOutOfRange { token, sentence_idx, d_vocab: info.d_vocab });
        }
    }
    Ok(())
}

/// Greedy search and sampling: every text goes its own way.
fn one_by_one(
    run: &Run<'_>,
    on_token: &mut dyn FnMut(NewToken) -> ControlFlow<()>,
) -> Result<Vec<Generated>, ModelError> {
    let n = run.prompts.n_sentences();
    let mut done: Vec<Generated> = (0..n).map(|_| run.nothing_yet()).collect();
    let mut streams: Vec<_> = (0..n).map(|prompt| run.stream(prompt)).collect();
    let mut groups: Vec<(Texts<'_>, Vec<Chooser>)> = (0..n)
        .filter(|_| run.options.max_new_tokens > 0)
        .map(|prompt| (Texts::new(run, prompt), vec![Chooser::new(run.options)]))
        .collect();
    while !groups.is_empty() {
        // Threads that have no group of their own help with the others' products.
        let n_helpers = helpers(groups.len());
        let step = |(texts, choosers): &mut (Texts<'_>, Vec<Chooser>)| -> Result<Vec<(u32, f32)>, ModelError> {
            let logits = texts.step(n_helpers)?;
            let rows = logits.rows().into_iter().zip(choosers).enumerate();
            Ok(rows.map(|(idx, (logits, chooser))| chooser.next(run, logits.to_vec(), texts.text(idx))).collect())
        };
        let chosen: Vec<Vec<(u32, f32)>> = groups.par_iter_mut().map(step).collect::<Result<_, _>>()?;
        for ((texts, choosers), chosen) in groups.iter_mut().zip(chosen) {
            let mut go_on = Vec::new();
            for (idx, (token, log_probability)) in chosen.into_iter().enumerate() {
                let prompt = texts.prompt(idx);
                texts.push(idx, token);
                let generated = &mut done[prompt];
                generated.tokens.push(token);
                generated.log_probabilities.push(log_probability);
                let flow = on_token(NewToken { prompt, token, log_probability });
                let spelled = streams[prompt].as_mut().map(|stream| stream.push(token)).transpose();
                let end = run.end(&generated.tokens, prompt, spelled?.unwrap_or(false));
                if let Some(end) = end {
                    generated.end = end;
                } else {
                    go_on.push(idx);
                }
                if flow.is_break() {
                    return Ok(done);
                }
            }
            texts.choose(&go_on);
            let mut idx = 0;
            choosers.retain(|_| {
                idx += 1;
                go_on.contains(&(idx - 1))
            });
        }
        groups = regroup(groups);
    }
    Ok(done)
}

/// Threads that can help each of some groups.
fn helpers(n_groups: usize) -> usize {
    (rayon::current_num_threads() / n_groups.max(1)).saturating_sub(1)
}

/// Puts groups that have room together.
fn regroup<'a>(groups: Vec<(Texts<'a>, Vec<Chooser>)>) -> Vec<(Texts<'a>, Vec<Chooser>)> {
    let mut joined: Vec<(Texts<'a>, Vec<Chooser>)> = Vec::new();
    for (texts, choosers) in groups {
        match joined.last_mut() {
            _ if choosers.is_empty() => {}
            Some((last, others)) if others.len() + choosers.len() <= TOGETHER => {
                last.join(texts);
                others.extend(choosers);
            }
            _ => joined.push((texts, choosers)),
        }
    }
    joined
}

impl Run<'_> {
    /// The tokens that a text begins with: a prompt; a source alone is followed by the token that starts its target.
    fn given(&self, prompt: usize) -> Vec<u32> {
        let mut tokens = self.prompts.sentence(prompt).to_vec();
        if self.n_source(prompt) == tokens.len() {
            tokens.extend(self.target().and_then(|target| target.start));
        }
        tokens
    }

    /// Tokens of a prompt that are its source; 0 if the model has no encoder.
    fn n_source(&self, prompt: usize) -> usize {
        if self.model.info().encoder.is_some() { self.prompts.n_source(prompt) } else { 0 }
    }

    /// How targets begin and end, where the model has an encoder.
    fn target(&self) -> Option<&Target> {
        self.model.info().encoder.as_ref().map(|_| self.model.target())
    }

    /// Before the first token; what the caller stops is left like this.
    fn nothing_yet(&self) -> Generated {
        let end = if self.options.max_new_tokens == 0 { End::MaxNewTokens } else { End::Stopped };
        Generated {
            tokens: Vec::new(),
            log_probabilities: Vec::new(),
            end,
            score: None,
            trace: nissl_core::Trace::default(),
        }
    }

    /// What spells the new tokens of a prompt, where there are stop texts.
    fn stream(&self, prompt: usize) -> Option<StopTexts<'_>> {
        let tokenizer = self.model.tokenizer().ok().filter(|_| !self.options.stop_texts.is_empty())?;
        let stream = TextStream::new(tokenizer, self.prompts.sentence(prompt));
        Some(StopTexts { stream, text: String::new(), stops: &self.options.stop_texts })
    }

    /// Why a prompt with these new tokens is at its end; none if it is not.
    fn end(&self, new: &[u32], prompt: usize, spells_stop: bool) -> Option<End> {
        let n_given = self.prompts.sentence(prompt).len() - self.n_source(prompt);
        // A target has at least the token that starts it.
        let n_given = if self.target().is_some() { n_given.max(1) } else { n_given };
        let n_tokens = n_given + new.len();
        if new.last().is_some_and(|token| self.stop_tokens.contains(token)) {
            Some(End::StopToken)
        } else if spells_stop {
            Some(End::StopText)
        } else if new.len() >= self.options.max_new_tokens {
            Some(End::MaxNewTokens)
        } else if n_tokens >= self.model.info().n_ctx && !self.model.slides() {
            Some(End::Context)
        } else {
            None
        }
    }

    /// The captures and logits of a finished text, in one pass; of its last tokens, where a model reads no more.
    fn trace(&self, prompt: usize, tokens: &[u32], plan: &HookPlan) -> Result<nissl_core::Trace, ModelError> {
        let info = self.model.info();
        let prepared = Prepared::growing(plan, info.n_ctx).of_model(info);
        let n_source = self.n_source(prompt);
        let first = if n_source > 0 { 0 } else { tokens.len().saturating_sub(info.n_ctx) };
        let positions = first..tokens.len();
        let mut read = Batch::new();
        if n_source > 0 {
            read.push_pair(&tokens[..n_source], &tokens[n_source..]);
        } else {
            read.push(&tokens[positions.clone()]);
        }
        let collect = Collect::new(info, &read, plan);
        let sink = if plan.capture.is_empty() { &NoCapture as &dyn nissl_core::CaptureSink } else { &collect };
        let hooks = Hooks::of_parts(
            &prepared,
            sink,
            vec![Part::new(self.prompts.rows(prompt), positions).after_source(n_source)],
        );
        let logits = match self.model.run_group(self.model.engine(), read.tokens(), &hooks, None, plan.output) {
            Ok(logits) => logits,
            Err(Halt::Done) => None,
            Err(Halt::Failed(err)) => return Err(err),
        };
        Ok(nissl_core::Trace { logits, ..collect.finish(plan) })
    }
}

/// Looks for stop texts in what is added.
struct StopTexts<'a> {
    stream: TextStream<'a>,
    text: String,
    stops: &'a [String],
}

impl StopTexts<'_> {
    /// Whether the new text has one of them, now that the token is there.
    fn push(&mut self, token: u32) -> Result<bool, ModelError> {
        let longest = self.stops.iter().map(String::len).max().unwrap_or(0);
        let mut from = self.text.len().saturating_sub(longest);
        while !self.text.is_char_boundary(from) {
            from -= 1;
        }
        let new = self.stream.push(token).map_err(|err| ModelError::Engine { what: err.to_string() })?;
        self.text.push_str(&new);
        Ok(self.stops.iter().any(|stop| self.text[from..].contains(stop.as_str())))
    }
}
