//! Rankings side by side over one matrix: what few of their neurons tell of each concept, and what they have in common.

use std::path::PathBuf;

use nissl_core::{Activations, Context, LabeledActivations, Labels, NeuronId, Ranking, Scores, TextRows};
use nissl_methods::ablating::Mean;
use nissl_methods::evaluation::agreement::{Agreement, AgreementOptions, agreement};
use nissl_methods::evaluation::damage::{Damage, DamageCurve};
use nissl_methods::evaluation::description::{DescriptionOptions, describe};
use nissl_methods::evaluation::few::{ConceptRows, FewCurves, FewOptions, few_curves};
use nissl_methods::evaluation::overlap::{SetOverlap, chance_of_sharing, common, holm, rank_biased};
use nissl_methods::evaluation::spread::{LayerSpread, count_to_mass, gini, layer_spread};
use nissl_methods::probes::{ChosenNeurons, SplitOptions};
use serde::{Deserialize, Serialize};

use super::inside::Recorded;
use crate::error::TaskError;

/// Chance below which, all pairs together, two sets share more than by chance.
const ALPHA: f64 = 0.05;

/// Weight of the next place in rank-biased overlap.
const PERSISTENCE: f64 = 0.98;

/// How rankings are judged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Judging {
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
    /// Seed of random lists, control tasks and draws.
    pub seed: u64,
}

impl Default for Judging {
    fn default() -> Self {
        let FewOptions { k, random_sets, split, control, draws, seed } = FewOptions::default();
        let AgreementOptions { depth, overlap, .. } = AgreementOptions::default();
        Self { k, random_sets, split, control, draws, depth, overlap, description: 0, seed }
    }
}

/// What was found of rankings side by side.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SideBySide {
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
}

/// A ranking, and its means over concepts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RankingReport {
    /// What it is called here: its method, and its file where several have that.
    pub name: String,
    /// The table; empty if it was not written.
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

/// What all concepts are judged with.
pub(crate) struct Judge<'a> {
    pub(crate) judging: &'a Judging,
    /// `[n_rows, n_neurons]`.
    pub(crate) x: &'a dyn Activations,
    pub(crate) text: &'a TextRows,
    pub(crate) labels: &'a Labels,
    pub(crate) model: Option<&'a Recorded<'a>>,
    pub(crate) ctx: Context<'a>,
}

impl Judge<'_> {
    /// Judges rankings of these names, concept by concept.
    ///
    /// # Errors
    /// If a ranked neuron is not among the activations, these cannot be read, the model cannot run, no concept is left, or
    /// the user stops it.
    pub(crate) fn all(&self, scores: &[Scores], names: Vec<String>) -> Result<SideBySide, TaskError> {
        let (mut concepts, mut left_out) = (Vec::new(), Vec::new());
        for (idx, concept) in self.labels.concepts().iter().enumerate() {
            let left = |why: String| LeftOut { name: concept.name.clone(), why };
            let places: Vec<Option<usize>> = scores.iter().map(|scores| scores.concept(&concept.name)).collect();
            if let Some(lacks) = places.iter().position(Option::is_none) {
                left_out.push(left(format!("not in {}", names[lacks])));
                continue;
            }
            let of_concept: Vec<Ranking> =
                scores.iter().zip(places).filter_map(|(scores, place)| Some(scores.ranking(place?))).collect();
            match self.concept(idx, &of_concept) {
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
        let rankings = names.into_iter().enumerate().map(|(idx, name)| means(idx, name, &concepts)).collect();
        let random = mean_each(concepts.iter().map(|c| c.curves.random.iter().map(|of_k| of_k.value).collect()));
        Ok(SideBySide { rankings, random, k, concepts, left_out })
    }

    fn concept(&self, idx: usize, rankings: &[Ranking]) -> Result<ConceptReport, TaskError> {
        let Judging { random_sets, split, control, draws, seed, depth, overlap, .. } = *self.judging;
        let name = self.labels.concepts()[idx].name.clone();
        let has = self.labels.mask(idx);
        let all: Vec<&Ranking> = rankings.iter().collect();
        let options = FewOptions { k: self.judging.k.clone(), random_sets, split, control, draws, seed };
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
        let k = self.judging.description;
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
            let options = DescriptionOptions { seed: self.judging.seed, ..DescriptionOptions::default() };
            Ok(describe(LabeledActivations::new(&few, &labels)?, &options, self.ctx)?.compression)
        };
        rankings.iter().map(of_ranking).collect::<Result<Vec<f64>, TaskError>>().map(Some)
    }
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
