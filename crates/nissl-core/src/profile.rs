//! What one neuron fires on, in the user's words: the answer of a concept search.

use serde::{Deserialize, Serialize};

use crate::neuron::NeuronId;

/// What one neuron fires on. A method fills in what it finds and leaves the rest empty.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// The neuron.
    pub neuron: NeuronId,
    /// Words by how strongly the neuron reacts to them, best first.
    #[serde(default)]
    pub words: Vec<WordScore>,
    /// The contexts with the highest activations, best first.
    #[serde(default)]
    pub top: Vec<Excerpt>,
    /// The contexts with the lowest activations, lowest first.
    #[serde(default)]
    pub bottom: Vec<Excerpt>,
    /// Contexts of every height, from the lowest to the highest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sampled: Vec<Excerpt>,
    /// Concepts and formulas of concepts whose rows are most like those where the neuron fires, best first.
    #[serde(default)]
    pub explanations: Vec<Explanation>,
    /// Numbers that the method gives of the neuron.
    #[serde(default)]
    pub numbers: Vec<Number>,
}

impl Profile {
    /// An empty profile of this neuron.
    pub fn new(neuron: NeuronId) -> Self {
        Self {
            neuron,
            words: Vec::new(),
            top: Vec::new(),
            bottom: Vec::new(),
            sampled: Vec::new(),
            explanations: Vec::new(),
            numbers: Vec::new(),
        }
    }
}

/// A concept, or a formula of several, and how well it fits a neuron.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Explanation {
    /// The formula: `(ADJ OR ADV) AND NOT 'very'`. Words stand in quotes, labels as they are.
    pub text: String,
    /// How well it fits, as the method says; higher is better.
    pub score: f32,
    /// Concepts and negations in it.
    pub length: u32,
}

/// A number of a neuron, by name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Number {
    /// What it is: `correlation`.
    pub name: String,
    /// Its value.
    pub value: f32,
}

/// A word type and how a neuron reacts to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WordScore {
    /// The word type.
    pub name: String,
    /// Mean deviation from the neuron's mean over the type's occurrences, as a share of the largest: 0 to 1, or
    /// -1 to 1 where the method keeps the sign.
    pub score: f32,
    /// The signed mean deviation in standard deviations.
    pub deviation: f32,
    /// Number of occurrences.
    pub count: u32,
}

/// A word in its context and the activation there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Excerpt {
    /// Row of the activations.
    pub row: usize,
    /// Sentence of the row.
    pub sentence: u32,
    /// Place in the sentence, from 0.
    pub position: usize,
    /// The activation.
    pub activation: f32,
    /// The words before and the word itself, joined by blanks.
    pub context: String,
}
