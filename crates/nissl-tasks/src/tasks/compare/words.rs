//! TX-Ray's comparison of checkpoints: which words each neuron wins in one store and in another.

use nissl_core::{Activations, Context, NeuronId, Profiler, TextActivations, TextRows};
use nissl_methods::profilers::{TxRay, hellinger};
use nissl_store::Selection;
use serde::{Deserialize, Serialize};

use crate::error::TaskError;

/// How the words that neurons win moved from one store to another. A row's word is won by the neuron that is largest
/// there; a neuron is compared with that of the same name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Words {
    /// Neurons that win rows in both.
    pub shared: usize,
    /// Neurons that win rows in the first store alone.
    pub only_own: usize,
    /// Neurons that win rows in the other alone.
    pub only_other: usize,
    /// Mean distance of the shared ones: 0 if they win the same words, 1 if none.
    pub distance: f64,
    /// The shared neurons that moved most.
    pub moved: Vec<Moved>,
    /// The shared neurons that moved least.
    pub stayed: Vec<Moved>,
}

/// A neuron that wins rows in both stores.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Moved {
    /// The neuron.
    pub name: NeuronId,
    /// Hellinger distance of its words.
    pub distance: f64,
    /// Distinct words that it wins in the first store.
    pub own: usize,
    /// In the other.
    pub other: usize,
    /// The word that it wins most in the first store.
    pub own_word: String,
    /// In the other.
    pub other_word: String,
}

/// Compares the words of two stores' neurons.
pub(super) fn compare(
    own: (&Selection, &TextRows),
    other: (&Selection, &TextRows),
    top: usize,
    ctx: Context<'_>,
) -> Result<Words, TaskError> {
    if own.0.neurons() != other.0.neurons() {
        let expected = "stores of the same neurons, as of a model and its fine-tuning";
        let got = format!("{} and {} neurons", own.0.neurons().len(), other.0.neurons().len());
        return Err(TaskError::config("words", expected, got));
    }
    let profiles = |(x, text): (&Selection, &TextRows)| {
        let method = TxRay { num: 0, ..TxRay::default() };
        Ok::<_, TaskError>(method.profile(TextActivations::new(x, text)?, ctx)?)
    };
    let (own, other) = (profiles(own)?, profiles(other)?);
    let (mut moved, mut only) = (Vec::new(), [0, 0]);
    for (a, b) in own.iter().zip(&other) {
        match (a.words.first(), b.words.first()) {
            (Some(own_word), Some(other_word)) => moved.push(Moved {
                name: a.neuron,
                distance: hellinger(&a.words, &b.words),
                own: a.words.len(),
                other: b.words.len(),
                own_word: own_word.name.clone(),
                other_word: other_word.name.clone(),
            }),
            (Some(_), None) => only[0] += 1,
            (None, Some(_)) => only[1] += 1,
            (None, None) => {}
        }
    }
    let (shared, [only_own, only_other]) = (moved.len(), only);
    let distance = moved.iter().map(|moved| moved.distance).sum::<f64>() / shared.max(1) as f64;
    moved.sort_by(|a, b| b.distance.total_cmp(&a.distance));
    let stayed = moved.iter().rev().take(top).cloned().collect();
    moved.truncate(top);
    Ok(Words { shared, only_own, only_other, distance, moved, stayed })
}
