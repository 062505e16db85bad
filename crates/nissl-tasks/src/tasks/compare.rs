//! Between stores of several models that read the same words: which neurons are found again, how like layers are.

use std::path::{Path, PathBuf};

use ndarray::Array2;
use nissl_core::{Activations, Concept, Context, HookPoint, MethodError, NeuronId, Progress, Provenance, Scores};
use nissl_methods::comparison::{Baseline, Compared, Comparison, Likeness};
use nissl_methods::similarity::{Layer, Similarity};
use nissl_store::{Selection, Store};
use serde::{Deserialize, Serialize};
use serde_json::json;

mod words;

pub use words::{Moved, Words};

use crate::error::TaskError;
use crate::output::write_json;
use crate::ranking_file::save_ranking;
use crate::report::{Head, head};
use crate::select::recorded;
use crate::tasks::extract::StoreSummary;
use crate::tasks::rank::{Best, best, open_store};

/// One sentence about the task.
pub const SUMMARY: &str = "Find the neurons of a model again in other models, and how like their layers are";

/// Names of the files in the folder of the results.
const REPORT: &str = "compare.json";
const RANKING: &str = "compare.parquet";

/// What to compare.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Folder of the store whose neurons are looked for.
    pub store: PathBuf,
    /// Folders of the stores in which they are looked for; their rows are the same words.
    pub others: Vec<PathBuf>,
    /// Only these sites, of all stores; those that are recorded if empty.
    pub sites: Vec<String>,
    /// With what highest correlations are compared.
    pub baseline: Baseline,
    /// Seed of the random matrices.
    pub seed: u64,
    /// Excess correlation above which a neuron is called universal.
    pub threshold: f64,
    /// Whether layers are also compared as a whole: LinReg, SVCCA, PWCCA, RBF CKA.
    pub whole: bool,
    /// Whether it is told which words each neuron wins in one store and in the other, of stores of the same neurons.
    pub words: bool,
    /// What of the layers is compared then.
    pub how: Similarity,
    /// Folder for the ranking of all neurons, a Parquet table, and for the report; nothing is written if `None`.
    pub out: Option<PathBuf>,
    /// Best neurons in the report.
    pub top: usize,
    /// Bytes for activations and their products.
    pub memory: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            store: PathBuf::new(),
            others: Vec::new(),
            sites: Vec::new(),
            baseline: Baseline::default(),
            seed: 0,
            threshold: 0.5,
            whole: false,
            words: false,
            how: Similarity::default(),
            out: None,
            top: 10,
            memory: Context::MEMORY,
        }
    }
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Task, version and config.
    #[serde(flatten)]
    pub head: Head<Config>,
    /// The store whose neurons were looked for.
    pub store: StoreSummary,
    /// One entry another store.
    pub others: Vec<OtherReport>,
    /// Layers of the store: how many of their neurons are universal.
    pub layers: Vec<LayerReport>,
    /// Rankings by MaxCorr, MinCorr and excess correlation.
    pub rankings: Vec<Ranked>,
    /// The table of all neurons.
    pub file: Option<PathBuf>,
}

/// What was found in another store.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OtherReport {
    /// The store.
    pub store: StoreSummary,
    /// Mean over all neurons of the largest correlation in size with one of the other's.
    pub max_corr: f64,
    /// How like each layer is to each of the other's.
    pub layers: Vec<Likeness>,
    /// The same of layers as a whole, if that was asked for.
    pub wholes: Vec<Whole>,
    /// Which words neurons win, if that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub words: Option<Words>,
    /// The neurons with the largest correlation in size, with their partners.
    pub pairs: Vec<Pair>,
}

/// How like two layers are as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Whole {
    /// The layer's site.
    pub own: HookPoint,
    /// The other's.
    pub other: HookPoint,
    /// Mean over the layer's neurons of their multiple correlation with the other's.
    pub linreg: f64,
    /// Mean canonical correlation of the leading directions.
    pub svcca: f64,
    /// The mean weighted by what directions say of the layer.
    pub pwcca: f64,
    /// Alignment of kernels; none if a layer has one value a neuron.
    pub rbf_cka: Option<f64>,
}

/// A neuron and its partner.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pair {
    /// The neuron.
    pub name: NeuronId,
    /// The other's.
    pub partner: NeuronId,
    /// Their correlation.
    pub correlation: f64,
}

