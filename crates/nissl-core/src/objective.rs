//! What gradients are taken of: a number of the logits of each sentence, or of its activations.

use serde::{Deserialize, Serialize};

use crate::neuron::NeuronId;

/// A number of a sentence's logits or activations; gradients say how it changes with the activations before it.
///
/// Positions are places in the sentence whose logits or activations are read; negative ones count from its end, and -1, the last one,
/// is the default. Probabilities are the softmax of a position's logits, logarithms are natural.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Objective {
    /// The logit of a token (of a tagger, of a label).
    Logit {
        /// The token.
        token: u32,
        /// The place.
        #[serde(default = "last")]
        position: i64,
    },
    /// The log-probability of a token.
    LogProb {
        /// The token.
        token: u32,
        /// The place.
        #[serde(default = "last")]
        position: i64,
    },
    /// The log-probability of a class, where nothing but the classes can come.
    ClassLogProb {
        /// The token that stands for the class; one of `classes`.
        class: u32,
        /// The tokens that stand for all classes, each once.
        classes: Vec<u32>,
        /// The place.
        #[serde(default = "last")]
        position: i64,
    },
    /// How much more a token is expected than another: the difference of their logits, which is that of their
    /// log-probabilities.
    Difference {
        /// The token.
        target: u32,
        /// The one that it is compared with.
        foil: u32,
        /// The place.
        #[serde(default = "last")]
        position: i64,
    },
    /// The log-probability of the sentence's own tokens, each given those before it: the sum over the places from
    /// `from` on, before `until`, of what the place before expects. The first token is expected by none.
    Sequence {
        /// The first token that counts.
        #[serde(default = "second")]
        from: usize,
        /// The token before which it ends; none for the sentence's end.
        #[serde(default)]
        until: Option<usize>,
    },
    /// The mean cross-entropy, in nats.
    Loss {
        /// What each place should expect, one a token of the sentence; none where it does not count.
        targets: Vec<Option<u32>>,
    },
    /// The activation of a neuron, after the plan's edits. The neuron is no part of an attention pattern. A run whose
    /// objectives ask for neurons alone ends behind them; the model needs no logits for it.
    Neuron {
        /// The neuron.
        neuron: NeuronId,
        /// The place.
        #[serde(default = "last")]
        position: i64,
    },
    /// A weighted sum.
    Sum {
        /// The parts.
        parts: Vec<Weighted>,
    },
}

/// A part of a sum.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Weighted {
    /// Its factor.
    pub weight: f64,
    /// What is added.
    pub objective: Objective,
}

fn last() -> i64 {
    -1
}

fn second() -> usize {
    1
}

impl Objective {
    /// The logit of a token after the sentence.
    pub fn logit(token: u32) -> Self {
        Self::Logit { token, position: last() }
    }

    /// The log-probability of a token after the sentence.
    pub fn log_prob(token: u32) -> Self {
        Self::LogProb { token, position: last() }
    }

    /// How much more a token is expected after the sentence than another.
    pub fn difference(target: u32, foil: u32) -> Self {
        Self::Difference { target, foil, position: last() }
    }

    /// The activation of a neuron at the sentence's last token.
    pub fn neuron(neuron: NeuronId) -> Self {
        Self::Neuron { neuron, position: last() }
    }

    /// The log-probability of the sentence's own tokens but the first.
    pub fn sequence() -> Self {
        Self::Sequence { from: second(), until: None }
    }

    /// A weighted sum.
    pub fn sum(parts: impl IntoIterator<Item = (f64, Self)>) -> Self {
        let parts = parts.into_iter().map(|(weight, objective)| Weighted { weight, objective });
        Self::Sum { parts: parts.collect() }
    }
}
