//! Rankings side by side: what few of their neurons tell of a concept, how much they have in common, where they lie.

use std::path::PathBuf;

use nissl_core::{Activations, Context, LabeledActivations, Labels, NeuronId, Progress, Ranking, Scores, TextRows};
use nissl_methods::ablating::Mean;
use nissl_methods::evaluation::agreement::{Agreement, AgreementOptions, agreement};
use nissl_methods::evaluation::damage::{Damage, DamageCurve};
use nissl_methods::evaluation::description::{DescriptionOptions, describe};
use nissl_methods::evaluation::few::{ConceptRows, FewCurves, FewOptions, few_curves};
use nissl_methods::evaluation::overlap::{SetOverlap, chance_of_sharing, common, holm, rank_biased};
use nissl_methods::evaluation::spread::{LayerSpread, count_to_mass, gini, layer_spread};
use nissl_methods::probes::{ChosenNeurons, SplitOptions};
use nissl_store::Selection;
use serde::{Deserialize, Serialize};

use crate::error::TaskError;
use crate::labels::labels;
use crate::output::{write_json, write_whole};
use crate::ranking_file::load_ranking;
use crate::report::{Head, head};
use crate::tasks::extract::StoreSummary;
use crate::tasks::rank::open_store;

mod figures;
mod inside;

pub use inside::Inside;
use inside::Recorded;

/// One sentence about the task.
pub const SUMMARY: &str = "Judge rankings side by side: what few of their neurons tell, what they have in common";

/// Names of the files in the folder of the results.
const REPORT: &str = "evaluate.json";
const PAGE: &str = "evaluate.html";
const PLOTS: &str = "plots";

/// Chance below which, all pairs together, two sets share more than by chance.
const ALPHA: f64 = 0.05;

/// Weight of the next place in rank-biased overlap.
const PERSISTENCE: f64 = 0.98;

/// What to judge.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Folder of the store to judge on; best one of other text than the rankings were made on.
    pub store: PathBuf,
    /// The rankings, Parquet tables.
    pub rankings: Vec<PathBuf>,
    /// The concepts, see [`nissl_data::ConceptSource`]; those that every ranking has are judged.
    pub concepts: Vec<String>,
    /// A file of concepts.
    pub concepts_file: Option<PathBuf>,
    /// Numbers of neurons.
    pub k: Vec<usize>,
    /// Random lists of neurons to compare with.
    pub random_sets: usize,
    /// Shares of the rows, seed, and whether words are kept apart.
    pub split: SplitOptions,
    /// Whether a control task is fitted beside.
    pub control: bool,
    /// Draws of the sentences for intervals.
    pub draws: usize,
    /// Best neurons of a ranking that get points in the vote.
    pub depth: usize,
    /// What two sets have in common.
    pub overlap: SetOverlap,
    /// The description length of the labels by so many best neurons is measured; none if 0.
    pub description: usize,
    /// What is removed inside the model.
    pub inside: Inside,
    /// Seed of random lists, control tasks and draws.
    pub seed: u64,
    /// Folder for the report and its page; nothing is written if `None`.
    pub out: Option<PathBuf>,
    /// Whether the figures of the page are written too, each as SVG and as PNG.
    pub plots: bool,
    /// Bytes for activations.
    pub memory: usize,
}

