//! `nissl perplexity MODEL TEXT...`.

use std::io;
use std::path::PathBuf;

use nissl_tasks::tasks::perplexity::{self, Expected, Report};
use serde::Serialize;

use crate::commands::read::{Edits, Load};
use crate::door::{Door, Page};
use crate::progress::thousands;
use crate::style;
use crate::table::{Align, Table};

/// Measure how well a model expects a text, with any of its neurons changed or not
///
/// The text is read in windows, each as if nothing stood before it. With --overlap a window begins with tokens of the
/// one before, which are read but not counted again. Characters that the vocabulary cannot spell are left out, and
/// their number is said.
#[derive(Debug, clap::Args, Serialize)]
#[command(after_help = "\
Examples:
  nissl perplexity MODEL book.txt
  nissl perplexity MODEL book.txt --window 512 --overlap 256 --skip 0.5
  nissl perplexity MODEL book.txt --edit '3.mlp_post[42]=0' --edit '5.attn_z[h3]=0' --json")]
pub(crate) struct Args {
    /// Folder or file of a model, or its name on the Hugging Face Hub
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    /// Plain text files
    #[arg(value_name = "TEXT")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    text: Vec<PathBuf>,
    /// Tokens that the model reads at once [default: its context, at most 1024]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    window: Option<usize>,
    /// Tokens that a window has in common with the one before [default: 0]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    overlap: Option<usize>,
    /// Share of each file that is passed over, 0.5 for its first half [default: 0]
    #[arg(long, value_name = "SHARE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    skip: Option<f64>,
    #[command(flatten)]
    #[serde(flatten)]
    edits: Edits,
    #[command(flatten)]
    #[serde(skip_serializing_if = "Load::is_default")]
    load: Load,
}

pub(crate) fn run(args: &Args, door: &Door) -> anyhow::Result<()> {
    let report = perplexity::run(&door.config_with_memory("perplexity", args)?, door.progress())?;
    door.show(&report, text)
}

fn text(report: &Report, page: &mut Page<'_>) -> io::Result<()> {
    let counts = &report.text;
    let [tokens, windows, characters] = [counts.tokens, counts.windows, counts.characters].map(thousands);
    let (name, window) = (style::head(&report.model.name), thousands(report.window as u64));
    writeln!(page.out, "{name}: {tokens} tokens, {characters} characters, {windows} windows of {window}")?;
    if counts.left_out > 0 {
        let left_out = thousands(counts.left_out);
        writeln!(page.out, "{}", style::dim(&format!("{left_out} characters left out: the vocabulary lacks them")))?;
    }
    writeln!(page.out)?;
    let heads = [
        ("", Align::Left),
        ("nats a token", Align::Right),
        ("perplexity", Align::Right),
        ("bits a character", Align::Right),
        ("bits a byte", Align::Right),
    ];
    let mut table = Table::new(&heads);
    let mut row = |name: &str, expected: &Expected| {
        table.row([
            name.to_owned(),
            format!("{:.4} ±{:.4}", expected.loss.mean, expected.loss.error),
            format!("{:.2}", expected.perplexity),
            format!("{:.4}", expected.bits_per_character),
            format!("{:.4}", expected.bits_per_byte),
        ]);
    };
    row("whole", &report.whole);
    if let Some(edited) = &report.edited {
        row("edited", edited);
    }
    table.print(page.out, page.width)?;
    if let Some(rise) = &report.rise {
        writeln!(page.out, "\nThe edits cost {:.4} ±{:.4} nats a token.", rise.mean, rise.error)?;
    }
    Ok(())
}
