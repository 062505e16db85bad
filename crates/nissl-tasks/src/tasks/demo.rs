//! Everything once, on a small model and a text that are built in.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use nissl_core::{Context, NeuronId, Progress};
use nissl_store::Store;
use serde::{Deserialize, Serialize};
use serde_json::{Map, json};

use crate::concepts;
use crate::error::TaskError;
use crate::html::{self, Command};
use crate::output::{write_json, write_whole};
use crate::page::{self, PageConcept};
use crate::report::{Head, head};
use crate::tasks::extract::StoreSummary;
use crate::tasks::inspect::NeuronReport;
use crate::tasks::{extract, inspect, rank};

/// One sentence about the task.
pub const SUMMARY: &str = "Run everything once on a small model that is built in, and leave a report";

/// What is written to the folder: its name and its content.
const FILES: &[(&str, &[u8])] = &[
    ("demo-gpt2/config.json", include_bytes!("../../assets/demo/model/config.json")),
    ("demo-gpt2/model.safetensors", include_bytes!("../../assets/demo/model/model.safetensors")),
    ("demo-gpt2/tokenizer.json", include_bytes!("../../assets/demo/model/tokenizer.json")),
    ("demo.jsonl", include_bytes!("../../assets/demo/demo.jsonl")),
    ("concepts.json", include_bytes!("../../assets/demo/concepts.json")),
];

/// The method that says which neurons are looked at.
const FIRST: &str = "average-precision";

/// Rows of a concept below which Probeless's means say little; the text is short.
const MIN_COUNT: usize = 20;

/// Neurons on the page.
const CLOSE: usize = 12;

/// Words of a finding.
const WORDS: usize = 6;

/// Where everything goes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The folder: model, text, concepts, store, rankings, and the page.
    pub out: PathBuf,
    /// Bytes for activations.
    pub memory: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { out: PathBuf::from("nissl-demo"), memory: Context::MEMORY }
    }
}

/// What was found, and where it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Task, version and config.
    #[serde(flatten)]
    pub head: Head<Config>,
    /// The page.
    pub page: PathBuf,
    /// The store.
    pub store: StoreSummary,
    /// The best neuron of each concept, clearest first.
    pub findings: Vec<Finding>,
    /// Commands that go on from here.
    pub commands: Vec<CommandLine>,
}

/// The best neuron of a concept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Finding {
    /// The concept.
    pub name: String,
    /// Words of the text that bear it.
    pub rows: usize,
    /// The neuron.
    pub neuron: NeuronId,
    /// Its average precision.
    pub score: f32,
    /// The words that raise it most.
    pub words: Vec<String>,
}

/// A command and what it does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommandLine {
    /// What it does.
    pub name: String,
    /// The command.
    pub line: String,
}

/// Extracts, ranks and inspects, and draws the page.
///
/// # Errors
/// If the folder cannot be written, or the user stops it.
pub fn run(config: &Config, progress: &dyn Progress) -> Result<Report, TaskError> {
    let out = &config.out;
    if out.as_os_str().is_empty() {
        return Err(TaskError::config("out", "a folder", "nothing"));
    }
    for (name, content) in FILES {
        write_whole(&out.join(name), |file| file.write_all(content))?;
    }
    let extracted = extract::run(&extract_config(config), progress)?;
    let rank_config = rank_config(config);
    let (ranked, scores) = rank::scores(&rank_config, progress)?;
    let neurons = page::worth_a_look(&scores);
    let inspected = inspect::run(&inspect_config(config, &ranked, neurons), progress)?;

    let store = Store::open(out.join("store"))?;
    let sources = concepts::read(&[], rank_config.concepts_file.as_deref())?;
    let concepts: Vec<PageConcept> = ranked.methods[0]
        .concepts
        .iter()
        .map(|concept| {
            let source = sources.iter().find(|source| concepts::name(source) == concept.name);
            let source = source.or_else(|| sources.iter().find(|source| concepts::is_column(source)));
            let source = source.map_or_else(String::new, concepts::describe);
            PageConcept { name: concept.name.clone(), source, rows: concept.rows }
        })
        .collect();
    let commands = commands(out, &inspected.neurons);
    let close = &inspected.neurons[..inspected.neurons.len().min(CLOSE)];
    let mut drawn = page::of_rankings(&store, &concepts, &scores, close);
    "Neurons of a small language model".clone_into(&mut drawn.title);
    drawn.lead = format!(
        "What {} neurons do on {} words of Charlotte Brontë, Charles Darwin, W.E.B. Du Bois and William Shakespeare, and \
         which of them carry which concept. The model has read these works: this shows what neurons do, it measures no \
         generalization.",
        html::count(extracted.store.neurons as u64),
        html::count(extracted.store.rows),
    );
    drawn.commands = commands.iter().map(|c| Command { what: c.name.clone(), line: c.line.clone() }).collect();
    drawn.notes = notes(&extracted, &ranked);
    let page = out.join("report.html");
    write_whole(&page, |file| file.write_all(html::render(&drawn).as_bytes()))?;

    let report = Report {
        head: head("demo", config),
        page,
        store: extracted.store,
        findings: findings(&ranked, &inspected.neurons),
        commands,
    };
    write_json(&out.join("demo.json"), &report)?;
    Ok(report)
}

