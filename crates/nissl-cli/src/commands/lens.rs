//! `nissl lens MODEL`.

use std::io;
use std::path::PathBuf;

use nissl_core::NeuronId;
use nissl_tasks::tasks::lens::{
    self, Connection, NeuronReport, PositionReport, Report, TargetKind, TextReport, TokenWeight,
};
use serde::{Serialize, Serializer};
use unicode_width::UnicodeWidthStr;

use crate::commands::read::Load;
use crate::door::{Door, Page};
use crate::neuron;
use crate::style;
use crate::table::{Align, Table, shorten};

/// Read layers and neurons through the unembedding: the logit lens
///
/// With --text: what each layer would predict at each position if it were the last one, through the final norm and
/// the whole head. With --neuron: the tokens that a neuron's weights promote and suppress, those that excite it, and
/// the neurons that it is joined to most strongly.
#[derive(Debug, clap::Args, Serialize)]
#[command(after_help = "\
Examples:
  nissl lens MODEL --text 'The capital of France is'
  nissl lens MODEL --text 'The capital of France is' --positions -1 --top 10 --html lens.html
  nissl lens MODEL --neuron 'blocks.3.mlp.hook_post[42]' --partners all")]
pub(crate) struct Args {
    /// Folder or file of a model, or its name on the Hugging Face Hub
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    /// A text: what does each layer predict at its tokens?
    #[arg(long, value_name = "TEXT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    // Not a doc comment: rustdoc would take the brackets for links.
    #[arg(long = "neuron", value_name = "NEURON", help = "A neuron: 'blocks.3.mlp.hook_post[42]'; may be given again")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    neurons: Vec<NeuronId>,
    /// The sites that are read, as in `nissl extract` [default: resid_post]
    #[arg(long, value_name = "SITES", value_delimiter = ',')]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    sites: Vec<String>,
    /// The positions that are read, from 0; negative ones count from the end [default: all]
    #[arg(long, value_name = "N", value_delimiter = ',', allow_negative_numbers = true)]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    positions: Vec<i64>,
    /// Tokens and neurons a list [default: 5]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    top: Option<usize>,
    /// Leave the norms out of a neuron's weights [default: their gain and centering are folded in]
    #[arg(long)]
    #[serde(rename = "fold", skip_serializing_if = "std::ops::Not::not", serialize_with = "raw")]
    raw: bool,
    /// Among which neurons upstream and downstream ones are looked for: mlp, attn or all [default: mlp]
    #[arg(long, value_name = "WHICH", value_parser = ["mlp", "attn", "all"], hide_possible_values = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    partners: Option<String>,
    /// Also write an HTML page
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    html: Option<PathBuf>,
    #[command(flatten)]
    #[serde(skip_serializing_if = "Load::is_default")]
    load: Load,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form that serde asks for")]
fn raw<S: Serializer>(_: &bool, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str("raw")
}

pub(crate) fn run(args: &Args, door: &Door) -> anyhow::Result<()> {
    let report = lens::run(&door.config("lens", args)?, door.progress())?;
    door.show(&report, text)
}

fn text(report: &Report, page: &mut Page<'_>) -> io::Result<()> {
    if let Some(text) = &report.text {
        grid(text, page)?;
        // What is asked for by position is shown in full; else the last one is, which goes on with the text.
        let all = !report.head.config.positions.is_empty();
        let n = text.layers.first().map_or(0, |layer| layer.positions.len());
        for place in if all { 0..n } else { n.saturating_sub(1)..n } {
            position(text, place, page)?;
        }
    }
    for (idx, neuron) in report.neurons.iter().enumerate() {
        if idx > 0 || report.text.is_some() {
            writeln!(page.out)?;
        }
        one(neuron, page)?;
    }
    if let Some(html) = &report.head.config.html {
        writeln!(page.out, "\npage: {}", html.display())?;
    }
    Ok(())
}

/// Columns of a cell of the grid.
const CELL: usize = 14;

/// The first token of every layer at every position, in as many pieces as the terminal is narrow.
fn grid(text: &TextReport, page: &mut Page<'_>) -> io::Result<()> {
    let names: Vec<String> = text.layers.iter().map(|layer| place_name(layer.name)).collect();
    let label = names.iter().map(|name| name.width()).max().unwrap_or(0);
    let n = text.layers.first().map_or(0, |layer| layer.positions.len());
    let fitting = page.width.map_or(6, |width| (width.saturating_sub(label) / (CELL + 1)).max(1));
    for first in (0..n).step_by(fitting) {
        let places = first..n.min(first + fitting);
        let mut head = " ".repeat(label);
        let mut tokens = " ".repeat(label);
        for place in places.clone() {
            let position = text.layers[0].positions[place].position;
            let token = visible(&text.tokens[position].token);
            head.extend([" ", &padded(&position.to_string(), CELL)]);
            tokens.extend([" ", &padded(&token, CELL)]);
        }
        writeln!(page.out, "{}\n{}", style::dim(head.trim_end()), style::head(tokens.trim_end()))?;
        // The last layer on top, as the stream rises.
        for (layer, name) in text.layers.iter().zip(&names).rev() {
            let mut line = format!("{name:>label$}");
            for position in &layer.positions[places.clone()] {
                line.push(' ');
                line.push_str(&cell(position));
            }
            writeln!(page.out, "{}", line.trim_end())?;
        }
        writeln!(page.out)?;
    }
    Ok(())
}

/// A token, a star if it is the text's, and its percentage.
fn cell(position: &PositionReport) -> String {
    let Some(first) = position.top.first() else { return " ".repeat(CELL) };
    let hit = position.target.as_ref().is_some_and(|target| target.rank == 0);
    let percent = format!("{}{:>3.0}", if hit { "*" } else { " " }, first.probability * 100.0);
    let token = padded(&visible(&first.token), CELL - percent.len() - 1);
    style::heat(&format!("{token} {percent}"), first.probability as f32)
}

/// The first tokens of every layer at one position.
fn position(text: &TextReport, place: usize, page: &mut Page<'_>) -> io::Result<()> {
    let Some(position) = text.layers.first().map(|layer| layer.positions[place].position) else { return Ok(()) };
    let target = text.layers[0].positions[place].target.as_ref();
    let what = match (text.target, target) {
        (TargetKind::Next, Some(target)) => format!(", the next is {}", visible(&target.token)),
        _ => String::new(),
    };
    let title = format!("position {position}: {}{what}", visible(&text.tokens[position].token));
    writeln!(page.out, "{}", style::head(&title))?;
    let mut heads = vec![("layer", Align::Left), ("bits", Align::Right)];
    if target.is_some() {
        heads.push((if text.target == TargetKind::Own { "own" } else { "next" }, Align::Right));
        heads.push(("rank", Align::Right));
    }
    heads.push(("tokens and their probabilities", Align::Left));
    let mut table = Table::new(&heads);
    for layer in text.layers.iter().rev() {
        let position = &layer.positions[place];
        let mut row = vec![place_name(layer.name), format!("{:.1}", position.entropy)];
        if let Some(target) = &position.target {
            row.push(share(target.probability));
            row.push((target.rank + 1).to_string());
        }
        let top = position.top.iter().map(|guess| format!("{} {}", visible(&guess.token), share(guess.probability)));
        row.push(top.collect::<Vec<_>>().join("  "));
        table.row(row);
    }
    table.print(page.out, page.width)
}

fn one(report: &NeuronReport, page: &mut Page<'_>) -> io::Result<()> {
    writeln!(page.out, "{}  {}", style::head(&neuron::short(report.name)), style::dim(&report.name.to_string()))?;
    let mut table = Table::new(&[("weights", Align::Left), ("strongest first", Align::Left)]);
    let mut row = |name: String, items: String| {
        if !items.is_empty() {
            table.row([name, items]);
        }
    };
    row("promotes".to_owned(), tokens(&report.promoted));
    row("suppresses".to_owned(), tokens(&report.suppressed));
    for reads in &report.reads {
        let site = reads.name.point.site();
        row(format!("{site} excited by"), tokens(&reads.excited_by));
        row(format!("{site} inhibited by"), tokens(&reads.inhibited_by));
        row(format!("{site} upstream"), connections(&reads.upstream));
    }
    row("downstream".to_owned(), connections(&report.downstream));
    table.print(page.out, page.width)?;
    report.notes.iter().try_for_each(|note| writeln!(page.out, "{}", style::dim(note)))
}

fn tokens(weights: &[TokenWeight]) -> String {
    let item = |weight: &TokenWeight| format!("{} {}", visible(&weight.token), neuron::score(weight.weight));
    weights.iter().map(item).collect::<Vec<_>>().join("  ")
}

fn connections(connections: &[Connection]) -> String {
    let item = |to: &Connection| {
        let before = if to.recurrent { " before" } else { "" };
        format!("{}{before} {}", neuron::short(to.name), neuron::score(to.weight))
    };
    connections.iter().map(item).collect::<Vec<_>>().join("  ")
}

fn place_name(point: nissl_core::HookPoint) -> String {
    neuron::point(point)
}

fn share(probability: f64) -> String {
    if probability >= 0.0995 { format!("{:.0}%", probability * 100.0) } else { format!("{:.1}%", probability * 100.0) }
}

/// A token with its blanks to be seen, and without characters that would break the line or the terminal.
fn visible(token: &str) -> String {
    let seen = |c: char| match c {
        '\n' => '↵',
        '\t' => '⇥',
        c if c.is_whitespace() => '␣',
        c if c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') => '\u{fffd}',
        c => c,
    };
    token.chars().map(seen).collect()
}

/// A text as wide as a column.
fn padded(text: &str, width: usize) -> String {
    let text = shorten(text, width);
    let blanks = " ".repeat(width.saturating_sub(text.width()));
    text + &blanks
}
