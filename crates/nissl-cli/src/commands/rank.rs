//! `nissl rank STORE --by CONCEPT`.

use std::io;
use std::path::PathBuf;

use nissl_tasks::tasks::rank::{self, Best, MethodReport, Report};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::commands::read::{Load, Read, Running};
use crate::door::{Door, Page};
use crate::neuron;
use crate::progress::thousands;
use crate::style;
use crate::table::{Align, Table};

/// Neurons a concept in the terminal's table.
const SHOWN: usize = 5;

/// Rank the neurons of a store by how much they carry each concept
///
/// With --stream the methods read the activations while a model runs on a text: the scores are those over a store, and
/// nothing is written. Methods that look at all rows more than once need them to fit into the memory.
#[derive(Debug, clap::Args, Serialize)]
#[command(after_help = "\
Examples:
  nissl rank minilm.store --by upos --out rankings
  nissl rank minilm.store --by 'plural := upos=NOUN & Number=Plur' --method average-precision
  nissl rank minilm.store --concepts concepts.json --one-vs-rest --set probeless.min_count=20
  nissl rank --stream ./model en_ewt-ud-train.conllu --by upos --method probeless,mean-select --out rankings")]
pub(crate) struct Args {
    /// Folder of the store; with --stream a model's folder, or its name on the Hugging Face Hub
    #[arg(value_name = "STORE")]
    #[serde(skip)]
    source: Option<PathBuf>,
    /// With --stream the corpus: CoNLL-U, word/label text, CSV, TSV, JSONL or plain text
    #[arg(requires = "stream")]
    #[serde(skip)]
    text: Option<PathBuf>,
    /// Rank behind a model that reads a text, instead of over a store
    #[arg(long)]
    #[serde(skip)]
    stream: bool,
    /// The concepts: a label column (upos), some of its labels (upos: NOUN, VERB), a word list (city := {Paris,
    /// London}), a pattern (/ing$/) or a condition (upos=NOUN & Number=Plur); may be given again
    #[arg(long = "by", value_name = "CONCEPT")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    concepts: Vec<String>,
    /// A file of concepts, one a line or as JSON
    #[arg(long = "concepts", value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    concepts_file: Option<PathBuf>,
    /// Methods, see `nissl methods` [default: probeless,average-precision]
    #[arg(long = "method", short, value_delimiter = ',', value_name = "METHODS")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    methods: Vec<String>,
    /// A parameter of the methods, min_count=5, or of one, probeless.min_count=5; may be given again
    #[arg(long, value_name = "NAME=VALUE", value_parser = assignment)]
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "as_object")]
    set: Vec<(String, Value)>,
    /// Only these sites [default: all that are recorded; with --stream resid,mlp]
    #[arg(long, value_delimiter = ',', value_name = "SITES")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    sites: Vec<String>,
    /// Compare each concept by itself with the rows that have it not, for concepts that overlap; with names of methods
    /// after `=`, in these alone
    #[arg(long, value_delimiter = ',', num_args = 0.., require_equals = true, default_missing_value = "all",
        value_name = "METHODS")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    one_vs_rest: Vec<String>,
    /// Folder for the rankings, a Parquet table a method, and the report
    #[arg(long, short, value_name = "DIR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    out: Option<PathBuf>,
    /// Best neurons a concept in the report [default: 10]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    top: Option<usize>,
    /// Runs with shuffled labels, by which the chance of each score is told; 0 for none [default: as many as give 10,000
    /// scores a concept, 2 to 20]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    permutations: Option<usize>,
    /// Another seed shuffles labels in another way [default: 0]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<u64>,
    #[command(flatten)]
    #[serde(skip)]
    running: Running,
    #[command(flatten)]
    #[serde(skip)]
    read: Read,
    #[command(flatten)]
    #[serde(skip)]
    load: Load,
}

/// `name=value`; the value is JSON if it reads as JSON, else a text.
pub(super) fn assignment(text: &str) -> Result<(String, Value), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok((name.trim().to_owned(), serde_json::from_str(value).unwrap_or_else(|_| Value::from(value))))
}

