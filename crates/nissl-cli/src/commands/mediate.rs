//! `nissl mediate MODEL [PROMPTS]`.

use std::io;
use std::path::PathBuf;

use clap::ValueEnum;
use nissl_tasks::tasks::mediate::{self, Report, SetEffect};
use serde::Serialize;

use crate::commands::ask::{One, Read, left_out};
use crate::commands::read::Load;
use crate::door::{Door, Page};
use crate::progress::thousands;
use crate::style;
use crate::table::{Align, Table};

/// Measure through which neurons the effect of a changed text passes
///
/// Every prompt has a foil and another text of as many tokens. The indirect effect of neurons is by what share the odds
/// of the target against the foil rise if they alone are as after the other text, where the texts differ; the direct
/// effect is the rise with the other text while they stay as they were. Neurons are ranked first, then the best of them
/// are moved together, and so are the layers; and a set may grow by the neuron that adds most.
#[derive(Debug, clap::Args, Serialize)]
#[command(after_help = "\
Examples:
  nissl mediate MODEL professions.json --each 2 --out mediation
  nissl mediate MODEL --prompt 'The nurse said that' --other 'The man said that' --target he --foil she --grow 10
  nissl mediate MODEL winobias.txt --site mlp_post --rank single --only-layers 5,6,7")]
pub(crate) struct Args {
    /// Folder or file of a model, or its name on the Hugging Face Hub
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    /// Prompts with a foil and another text each: JSONL, professions, winobias
    #[arg(value_name = "PROMPTS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<PathBuf>,
    #[command(flatten)]
    #[serde(skip)]
    one: One,
    /// Whose neurons [default: `mlp_out`]
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    site: Option<String>,
    /// Only these layers
    #[arg(long = "only-layers", value_delimiter = ',', value_name = "LAYERS")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    layers: Vec<u16>,
    /// How neurons are ranked [default: gradient]
    #[arg(long, value_enum, value_name = "HOW")]
    #[serde(skip_serializing_if = "Option::is_none")]
    rank: Option<Rank>,
    /// A ranking, the Parquet table of rank or attribute, instead
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    ranking: Option<PathBuf>,
    /// Shares of all neurons whose best are moved together [default: 0.001,0.01,0.1,1]
    #[arg(long, value_delimiter = ',', value_name = "SHARES")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    shares: Vec<f64>,
    /// Let a set grow to so many neurons
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    grow: Option<usize>,
    /// Neurons among which it is looked for, the best of the ranking [default: 50]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    candidates: Option<usize>,
    /// Sets that are kept at each size [default: 1, a greedy search]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    beam: Option<usize>,
    /// Random sets that each share is compared with [default: 5]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    random: Option<usize>,
    /// Seed of the random sets [default: 0]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<u64>,
    /// Leave out prompts whose target and foil are less probable together [default: 0.01]
    #[arg(long, value_name = "P")]
    #[serde(skip_serializing_if = "Option::is_none")]
    min_prob: Option<f64>,
    #[command(flatten)]
    read: Read,
    /// Folder for the ranking of all neurons and the report
    #[arg(long, short, value_name = "DIR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    out: Option<PathBuf>,
    #[command(flatten)]
    #[serde(skip_serializing_if = "Load::is_default")]
    load: Load,
}

#[derive(Clone, Copy, Debug, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
enum Rank {
    /// By their indirect effect to first order
    Gradient,
    /// By the indirect effect of each alone, a run a neuron and prompt
    Single,
}

pub(crate) fn run(args: &Args, door: &Door) -> anyhow::Result<()> {
    let flags = args.one.flags(args)?;
    let report = mediate::run(&door.config_with_memory("mediate", &flags)?, door.progress())?;
    door.show(&report, text)
}

fn text(report: &Report, page: &mut Page<'_>) -> io::Result<()> {
    let n = thousands((report.prompts.used - report.improbable) as u64);
    writeln!(page.out, "{}: {n} prompts", style::head(&report.model.name))?;
    left_out(&report.prompts, page)?;
    if report.improbable > 0 {
        writeln!(page.out, "left out: {}: target and foil are improbable", thousands(report.improbable as u64))?;
    }
    let (total, log) = (report.total, report.log_total);
    writeln!(
        page.out,
        "total effect: the odds rise by {:.3} ±{:.3} of what they are, their logarithm by {:.3} ±{:.3}\n",
        total.mean, total.error, log.mean, log.error
    )?;
    let heads = [
        ("neurons", Align::Left),
        ("", Align::Right),
        ("indirect", Align::Right),
        ("direct", Align::Right),
        ("of the logarithm", Align::Right),
        ("random ones", Align::Left),
    ];
    let mut table = Table::new(&heads);
    let row = |effect: &SetEffect, random: String| {
        [
            effect.name.clone(),
            thousands(effect.neurons as u64),
            format!("{:.4} ±{:.4}", effect.indirect.mean, effect.indirect.error),
            format!("{:.4}", effect.direct.mean),
            percent(effect.share),
            random,
        ]
    };
    for share in &report.shares {
        let random = share
            .random
            .map(|[mean, least, most]| format!("{}, {} to {}", percent(mean), percent(least), percent(most)));
        table.row(row(&share.effect, random.unwrap_or_default()));
    }
    for effect in report.singles.iter().chain(&report.layers).chain(&report.grown) {
        table.row(row(effect, String::new()));
    }
    table.print(page.out, page.width)
}

fn percent(share: f64) -> String {
    format!("{:.1}%", 100.0 * share)
}