impl Default for Config {
    fn default() -> Self {
        let FewOptions { k, random_sets, split, control, draws, seed } = FewOptions::default();
        let AgreementOptions { depth, overlap, .. } = AgreementOptions::default();
        Self {
            store: PathBuf::new(),
            rankings: Vec::new(),
            concepts: Vec::new(),
            concepts_file: None,
            k,
            random_sets,
            split,
            control,
            draws,
            depth,
            overlap,
            description: 0,
            inside: Inside::default(),
            seed,
            out: None,
            plots: false,
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
    /// The store.
    pub store: StoreSummary,
    /// The rankings, in the order given, with their means over concepts.
    pub rankings: Vec<RankingReport>,
    /// Mean balanced accuracy of random neurons over concepts, for each number of neurons.
    pub random: Vec<f64>,
    /// Numbers of neurons.
    pub k: Vec<usize>,
    /// One entry a concept.
    pub concepts: Vec<ConceptReport>,
    /// Concepts that could not be judged, and why.
    pub left_out: Vec<LeftOut>,
    /// What was written.
    pub files: Vec<PathBuf>,
}

/// A ranking, and its means over concepts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RankingReport {
    /// What it is called here: its method, and its file where several have that.
    pub name: String,
    /// The table.
    pub path: PathBuf,
    /// Whether it was made on the text it is judged on.
    pub same_text: bool,
    /// Balanced accuracy with the best neurons, for each number of them.
    pub best: Vec<f64>,
    /// The same with the worst.
    pub worst: Vec<f64>,
    /// Accuracy less that of the control task; none without one.
    pub selectivity: Option<Vec<f64>>,
    /// Mean over the numbers of neurons of the accuracy of the best less that of random ones.
    pub area: f64,
    /// What it has in common with the others, for each number of neurons; nothing for a single ranking.
    pub agreement: Vec<Agreement>,
    /// Bits that the uniform code needs for the labels over those with the best neurons.
    pub compression: Option<f64>,
    /// What the model loses without the best neurons; nothing without the model.
    pub inside: Option<InsideReport>,
}

/// By how much losses rise in the model without the best neurons, in nats: means over the concepts whose words the model
/// can predict, for each number of neurons.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InsideReport {
    /// Concepts.
    pub concepts: usize,
    /// Numbers of neurons.
    pub k: Vec<usize>,
    /// On words with the concept.
    pub own: Vec<f64>,
    /// On other words.
    pub others: Vec<f64>,
    /// On words with the concept, without as many random neurons of the same sites; empty without random sets.
    pub random: Vec<f64>,
    /// Mean over the numbers of neurons of `own` less `random`.
    pub area: f64,
}

/// A concept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConceptReport {
    /// The concept.
    pub name: String,
    /// What few neurons tell, for the rankings in their order.
    pub curves: FewCurves,
    /// What each ranking has in common with the others, `[n_rankings][n_k]`; nothing for a single ranking.
    pub agreement: Vec<Vec<Agreement>>,
    /// Every two rankings.
    pub pairs: Vec<Pair>,
    /// How each ranking is spread.
    pub spread: Vec<Spread>,
    /// Compression by each ranking's best neurons, if asked for.
    pub compression: Option<Vec<f64>>,
    /// What the model loses without each ranking's best neurons; nothing without the model, or where it can predict no
    /// word with the concept.
    pub inside: Option<Damage>,
}

/// Two rankings of a concept.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pair {
    /// Places of the two in the list of rankings.
    pub of: [usize; 2],
    /// Number of best neurons.
    pub k: usize,
    /// Neurons that both have among their best.
    pub shared: usize,
    /// Neurons that two random sets share on average.
    pub expected: f64,
    /// Chance of at least as many.
    pub p: f64,
    /// Whether that is below 5% for all pairs of the concept together (Holm).
    pub significant: bool,
    /// Rank-biased overlap of the whole rankings, p = 0.98.
    pub rank_biased_overlap: f64,
}

/// How a ranking is spread over layers and neurons.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spread {
    /// Number of best neurons.
    pub k: usize,
    /// Where they lie.
    pub layers: LayerSpread,
    /// Unevenness of all scores (Gini).
    pub gini: f64,
    /// Neurons with half of the mass of all scores.
    pub neurons_to_half: usize,
}

/// A concept that could not be judged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeftOut {
    /// The concept.
    pub name: String,
    /// Why.
    pub why: String,
}

