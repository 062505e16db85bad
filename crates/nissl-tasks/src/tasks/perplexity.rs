//! How well a model expects a text, and what changing neurons does to that.

use std::collections::HashMap;
use std::path::PathBuf;

use nissl_core::{Batch, Context, EditSpec, Model, Progress};
use nissl_methods::ablating::Mean;
use nissl_model::{LanguageModel, LoadOptions, Tokenizer};
use serde::{Deserialize, Serialize};

use crate::edit_text;
use crate::error::TaskError;
use crate::pieces::{Piece, pieces, with_line_feeds};
use crate::report::{Head, head};
use crate::tasks::sites::ModelSummary;

/// One sentence about the task.
pub const SUMMARY: &str = "Measure how well a model expects a text, with any of its neurons changed or not";

/// The most tokens of a window if nothing else is said.
const WINDOW: usize = 1024;
/// The most windows that run at once.
const AT_ONCE: usize = 32;

/// Which model reads what, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Folder, file or Hub name.
    pub model: String,
    /// Plain text files, UTF-8; all line ends are read as line feeds.
    pub text: Vec<PathBuf>,
    /// Tokens that the model reads at once, those that it puts before a text with them; none: its context, at most
    /// 1,024.
    pub window: Option<usize>,
    /// Tokens of a window that are read for what they say of the others, and were counted in the window before.
    pub overlap: usize,
    /// Share of each file, by bytes, that is passed over; a line that it cuts is too.
    pub skip: f64,
    /// Edits as short texts: `3.mlp_post[42]=0`.
    pub edits: Vec<String>,
    /// A hook plan as JSON, whose edits come before these.
    pub plan: Option<PathBuf>,
    /// How it is loaded.
    pub load: LoadOptions,
    /// Bytes for logits.
    pub memory: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            model: String::new(),
            text: Vec::new(),
            window: None,
            overlap: 0,
            skip: 0.0,
            edits: Vec::new(),
            plan: None,
            load: LoadOptions::default(),
            memory: Context::MEMORY,
        }
    }
}

/// How well the text was expected.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Task, version and config.
    #[serde(flatten)]
    pub head: Head<Config>,
    /// The model.
    pub model: ModelSummary,
    /// Tokens of a window.
    pub window: usize,
    /// What was read.
    pub text: Counts,
    /// What the model expects.
    pub whole: Expected,
    /// The same with the edits, if there are any.
    pub edited: Option<Expected>,
    /// By how much the loss is higher with the edits, in nats a token, over the same windows.
    pub rise: Option<Mean>,
}

/// What was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counts {
    /// Windows.
    pub windows: u64,
    /// Tokens that something stands before, each counted once.
    pub tokens: u64,
    /// Characters that they spell.
    pub characters: u64,
    /// Bytes that they spell.
    pub bytes: u64,
    /// Characters that the vocabulary cannot spell, which were left out.
    pub left_out: u64,
}

/// How well tokens are expected.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expected {
    /// Cross-entropy, in nats a token; its standard error takes windows as the draws.
    pub loss: Mean,
    /// e to the loss.
    pub perplexity: f64,
    /// The loss in bits a character.
    pub bits_per_character: f64,
    /// The loss in bits a byte.
    pub bits_per_byte: f64,
}

/// Reads the text.
///
/// # Errors
/// If the model or a file cannot be read, the model does not say what comes next, an edit does not fit, or the user
/// stops it.
pub fn run(config: &Config, progress: &dyn Progress) -> Result<Report, TaskError> {
    if config.model.is_empty() {
        return Err(TaskError::config("model", "a folder, a file or a Hub name", "nothing"));
    }
    if config.text.is_empty() {
        return Err(TaskError::config("text", "one or more plain text files", "nothing"));
    }
    if !(0.0..1.0).contains(&config.skip) {
        return Err(TaskError::config("skip", "0 to below 1", config.skip.to_string()));
    }
    progress.stage("load the model", None, "models");
    let model = LanguageModel::load_with(&config.model, &config.load, progress)?;
    let info = model.info();
    if !info.causal || info.encoder.is_some() {
        let expected = "a model that goes on with a text";
        return Err(TaskError::config("model", expected, format!("{}, of the family {}", info.name, info.family)));
    }
    let edits = edit_text::plan(config.plan.as_deref(), &config.edits, info)?.edits;
    let mut reader = Reader::new(config, &model, model.tokenizer()?, &edits)?;
    let n_bytes = config.text.iter().map(|file| std::fs::metadata(file).map_or(0, |found| found.len())).sum();
    progress.stage("read the text", Some(n_bytes), "bytes");
    let mut done = 0;
    let mut before = 0;
    for piece in pieces(&config.text) {
        if progress.cancelled() {
            return Err(TaskError::Cancelled { resume: "nothing was written".to_owned() });
        }
        let Piece { text, last } = piece?;
        if before == 0 {
            reader.file()?;
        }
        reader.read(&text, before)?;
        before += text.len() as u64;
        done += text.len() as u64;
        if last {
            reader.end()?;
            before = 0;
        }
        progress.step(done);
    }
    reader.report(config)
}

