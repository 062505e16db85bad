//! The best concepts of a neuron: looked up in rankings, or compared anew.

use std::borrow::Cow;

use nissl_core::{Activations, Context, LabeledActivations, Labels, Matrix, MethodError, NeuronId, Ranker, Scores};
use nissl_methods::rankers::AveragePrecision;
use nissl_store::Store;
use serde::{Deserialize, Serialize};

use crate::error::TaskError;
use crate::labels::MOST_LABELS;
use crate::progress::Quiet;

/// A concept with fewer rows says little.
const FEWEST_ROWS: usize = 5;

/// How well a neuron fits a concept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConceptScore {
    /// The concept; with its column, where several were compared.
    pub name: String,
    /// The method that scored it.
    pub method: String,
    /// The score; higher is more important.
    pub score: f32,
    /// Whether the neuron is higher (1) or lower (-1) on the concept's rows, where the method knows.
    pub sign: Option<i8>,
    /// Place of the neuron in the concept's ranking, from 1; `None` if it was not compared with other neurons.
    pub rank: Option<usize>,
    /// The score of a neuron that knows nothing, where it is known: for average precision the concept's share of rows.
    pub chance: Option<f32>,
}

/// Looks every neuron up in the rankings: the concepts for which its place is best, best first.
pub(super) fn look_up(rankings: &[Scores], neurons: &[NeuronId], top: usize) -> Vec<Vec<ConceptScore>> {
    let mut found: Vec<Vec<ConceptScore>> = vec![Vec::new(); neurons.len()];
    for scores in rankings {
        for (concept_idx, concept) in scores.concepts().iter().enumerate() {
            let ranking = scores.ranking(concept_idx);
            for (neuron, found) in neurons.iter().zip(&mut found) {
                let Ok(idx) = scores.neurons().binary_search(neuron) else { continue };
                found.push(ConceptScore {
                    name: concept.name.clone(),
                    method: scores.provenance.method.clone(),
                    score: scores.values()[(concept_idx, idx)],
                    sign: scores.sign().map(|sign| sign[(concept_idx, idx)]),
                    rank: ranking.rank(*neuron).map(|rank| rank + 1),
                    chance: None,
                });
            }
        }
    }
    for concepts in &mut found {
        concepts.sort_by_key(|concept| concept.rank);
        concepts.truncate(top);
    }
    found
}

/// Scores every neuron for the given concepts, or those of all label columns, by average precision of either end. Best
/// is what is furthest above chance.
pub(super) fn compare(
    store: &Store,
    x: &Matrix,
    given: Option<&Labels>,
    top: usize,
    ctx: Context<'_>,
) -> Result<Vec<Vec<ConceptScore>>, TaskError> {
    let mut all: Vec<(&str, Cow<'_, Labels>)> = Vec::new();
    if let Some(labels) = given {
        all.push(("", Cow::Borrowed(labels)));
    } else {
        for column in store.label_columns() {
            let labels = store.labels(column)?;
            if labels.concepts().len() <= MOST_LABELS {
                all.push((column, Cow::Owned(labels)));
            }
        }
    }
    let mut found: Vec<Vec<ConceptScore>> = vec![Vec::new(); x.neurons().len()];
    let method = AveragePrecision { signed: true, min_count: FEWEST_ROWS, ..AveragePrecision::default() };
    let silent = Quiet(ctx.progress);
    let quiet = Context { progress: &silent, ..ctx };
    for (column, labels) in &all {
        let scores = match method.score(LabeledActivations::new(x, labels)?, quiet) {
            Ok(scores) => scores,
            Err(MethodError::TooFewConcepts { .. }) => continue,
            Err(err) => return Err(err.into()),
        };
        let counts = labels.counts();
        for (concept_idx, concept) in scores.concepts().iter().enumerate() {
            let count = labels.concepts().iter().position(|other| other == concept).map_or(0, |idx| counts[idx]);
            // The column of a concept bears the concept's name, as does its one label.
            let name = if column.is_empty() || *column == concept.name {
                concept.name.clone()
            } else {
                format!("{column}={}", concept.name)
            };
            for (idx, found) in found.iter_mut().enumerate() {
                found.push(ConceptScore {
                    name: name.clone(),
                    method: scores.provenance.method.clone(),
                    score: scores.values()[(concept_idx, idx)],
                    sign: scores.sign().map(|sign| sign[(concept_idx, idx)]),
                    rank: None,
                    chance: Some(count as f32 / labels.n_tokens().max(1) as f32),
                });
            }
        }
    }
    for concepts in &mut found {
        concepts.sort_by(|a, b| above_chance(b).total_cmp(&above_chance(a)).then_with(|| a.name.cmp(&b.name)));
        concepts.truncate(top);
    }
    Ok(found)
}

/// How much of the way from chance to a perfect score the neuron goes.
fn above_chance(concept: &ConceptScore) -> f32 {
    let chance = concept.chance.unwrap_or(0.0);
    if chance < 1.0 { (concept.score - chance) / (1.0 - chance) } else { 0.0 }
}
