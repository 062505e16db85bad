//! Train a small language model on text: from scratch, or on from one that exists.

use std::path::{Path, PathBuf};
use std::time::Instant;

use nissl_core::{ModelError, Progress};
use nissl_model::{AdamW, NewTokenizer, Schedule, Sizes, Tokenizer, Trainer};
use serde::{Deserialize, Serialize};

use crate::error::TaskError;
use crate::html;
use crate::output::{write_json, write_whole};
use crate::pieces::{pieces, with_line_feeds};
use crate::report::{Head, head};

mod kept;
mod text;
mod windows;

use kept::Kept;
pub use kept::{Evaluation, History, Point};
pub use text::{TextFile, TextReport};
use windows::{Objective, Windows};

/// One sentence about the task.
pub const SUMMARY: &str = "Train a small language model on text, from scratch or on from one that exists";

/// What is trained, on what, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Plain text files, UTF-8.
    pub text: Vec<PathBuf>,
    /// The folder: the model in `model`, the text's tokens, the report, and while it runs the last saved step.
    pub out: PathBuf,
    /// A model to go on from; empty: a new one of `family` and `sizes`.
    pub model: String,
    /// The family of a new model: `gpt2`, `llama`, `bert`.
    pub family: String,
    /// The sizes of a new model.
    pub sizes: Sizes,
    /// The tokenizer of a new model: `bpe:N` and `characters` are learned from the text; else a tokenizer.json, or a
    /// model's folder.
    pub tokenizer: String,
    /// Steps.
    pub steps: u64,
    /// Windows of text a batch.
    pub batch: usize,
    /// Batches a step, run one after the other.
    pub accumulate: usize,
    /// Tokens of a window; none: the model's context, at most 1,024.
    pub context: Option<usize>,
    /// The learning rate.
    pub schedule: Schedule,
    /// How parameters move.
    pub optimizer: AdamW,
    /// Share of the tokens that a masked model has to guess.
    pub mask: f64,
    /// Where chance begins: weights, order of the windows, masks.
    pub seed: u64,
    /// Every so manieth window is held out to measure on; 0: none.
    pub held_out: u64,
    /// Steps between two measurements on held-out windows.
    pub eval_every: u64,
    /// Held-out windows that are measured on, spread over all of them.
    pub eval_windows: usize,
    /// Steps between two saves.
    pub save_every: u64,
    /// Whether the model of every save is kept, as a folder `step-N`, the untrained one among them.
    pub keep_all: bool,
    /// Whether to begin anew over a training with another config.
    pub force: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            text: Vec::new(),
            out: PathBuf::new(),
            model: String::new(),
            family: "gpt2".to_owned(),
            sizes: Sizes::default(),
            tokenizer: "bpe:4096".to_owned(),
            steps: 1000,
            batch: 8,
            accumulate: 1,
            context: None,
            schedule: Schedule::default(),
            optimizer: AdamW::default(),
            mask: 0.15,
            seed: 1,
            held_out: 20,
            eval_every: 250,
            eval_windows: 64,
            save_every: 250,
            keep_all: false,
            force: false,
        }
    }
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Task, version and config.
    #[serde(flatten)]
    pub head: Head<Config>,
    /// The trained model.
    pub model: PathBuf,
    /// Its family.
    pub family: String,
    /// Trainable values.
    pub n_parameters: usize,
    /// The text.
    pub text: TextReport,
    /// Windows that were trained on, and tokens of each.
    pub n_windows: u64,
    /// Tokens of a window.
    pub context: usize,
    /// Mean cross-entropy of held-out windows at the end, in nats a token; none if nothing was held out.
    pub held_out_loss: Option<f64>,
    /// The same in bits a byte of text; none for masked models.
    pub bits_per_byte: Option<f64>,
    /// How the loss went.
    pub history: History,
    /// The step at which this run went on, if it did not begin the training.
    pub resumed_at: Option<u64>,
    /// Tokens a second, over the steps of this run; 0 if it made none.
    pub tokens_per_second: f64,
    /// A page that draws the loss.
    pub page: PathBuf,
}

