//! `nissl explain STORE [NEURON]`.

use std::io;
use std::path::PathBuf;

use nissl_core::{NeuronId, Profile};
use nissl_tasks::tasks::explain::{self, NeuronReport, Report};
use serde::Serialize;
use serde_json::Value;

use crate::commands::rank::{as_object, assignment};
use crate::commands::read::Load;
use crate::door::{Door, Page};
use crate::neuron;
use crate::progress::thousands;
use crate::style;
use crate::table::shorten;

/// Words that are shown of a neuron.
const WORDS: usize = 8;

/// Contexts that are shown of a neuron.
const CONTEXTS: usize = 3;

/// Explain neurons by formulas of concepts, features and words
///
/// Without neurons all that are recorded are explained, and those that the first method explains best are shown. Words
/// stand in quotes, labels as they are.
#[derive(Debug, clap::Args, Serialize)]
#[command(after_help = "\
Examples:
  nissl explain minilm.store '3.mlp_post[1207]'
  nissl explain minilm.store --sites mlp --by upos --out neurons.jsonl
  nissl explain minilm.store '2.mlp_post[7]' --method compositional --set rounds=8 --set alpha=0.01
  nissl explain minilm.store '3.mlp_post[1207]' --model minilm
  nissl explain minilm.store --method tx-ray,top-contexts --json")]
pub(crate) struct Args {
    /// Folder of the store
    #[serde(skip_serializing_if = "Option::is_none")]
    store: Option<PathBuf>,
    // Not a doc comment: rustdoc would take the brackets for links.
    #[arg(value_name = "NEURON", help = "The neurons: '3.mlp_post[1207]' [default: all that are recorded]")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    neurons: Vec<NeuronId>,
    /// Only these sites, where no neurons are named
    #[arg(long, value_delimiter = ',', value_name = "SITES")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    sites: Vec<String>,
    /// Methods, see `nissl methods` [default: compositional,variance-reduction,lookup]
    #[arg(long = "method", short, value_delimiter = ',', value_name = "METHODS")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    methods: Vec<String>,
    /// A parameter of the methods, words=500, or of one, compositional.words=500; may be given again
    #[arg(long, value_name = "NAME=VALUE", value_parser = assignment)]
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "as_object")]
    set: Vec<(String, Value)>,
    /// Concepts to explain by, beside words, as in `nissl rank` [default: every label column]; may be given again
    #[arg(long = "by", value_name = "CONCEPT")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    concepts: Vec<String>,
    /// A file of concepts, one a line or as JSON
    #[arg(long = "concepts", value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    concepts_file: Option<PathBuf>,
    /// The recorded model: also say on which repeated words, morphemes and phrases neurons are high
    #[arg(long, value_name = "MODEL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    /// Neurons to show, where none are named [default: 20]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    best: Option<usize>,
    /// A file for all neurons, one a line as JSON
    #[arg(long, short, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    out: Option<PathBuf>,
    #[command(flatten)]
    #[serde(skip_serializing_if = "Load::is_default")]
    load: Load,
}

pub(crate) fn run(args: &Args, door: &Door) -> anyhow::Result<()> {
    let report = explain::run(&door.config_with_memory("explain", args)?, door.progress())?;
    door.show(&report, text)
}

fn text(report: &Report, page: &mut Page<'_>) -> io::Result<()> {
    for neuron in &report.neurons {
        one(neuron, page)?;
    }
    if report.explained > report.neurons.len() {
        let (shown, all) = (report.neurons.len(), thousands(report.explained as u64));
        writeln!(page.out, "the {shown} of {all} neurons that are explained best")?;
    }
    for failure in &report.failed {
        writeln!(page.out, "failed: {}: {}", failure.name, failure.error)?;
    }
    if let Some(out) = &report.head.config.out {
        writeln!(page.out, "all of them: {}", out.display())?;
    }
    Ok(())
}

fn one(report: &NeuronReport, page: &mut Page<'_>) -> io::Result<()> {
    writeln!(page.out, "{}", style::head(&neuron::short(report.name)))?;
    for method in &report.methods {
        writeln!(page.out, "  {}", style::dim(&method.name))?;
        for line in lines(&method.profile) {
            let line = page.width.map_or(line.clone(), |width| shorten(&line, width.saturating_sub(4)));
            writeln!(page.out, "    {line}")?;
        }
    }
    if let Some(alignment) = &report.alignment {
        let control = neuron::score(alignment.control);
        let repeated = format!("repeated text, beyond {control} of any that is repeated");
        writeln!(page.out, "  {}", style::dim(&repeated))?;
        for aligned in &alignment.concepts {
            let selectivity = aligned.selectivity.map_or_else(String::new, |value| format!("  selectivity {value:.2}"));
            writeln!(page.out, "    {}  '{}'{selectivity}", neuron::score(aligned.score), aligned.concept.text)?;
        }
    }
    writeln!(page.out)
}

/// What a method found, in lines.
fn lines(profile: &Profile) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let explanations = profile.explanations.iter();
    lines.extend(explanations.map(|one| format!("{}  {}", neuron::score(one.score), one.text)));
    if !profile.numbers.is_empty() {
        let numbers = profile.numbers.iter().map(|number| format!("{} {}", number.name, neuron::score(number.value)));
        lines.push(numbers.collect::<Vec<_>>().join(", "));
    }
    if !profile.words.is_empty() {
        let words = profile.words.iter().take(WORDS);
        let words = words.map(|word| format!("{} {}", word.name, neuron::score(word.score)));
        lines.push(words.collect::<Vec<_>>().join("  "));
    }
    let contexts = profile.top.iter().take(CONTEXTS).chain(profile.bottom.iter().take(CONTEXTS));
    lines.extend(contexts.map(|context| format!("{}  {}", neuron::score(context.activation), context.context)));
    if lines.is_empty() {
        lines.push("nothing".to_owned());
    }
    lines
}
