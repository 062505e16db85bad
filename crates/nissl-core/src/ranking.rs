//! Neurons in order of importance.

use serde::{Deserialize, Serialize};

use crate::neuron::NeuronId;

/// A total order of neurons, best first, with the score of each. Ties are broken by [`NeuronId`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ranking {
    /// The neurons, best first.
    pub neurons: Vec<NeuronId>,
    /// The score of each, in the same order.
    pub scores: Vec<f32>,
}

impl Ranking {
    /// Sorts neurons by descending score; neurons that are `constant` come last, whatever their score.
    ///
    /// # Panics
    /// If the three slices are not of one length.
    pub fn from_scores(neurons: &[NeuronId], scores: &[f32], constant: &[bool]) -> Self {
        let order = Self::order(neurons, scores, constant);
        Self {
            neurons: order.iter().map(|&i| neurons[i]).collect(),
            scores: order.iter().map(|&i| scores[i]).collect(),
        }
    }

    /// The places of the neurons, best first.
    pub(crate) fn order(neurons: &[NeuronId], scores: &[f32], constant: &[bool]) -> Vec<usize> {
        assert!(neurons.len() == scores.len() && neurons.len() == constant.len(), "one score a neuron");
        let mut order: Vec<usize> = (0..neurons.len()).collect();
        order.sort_by(|&a, &b| {
            constant[a]
                .cmp(&constant[b])
                .then_with(|| scores[b].total_cmp(&scores[a]))
                .then_with(|| neurons[a].cmp(&neurons[b]))
        });
        order
    }

    /// The best `k` neurons, or all if there are fewer.
    pub fn top(&self, k: usize) -> &[NeuronId] {
        &self.neurons[..k.min(self.neurons.len())]
    }

    /// Place of a neuron, from 0.
    pub fn rank(&self, neuron: NeuronId) -> Option<usize> {
        self.neurons.iter().position(|&n| n == neuron)
    }
}
