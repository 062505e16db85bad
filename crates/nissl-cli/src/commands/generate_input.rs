//! `nissl generate-input MODEL NEURONS`.

use std::io;
use std::path::PathBuf;

use clap::ValueEnum;
use nissl_tasks::tasks::generate_input::{self, Report};
use serde::Serialize;

use crate::commands::ask::without_empty;
use crate::commands::read::Load;
use crate::door::{Door, Page};
use crate::neuron;
use crate::progress::thousands;
use crate::style;
use crate::table::{Align, Table};

/// Generate the words that make a neuron as active as can be
#[derive(Debug, clap::Args, Serialize)]
// Not doc comments: rustdoc would take the brackets for links.
#[command(long_about = "\
Generate the words that make a neuron as active as can be

A neuron is a site and a unit, '3.mlp_pre[42]'; of a group, '3.mlp_pre[42,50-59]' or several joined by ' + ', the mean counts. What enters the model is made continuous and climbs the neuron's gradient, from several beginnings; the nearest texts are run, and the best of them is shown. Of a text given with --text every run of so many words is tried too.")]
#[command(after_help = "\
Examples:
  nissl generate-input MODEL '3.mlp_pre[42]'
  nissl generate-input MODEL '3.mlp_pre[42]' '3.mlp_pre[43]' --text corpus.txt --words 4
  nissl generate-input MODEL '6.resid_post[0-63]' --optimizer gumbel --restarts 5 --steps 500")]
pub(crate) struct Args {
    /// Folder or file of a model, or its name on the Hugging Face Hub
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    /// Neurons or groups of neurons
    #[serde(skip_serializing_if = "Vec::is_empty")]
    neurons: Vec<String>,
    /// A text, whose runs of words are tried too
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<PathBuf>,
    /// Lines of the text, at most [default: 2000]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    lines: Option<usize>,
    #[command(flatten)]
    how: How,
    /// A file for the report, JSON
    #[arg(long, short, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    out: Option<PathBuf>,
    #[command(flatten)]
    #[serde(skip_serializing_if = "Load::is_default")]
    load: Load,
}

/// How words are sought.
#[derive(Debug, clap::Args, Serialize)]
#[command(next_help_heading = "The search")]
struct How {
    /// How; several by commas [default: all]
    #[arg(long = "optimizer", value_enum, value_delimiter = ',', value_name = "HOW")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    optimizers: Vec<Optimizer>,
    /// Tokens of a text [default: 5]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    words: Option<usize>,
    /// Where the neuron is read [default: last, of a model that sees both sides mean]
    #[arg(long, value_enum, value_name = "WHERE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<At>,
    /// Make it as low as can be instead
    #[arg(long)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    lowest: bool,
    /// Climbs from different beginnings [default: 3]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    restarts: Option<usize>,
    /// Steps of a climb [default: 200]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    steps: Option<usize>,
    /// How fast it climbs [default: 0.3]
    #[arg(long, value_name = "X")]
    #[serde(skip_serializing_if = "Option::is_none")]
    rate: Option<f64>,
    /// A climb ends when so many looks in a row found nothing better [default: 20]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    patience: Option<usize>,
    /// Draws of noise a step, for gumbel [default: 4]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    draws: Option<usize>,
    /// Seed of all that is drawn [default: 0]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<u64>,
}

#[derive(Clone, Copy, Debug, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
enum Optimizer {
    /// Every run of words of the text
    Search,
    /// A free vector a place
    Embfree,
    /// A free weight for each token
    Logits,
    /// Weights that are a softmax
    Softmax,
    /// Weights that are a softmax with noise, which cools down
    Gumbel,
}

#[derive(Clone, Copy, Debug, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
enum At {
    /// At the last word
    Last,
    /// At all of them: the mean
    Mean,
}

pub(crate) fn run(args: &Args, door: &Door) -> anyhow::Result<()> {
    let mut flags = serde_json::to_value(args)?;
    without_empty(&mut flags);
    let report = generate_input::run(&door.config_with_memory("generate-input", &flags)?, door.progress())?;
    door.show(&report, text)
}

fn text(report: &Report, page: &mut Page<'_>) -> io::Result<()> {
    let tokens = thousands(report.tokens as u64);
    writeln!(page.out, "{}: texts of {tokens} tokens", style::head(&report.model.name))?;
    for found in &report.neurons {
        let many = if found.neurons > 1 {
            format!(", the mean of {}", thousands(found.neurons as u64))
        } else {
            String::new()
        };
        writeln!(page.out, "\n{}{many}", style::head(&found.name))?;
        let heads =
            [("how", Align::Left), ("activation", Align::Right), ("relaxed", Align::Right), ("text", Align::Left)];
        let mut table = Table::new(&heads);
        for text in &found.found {
            let how = format!("{:?}", text.optimizer).to_lowercase();
            let score = |value: f64| neuron::score(value as f32);
            let relaxed = text.relaxed.map_or_else(|| "-".to_owned(), score);
            table.row([how, score(text.activation), relaxed, text.text.escape_debug().to_string()]);
        }
        table.print(page.out, page.width)?;
    }
    Ok(())
}