/// The neurons of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerReport {
    /// The layer's site.
    pub name: HookPoint,
    /// Number of neurons.
    pub neurons: usize,
    /// Mean of MaxCorr.
    pub max_corr: f64,
    /// Neurons whose excess correlation is above the threshold; none without a baseline.
    pub universal: Option<usize>,
}

/// The best neurons by one measure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ranked {
    /// The measure.
    pub name: String,
    /// Its best neurons.
    pub top: Vec<Best>,
}

/// Compares.
///
/// # Errors
/// If a store cannot be read, the rows of two stores are not the same words, a site is not there, or the user stops it.
pub fn run(config: &Config, progress: &dyn Progress) -> Result<Report, TaskError> {
    if config.others.is_empty() {
        return Err(TaskError::config("others", "at least one store to look in", "none"));
    }
    let store = open_store(&config.store)?;
    let own = recorded(&store, &config.sites)?;
    let comparison = Comparison { baseline: config.baseline, seed: config.seed };
    let (mut all, mut others) = (Vec::new(), Vec::new());
    for path in &config.others {
        let other = open_store(path)?;
        same_rows((&config.store, &store), (path, &other))?;
        let ctx = Context { memory: config.memory, progress };
        let theirs = recorded(&other, &config.sites)?;
        let compared = comparison.compare(&own, &theirs, ctx)?;
        let mut report = other_report(StoreSummary::of(path, &other), &own, &compared, config.top);
        if config.whole {
            report.wholes = wholes(config, (&store, &own), (&other, &theirs), progress)?;
        }
        if config.words {
            report.words = Some(words::compare((&own, &store.text()?), (&theirs, &other.text()?), config.top, ctx)?);
        }
        others.push(report);
        all.push(compared);
    }
    let scores = scores(config, &store, &own, &all)?;
    let layers = layers(config, &own, &scores);
    let ranked =
        |(idx, concept): (usize, &Concept)| Ranked { name: concept.name.clone(), top: best(&scores, idx, config.top) };
    let rankings = scores.concepts().iter().enumerate().map(ranked).collect();
    let file = config.out.as_ref().map(|out| out.join(RANKING));
    if let Some(file) = &file {
        save_ranking(file, &scores)?;
    }
    let store = StoreSummary::of(&config.store, &store);
    let report = Report { head: head("compare", config), store, others, layers, rankings, file };
    if let Some(out) = &config.out {
        write_json(&out.join(REPORT), &report)?;
    }
    Ok(report)
}

/// Checks that two stores have the same words in the same rows.
fn same_rows(own: (&Path, &Store), other: (&Path, &Store)) -> Result<(), TaskError> {
    let (a, b) = (own.1.text()?, other.1.text()?);
    let refuse = |expected, got| Err(TaskError::Format { path: other.0.to_owned(), expected, got });
    if a.n_tokens() != b.n_tokens() {
        return refuse(format!("the {} rows of {}", a.n_tokens(), own.0.display()), format!("{} rows", b.n_tokens()));
    }
    let differs = |row: &usize| a.word(*row) != b.word(*row) || a.sentence_of()[*row] != b.sentence_of()[*row];
    match (0..a.n_tokens()).find(differs) {
        None => Ok(()),
        Some(row) => {
            let said =
                |text: &nissl_core::TextRows| format!("'{}' of sentence {}", text.word(row), text.sentence_of()[row]);
            refuse(format!("{} in row {row}, as {} has", said(&a), own.0.display()), said(&b))
        }
    }
}

/// The layers of a selection, each by itself.
fn each_layer(store: &Store, selection: &Selection) -> Result<Vec<(HookPoint, Selection)>, TaskError> {
    let mut points: Vec<HookPoint> = selection.neurons().iter().map(|neuron| neuron.point).collect();
    points.dedup();
    let one = |point| Ok::<_, TaskError>((point, store.select(&[point])?));
    points.into_iter().map(one).collect()
}

