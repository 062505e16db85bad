//! `nissl attribute MODEL [PROMPTS]`.

use std::io;
use std::path::PathBuf;

use nissl_tasks::tasks::attribute::{self, Report};
use nissl_tasks::tasks::rank::MethodReport;
use serde::Serialize;
use serde_json::Value;

use crate::commands::ask::{One, Read, left_out};
use crate::commands::rank::{as_object, assignment, shown};
use crate::commands::read::Load;
use crate::door::{Door, Page};
use crate::progress::thousands;
use crate::style;
use crate::table::{Align, Table};

/// Neurons a concept in the terminal's table.
const SHOWN: usize = 5;
/// Concepts in the terminal's table.
const CONCEPTS: usize = 30;

/// Rank the neurons of a model by how much its predictions depend on them
///
/// The model is run, differentiated or edited on prompts: a text, the word that should follow it, or that stands where
/// the text says MASK in brackets, and for some methods a word to compare it with and another text to move activations
/// from. Prompts of one concept are scored together. `nissl methods` lists the methods (attributors).
#[derive(Debug, clap::Args, Serialize)]
#[command(after_help = "\
Examples:
  nissl attribute MODEL --prompt 'The capital of France is' --target Paris
  nissl attribute MODEL agreement.txt --method ablation --set metric=difference --set layers=[8]
  nissl attribute MODEL pararel --only P36 --concepts 20 --method knowledge-neurons --out facts
  nissl attribute MODEL --prompt 'The nurse said that' --other 'The man said that' --target he --foil she \\
      --method mediation,attribution-patching")]
pub(crate) struct Args {
    /// Folder or file of a model, or its name on the Hugging Face Hub
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    /// Prompts: JSONL (text, target, foil, other, concept), BLiMP, agreement pairs, professions, winobias, or a folder
    /// of ParaRel
    #[arg(value_name = "PROMPTS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<PathBuf>,
    #[command(flatten)]
    #[serde(skip)]
    one: One,
    /// Methods, see `nissl methods` [default: integrated-gradients]
    #[arg(long = "method", short, value_delimiter = ',', value_name = "METHODS")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    methods: Vec<String>,
    /// A parameter of the methods, steps=50, or of one, ablation.value=mean; may be given again
    #[arg(long, value_name = "NAME=VALUE", value_parser = assignment)]
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "as_object")]
    set: Vec<(String, Value)>,
    #[command(flatten)]
    read: Read,
    /// Folder for the rankings, a Parquet table a method, and the report
    #[arg(long, short, value_name = "DIR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    out: Option<PathBuf>,
    /// Best neurons a concept in the report [default: 10]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    top: Option<usize>,
    #[command(flatten)]
    #[serde(skip_serializing_if = "Load::is_default")]
    load: Load,
}

pub(crate) fn run(args: &Args, door: &Door) -> anyhow::Result<()> {
    let flags = args.one.flags(args)?;
    let report = attribute::run(&door.config_with_memory("attribute", &flags)?, door.progress())?;
    door.show(&report, text)
}

fn text(report: &Report, page: &mut Page<'_>) -> io::Result<()> {
    let prompts = &report.prompts;
    writeln!(page.out, "{}: {} prompts", style::head(&report.model.name), thousands(prompts.used as u64))?;
    left_out(prompts, page)?;
    for method in &report.methods {
        writeln!(page.out)?;
        let neurons = thousands(method.neurons as u64);
        writeln!(page.out, "{}: best of {neurons} neurons", style::head(&method.name))?;
        table(method, page)?;
        for note in &method.notes {
            writeln!(page.out, "{note}")?;
        }
        if let Some(file) = &method.file {
            writeln!(page.out, "all of them: {}", file.display())?;
        }
    }
    for failure in &report.failed {
        writeln!(page.out, "failed: {}: {}", failure.name, failure.error)?;
    }
    Ok(())
}

fn table(method: &MethodReport, page: &mut Page<'_>) -> io::Result<()> {
    let heads = [("concept", Align::Left), ("prompts", Align::Right), ("neurons and scores, best first", Align::Left)];
    let mut table = Table::new(&heads);
    for concept in method.concepts.iter().take(CONCEPTS) {
        let best: Vec<String> = concept.top.iter().take(SHOWN).map(|best| shown(best, true)).collect();
        table.row([concept.name.clone(), thousands(concept.rows as u64), best.join("  ")]);
    }
    table.print(page.out, page.width)?;
    match method.concepts.len() {
        n if n > CONCEPTS => writeln!(page.out, "and {} more concepts", n - CONCEPTS),
        _ => Ok(()),
    }
}
