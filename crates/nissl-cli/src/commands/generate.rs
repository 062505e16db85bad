//! `nissl generate MODEL [PROMPT...]`.

use std::io::{self, Read, Write};
use std::path::PathBuf;

use anyhow::Context;
use nissl_core::End;
use nissl_tasks::TaskError;
use nissl_tasks::tasks::generate::{self, Config, Piece, Report, TextReport};
use serde::Serialize;
use unicode_width::UnicodeWidthStr;

use crate::commands::read::{Edits, Load};
use crate::door::{Door, Page};
use crate::style;

/// Let a model go on with a text, with any of its neurons changed on the way
#[derive(Debug, clap::Args, Serialize)]
// Not doc comments: rustdoc would take the brackets for links.
#[command(long_about = "\
Let a model go on with a text, with any of its neurons changed on the way

An edit is a site, units, a change, and where it acts: '3.mlp_post[42]=0' sets, '3.mlp_post[1,5-9]*=2' scales, '8.resid_post[7]+=1.5' adds, '0.attn_z[h3]=0' is a head; '@generated', '@0,2,-1' or '@5..' are positions ('-1' is the prompt's last token), and 'if 2.mlp_post[7] > 0.5' is a condition.")]
#[command(after_help = "\
Examples:
  nissl generate MODEL 'Once upon a time' --max-new 100 --temperature 0.8 --seed 7
  nissl generate MODEL 'The doctor said that' --edit '3.mlp_post[42]=0' --compare
  nissl generate MODEL --file prompts.txt --beams 4 --json
  echo 'It was' | nissl generate MODEL - --edit '2.resid_post[17]+=4 @generated'")]
pub(crate) struct Args {
    /// Folder or file of a model, or its name on the Hugging Face Hub
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    /// Texts to go on with; - reads one from standard input
    #[arg(value_name = "PROMPT")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    prompts: Vec<String>,
    /// A file of texts to go on with, one a line
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<PathBuf>,
    #[command(flatten)]
    options: Options,
    #[command(flatten)]
    #[serde(flatten)]
    edits: Edits,
    /// Show the text without and with the edits side by side
    #[arg(long)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    compare: bool,
    #[command(flatten)]
    #[serde(skip_serializing_if = "Load::is_default")]
    load: Load,
}

/// How tokens are chosen.
#[derive(Debug, clap::Args, Serialize)]
struct Options {
    /// Most tokens to add [default: 20]
    #[arg(long = "max-new", value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    max_new_tokens: Option<usize>,
    /// Draw tokens; lower is nearer to the most probable one [default: 0, always that one]
    #[arg(long, value_name = "T")]
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f32>,
    /// Draw from the K most probable tokens [default: from all]
    #[arg(long, value_name = "K")]
    #[serde(skip_serializing_if = "Option::is_none")]
    top_k: Option<usize>,
    /// Draw from the most probable tokens that have this probability together [default: from all]
    #[arg(long, value_name = "P")]
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f32>,
    /// Seed of the draws [default: 0]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<u64>,
    /// Search for the most probable text with so many beams [default: 1, no search]
    #[arg(long = "beams", value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    n_beams: Option<usize>,
    /// Make tokens less probable that are in the text: logits are divided by it [default: 1]
    #[arg(long, value_name = "X")]
    #[serde(skip_serializing_if = "Option::is_none")]
    repetition_penalty: Option<f32>,
    /// End where this is spelled; may be given again
    #[arg(long = "stop", value_name = "TEXT")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    stop_texts: Vec<String>,
}

pub(crate) fn run(args: &Args, door: &Door) -> anyhow::Result<()> {
    let mut config: Config = door.config("generate", args)?;
    for prompt in config.prompts.iter_mut().filter(|prompt| *prompt == "-") {
        prompt.clear();
        io::stdin().read_to_string(prompt).context("cannot read standard input")?;
        prompt.truncate(prompt.trim_end_matches(['\n', '\r']).len());
    }
    // One text can be shown as it comes; several would mix.
    let streams = config.prompts.len() == 1 && config.file.is_none() && !config.compare && !door.is_json();
    let mut shown: io::Result<()> = Ok(());
    let mut show = |piece: Piece<'_>| {
        if streams && shown.is_ok() {
            let mut out = anstream::stdout().lock();
            let end = if piece.last { "\n" } else { "" };
            shown = out.write_all(piece.text.as_bytes()).and_then(|()| write!(out, "{end}")).and_then(|()| out.flush());
        }
    };
    let report = generate::run_streaming(&config, door.progress(), &mut show)?;
    shown?;
    door.show(&report, |report, page| text(report, streams, page))?;
    if report.texts.iter().any(|text| text.end == End::Stopped) {
        return Err(TaskError::Cancelled { resume: "this is the text so far".to_owned() }.into());
    }
    Ok(())
}

fn text(report: &Report, streamed: bool, page: &mut Page<'_>) -> io::Result<()> {
    if streamed {
        return Ok(());
    }
    let whole = |text: &TextReport| format!("{}{}", text.prompt, text.text);
    for (idx, edited) in report.texts.iter().enumerate() {
        if idx > 0 {
            writeln!(page.out)?;
        }
        match &report.unedited {
            Some(unedited) => beside(&whole(&unedited[idx]), &whole(edited), page)?,
            None => writeln!(page.out, "{}", whole(edited))?,
        }
    }
    Ok(())
}

/// Two texts side by side.
fn beside(left: &str, right: &str, page: &mut Page<'_>) -> io::Result<()> {
    let width = (page.width.unwrap_or(100).max(23) - 3) / 2;
    let pad = |line: &str| " ".repeat(width.saturating_sub(line.width()));
    let (heads, bar) = (["without edits", "with edits"], style::dim("│"));
    writeln!(page.out, "{}{} {bar} {}", style::head(heads[0]), pad(heads[0]), style::head(heads[1]))?;
    let (left, right) = (lines(left, width), lines(right, width));
    for idx in 0..left.len().max(right.len()) {
        let part = |lines: &[String]| lines.get(idx).cloned().unwrap_or_default();
        let (left, right) = (part(&left), part(&right));
        writeln!(page.out, "{left}{} {bar} {right}", pad(&left))?;
    }
    Ok(())
}

/// A text in lines of at most `width` columns, broken at blanks where there are any.
fn lines(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for paragraph in text.lines() {
        let mut line = String::new();
        for word in paragraph.split_inclusive(' ') {
            if !line.is_empty() && line.width() + word.trim_end().width() > width {
                lines.push(std::mem::take(&mut line).trim_end().to_owned());
            }
            for c in word.chars().map(|c| if c.is_control() { ' ' } else { c }) {
                if line.width() >= width && c != ' ' {
                    lines.push(std::mem::take(&mut line));
                }
                line.push(c);
            }
        }
        lines.push(line.trim_end().to_owned());
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_broken_at_blanks_and_within_long_words() {
        assert_eq!(lines("the old man sees", 8), ["the old", "man sees"]);
        assert_eq!(lines("abcdefghij k\n\nl", 4), ["abcd", "efgh", "ij k", "", "l"]);
        assert_eq!(lines("日本語です", 4), ["日本", "語で", "す"]);
    }
}