/// What the tokens that were not run yet are, and what was found in those before.
struct Reader<'a> {
    model: &'a LanguageModel,
    tokenizer: &'a Tokenizer,
    edits: &'a [EditSpec],
    config: &'a Config,
    window: usize,
    /// Windows that run at once.
    at_once: usize,
    /// The file that is read, by its place.
    files: usize,
    /// Bytes of it to pass over.
    skipped: u64,
    /// Whether characters that lay between tokens are spelled by them.
    spelled: HashMap<char, bool>,
    rest: Vec<Token>,
    /// Whether the first tokens of `rest` were counted.
    overlaps: bool,
    windows: Vec<Window>,
    counts: Counts,
    /// Of every window: tokens, and their loss without and with the edits.
    losses: Vec<(u64, [f64; 2])>,
}

/// A token, and what it spells.
#[derive(Clone, Copy)]
struct Token {
    id: u32,
    characters: u32,
    bytes: u32,
}

struct Window {
    tokens: Vec<Token>,
    /// Those that were counted before.
    counted: usize,
}

impl<'a> Reader<'a> {
    fn new(
        config: &'a Config,
        model: &'a LanguageModel,
        tokenizer: &'a Tokenizer,
        edits: &'a [EditSpec],
    ) -> Result<Self, TaskError> {
        let (n_ctx, prefix) = (model.info().n_ctx, tokenizer.special_prefix().len());
        let window = config.window.unwrap_or(n_ctx.min(WINDOW));
        // Two tokens at least: the second is expected.
        let least = (prefix + 1).max(2);
        if !(least..=n_ctx).contains(&window) {
            return Err(TaskError::config("window", format!("{least} to {n_ctx} tokens"), window.to_string()));
        }
        let most = window - prefix - 1;
        if config.overlap > most {
            let expected = format!("at most {most} tokens, for windows of {window}");
            return Err(TaskError::config("overlap", expected, config.overlap.to_string()));
        }
        let logits = window * model.info().d_vocab * size_of::<f32>();
        Ok(Self {
            model,
            tokenizer,
            edits,
            config,
            window,
            at_once: (config.memory / logits.max(1)).clamp(1, AT_ONCE),
            files: 0,
            skipped: 0,
            spelled: HashMap::new(),
            rest: Vec::new(),
            overlaps: false,
            windows: Vec::new(),
            counts: Counts::default(),
            losses: Vec::new(),
        })
    }

    /// Begins a file.
    fn file(&mut self) -> Result<(), TaskError> {
        let path = &self.config.text[self.files];
        let len = std::fs::metadata(path).map_err(|err| TaskError::io("read", path, err))?.len();
        self.skipped = (len as f64 * self.config.skip) as u64;
        Ok(())
    }

    /// Takes a piece of the file, before which so many bytes of it lie.
    fn read(&mut self, text: &str, before: u64) -> Result<(), TaskError> {
        let mut text = text;
        if before < self.skipped {
            let place = usize::try_from(self.skipped - before).unwrap_or(usize::MAX);
            // The first line that begins there or later.
            let line = text.bytes().enumerate().skip(place.saturating_sub(1)).find(|(_, byte)| *byte == b'\n');
            text = line.map_or("", |(at, _)| &text[at + 1..]);
        }
        let text = &*with_line_feeds(text);
        let encoding = self.tokenizer.encode_plain(text)?;
        let mut spelled = 0;
        for (idx, (&id, own)) in encoding.ids.iter().zip(&encoding.offsets).enumerate() {
            // What lies between tokens is spelled by the one behind it, what is left by the last.
            let end = if idx + 1 == encoding.len() { text.len() } else { own.end.max(spelled) };
            let mut token = Token { id, characters: 0, bytes: 0 };
            for (at, c) in text[spelled..end].char_indices() {
                if !own.contains(&(spelled + at)) && self.is_left_out(c)? {
                    self.counts.left_out += 1;
                } else {
                    token.characters += 1;
                    token.bytes += c.len_utf8() as u32;
                }
            }
            self.rest.push(token);
            spelled = end;
        }
        let room = self.window - self.tokenizer.special_prefix().len();
        let mut first = 0;
        while self.rest.len() - first > room {
            let tokens = self.rest[first..first + room].to_vec();
            self.push(tokens)?;
            self.overlaps = true;
            first += room - self.config.overlap;
        }
        self.rest.drain(..first);
        Ok(())
    }