/// Judges.
///
/// # Errors
/// If the store or a ranking cannot be read, a ranked neuron is not in the store, the model is another than was recorded or
/// predicts no words, no concept is left, a file cannot be written, or the user stops it.
pub fn run(config: &Config, progress: &dyn Progress) -> Result<Report, TaskError> {
    if config.rankings.is_empty() {
        return Err(TaskError::config("rankings", "at least one", "none"));
    }
    if config.plots && config.out.is_none() {
        return Err(TaskError::config("out", "a folder, for the plots", "none"));
    }
    let store = open_store(&config.store)?;
    let rankings = config.rankings.iter().map(|path| load_ranking(path)).collect::<Result<Vec<Scores>, _>>()?;
    let points = rankings.iter().flat_map(Scores::neurons).map(|neuron| neuron.point);
    let points: std::collections::BTreeSet<_> = points.collect();
    let recorded: std::collections::BTreeSet<_> = store.points().map(|(point, _)| point).collect();
    if let Some(point) = points.difference(&recorded).next() {
        let got = format!("{point}, which {} has not", config.store.display());
        return Err(TaskError::config("rankings", "neurons of recorded sites", got));
    }
    let x = store.select(&points.into_iter().collect::<Vec<_>>())?;
    let text = store.text()?;
    let labels = labels(&store, &config.concepts, config.concepts_file.as_deref())?;
    let model = Recorded::open(&config.inside, &store, progress)?;
    let ctx = Context { memory: config.memory, progress };
    let judge = Judge { config, x: &x, text: &text, labels: &labels, model: model.as_ref(), ctx };
    let (mut concepts, mut left_out) = (Vec::new(), Vec::new());
    for (idx, concept) in labels.concepts().iter().enumerate() {
        let left = |why: String| LeftOut { name: concept.name.clone(), why };
        let places: Vec<Option<usize>> = rankings.iter().map(|scores| scores.concept(&concept.name)).collect();
        if let Some(lacks) = places.iter().position(Option::is_none) {
            left_out.push(left(format!("not in {}", config.rankings[lacks].display())));
            continue;
        }
        let of_concept: Vec<Ranking> =
            rankings.iter().zip(places).filter_map(|(scores, place)| Some(scores.ranking(place?))).collect();
        match judge.concept(idx, &of_concept) {
            Ok(report) => concepts.push(report),
            Err(TaskError::Method(why @ nissl_core::MethodError::TooFewRows { .. })) => {
                left_out.push(left(why.to_string()));
            }
            Err(other) => return Err(other),
        }
    }
    let Some(first) = concepts.first() else {
        let why: Vec<String> = left_out.iter().map(|left| format!("{} ({})", left.name, left.why)).collect();
        let got = if why.is_empty() { "none".to_owned() } else { why.join("; ") };
        return Err(TaskError::config("concepts", "at least one that the store and every ranking have", got));
    };
    let k = first.curves.k.clone();
    let store_digest = store.manifest().fingerprint();
    let names = names(&config.rankings, &rankings);
    let of_ranking = |(idx, name): (usize, String)| RankingReport {
        same_text: rankings[idx].provenance.data == store_digest,
        path: config.rankings[idx].clone(),
        ..means(idx, name, &concepts)
    };
    let reports: Vec<RankingReport> = names.into_iter().enumerate().map(of_ranking).collect();
    let random = mean_each(concepts.iter().map(|c| c.curves.random.iter().map(|of_k| of_k.value).collect()));
    let store = StoreSummary::of(&config.store, &store);
    let head = head("evaluate", config);
    let mut report = Report { head, store, rankings: reports, random, k, concepts, left_out, files: Vec::new() };
    if let Some(out) = &config.out {
        report.files = vec![out.join(REPORT), out.join(PAGE)];
        report.files.extend(config.plots.then(|| out.join(PLOTS)));
        write_json(&out.join(REPORT), &report)?;
        let figures = figures::figures(&report);
        let page = figures::page(&report, &figures);
        write_whole(&out.join(PAGE), |file| std::io::Write::write_all(file, page.as_bytes()))?;
        for (name, figure) in figures.iter().filter(|_| config.plots) {
            let plots = out.join(PLOTS);
            for (suffix, bytes) in [("svg", figure.svg().into_bytes()), ("png", figure.png())] {
                let path = plots.join(format!("{name}.{suffix}"));
                write_whole(&path, |file| std::io::Write::write_all(file, &bytes))?;
            }
        }
    }
    Ok(report)
}

