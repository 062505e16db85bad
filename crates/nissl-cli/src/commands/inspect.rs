//! `nissl inspect STORE NEURON`.

use std::io;
use std::path::PathBuf;

use nissl_core::{NeuronId, WordScore};
use nissl_tasks::Histogram;
use nissl_tasks::tasks::inspect::{self, ConceptScore, NeuronReport, Passage, Report};
use serde::Serialize;

use crate::door::{Door, Page};
use crate::neuron;
use crate::progress::thousands;
use crate::style;
use crate::table::{Align, Table, shorten};

/// Look at a neuron: its activations, top words and contexts, best concepts
///
/// In the contexts each word has the color of its activation (red above 0, blue below); the word that the context is
/// shown for stands in brackets, with its activation before the sentence.
#[derive(Debug, clap::Args, Serialize)]
#[command(after_help = "\
Examples:
  nissl inspect minilm.store '3.mlp_post[1207]'
  nissl inspect minilm.store --ranking rankings/average-precision.parquet --concept NOUN --best 3
  nissl inspect minilm.store 'blocks.5.hook_resid_post[42]' --html neuron.html")]
pub(crate) struct Args {
    /// Folder of the store
    #[serde(skip_serializing_if = "Option::is_none")]
    store: Option<PathBuf>,
    // Not a doc comment: rustdoc would take the brackets for links.
    #[arg(value_name = "NEURON", help = "The neurons: '3.mlp_post[1207]' or 'blocks.3.mlp.hook_post[1207]'")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    neurons: Vec<NeuronId>,
    /// A ranking to take the best neurons from and to look their concepts up in; may be given again
    #[arg(long = "ranking", value_name = "FILE")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    rankings: Vec<PathBuf>,
    /// The concept whose best neurons are looked at [default: the best of any concept]
    #[arg(long, value_name = "NAME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    concept: Option<String>,
    /// How many of the ranking's best neurons to look at [default: 1]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    best: Option<usize>,
    /// Concepts to compare with, as in `nissl rank` [default: every label column]; may be given again
    #[arg(long = "by", value_name = "CONCEPT")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    concepts: Vec<String>,
    /// A file of concepts, one a line or as JSON
    #[arg(long = "concepts", value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    concepts_file: Option<PathBuf>,
    /// Top contexts, and as many bottom ones [default: 8]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    contexts: Option<usize>,
    /// Top words [default: 12]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    words: Option<usize>,
    /// Also write an HTML page
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    html: Option<PathBuf>,
}

pub(crate) fn run(args: &Args, door: &Door) -> anyhow::Result<()> {
    let report = inspect::run(&door.config_with_memory("inspect", args)?, door.progress())?;
    door.show(&report, text)
}

fn text(report: &Report, page: &mut Page<'_>) -> io::Result<()> {
    for (idx, neuron) in report.neurons.iter().enumerate() {
        if idx > 0 {
            writeln!(page.out)?;
        }
        one(neuron, page)?;
    }
    if let Some(html) = &report.head.config.html {
        writeln!(page.out, "\npage: {}", html.display())?;
    }
    Ok(())
}

fn one(report: &NeuronReport, page: &mut Page<'_>) -> io::Result<()> {
    let stats = &report.stats;
    writeln!(page.out, "{}  {}", style::head(&neuron::short(report.name)), style::dim(&report.name.to_string()))?;
    writeln!(
        page.out,
        "{} rows, mean {}, std {}, above 0 in {:.0}%",
        thousands(stats.rows as u64),
        neuron::score(stats.mean),
        neuron::score(stats.std),
        stats.positive * 100.0,
    )?;
    let ends = (neuron::score(stats.min), neuron::score(stats.max));
    writeln!(page.out, "{} {} {}", ends.0, bars(&stats.histogram), ends.1)?;
    concepts(&report.concepts, page)?;
    words(&report.words, page)?;
    let largest = stats.min.abs().max(stats.max.abs());
    passages("highest in", &report.top, largest, page)?;
    passages("lowest in", &report.bottom, largest, page)
}

