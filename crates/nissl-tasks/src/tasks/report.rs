//! One page on what a store's neurons know of some concepts: the best by each method, how far the methods agree, and what
//! few neurons tell.

use std::path::PathBuf;

use nissl_core::{Activations, Context, LabeledActivations, NeuronId, Progress, Scores};
use nissl_methods::probes::{Judged, SplitOptions, TrainOptions, judge};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::TaskError;
use crate::html::{self, Command, evidence};
use crate::labels::labels;
use crate::output::{write_json, write_whole};
use crate::page::{self, PageConcept};
use crate::report::{Head, head};
use crate::select::recorded;
use crate::tasks::extract::StoreSummary;
use crate::tasks::inspect;
use crate::tasks::rank::{self, Failure, MethodReport, open_store};

/// One sentence about the task.
pub const SUMMARY: &str = "Report on the neurons of some concepts: by several methods, with what few of them tell";

/// What to report on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Folder of the store.
    pub store: PathBuf,
    /// The concepts, see [`nissl_data::ConceptSource`]; they must exclude each other.
    pub concepts: Vec<String>,
    /// A file of concepts.
    pub concepts_file: Option<PathBuf>,
    /// The rankers.
    pub methods: Vec<String>,
    /// Parameters by name, as of `rank`.
    pub set: Map<String, Value>,
    /// Only these sites; all that are recorded if empty.
    pub sites: Vec<String>,
    /// Concepts with fewer rows are left out by every method and probe.
    pub min_count: usize,
    /// Neurons a concept that are compared between methods.
    pub top: usize,
    /// Numbers of neurons that fresh probes are fitted on.
    pub k: Vec<usize>,
    /// Draws of as many random neurons.
    pub random_sets: usize,
    /// Draws of the sentences for intervals.
    pub draws: usize,
    /// Runs with shuffled labels, see `rank`.
    pub permutations: Option<usize>,
    /// Shares of the rows, seed, and whether words are kept apart.
    pub split: SplitOptions,
    /// Neurons that are shown up close.
    pub neurons: usize,
    /// Folder for the page, the report and the rankings.
    pub out: PathBuf,
    /// Bytes for activations.
    pub memory: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            store: PathBuf::new(),
            concepts: Vec::new(),
            concepts_file: None,
            methods: ["average-precision", "probeless", "mean-select", "linear-probe"].map(str::to_owned).to_vec(),
            set: Map::new(),
            sites: Vec::new(),
            min_count: 50,
            top: 20,
            k: vec![1, 3, 10, 30, 100],
            random_sets: 5,
            draws: 1000,
            permutations: None,
            split: SplitOptions::default(),
            neurons: 12,
            out: PathBuf::from("report"),
            memory: Context::MEMORY,
        }
    }
}

/// What the page says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Task, version and config.
    #[serde(flatten)]
    pub head: Head<Config>,
    /// The store.
    pub store: StoreSummary,
    /// One entry a method that went well.
    pub methods: Vec<MethodReport>,
    /// Of each two methods the share of a concept's best neurons that both have, in the mean over concepts.
    pub agreement: Vec<Vec<f64>>,
    /// That of neurons in random order.
    pub chance: f64,
    /// What the first neurons of each method tell of all concepts together; a concept's best take turns.
    pub judged: Judged,
    /// The neurons that are shown up close.
    pub shown: Vec<NeuronId>,
    /// What did not go well.
    pub failed: Vec<Failure>,
    /// The page.
    pub page: PathBuf,
}

