//! One neuron up close: its activations, the words and contexts it fires on, its best concepts.

use std::io::Write as _;
use std::path::PathBuf;

use ndarray::{Array2, ShapeBuilder};
use nissl_core::{
    Activations, Context, Excerpt, HookPoint, Labels, Matrix, NameError, NeuronId, PlanError, Pool, Profile, Profiler,
    Progress, Scores, TextActivations, TextRows, WordScore, nearest,
};
use nissl_methods::profilers::{TopContexts, TopWords};
use nissl_store::Store;
use serde::{Deserialize, Serialize};

use crate::error::TaskError;
use crate::html;
use crate::labels::labels;
use crate::output::write_whole;
use crate::page;
use crate::ranking_file::load_ranking;
use crate::report::{Head, head};
use crate::stats::Stats;
use crate::tasks::extract::StoreSummary;
use crate::tasks::rank::open_store;

mod concepts;
mod passages;

pub use concepts::ConceptScore;
pub use passages::{Passage, PassageWord};

pub(crate) use passages::Text;

/// One sentence about the task.
pub const SUMMARY: &str = "Look at a neuron: its activations, top words and contexts, best concepts";

/// What to look at.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Folder of the store.
    pub store: PathBuf,
    /// The neurons: `blocks.3.mlp.hook_post[1207]`, `3.mlp_post[1207]`.
    pub neurons: Vec<NeuronId>,
    /// Rankings: where the neurons come from if none is named, and what their best concepts are looked up in.
    pub rankings: Vec<PathBuf>,
    /// The concept of the first ranking whose best neurons are looked at; all concepts together if `None`.
    pub concept: Option<String>,
    /// How many of the ranking's best neurons are looked at.
    pub best: usize,
    /// The concepts to compare with, where there are no rankings; every label column with few enough labels if none is
    /// given, here or in `concepts_file`.
    pub concepts: Vec<String>,
    /// A file of concepts.
    pub concepts_file: Option<PathBuf>,
    /// Top contexts, and as many bottom ones.
    pub contexts: usize,
    /// Top words.
    pub words: usize,
    /// Words that occur less often are passed over: one occurrence says little of a word.
    pub min_word_count: usize,
    /// Best concepts.
    pub top_concepts: usize,
    /// Bins of the histogram.
    pub bins: usize,
    /// Also write an HTML page.
    pub html: Option<PathBuf>,
    /// Bytes for blocks of activations.
    pub memory: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            store: PathBuf::new(),
            neurons: Vec::new(),
            rankings: Vec::new(),
            concept: None,
            best: 1,
            concepts: Vec::new(),
            concepts_file: None,
            contexts: 8,
            words: 12,
            min_word_count: 2,
            top_concepts: 8,
            bins: 40,
            html: None,
            memory: Context::MEMORY,
        }
    }
}

/// The neurons up close.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Task, version and config.
    #[serde(flatten)]
    pub head: Head<Config>,
    /// The store.
    pub store: StoreSummary,
    /// One entry a neuron, in the order in which they were asked for.
    pub neurons: Vec<NeuronReport>,
}

/// A neuron up close.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NeuronReport {
    /// The neuron.
    pub name: NeuronId,
    /// Its activations over all rows.
    pub stats: Stats,
    /// Its best concepts, best first.
    pub concepts: Vec<ConceptScore>,
    /// The activations of the rows that bear the first of these, in the same bins as all rows, if concepts were given.
    pub with_concept: Option<WithConcept>,
    /// The words it reacts to most, best first.
    pub words: Vec<WordScore>,
    /// The places where it is highest, highest first.
    pub top: Vec<Passage>,
    /// The places where it is lowest, lowest first.
    pub bottom: Vec<Passage>,
}

/// The activations of the rows that bear a concept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WithConcept {
    /// The concept.
    pub name: String,
    /// Rows in each bin of the neuron's histogram.
    pub counts: Vec<u64>,
}