    /// Whether a character that lies between tokens is spelled by none of them.
    fn is_left_out(&mut self, c: char) -> Result<bool, TaskError> {
        if let Some(&known) = self.spelled.get(&c) {
            return Ok(!known);
        }
        let spells =
            |c: char| Ok::<bool, TaskError>(!self.tokenizer.encode_plain(c.encode_utf8(&mut [0; 4]))?.is_empty());
        // Where words are apart at blanks, blanks are spelled by their being apart.
        let known = spells(c)? || (c.is_whitespace() && !spells(' ')?);
        self.spelled.insert(c, known);
        Ok(!known)
    }

    fn push(&mut self, tokens: Vec<Token>) -> Result<(), TaskError> {
        let counted = if self.overlaps { self.config.overlap } else { 0 };
        self.windows.push(Window { tokens, counted });
        if self.windows.len() < self.at_once { Ok(()) } else { self.run() }
    }

    /// Ends a file: no window goes on into the next one.
    fn end(&mut self) -> Result<(), TaskError> {
        let rest = std::mem::take(&mut self.rest);
        if !rest.is_empty() {
            self.push(rest)?;
        }
        self.overlaps = false;
        self.files += 1;
        Ok(())
    }

    /// Runs the windows that are there.
    fn run(&mut self) -> Result<(), TaskError> {
        let prefix = self.tokenizer.special_prefix();
        let mut batch = Batch::new();
        for window in &self.windows {
            let ids = window.tokens.iter().map(|token| token.id);
            batch.push(&prefix.iter().copied().chain(ids).collect::<Vec<_>>());
        }
        let whole = self.model.log_probabilities(&batch, &[])?;
        let edited = (!self.edits.is_empty()).then(|| self.model.log_probabilities(&batch, self.edits)).transpose()?;
        for (idx, window) in self.windows.drain(..).enumerate() {
            let first = batch.offsets()[idx] + prefix.len();
            // Nothing expects the first token of all.
            let counted = window.counted.max(usize::from(prefix.is_empty()));
            let own = counted.min(window.tokens.len())..window.tokens.len();
            for token in &window.tokens[own.clone()] {
                self.counts.characters += u64::from(token.characters);
                self.counts.bytes += u64::from(token.bytes);
            }
            let loss = |all: &[f64]| -all[first + own.start..first + own.end].iter().sum::<f64>();
            self.losses.push((own.len() as u64, [loss(&whole), edited.as_deref().map_or(0.0, loss)]));
            self.counts.tokens += own.len() as u64;
            self.counts.windows += 1;
        }
        Ok(())
    }

    fn report(mut self, config: &Config) -> Result<Report, TaskError> {
        if !self.windows.is_empty() {
            self.run()?;
        }
        if self.counts.tokens == 0 {
            return Err(TaskError::config("text", "two tokens or more", "a text without"));
        }
        let rise = self.mean(|[whole, edited]| edited - whole);
        let edited = (!self.edits.is_empty()).then(|| self.expected(1));
        Ok(Report {
            head: head("perplexity", config),
            model: ModelSummary::of(self.model.info()),
            window: self.window,
            text: self.counts,
            whole: self.expected(0),
            edited,
            rise: edited.map(|_| rise),
        })
    }

    fn expected(&self, which: usize) -> Expected {
        let loss = self.mean(|losses| losses[which]);
        let bits = loss.mean * self.counts.tokens as f64 / std::f64::consts::LN_2;
        Expected {
            loss,
            perplexity: loss.mean.exp(),
            bits_per_character: bits / self.counts.characters.max(1) as f64,
            bits_per_byte: bits / self.counts.bytes.max(1) as f64,
        }
    }

    /// A sum over tokens as a mean of them, its error that of a ratio of sums over windows.
    fn mean(&self, of: impl Fn([f64; 2]) -> f64) -> Mean {
        let n = self.counts.tokens as f64;
        let mean = self.losses.iter().map(|(_, losses)| of(*losses)).sum::<f64>() / n;
        let off = |&(tokens, losses): &(u64, [f64; 2])| (of(losses) - mean * tokens as f64).powi(2);
        let (windows, squares) = (self.losses.len() as f64, self.losses.iter().map(off).sum::<f64>());
        let error = if windows > 1.0 { (squares * windows / (windows - 1.0)).sqrt() / n } else { 0.0 };
        Mean { mean, error }
    }
}

#[cfg(test)]
mod tests;