/// What all concepts are judged with.
struct Judge<'a> {
    config: &'a Config,
    x: &'a Selection,
    text: &'a TextRows,
    labels: &'a Labels,
    model: Option<&'a Recorded<'a>>,
    ctx: Context<'a>,
}

impl Judge<'_> {
    fn concept(&self, idx: usize, rankings: &[Ranking]) -> Result<ConceptReport, TaskError> {
        let Config { random_sets, split, control, draws, seed, depth, overlap, .. } = *self.config;
        let name = self.labels.concepts()[idx].name.clone();
        let has = self.labels.mask(idx);
        let all: Vec<&Ranking> = rankings.iter().collect();
        let options = FewOptions { k: self.config.k.clone(), random_sets, split, control, draws, seed };
        let told = ConceptRows { x: self.x, text: self.text, has: &has };
        let curves = few_curves(told, &name, &all, &options, self.ctx)?;
        let options = AgreementOptions { depth, overlap, exclude_self: true };
        let by_k: Vec<Vec<Agreement>> = curves.k.iter().map(|&k| agreement(&all, k, options)).collect();
        let of_ranking = |ranking| by_k.iter().filter_map(|of_k| of_k.get(ranking).copied()).collect::<Vec<_>>();
        let agreement = (0..rankings.len()).map(of_ranking).filter(|of_k| !of_k.is_empty()).collect();
        let most = curves.k.last().copied().unwrap_or(1);
        let damage = |model: &Recorded<'_>| model.damage(&has, &all, (random_sets, seed), self.ctx);
        Ok(ConceptReport {
            inside: self.model.map(damage).transpose()?.flatten(),
            compression: self.compression(idx, rankings)?,
            pairs: self.pairs(rankings, most),
            spread: rankings.iter().map(|ranking| self.spread(ranking, most)).collect(),
            name,
            curves,
            agreement,
        })
    }

    fn pairs(&self, rankings: &[Ranking], k: usize) -> Vec<Pair> {
        let n = self.x.neurons().len();
        let pair = |a: usize, b: usize| {
            let (first, second) = (&rankings[a], &rankings[b]);
            let shared = common(first.top(k), second.top(k));
            Pair {
                of: [a, b],
                k,
                shared,
                expected: (k * k) as f64 / n as f64,
                p: chance_of_sharing(n, k, shared),
                significant: false,
                rank_biased_overlap: rank_biased(&first.neurons, &second.neurons, PERSISTENCE).unwrap_or(0.0),
            }
        };
        let places = 0..rankings.len();
        let mut pairs: Vec<Pair> =
            places.clone().flat_map(|a| (a + 1..places.end).map(move |b| (a, b))).map(|(a, b)| pair(a, b)).collect();
        let p: Vec<f64> = pairs.iter().map(|pair| pair.p).collect();
        for (pair, significant) in pairs.iter_mut().zip(holm(&p, ALPHA)) {
            pair.significant = significant;
        }
        pairs
    }

    fn spread(&self, ranking: &Ranking, k: usize) -> Spread {
        Spread {
            k,
            layers: layer_spread(ranking.top(k), self.x.neurons()),
            gini: gini(&ranking.scores),
            neurons_to_half: count_to_mass(&ranking.scores, 0.5),
        }
    }

    fn compression(&self, idx: usize, rankings: &[Ranking]) -> Result<Option<Vec<f64>>, TaskError> {
        let k = self.config.description;
        if k == 0 {
            return Ok(None);
        }
        let concept = self.labels.concepts()[idx].clone();
        let rows = self.labels.mask(idx).into_iter().map(|has| has.then_some(0));
        let labels = Labels::single(vec![concept], rows);
        let place = |neuron: &NeuronId| self.x.neurons().binary_search(neuron).ok();
        let of_ranking = |ranking: &Ranking| {
            let columns: Vec<usize> = ranking.top(k).iter().filter_map(place).collect();
            let few = ChosenNeurons::new(self.x, &columns);
            let options = DescriptionOptions { seed: self.config.seed, ..DescriptionOptions::default() };
            Ok(describe(LabeledActivations::new(&few, &labels)?, &options, self.ctx)?.compression)
        };
        rankings.iter().map(of_ranking).collect::<Result<Vec<f64>, TaskError>>().map(Some)
    }
}