/// How like every layer is to each of the other's, as a whole.
fn wholes(
    config: &Config,
    (store, own): (&Store, &Selection),
    (other, theirs): (&Store, &Selection),
    progress: &dyn Progress,
) -> Result<Vec<Whole>, TaskError> {
    let (own, theirs) = (each_layer(store, own)?, each_layer(other, theirs)?);
    // The other's layers stay in memory, one of the own is there at a time.
    let memory = config.memory / (theirs.len() + 1);
    progress.stage("compare layers as a whole", Some((own.len() * theirs.len()) as u64), "pairs of layers");
    let go_on = || if progress.cancelled() { Err(MethodError::Cancelled) } else { Ok(()) };
    let ready = |x: &Selection| -> Result<Layer, MethodError> {
        go_on()?;
        config.how.layer(x, memory)
    };
    let theirs = theirs.iter().map(|(point, x)| Ok((*point, ready(x)?)));
    let theirs = theirs.collect::<Result<Vec<_>, MethodError>>()?;
    let mut wholes = Vec::new();
    for (point, x) in &own {
        let layer = ready(x)?;
        for (other, their) in &theirs {
            go_on()?;
            let found = config.how.compare(&layer, their)?;
            let linreg = found.linreg.iter().sum::<f64>() / found.linreg.len().max(1) as f64;
            let (svcca, pwcca, rbf_cka) = (found.svcca, found.pwcca, found.rbf_cka);
            wholes.push(Whole { own: *point, other: *other, linreg, svcca, pwcca, rbf_cka });
            progress.step(wholes.len() as u64);
        }
    }
    Ok(wholes)
}

fn other_report(store: StoreSummary, own: &Selection, compared: &Compared, top: usize) -> OtherReport {
    let size = |idx: usize| compared.neurons[idx].correlation.abs();
    let n = compared.neurons.len();
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&a, &b| size(b).total_cmp(&size(a)));
    let pair = |&idx: &usize| Pair {
        name: own.neurons()[idx],
        partner: compared.neurons[idx].partner,
        correlation: compared.neurons[idx].correlation,
    };
    OtherReport {
        store,
        max_corr: (0..n).map(size).sum::<f64>() / n.max(1) as f64,
        layers: compared.layers.clone(),
        wholes: Vec::new(),
        words: None,
        pairs: order.iter().take(top).map(pair).collect(),
    }
}

/// MaxCorr, MinCorr, and, with a baseline, the excess correlation of every neuron.
fn scores(config: &Config, store: &Store, own: &Selection, all: &[Compared]) -> Result<Scores, TaskError> {
    let neurons = own.neurons().to_vec();
    let each = |idx: usize| all.iter().map(move |compared| compared.neurons[idx]);
    let mut measures = vec!["max-corr", "min-corr"];
    if config.baseline != Baseline::None {
        measures.push("excess");
    }
    let values = Array2::from_shape_fn((measures.len(), neurons.len()), |(measure, idx)| {
        let sizes = each(idx).map(|found| found.correlation.abs());
        let value = match measure {
            0 => sizes.fold(0.0, f64::max),
            1 => sizes.fold(f64::INFINITY, f64::min),
            // Mean of the highest less mean of the baselines: the mean of what each exceeds.
            _ => each(idx).filter_map(|found| found.excess()).sum::<f64>() / all.len() as f64,
        };
        value as f32
    });
    let constant = (0..neurons.len()).map(|idx| each(idx).all(|found| found.correlation.abs() == 0.0)).collect();
    let others: Vec<String> = config.others.iter().map(|path| path.display().to_string()).collect();
    let params = json!({
        "others": others,
        "baseline": config.baseline,
        "seed": config.seed,
    });
    let mut provenance = Provenance::of_method("compare", params);
    provenance.model.clone_from(&store.manifest().run.model.fingerprint);
    provenance.data = store.manifest().fingerprint();
    provenance.seed = Some(config.seed);
    let concepts = measures.into_iter().map(Concept::new).collect();
    Ok(Scores::new(values, concepts, neurons, provenance)?.with_constant(constant)?)
}

fn layers(config: &Config, own: &Selection, scores: &Scores) -> Vec<LayerReport> {
    let mut layers: Vec<LayerReport> = Vec::new();
    let excess = (scores.concepts().len() == 3).then(|| scores.values().row(2));
    for (idx, neuron) in own.neurons().iter().enumerate() {
        if layers.last().is_none_or(|layer| layer.name != neuron.point) {
            let universal = excess.map(|_| 0);
            layers.push(LayerReport { name: neuron.point, neurons: 0, max_corr: 0.0, universal });
        }
        let Some(layer) = layers.last_mut() else { continue };
        layer.neurons += 1;
        layer.max_corr += f64::from(scores.values()[[0, idx]]);
        if let (Some(n), Some(excess)) = (&mut layer.universal, excess) {
            *n += usize::from(f64::from(excess[idx]) > config.threshold);
        }
    }
    for layer in &mut layers {
        layer.max_corr /= layer.neurons as f64;
    }
    layers
}

#[cfg(test)]
mod tests;