/// Ranks, compares, judges, and writes the page.
///
/// # Errors
/// If the store cannot be read, a concept or method is unknown or leaves nothing to learn, a file cannot be written, or the
/// user stops it.
pub fn run(config: &Config, progress: &dyn Progress) -> Result<Report, TaskError> {
    let store = open_store(&config.store)?;
    let labels = labels(&store, &config.concepts, config.concepts_file.as_deref())?;
    let mut set = config.set.clone();
    if !set.contains_key("min_count") {
        set.insert("min_count".to_owned(), config.min_count.into());
    }
    let rankings = config.out.join("rankings");
    let ranking = rank::Config {
        store: config.store.clone(),
        concepts: config.concepts.clone(),
        concepts_file: config.concepts_file.clone(),
        methods: config.methods.clone(),
        set,
        sites: config.sites.clone(),
        out: Some(rankings),
        permutations: config.permutations,
        seed: config.split.seed,
        memory: config.memory,
        ..rank::Config::default()
    };
    let (ranked, scores) = rank::scores(&ranking, progress)?;
    let x = recorded(&store, &config.sites)?;
    let n_neurons = x.neurons().len();
    let text = store.text()?;
    let options = TrainOptions {
        split: config.split,
        min_count: config.min_count,
        k: config.k.clone(),
        random_sets: config.random_sets,
        draws: config.draws,
        ..TrainOptions::default()
    };
    let most = config.k.iter().copied().max().unwrap_or(0);
    let orders: Vec<Vec<usize>> = scores.iter().map(|scores| taking_turns(scores, most)).collect();
    let ctx = Context { memory: config.memory, progress };
    let judged = judge(LabeledActivations::new(&x, &labels)?.with_text(&text)?, &options, &orders, ctx)?;
    let mut shown = page::worth_a_look(&scores);
    shown.truncate(config.neurons);
    let neurons = inspect::run(
        &inspect::Config {
            store: config.store.clone(),
            neurons: shown.clone(),
            rankings: ranked.methods.iter().filter_map(|method| method.file.clone()).collect(),
            concepts: config.concepts.clone(),
            concepts_file: config.concepts_file.clone(),
            memory: config.memory,
            ..inspect::Config::default()
        },
        progress,
    )?;
    let report = Report {
        head: head("report", config),
        store: ranked.store,
        agreement: agreement(&scores, config.top),
        chance: config.top.min(n_neurons) as f64 / n_neurons.max(1) as f64,
        methods: ranked.methods,
        judged,
        shown,
        failed: ranked.failed,
        page: config.out.join("report.html"),
    };
    let counts = labels.counts();
    let concepts: Vec<PageConcept> = labels
        .concepts()
        .iter()
        .zip(counts)
        .filter(|(_, rows)| *rows >= config.min_count)
        .map(|(concept, rows)| PageConcept { name: concept.name.clone(), source: String::new(), rows })
        .collect();
    let mut page = page::of_rankings(&store, &concepts, &scores, &neurons.neurons);
    page.commands.push(Command {
        what: "This page again".to_owned(),
        line: format!("nissl report --config {}", config.out.join("report.json").display()),
    });
    page.notes.extend(notes(&report));
    write_json(&config.out.join("report.json"), &report)?;
    let drawn = html::render_report(&page, &evidence(&report));
    write_whole(&report.page, |file| std::io::Write::write_all(file, drawn.as_bytes()))?;
    Ok(report)
}

/// The first columns of all concepts' rankings in turns: the best of each concept, then the second of each, each once.
fn taking_turns(scores: &Scores, n: usize) -> Vec<usize> {
    let rankings: Vec<_> = (0..scores.concepts().len()).map(|concept| scores.ranking(concept).neurons).collect();
    let (mut order, mut taken) = (Vec::new(), vec![false; scores.neurons().len()]);
    for place in 0..scores.neurons().len() {
        for ranking in &rankings {
            let column = scores.neurons().binary_search(&ranking[place]).expect("the ranking is of these neurons");
            if !std::mem::replace(&mut taken[column], true) {
                order.push(column);
            }
        }
        if order.len() >= n {
            break;
        }
    }
    order.truncate(n);
    order
}

/// Of each two methods the share of a concept's `top` best neurons that both have, in the mean over concepts.
fn agreement(scores: &[Scores], top: usize) -> Vec<Vec<f64>> {
    let shared = |one: &Scores, other: &Scores| {
        let (mut sum, mut n) = (0.0, 0);
        for (idx, concept) in one.concepts().iter().enumerate() {
            let Some(same) = other.concept(&concept.name) else { continue };
            let (one, other) = (one.ranking(idx), other.ranking(same));
            let both = one.top(top).iter().filter(|neuron| other.top(top).contains(neuron)).count();
            sum += both as f64 / one.top(top).len().max(1) as f64;
            n += 1;
        }
        sum / f64::from(n.max(1))
    };
    scores.iter().map(|one| scores.iter().map(|other| shared(one, other)).collect()).collect()
}

/// What a careful reader must know.
fn notes(report: &Report) -> Vec<String> {
    let [train, dev, test] = report.judged.rows;
    let mut notes = vec![
        format!(
            "Probes are fitted on {train} words and reported on {test} of other sentences; {dev} are for choices. The \
             neurons were ranked on all words: with few words and many neurons this flatters the best ones a little."
        ),
        "Intervals are of 95 in 100 draws of the sentences; that of random neurons is from the lowest to the highest draw."
            .to_owned(),
        "Selectivity is the accuracy less that of a control task, in which every word type has a random class: what a probe \
         can learn by heart is not in it."
            .to_owned(),
    ];
    notes.extend(report.failed.iter().map(|failure| format!("{}: {}.", failure.name, failure.error)));
    notes
}

/// What is drawn of the report beside the page of its neurons.
fn evidence(report: &Report) -> evidence::Evidence {
    let concepts: Vec<String> = report
        .methods
        .first()
        .map_or_else(Vec::new, |method| method.concepts.iter().map(|concept| concept.name.clone()).collect());
    let found = |method: &MethodReport| {
        let of = |name: &String| method.concepts.iter().find(|concept| concept.name == *name)?.found;
        concepts.iter().map(of).collect()
    };
    evidence::Evidence {
        methods: report.methods.iter().map(|method| method.name.clone()).collect(),
        neurons: report.methods.iter().map(|method| method.neurons).max().unwrap_or(0),
        top: report.head.config.top,
        agreement: report.agreement.clone(),
        chance: report.chance,
        found: report.methods.iter().map(found).collect(),
        concepts,
        judged: report.judged.clone(),
    }
}

#[cfg(test)]
mod tests;
