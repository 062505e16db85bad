//! `nissl view STORE NEURON`, `nissl view MODEL --text TEXT`.

use std::io;
use std::path::PathBuf;

use clap::ValueEnum;
use nissl_core::NeuronId;
use nissl_tasks::tasks::view::{self, Report, View};
use serde::Serialize;

use crate::commands::read::Load;
use crate::door::{Door, Page};
use crate::neuron;
use crate::progress::thousands;
use crate::style;

/// Show sentences colored by a neuron, or by what each word matters for
///
/// Of a store the sentences are shown as a neuron sees them: red where it is high, blue where it is low. Of a text that
/// a model reads either that, or what each token matters for. Without color each word that stands out is followed by its
/// strength, from -9 to 9.
#[derive(Debug, clap::Args, Serialize)]
#[command(after_help = "\
Examples:
  nissl view minilm.store '3.mlp_post[1207]' --sentences 10
  nissl view ./model '1.mlp_post[443]' --text 'He sat in the chair under the tree.' --svg chair.svg
  nissl view ./model --text 'She would not come' --saliency derivative --target back
  nissl view ./model --text 'She would not come' --saliency omission --html omitted.html")]
pub(crate) struct Args {
    /// Folder of a store; with --text a model's folder, or its name on the Hugging Face Hub
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    // Not a doc comment: rustdoc would take the brackets for links.
    #[arg(value_name = "NEURON", help = "The neurons: '3.mlp_post[1207]' or 'blocks.3.mlp.hook_post[1207]'")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    neurons: Vec<NeuronId>,
    /// A text that the model reads
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    /// What is shown of a text where no neurons are named [default: derivative]
    #[arg(long, value_enum, value_name = "KIND")]
    #[serde(skip_serializing_if = "Option::is_none")]
    saliency: Option<Saliency>,
    /// Where it is taken [default: hook_embed; for omission the last resid_post]
    #[arg(long, value_name = "SITE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    site: Option<String>,
    /// The token whose prediction is derived, as it is spelled or by number [default: those of the text]
    #[arg(long, value_name = "TOKEN")]
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    /// What stands for the text in omission [default: mean]
    #[arg(long, value_enum)]
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<State>,
    /// How values become colors [default: tanh for LSTM cells, else zscore]
    #[arg(long, value_enum)]
    #[serde(skip_serializing_if = "Option::is_none")]
    scale: Option<Scale>,
    /// Standard deviations of the strongest color [default: 3]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    clip: Option<f32>,
    /// The first sentence of the store that is shown, from 0 [default: 0]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    first: Option<usize>,
    /// How many sentences are shown [default: 5]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    sentences: Option<usize>,
    /// Also write an HTML page
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    html: Option<PathBuf>,
    /// Also write an SVG picture
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    svg: Option<PathBuf>,
    #[command(flatten)]
    #[serde(skip_serializing_if = "Load::is_default")]
    load: Load,
}

#[derive(Clone, Copy, Debug, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
enum Saliency {
    /// The derivative of the prediction by the token's values, summed by size
    Derivative,
    /// The squared distance of its values from their means over the text, summed
    Variance,
    /// How far the state of the text turns without it
    Omission,
}

#[derive(Clone, Copy, Debug, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    /// The last token's
    Last,
    /// The first token's
    First,
    /// The mean of all
    Mean,
}

#[derive(Clone, Copy, Debug, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
enum Scale {
    /// The hyperbolic tangent of the value
    Tanh,
    /// Standard deviations from the mean
    Zscore,
    /// From the smallest to the largest value
    Minmax,
}

pub(crate) fn run(args: &Args, door: &Door) -> anyhow::Result<()> {
    let report = view::run(&door.config("view", args)?, door.progress())?;
    door.show(&report, text)
}

fn text(report: &Report, page: &mut Page<'_>) -> io::Result<()> {
    for view in &report.views {
        one(view, page)?;
    }
    let config = &report.head.config;
    for (what, path) in [("page", &config.html), ("picture", &config.svg)] {
        if let Some(path) = path {
            writeln!(page.out, "{what}: {}", path.display())?;
        }
    }
    Ok(())
}

fn one(view: &View, page: &mut Page<'_>) -> io::Result<()> {
    let stats = &view.stats;
    writeln!(page.out, "{}", style::head(&view.name))?;
    if view.dead {
        writeln!(page.out, "dead: the same value everywhere")?;
    } else {
        let rows = thousands(stats.rows as u64);
        let (mean, std) = (neuron::score(stats.mean), neuron::score(stats.std));
        writeln!(page.out, "{rows} values, mean {mean}, std {std}")?;
    }
    for sentence in &view.sentences {
        let mut line = String::new();
        for word in &sentence.words {
            let name: String = word.name.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
            let before: String = word.before.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
            line.push_str(&before);
            line.push_str(&style::heat(&name, word.share));
            // Meaning is never in color alone.
            let strength = (word.share * 9.0).round() as i32;
            if strength.abs() >= 3 {
                line.push_str(&style::dim(&format!("({strength:+})")));
            }
        }
        writeln!(page.out, "{line}")?;
    }
    writeln!(page.out)
}