pub(super) fn as_object<S: serde::Serializer>(pairs: &[(String, Value)], serializer: S) -> Result<S::Ok, S::Error> {
    pairs.iter().cloned().collect::<Map<String, Value>>().serialize(serializer)
}

pub(crate) fn run(args: &Args, door: &Door) -> anyhow::Result<()> {
    let report = rank::run(&door.config_with_memory("rank", &flags(args)?)?, door.progress())?;
    door.show(&report, text)
}

/// The fields of the config that were given.
fn flags(args: &Args) -> anyhow::Result<Value> {
    let mut flags = serde_json::to_value(args)?;
    let (mut stream, read) = (serde_json::to_value(&args.running)?, serde_json::to_value(&args.read)?);
    let load = serde_json::to_value(&args.load)?;
    let given = [&stream, &read, &load].into_iter().filter_map(Value::as_object).flatten().next();
    if let (Some((field, _)), false) = (given, args.stream) {
        anyhow::bail!("--{} is for --stream: a store is as it was recorded", field.replace('_', "-"));
    }
    if args.stream {
        stream["read"] = read;
        stream["load"] = load;
        for (field, path) in [("model", &args.source), ("text", &args.text)] {
            if let Some(path) = path {
                stream[field] = serde_json::to_value(path)?;
            }
        }
        flags["stream"] = stream;
    } else if let Some(store) = &args.source {
        flags["store"] = serde_json::to_value(store)?;
    }
    Ok(flags)
}

fn text(report: &Report, page: &mut Page<'_>) -> io::Result<()> {
    for method in &report.methods {
        let neurons = thousands(method.neurons as u64);
        writeln!(page.out, "{}: best of {neurons} neurons", style::head(&method.name))?;
        table(method, page)?;
        if let Some(file) = &method.file {
            writeln!(page.out, "all of them: {}", file.display())?;
        }
        writeln!(page.out)?;
    }
    let tops = report.methods.iter().flat_map(|method| &method.concepts).flat_map(|c| c.top.iter().take(SHOWN));
    if tops.into_iter().any(is_unsure) {
        writeln!(page.out, "?: a score as shuffled labels give too (false discovery rate above {})", rank::FOUND)?;
    }
    for failure in &report.failed {
        writeln!(page.out, "failed: {}: {}", failure.name, failure.error)?;
    }
    Ok(())
}

fn table(method: &MethodReport, page: &mut Page<'_>) -> io::Result<()> {
    let signed = method.concepts.iter().flat_map(|concept| &concept.top).any(|best| best.sign.is_some());
    let found = method.concepts.iter().any(|concept| concept.found.is_some());
    let mut heads = vec![("concept", Align::Left), ("rows", Align::Right)];
    if found {
        heads.push(("found", Align::Right));
    }
    heads.push(("neurons and scores, best first", Align::Left));
    let mut table = Table::new(&heads);
    for concept in &method.concepts {
        let best: Vec<String> = concept.top.iter().take(SHOWN).map(|best| shown(best, signed)).collect();
        let mut cells = vec![concept.name.clone(), thousands(concept.rows as u64)];
        if found {
            cells.push(concept.found.map_or_else(String::new, |n| thousands(n as u64)));
        }
        cells.push(best.join("  "));
        table.row(cells);
    }
    table.print(page.out, page.width)
}

fn is_unsure(best: &Best) -> bool {
    best.q.is_some_and(|q| q > rank::FOUND)
}

/// `3.mlp_post[1207] +0.81`; with a sign where the method knows directions, and `?` where it may be chance.
pub(super) fn shown(best: &Best, signed: bool) -> String {
    let sign = match best.sign {
        Some(-1) => "-",
        _ if signed => "+",
        _ => "",
    };
    let unsure = if is_unsure(best) { "?" } else { "" };
    format!("{} {sign}{}{unsure}", neuron::short(best.name), neuron::score(best.score))
}