/// The method of each ranking, with its file where several have that.
fn names(paths: &[PathBuf], rankings: &[Scores]) -> Vec<String> {
    let method = |idx: usize| rankings[idx].provenance.method.clone();
    let name = |idx: usize| {
        let alone = (0..rankings.len()).filter(|&other| method(other) == method(idx)).count() == 1;
        let file = || paths[idx].file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
        if alone { method(idx) } else { format!("{} ({})", method(idx), file()) }
    };
    (0..rankings.len()).map(name).collect()
}

/// Means over concepts.
fn means(idx: usize, name: String, concepts: &[ConceptReport]) -> RankingReport {
    let n = concepts.len() as f64;
    let curves = || concepts.iter().map(|concept| &concept.curves.rankings[idx]);
    let agreement_of = |of: &dyn Fn(&Agreement) -> f64| {
        mean_each(concepts.iter().map(|c| c.agreement.get(idx).map_or(Vec::new(), |a| a.iter().map(of).collect())))
    };
    let (overlaps, votes) = (agreement_of(&|a| a.average_overlap), agreement_of(&|a| a.compatibility));
    let k = &concepts[0].curves.k;
    let agreement = k.iter().zip(overlaps).zip(votes);
    let selectivity: Option<Vec<Vec<f64>>> = curves().map(|curve| curve.selectivity.clone()).collect();
    let compression: Option<Vec<f64>> = concepts.iter().map(|c| c.compression.as_ref().map(|all| all[idx])).collect();
    RankingReport {
        name,
        path: PathBuf::new(),
        same_text: false,
        best: mean_each(curves().map(|curve| curve.best.iter().map(|best| best.value).collect())),
        worst: mean_each(curves().map(|curve| curve.worst.clone())),
        selectivity: selectivity.map(|all| mean_each(all.into_iter())),
        area: curves().map(|curve| curve.area).sum::<f64>() / n,
        agreement: agreement
            .map(|((&k, average_overlap), compatibility)| Agreement { k, average_overlap, compatibility })
            .collect(),
        compression: compression.map(|all| all.iter().sum::<f64>() / n),
        inside: inside(idx, concepts),
    }
}

/// Means over the concepts whose words the model can predict.
fn inside(idx: usize, concepts: &[ConceptReport]) -> Option<InsideReport> {
    let found: Vec<&Damage> = concepts.iter().filter_map(|concept| concept.inside.as_ref()).collect();
    let k = found.first()?.k.clone();
    let mean = |of: &dyn Fn(&DamageCurve) -> Vec<f64>| mean_each(found.iter().map(|damage| of(&damage.rankings[idx])));
    let rises = |means: &[Mean]| means.iter().map(|mean| mean.mean).collect::<Vec<f64>>();
    Some(InsideReport {
        concepts: found.len(),
        own: mean(&|curve| rises(&curve.own)),
        others: mean(&|curve| rises(&curve.others)),
        random: mean(&|curve| curve.random.iter().map(|random| random.value).collect()),
        area: found.iter().map(|damage| damage.rankings[idx].area).sum::<f64>() / found.len() as f64,
        k,
    })
}

/// The mean of lists of one length, place by place.
fn mean_each(lists: impl Iterator<Item = Vec<f64>>) -> Vec<f64> {
    let (mut sum, mut n) = (Vec::new(), 0.0);
    for list in lists {
        sum.resize(list.len(), 0.0);
        sum.iter_mut().zip(&list).for_each(|(sum, value)| *sum += value);
        n += 1.0;
    }
    sum.iter().map(|sum| sum / n).collect()
}

#[cfg(test)]
mod tests;