fn extract_config(config: &Config) -> extract::Config {
    let out = &config.out;
    extract::Config {
        model: out.join("demo-gpt2").display().to_string(),
        text: out.join("demo.jsonl"),
        out: out.join("store"),
        concepts_file: Some(out.join("concepts.json")),
        memory: config.memory,
        // The store is made from files that were written just now.
        force: true,
        ..extract::Config::default()
    }
}

fn rank_config(config: &Config) -> rank::Config {
    let out = &config.out;
    rank::Config {
        store: out.join("store"),
        concepts_file: Some(out.join("concepts.json")),
        methods: vec![FIRST.to_owned(), "probeless".to_owned()],
        one_vs_rest: vec!["probeless".to_owned()],
        set: Map::from_iter([("probeless.min_count".to_owned(), json!(MIN_COUNT))]),
        out: Some(out.join("rankings")),
        memory: config.memory,
        ..rank::Config::default()
    }
}

fn inspect_config(config: &Config, ranked: &rank::Report, neurons: Vec<NeuronId>) -> inspect::Config {
    inspect::Config {
        store: config.out.join("store"),
        neurons,
        rankings: ranked.methods.iter().filter_map(|method| method.file.clone()).collect(),
        concepts_file: Some(config.out.join("concepts.json")),
        memory: config.memory,
        ..inspect::Config::default()
    }
}

/// The best neuron of each concept by the first method, clearest first.
fn findings(ranked: &rank::Report, neurons: &[NeuronReport]) -> Vec<Finding> {
    let Some(method) = ranked.methods.first() else { return Vec::new() };
    let finding = |concept: &rank::ConceptReport| {
        let best = concept.top.first()?;
        let looked = neurons.iter().find(|neuron| neuron.name == best.name);
        let raised = looked.into_iter().flat_map(|neuron| &neuron.words).filter(|word| word.deviation > 0.0);
        Some(Finding {
            name: concept.name.clone(),
            rows: concept.rows,
            neuron: best.name,
            score: best.score,
            words: raised.take(WORDS).map(|word| word.name.clone()).collect(),
        })
    };
    let mut findings: Vec<Finding> = method.concepts.iter().filter_map(finding).collect();
    findings.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.name.cmp(&b.name)));
    findings
}

fn commands(out: &Path, neurons: &[NeuronReport]) -> Vec<CommandLine> {
    let command = |name: &str, line: String| CommandLine { name: name.to_owned(), line };
    let at = |name: &str| quoted(&out.join(name));
    let mut commands = vec![
        command("Everything again", format!("nissl demo --out {}", quoted(out))),
        command(
            "Record the activations",
            format!(
                "nissl extract {} {} --out {} --concepts {} --force",
                at("demo-gpt2"),
                at("demo.jsonl"),
                at("store"),
                at("concepts.json")
            ),
        ),
        command(
            "Rank the neurons",
            format!(
                "nissl rank {} --concepts {} --method average-precision,probeless --one-vs-rest=probeless --set \
                 probeless.min_count={MIN_COUNT} --out {}",
                at("store"),
                at("concepts.json"),
                at("rankings")
            ),
        ),
    ];
    if let Some(neuron) = neurons.first() {
        commands.push(command(
            "Look at a neuron",
            format!(
                "nissl inspect {} '{}' --ranking {}",
                at("store"),
                neuron.name,
                at(&format!("rankings/{FIRST}.parquet"))
            ),
        ));
    }
    commands.push(command(
        "Rank for a concept of your own",
        format!(
            "nissl rank {} --by 'sea := {{sea, ship, shore, wave, waves}}' --method average-precision",
            at("store")
        ),
    ));
    commands
}

/// A path as a shell reads it.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = text.chars().all(|c| c.is_alphanumeric() || "/._-".contains(c));
    if plain { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

fn notes(extracted: &extract::Report, ranked: &rank::Report) -> Vec<String> {
    let alignment = &extracted.alignment;
    let counted = [
        (alignment.words_without_token, "words that the tokenizer drops have no row."),
        (alignment.words_sharing_token, "words share a token with another word and so have its activations too."),
        (alignment.sentences_windowed, "sentences are longer than the model's context and were read in windows."),
    ];
    let mut notes: Vec<String> =
        counted.into_iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
    let probeless = "Concepts overlap, so Probeless compared each with all words that do not bear it.";
    notes.push(probeless.to_owned());
    notes.extend(ranked.failed.iter().map(|failure| format!("{}: {}.", failure.name, failure.error)));
    notes
}

/// Whether the files of the demo lie in a folder as they are built in.
#[cfg(test)]
fn is_written(out: &Path) -> bool {
    FILES.iter().all(|(name, content)| std::fs::read(out.join(name)).is_ok_and(|found| found == *content))
}

#[cfg(test)]
mod tests;