/// Looks at the neurons.
///
/// # Errors
/// If the store or a ranking cannot be read, a neuron is not in the store, or the user stops it.
pub fn run(config: &Config, progress: &dyn Progress) -> Result<Report, TaskError> {
    let store = open_store(&config.store)?;
    let rankings = config.rankings.iter().map(|path| load_ranking(path)).collect::<Result<Vec<_>, _>>()?;
    let chosen = chosen(config, &rankings)?;
    let x = columns(&store, &chosen)?;
    let text = Text::read(&store)?;
    let rows = store.text()?;
    let ctx = Context { memory: config.memory, progress };

    progress.stage("look for concepts", None, "columns");
    let given = if config.concepts.is_empty() && config.concepts_file.is_none() {
        None
    } else {
        Some(labels(&store, &config.concepts, config.concepts_file.as_deref())?)
    };
    let concepts = if rankings.is_empty() {
        concepts::compare(&store, &x, given.as_ref(), config.top_concepts, ctx)?
    } else {
        concepts::look_up(&rankings, x.neurons(), config.top_concepts)
    };
    let (words, contexts) = profiles(config, &x, &rows, ctx)?;
    let found = concepts.into_iter().zip(words.into_iter().zip(contexts));
    let mut neurons: Vec<NeuronReport> = found
        .enumerate()
        .map(|(idx, (concepts, (words, contexts)))| {
            let column = x.values().column(idx).to_vec();
            let passages = |excerpts: &[Excerpt]| {
                excerpts.iter().map(|excerpt| text.passage(excerpt.row, &rows, &column)).collect()
            };
            let stats = Stats::of(&column, config.bins);
            let with_concept = given.as_ref().and_then(|labels| with_concept(&stats, &column, &concepts, labels));
            NeuronReport {
                name: words.neuron,
                stats,
                concepts,
                with_concept,
                words: words.words,
                top: passages(&contexts.top),
                bottom: passages(&contexts.bottom),
            }
        })
        .collect();
    neurons.sort_by_key(|neuron| chosen.iter().position(|&name| name == neuron.name));
    let report = Report { head: head("inspect", config), store: StoreSummary::of(&config.store, &store), neurons };
    if let Some(path) = &config.html {
        let page = page::of_neurons(&store, &rankings, &report.neurons);
        write_whole(path, |file| file.write_all(html::render(&page).as_bytes()))?;
    }
    Ok(report)
}

/// The histogram of the rows that bear the neuron's best concept.
fn with_concept(stats: &Stats, column: &[f32], concepts: &[ConceptScore], labels: &Labels) -> Option<WithConcept> {
    let name = &concepts.first()?.name;
    let concept = labels.concepts().iter().position(|concept| concept.name == *name)?;
    let mask = labels.mask(concept);
    let rows = column.iter().zip(mask).filter(|(_, has)| *has).map(|(value, _)| *value);
    Some(WithConcept { name: name.clone(), counts: stats.histogram.count(rows) })
}

/// The neurons that are asked for, by name or as the best of a ranking; each once.
fn chosen(config: &Config, rankings: &[Scores]) -> Result<Vec<NeuronId>, TaskError> {
    let mut neurons = config.neurons.clone();
    if neurons.is_empty() {
        let Some(first) = rankings.first() else {
            return Err(TaskError::config("neurons", "a neuron such as 3.mlp_post[1207], or a ranking", "none"));
        };
        let ranking = match &config.concept {
            None => first.overall(Pool::Max),
            Some(name) => first.ranking(first.concept(name).ok_or_else(|| NameError {
                kind: "concept of the ranking",
                name: name.clone(),
                nearest: nearest(name, first.concepts().iter().map(|concept| &concept.name)),
            })?),
        };
        neurons = ranking.top(config.best).to_vec();
    }
    let mut seen = Vec::new();
    neurons.retain(|neuron| {
        let new = !seen.contains(neuron);
        seen.push(*neuron);
        new
    });
    Ok(neurons)
}

/// The activations of these neurons alone, `[n_rows, n_neurons]`, in ascending order.
pub(crate) fn columns(store: &Store, neurons: &[NeuronId]) -> Result<Matrix, TaskError> {
    let mut neurons = neurons.to_vec();
    neurons.sort_unstable();
    for neuron in &neurons {
        let width = store.points().find(|(point, _)| *point == neuron.point).map(|(_, width)| width);
        if let Some(width) = width
            && neuron.idx as usize >= width
        {
            return Err(PlanError::UnitOutOfRange { point: neuron.point, idx: neuron.idx, width }.into());
        }
    }
    let points: Vec<HookPoint> = neurons.iter().map(|neuron| neuron.point).collect();
    let x = store.select(&points)?;
    let mut values = Array2::zeros((store.n_rows(), neurons.len()).f());
    for (idx, neuron) in neurons.iter().enumerate() {
        let column = x.neurons().binary_search(neuron).expect("the site is selected and the unit within its width");
        let out = values.slice_mut(ndarray::s![.., idx..=idx]);
        x.read(0..store.n_rows(), column..column + 1, out)?;
    }
    Ok(Matrix::new(values, neurons)?)
}

type Profiles = Vec<Profile>;

/// Top words and top contexts of every neuron.
fn profiles(config: &Config, x: &Matrix, rows: &TextRows, ctx: Context<'_>) -> Result<(Profiles, Profiles), TaskError> {
    let data = TextActivations::new(x, rows)?;
    let empty = || x.neurons().iter().map(|&neuron| Profile::new(neuron)).collect();
    let words = match config.words {
        0 => empty(),
        num => TopWords { num, min_count: config.min_word_count, ..TopWords::default() }.profile(data, ctx)?,
    };
    let contexts = match config.contexts {
        0 => empty(),
        k => TopContexts { k, bottom: true, ..TopContexts::default() }.profile(data, ctx)?,
    };
    Ok((words, contexts))
}

#[cfg(test)]
mod tests;