/// Trains, or goes on where a stopped run was.
///
/// # Errors
/// If a text or model cannot be read, the sizes do not fit, the loss is no number any more, the folder has another
/// training, or the user stops it; what was saved stays and is gone on with.
pub fn run(config: &Config, progress: &dyn Progress) -> Result<Report, TaskError> {
    check(config)?;
    let kept = Kept::open(config)?;
    let (mut trainer, mut history) = match kept.latest()? {
        Some((folder, history)) => (Trainer::resume(&folder)?, history),
        None => (begin(config, progress)?, History::default()),
    };
    trainer.optimizer = config.optimizer;
    let resumed_at = (trainer.steps() > 0).then(|| trainer.steps());
    let tokenizer = trainer.tokenizer()?;
    let text = text::tokens(&config.text, &config.out, tokenizer, progress)?;
    let context = context(config, trainer.info().n_ctx)?;
    let objective = Objective::of(trainer.info().causal, tokenizer, config)?;
    let mut windows = Windows::open(&text, &config.out, context, objective, config)?;
    if config.keep_all && resumed_at.is_none() {
        kept.save(&trainer, &history)?;
    }

    progress.stage("train", Some(config.steps), "steps");
    let start = Instant::now();
    let mut n_tokens = 0;
    while trainer.steps() < config.steps {
        let step = trainer.steps();
        if progress.cancelled() {
            kept.save(&trainer, &history)?;
            let resume = format!("step {step} of {} is kept; the same command goes on from it", config.steps);
            return Err(TaskError::Cancelled { resume });
        }
        let parts = windows.of_step(step, config.batch, config.accumulate)?;
        let rate = config.schedule.rate(step, config.steps);
        let done = trainer.step(&parts, rate)?;
        if !done.gradient_norm.is_finite() || !done.loss.is_finite() {
            let got = format!("{}: the loss is {} at step {}", config.schedule.learning_rate, done.loss, step + 1);
            return Err(TaskError::config("learning_rate", "one at which the loss stays a number", got));
        }
        n_tokens += parts.iter().map(|part| part.batch.n_tokens()).sum::<usize>();
        history.add(step + 1, config.steps, &done, rate);
        let now = trainer.steps();
        if now % config.eval_every == 0 || now == config.steps {
            evaluate(&trainer, &mut windows, now, &mut history, progress)?;
        }
        if now % config.save_every == 0 && now < config.steps {
            kept.save(&trainer, &history)?;
        }
        progress.step(now);
    }
    let seconds = start.elapsed().as_secs_f64();
    let model = kept.finish(&trainer, &history)?;
    let page = config.out.join("loss.html");
    write_whole(&page, |file| {
        std::io::Write::write_all(file, html::render_figures(&drawn(config, &history)).as_bytes())
    })?;
    let held_out_loss = history.held_out.last().map(|last| last.loss);
    let per_byte = text.report.n_tokens as f64 / text.report.n_bytes.max(1) as f64 / std::f64::consts::LN_2;
    let report = Report {
        head: head("train", config),
        model,
        family: trainer.info().family.clone(),
        n_parameters: trainer.n_parameters(),
        text: text.report,
        n_windows: windows.n_trained(),
        context,
        held_out_loss,
        bits_per_byte: held_out_loss.filter(|_| trainer.info().causal).map(|loss| loss * per_byte),
        history,
        resumed_at,
        tokens_per_second: n_tokens as f64 / seconds.max(1e-9),
        page,
    };
    write_json(&config.out.join("train.json"), &report)?;
    Ok(report)
}

fn check(config: &Config) -> Result<(), TaskError> {
    let nothing = |field: &str, expected: &str| Err(TaskError::config(field, expected, "nothing"));
    if config.text.is_empty() {
        return nothing("text", "one or more plain text files");
    }
    if config.out.as_os_str().is_empty() {
        return nothing("out", "a folder");
    }
    let counts = [
        ("steps", config.steps),
        ("batch", config.batch as u64),
        ("accumulate", config.accumulate as u64),
        ("eval_every", config.eval_every),
        ("save_every", config.save_every),
    ];
    if let Some((field, _)) = counts.iter().find(|(_, count)| *count == 0) {
        return Err(TaskError::config(*field, "1 or more", 0.to_string()));
    }
    let AdamW { beta1, beta2, eps, weight_decay, max_norm } = config.optimizer;
    let Schedule { learning_rate, floor, .. } = config.schedule;
    let numbers = [
        ("learning_rate", learning_rate, learning_rate > 0.0, "a number above 0"),
        ("floor", floor, (0.0..=1.0).contains(&floor), "0 to 1"),
        ("beta1", beta1, (0.0..1.0).contains(&beta1), "0 to below 1"),
        ("beta2", beta2, (0.0..1.0).contains(&beta2), "0 to below 1"),
        ("eps", eps, eps > 0.0, "a number above 0"),
        ("weight_decay", weight_decay, weight_decay >= 0.0, "0 or more"),
        ("max_norm", max_norm.unwrap_or(1.0), max_norm.is_none_or(|norm| norm > 0.0), "a number above 0"),
        ("mask", config.mask, config.mask > 0.0 && config.mask < 1.0, "above 0 and below 1"),
    ];
    match numbers.iter().find(|(_, value, fits, _)| !fits || !value.is_finite()) {
        Some((field, value, _, expected)) => Err(TaskError::config(*field, *expected, value.to_string())),
        None => Ok(()),
    }
}

