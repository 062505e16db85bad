//! `nissl embed MODEL [TEXT...]`.

use std::io;
use std::path::PathBuf;

use nissl_tasks::tasks::embed::{self, Report};
use serde::Serialize;

use crate::commands::read::Load;
use crate::door::{Door, Page};
use crate::style;
use crate::table::{Align, Table};

/// Texts whose cosines are columns of the terminal's table.
const SHOWN: usize = 8;

/// Make vectors of texts, and say how alike they are
///
/// The model's folder says how, as those of the sentence-transformers library do: which pooling of the tokens, and
/// whether vectors are normalized. --json prints the vectors, --out writes them into a file.
#[derive(Debug, clap::Args, Serialize)]
#[command(after_help = "\
Examples:
  nissl embed MODEL 'A man is eating food.' 'A man is eating a piece of bread.'
  nissl embed MODEL --file sentences.txt --out vectors.npy")]
pub(crate) struct Args {
    /// Folder of a model, or its name on the Hugging Face Hub
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    /// The texts
    #[arg(value_name = "TEXT")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    texts: Vec<String>,
    /// A file of texts, one a line
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<PathBuf>,
    /// A file for the vectors: NumPy's .npy, a row a text
    #[arg(long, short, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    out: Option<PathBuf>,
    #[command(flatten)]
    #[serde(skip_serializing_if = "Load::is_default")]
    load: Load,
}

pub(crate) fn run(args: &Args, door: &Door) -> anyhow::Result<()> {
    let report = embed::run(&door.config("embed", args)?, door.progress())?;
    door.show(&report, text)
}

fn text(report: &Report, page: &mut Page<'_>) -> io::Result<()> {
    let normalized = if report.normalized { ", normalized" } else { "" };
    let (name, poolings) = (style::head(&report.model.name), report.poolings.join(" and "));
    writeln!(page.out, "{name}: {} numbers a text, {poolings}{normalized}\n", report.width)?;
    let shown = report.cosines.as_ref().map_or(0, |cosines| if cosines.len() <= SHOWN { cosines.len() } else { 0 });
    let numbers = (1..=shown).map(|text| (text.to_string(), Align::Right));
    let heads: Vec<(String, Align)> = [(String::new(), Align::Right)]
        .into_iter()
        .chain(numbers)
        .chain([("tokens".to_owned(), Align::Right), ("text".to_owned(), Align::Left)])
        .collect();
    let mut table = Table::new(&heads);
    for (idx, text) in report.texts.iter().enumerate() {
        let cosines = report.cosines.iter().flat_map(|all| all[idx].iter().take(shown));
        let tokens = if text.cut > 0 { format!("{}-{}", text.tokens, text.cut) } else { text.tokens.to_string() };
        let mut row = vec![(idx + 1).to_string()];
        row.extend(cosines.map(|cosine| format!("{cosine:.4}")));
        row.extend([tokens, text.text.clone()]);
        table.row(row);
    }
    table.print(page.out, page.width)?;
    if report.texts.iter().any(|text| text.cut > 0) {
        writeln!(page.out, "\n9-2 tokens: 2 of 9 were cut off")?;
    }
    if let Some(out) = &report.head.config.out {
        writeln!(page.out, "\nvectors: {}", out.display())?;
    }
    Ok(())
}
