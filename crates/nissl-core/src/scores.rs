//! What a method answers: the importance of every neuron for every concept.

use ndarray::Array2;
use serde::{Deserialize, Serialize};

use crate::error::MethodError;
use crate::labels::Concept;
use crate::neuron::NeuronId;
use crate::provenance::Provenance;
use crate::ranking::Ranking;

/// Importance of every neuron for every concept, `[n_concepts, n_neurons]`.
///
/// Invariants: every value is finite; higher is more important. The direction of the effect is kept apart as a sign.
#[derive(Clone, Debug, PartialEq)]
pub struct Scores {
    values: Array2<f32>,
    sign: Option<Array2<i8>>,
    significance: Option<Significance>,
    constant: Vec<bool>,
    concepts: Vec<Concept>,
    neurons: Vec<NeuronId>,
    /// Where the scores come from.
    pub provenance: Provenance,
}

/// How likely scores are by chance.
#[derive(Clone, Debug, PartialEq)]
pub struct Significance {
    /// Chance of a score at least as high under labels that mean nothing, `[n_concepts, n_neurons]`.
    pub p: Array2<f32>,
    /// False discovery rate: share of false finds among all that are found with this score or a surer one, over all
    /// neurons and concepts, `[n_concepts, n_neurons]`.
    pub q: Array2<f32>,
}

/// How the scores of several concepts become one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pool {
    /// The mean over concepts. For Probeless this is the published overall ranking.
    #[default]
    Mean,
    /// The largest score of any concept.
    Max,
    /// The best of each concept in turn, then the second best of each: what NeuroX calls balanced.
    RoundRobin,
}

impl Scores {
    /// Scores `[n_concepts, n_neurons]` without a direction.
    ///
    /// # Errors
    /// If a value is not finite or the lengths do not match.
    pub fn new(
        values: Array2<f32>,
        concepts: Vec<Concept>,
        neurons: Vec<NeuronId>,
        provenance: Provenance,
    ) -> Result<Self, MethodError> {
        let shape = |what, expected, got| {
            if expected == got { Ok(()) } else { Err(MethodError::Shape { what, expected, got }) }
        };
        shape("concepts of the scores", values.nrows(), concepts.len())?;
        shape("neurons of the scores", values.ncols(), neurons.len())?;
        if let Some(((concept, neuron), _)) = values.indexed_iter().find(|(_, value)| !value.is_finite()) {
            return Err(MethodError::ScoreNotFinite {
                method: provenance.method,
                neuron: neurons[neuron],
                concept: concepts[concept].name.clone(),
            });
        }
        let constant = vec![false; neurons.len()];
        Ok(Self { values, sign: None, significance: None, constant, concepts, neurons, provenance })
    }

    /// Adds the direction of each effect, `[n_concepts, n_neurons]`: 1, 0 or -1.
    ///
    /// # Errors
    /// If the shape is not that of the scores.
    pub fn with_sign(mut self, sign: Array2<i8>) -> Result<Self, MethodError> {
        let (concepts, neurons) = self.values.dim();
        for (what, expected, got) in
            [("concepts of the signs", concepts, sign.nrows()), ("neurons of the signs", neurons, sign.ncols())]
        {
            if expected != got {
                return Err(MethodError::Shape { what, expected, got });
            }
        }
        self.sign = Some(sign);
        Ok(self)
    }

    /// The same scores without a direction, for a method that looked at one end alone.
    #[must_use]
    pub fn without_sign(mut self) -> Self {
        self.sign = None;
        self
    }

    /// Marks the neurons that had one value in every row, `[n_neurons]`; they come last in every ranking.
    ///
    /// # Errors
    /// If there is not one mark a neuron.
    pub fn with_constant(mut self, constant: Vec<bool>) -> Result<Self, MethodError> {
        if constant.len() != self.neurons.len() {
            let (expected, got) = (self.neurons.len(), constant.len());
            return Err(MethodError::Shape { what: "constant marks", expected, got });
        }
        self.constant = constant;
        Ok(self)
    }

    /// Adds how likely each score is by chance.
    ///
    /// # Errors
    /// If the shape is not that of the scores.
    pub fn with_significance(mut self, significance: Significance) -> Result<Self, MethodError> {
        for (what, got) in [("chances", significance.p.len()), ("false discovery rates", significance.q.len())] {
            if got != self.values.len() {
                return Err(MethodError::Shape { what, expected: self.values.len(), got });
            }
        }
        self.significance = Some(significance);
        Ok(self)
    }

    /// How likely each score is by chance, if that was computed.
    pub fn significance(&self) -> Option<&Significance> {
        self.significance.as_ref()
    }

    /// The scores, `[n_concepts, n_neurons]`.
    pub fn values(&self) -> &Array2<f32> {
        &self.values
    }

    /// The direction of each effect, `[n_concepts, n_neurons]`, if the method knows one.
    pub fn sign(&self) -> Option<&Array2<i8>> {
        self.sign.as_ref()
    }

    /// Which neurons had one value in every row, `[n_neurons]`.
    pub fn constant(&self) -> &[bool] {
        &self.constant
    }

    /// The concepts, `[n_concepts]`.
    pub fn concepts(&self) -> &[Concept] {
        &self.concepts
    }

    /// The neurons, `[n_neurons]`.
    pub fn neurons(&self) -> &[NeuronId] {
        &self.neurons
    }

    /// Index of the concept of this name.
    pub fn concept(&self, name: &str) -> Option<usize> {
        self.concepts.iter().position(|concept| concept.name == name)
    }

    /// The neurons by their score for one concept, best first.
    ///
    /// # Panics
    /// If there is no such concept.
    pub fn ranking(&self, concept_idx: usize) -> Ranking {
        Ranking::from_scores(&self.neurons, &self.values.row(concept_idx).to_vec(), &self.constant)
    }

    /// The neurons by all concepts together. With [`Pool::RoundRobin`] a neuron's score is `n_neurons - place`.
    pub fn overall(&self, pool: Pool) -> Ranking {
        let pooled: Vec<f32> = match pool {
            Pool::Mean => {
                let n_concepts = self.concepts.len().max(1) as f64;
                let mean =
                    |column: ndarray::ArrayView1<'_, f32>| column.iter().map(|&v| v as f64).sum::<f64>() / n_concepts;
                self.values.columns().into_iter().map(|column| mean(column) as f32).collect()
            }
            Pool::Max => {
                self.values.columns().into_iter().map(|c| c.iter().copied().fold(f32::MIN, f32::max)).collect()
            }
            Pool::RoundRobin => self.round_robin(),
        };
        Ranking::from_scores(&self.neurons, &pooled, &self.constant)
    }

    fn round_robin(&self) -> Vec<f32> {
        let order = |concept| Ranking::order(&self.neurons, &self.values.row(concept).to_vec(), &self.constant);
        let orders: Vec<Vec<usize>> = (0..self.concepts.len()).map(order).collect();
        let mut pooled = vec![0.0; self.neurons.len()];
        let mut left = self.neurons.len();
        for place in 0..self.neurons.len() {
            for idx in orders.iter().map(|order| order[place]) {
                if pooled[idx] == 0.0 {
                    pooled[idx] = left as f32;
                    left -= 1;
                }
            }
        }
        pooled
    }
}