/// A model that has made no step.
fn begin(config: &Config, progress: &dyn Progress) -> Result<Trainer, TaskError> {
    if !config.model.is_empty() {
        return Ok(Trainer::load(&config.model, progress)?);
    }
    let Sizes { d_model, n_heads, .. } = config.sizes;
    if n_heads == 0 || !d_model.is_multiple_of(n_heads) {
        return Err(TaskError::config("n_heads", format!("a divisor of d_model = {d_model}"), n_heads.to_string()));
    }
    let masked = config.family == "bert";
    let tokenizer = match config.tokenizer.split_once(':') {
        Some(("bpe", size)) => {
            let vocabulary = size
                .parse()
                .map_err(|_| TaskError::config("tokenizer", "bpe:N with N a whole number", &config.tokenizer))?;
            learn(NewTokenizer::Bpe { vocabulary, masked }, config, progress)?
        }
        _ if config.tokenizer == "characters" => learn(NewTokenizer::Characters, config, progress)?,
        _ => {
            let path = Path::new(&config.tokenizer);
            let expected = "bpe:N, characters, a tokenizer.json, or a folder with one";
            let found = if path.is_dir() {
                Tokenizer::from_folder(path)?
            } else {
                path.exists().then(|| Tokenizer::from_file(path)).transpose()?
            };
            found.ok_or_else(|| TaskError::config("tokenizer", expected, &config.tokenizer))?
        }
    };
    Ok(Trainer::fresh(&config.family, &config.sizes, tokenizer, config.seed)?)
}

fn learn(kind: NewTokenizer, config: &Config, progress: &dyn Progress) -> Result<Tokenizer, TaskError> {
    progress.stage("learn the tokenizer", None, "pieces");
    let mut failed = None;
    let pieces = pieces(&config.text).map_while(|piece| match piece {
        Ok(piece) => Some(with_line_feeds(&piece.text).into_owned()),
        Err(err) => {
            failed = Some(err);
            None
        }
    });
    let learned = kind.learn(pieces);
    match failed {
        Some(err) => Err(err),
        None => Ok(learned?),
    }
}

fn context(config: &Config, n_ctx: usize) -> Result<usize, TaskError> {
    match config.context {
        None => Ok(n_ctx.min(1024)),
        Some(context) if (2..=n_ctx).contains(&context) => Ok(context),
        Some(context) => Err(TaskError::config("context", format!("2 to {n_ctx} tokens"), context.to_string())),
    }
}

fn evaluate(
    trainer: &Trainer,
    windows: &mut Windows,
    step: u64,
    history: &mut History,
    progress: &dyn Progress,
) -> Result<(), TaskError> {
    let (mut sum, mut n) = (0.0, 0);
    for examples in windows.held_out() {
        let (loss, targets) = trainer.loss(&examples?).map_err(|err: ModelError| TaskError::Model(err))?;
        sum += loss;
        n += targets;
    }
    if n > 0 {
        let loss = sum / n as f64;
        history.held_out.push(Evaluation { step, loss });
        let trained = history.points.last().map_or(f64::NAN, |point| point.loss);
        progress.note(&format!("step {step}: loss {trained:.4}, held out {loss:.4}"));
    }
    Ok(())
}

fn drawn(config: &Config, history: &History) -> html::FigurePage {
    let line = |name: &str, points: Vec<(f64, f64)>| html::Line { name: name.to_owned(), points, bands: Vec::new() };
    let title = format!("Training of {}", config.out.display());
    let curve = html::Curve {
        title: "loss".to_owned(),
        note: title.clone(),
        x: "step".to_owned(),
        log_x: false,
        y: "cross-entropy, nats a token".to_owned(),
        lines: vec![
            line("training", history.points.iter().map(|point| (point.step as f64, point.loss)).collect()),
            line("held out", history.held_out.iter().map(|held| (held.step as f64, held.loss)).collect()),
        ],
    };
    html::FigurePage { title, figures: vec![curve.figure()], ..html::FigurePage::default() }
}

#[cfg(test)]
mod tests;
