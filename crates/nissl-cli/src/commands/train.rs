//! `nissl train TEXT... --out DIR`.

use std::io;
use std::path::PathBuf;

use clap::ValueEnum;
use nissl_tasks::tasks::train::{self, Report};
use serde::Serialize;

use crate::door::{Door, Page};
use crate::progress::thousands;
use crate::style;

/// Train a small language model on text, from scratch or on from one that exists
///
/// The model is in DIR/model, a folder that every command here and transformers load. A run that was stopped goes on
/// from the last saved step when the same command is given again, and ends as if it had never stopped.
#[derive(Debug, clap::Args, Serialize)]
#[command(after_help = "\
Examples:
  nissl train books/*.txt --out tiny --layers 2 --width 128 --steps 2000
  nissl train law.txt --out adapted --model ./gpt2 --lr 2e-5 --warmup 50 --steps 500
  nissl train tales.txt --out seed2 --seed 2 --keep-all --save-every 100")]
pub(crate) struct Args {
    /// Plain text files
    #[serde(skip_serializing_if = "Vec::is_empty")]
    text: Vec<PathBuf>,
    /// Folder for the model, the text's tokens, the report and the saved steps
    #[arg(long, short, value_name = "DIR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    out: Option<PathBuf>,
    /// Model to go on from: a folder, a file or a name on the Hub [default: a new one]
    #[arg(long, value_name = "MODEL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    /// Family of a new model: gpt2, llama or bert (masked) [default: gpt2]
    #[arg(long, value_name = "FAMILY")]
    #[serde(skip_serializing_if = "Option::is_none")]
    family: Option<String>,
    /// Tokenizer of a new model: bpe:N or characters, learned from the text; or a tokenizer.json [default: bpe:4096]
    #[arg(long, value_name = "WHICH")]
    #[serde(skip_serializing_if = "Option::is_none")]
    tokenizer: Option<String>,
    #[command(flatten)]
    sizes: Sizes,
    /// Steps [default: 1000]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    steps: Option<u64>,
    /// Windows of text a batch [default: 8]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    batch: Option<usize>,
    /// Batches a step, one after the other, for more than memory holds at once [default: 1]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    accumulate: Option<usize>,
    /// Tokens of a window [default: the model's context, at most 1024]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    context: Option<usize>,
    #[command(flatten)]
    schedule: Schedule,
    #[command(flatten)]
    optimizer: Optimizer,
    /// Share of the tokens that a masked model has to guess [default: 0.15]
    #[arg(long, value_name = "SHARE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    mask: Option<f64>,
    /// Where chance begins: weights, order of the windows, masks [default: 1]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<u64>,
    /// Hold out every Nth window to measure on; 0 for none [default: 20]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    held_out: Option<u64>,
    /// Steps between two measurements [default: 250]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    eval_every: Option<u64>,
    /// Held-out windows that are measured on [default: 64]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    eval_windows: Option<usize>,
    /// Steps between two saves [default: 250]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    save_every: Option<u64>,
    /// Keep the model of every save as DIR/step-N, and the untrained one
    #[arg(long)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    keep_all: bool,
    /// Begin anew over a training with another config
    #[arg(long)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    force: bool,
}

/// The sizes of a new model.
#[derive(Debug, clap::Args, Serialize)]
#[command(next_help_heading = "A new model")]
struct Sizes {
    /// Blocks [default: 2]
    #[arg(long = "layers", value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    n_layers: Option<usize>,
    /// Width of the residual stream [default: 128]
    #[arg(long = "width", value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    d_model: Option<usize>,
    /// Attention heads [default: 4]
    #[arg(long = "heads", value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    n_heads: Option<usize>,
    /// MLP neurons a block [default: four times the width]
    #[arg(long = "mlp", value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    d_mlp: Option<usize>,
    /// Longest sentence, in tokens [default: 128]
    #[arg(long = "n-ctx", value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    n_ctx: Option<usize>,
}

/// The learning rate over the steps.
#[derive(Debug, clap::Args, Serialize)]
#[command(next_help_heading = "Learning rate")]
struct Schedule {
    /// The rate after the warm-up [default: 1e-3]
    #[arg(long = "lr", value_name = "RATE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    learning_rate: Option<f64>,
    /// Steps of the rise to it [default: 100]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    warmup: Option<u64>,
    /// Its fall afterwards [default: cosine]
    #[arg(long, value_enum, value_name = "FORM")]
    #[serde(skip_serializing_if = "Option::is_none")]
    decay: Option<Decay>,
    /// Share of it that is left at the end [default: 0.1]
    #[arg(long, value_name = "SHARE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    floor: Option<f64>,
}

/// AdamW.
#[derive(Debug, clap::Args, Serialize)]
#[command(next_help_heading = "AdamW")]
struct Optimizer {
    /// Decay of the gradient's running mean [default: 0.9]
    #[arg(long, value_name = "NUMBER")]
    #[serde(skip_serializing_if = "Option::is_none")]
    beta1: Option<f64>,
    /// Decay of its running square [default: 0.999]
    #[arg(long, value_name = "NUMBER")]
    #[serde(skip_serializing_if = "Option::is_none")]
    beta2: Option<f64>,
    /// Added to the root of the running square [default: 1e-8]
    #[arg(long, value_name = "NUMBER")]
    #[serde(skip_serializing_if = "Option::is_none")]
    eps: Option<f64>,
    /// Decay of matrices, a unit of learning rate [default: 0.01]
    #[arg(long, value_name = "NUMBER")]
    #[serde(skip_serializing_if = "Option::is_none")]
    weight_decay: Option<f64>,
    /// Largest norm of the gradient [default: 1]
    #[arg(long, value_name = "NUMBER")]
    #[serde(skip_serializing_if = "Option::is_none")]
    max_norm: Option<f64>,
}

#[derive(Clone, Copy, Debug, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
enum Decay {
    /// None
    Constant,
    /// In a straight line
    Linear,
    /// As half a cosine
    Cosine,
}

pub(crate) fn run(args: &Args, door: &Door) -> anyhow::Result<()> {
    let report = train::run(&door.config("train", args)?, door.progress())?;
    door.show(&report, text)
}

fn text(report: &Report, page: &mut Page<'_>) -> io::Result<()> {
    let (config, out) = (&report.head.config, &mut *page.out);
    let from = report.resumed_at.map_or_else(String::new, |step| format!(" (went on at step {})", thousands(step)));
    writeln!(
        out,
        "{} with {} parameters, {} steps of {} x {} tokens{from}",
        report.family,
        thousands(report.n_parameters as u64),
        thousands(config.steps),
        config.batch * config.accumulate,
        report.context,
    )?;
    writeln!(
        out,
        "text: {} tokens of {} bytes, {} windows to train on",
        thousands(report.text.n_tokens),
        thousands(report.text.n_bytes),
        thousands(report.n_windows),
    )?;
    if let Some(last) = report.history.points.last() {
        write!(out, "loss: {:.4} nats a token", last.loss)?;
        if let Some(held_out) = report.held_out_loss {
            write!(out, ", held out {held_out:.4}")?;
        }
        if let Some(bits) = report.bits_per_byte {
            write!(out, " ({bits:.3} bits a byte)")?;
        }
        writeln!(out)?;
    }
    if report.tokens_per_second > 0.0 {
        writeln!(out, "speed: {} tokens a second", thousands(report.tokens_per_second as u64))?;
    }
    writeln!(out, "{} {}", style::head("model:"), report.model.display())?;
    writeln!(out, "{} {}", style::head("open in a browser:"), report.page.display())
}