/// The histogram as a line of blocks; square roots, since most neurons are near one value almost everywhere.
fn bars(histogram: &Histogram) -> String {
    const BLOCKS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let highest = histogram.counts.iter().copied().max().unwrap_or(0).max(1) as f64;
    let block = |&count: &u64| {
        let height = (count as f64 / highest).sqrt() * 8.0;
        BLOCKS[if count > 0 { (height.round() as usize).max(1) } else { 0 }]
    };
    histogram.counts.iter().map(block).collect()
}

fn concepts(concepts: &[ConceptScore], page: &mut Page<'_>) -> io::Result<()> {
    if concepts.is_empty() {
        return Ok(());
    }
    writeln!(page.out)?;
    let mut table = Table::new(&[
        ("best concepts", Align::Left),
        ("score", Align::Right),
        ("chance", Align::Right),
        ("rank", Align::Right),
        ("end", Align::Left),
        ("method", Align::Left),
    ]);
    for concept in concepts {
        let end = match concept.sign {
            Some(1) => "high",
            Some(-1) => "low",
            _ => "",
        };
        table.row([
            concept.name.clone(),
            neuron::score(concept.score),
            concept.chance.map_or_else(String::new, neuron::score),
            concept.rank.map_or_else(String::new, |rank| thousands(rank as u64)),
            end.to_owned(),
            concept.method.clone(),
        ]);
    }
    table.print(page.out, page.width)
}

fn words(words: &[WordScore], page: &mut Page<'_>) -> io::Result<()> {
    if words.is_empty() {
        return Ok(());
    }
    writeln!(page.out)?;
    let heads = [("top words", Align::Left), ("distance in std", Align::Right), ("times", Align::Right)];
    let mut table = Table::new(&heads);
    for word in words {
        let deviation = format!("{}{}", if word.deviation > 0.0 { "+" } else { "" }, neuron::score(word.deviation));
        table.row([shorten(&word.name, 40), deviation, thousands(u64::from(word.count))]);
    }
    table.print(page.out, page.width)
}

/// Contexts under a title, colored as strong as activations are beside `largest`.
pub(crate) fn passages(title: &str, passages: &[Passage], largest: f32, page: &mut Page<'_>) -> io::Result<()> {
    if passages.is_empty() {
        return Ok(());
    }
    writeln!(page.out, "\n{}", style::head(title))?;
    let number = |passage: &Passage| neuron::score(passage.activation);
    let widest = passages.iter().map(|passage| number(passage).len()).max().unwrap_or(0);
    for passage in passages {
        let room = page.width.map(|width| width.saturating_sub(widest + 2));
        writeln!(page.out, "{:>widest$}  {}", number(passage), sentence(passage, largest, room))?;
    }
    Ok(())
}

/// The sentence as colored text, as strong as the activation is beside the neuron's `largest`; cut around the word that it is shown for if there is not room for all of it.
fn sentence(passage: &Passage, largest: f32, room: Option<usize>) -> String {
    let width = |idx: usize| passage.words[idx].before.chars().count() + passage.words[idx].name.chars().count();
    let (mut first, mut last) = (passage.at, passage.at);
    let mut left = room.unwrap_or(usize::MAX).saturating_sub(width(passage.at) + 4);
    // Words are added in turn before and behind, as long as there is room.
    loop {
        let before = first.checked_sub(1).filter(|&idx| width(idx) < left);
        if let Some(idx) = before {
            left -= width(idx);
            first = idx;
        }
        let behind = Some(last + 1).filter(|&idx| idx < passage.words.len() && width(idx) < left);
        if let Some(idx) = behind {
            left -= width(idx);
            last = idx;
        }
        if before.is_none() && behind.is_none() {
            break;
        }
    }
    let mut text = String::from(if first > 0 { "…" } else { "" });
    for (idx, word) in passage.words.iter().enumerate().take(last + 1).skip(first) {
        let share = if largest > 0.0 { word.activation / largest } else { 0.0 };
        let colored = style::heat(&flat(&word.name), share);
        text.push_str(&flat(&word.before));
        let (open, close) = if idx == passage.at { ("[", "]") } else { ("", "") };
        text.extend([open, colored.as_str(), close]);
    }
    if last + 1 < passage.words.len() {
        text.push('…');
    }
    text
}

/// Text without line ends and control characters, which would break the line or the terminal.
fn flat(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
