//! What a method's scores are in a report: the best neurons of each concept, and the table of all.

use std::path::{Path, PathBuf};

use ndarray::Array2;
use nissl_core::{Concept, NeuronId, Provenance, Scores, Significance};
use serde::{Deserialize, Serialize};

use crate::error::TaskError;
use crate::ranking_file::save_ranking;

/// False discovery rate up to which a neuron counts as found.
pub const FOUND: f32 = 0.05;

/// The result of a method.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MethodReport {
    /// The method.
    pub name: String,
    /// Method, all parameters, fingerprints of what went in, version.
    pub provenance: Provenance,
    /// The table of the whole ranking.
    pub file: Option<PathBuf>,
    /// Number of ranked neurons.
    pub neurons: usize,
    /// Runs with shuffled labels.
    pub permutations: u64,
    /// What the method said: completeness, total effects, what it left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// One entry a concept.
    pub concepts: Vec<ConceptReport>,
}

/// The best neurons of a concept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConceptReport {
    /// The concept.
    pub name: String,
    /// Rows that bear it; prompts of it where predictions were attributed.
    pub rows: usize,
    /// Neurons with a false discovery rate of at most 0.05, if chances were told.
    pub found: Option<usize>,
    /// The best neurons, best first.
    pub top: Vec<Best>,
}

/// A neuron and its score.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Best {
    /// The neuron.
    pub name: NeuronId,
    /// Its score; higher is more important.
    pub score: f32,
    /// The direction of the effect, if the method knows it: 1, 0 or -1.
    pub sign: Option<i8>,
    /// Chance of a score at least as high under labels that mean nothing.
    pub p: Option<f32>,
    /// False discovery rate over all neurons and concepts of the method.
    pub q: Option<f32>,
}

/// What did not go well.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Failure {
    /// The method; with `one_vs_rest`, method and concept.
    pub name: String,
    /// Why.
    pub error: String,
}

impl MethodReport {
    /// The report of scores, whose table goes into the folder `out` where there is one, with the `top` best neurons of
    /// each concept; `rows` counts what bears a concept.
    ///
    /// # Errors
    /// If the table cannot be written.
    pub(crate) fn save(
        scores: &Scores,
        (out, top): (Option<&Path>, usize),
        rows: impl Fn(&Concept) -> usize,
    ) -> Result<Self, TaskError> {
        let name = scores.provenance.method.clone();
        let file = out.map(|out| out.join(format!("{name}.parquet")));
        if let Some(file) = &file {
            save_ranking(file, scores)?;
        }
        let concept = |(idx, concept): (usize, &Concept)| ConceptReport {
            name: concept.name.clone(),
            rows: rows(concept),
            found: scores.significance().map(|s| s.q.row(idx).iter().filter(|&&q| q <= FOUND).count()),
            top: best(scores, idx, top),
        };
        Ok(Self {
            name,
            provenance: scores.provenance.clone(),
            file,
            neurons: scores.neurons().len(),
            permutations: scores.provenance.params["permutations"].as_u64().unwrap_or(0),
            notes: Vec::new(),
            concepts: scores.concepts().iter().enumerate().map(concept).collect(),
        })
    }
}

/// The best neurons of a concept, best first.
pub(crate) fn best(scores: &Scores, concept_idx: usize, top: usize) -> Vec<Best> {
    let ranking = scores.ranking(concept_idx);
    let of_neuron = |(&name, &score): (&NeuronId, &f32)| {
        let idx = scores.neurons().binary_search(&name).expect("the ranking is of these neurons");
        let chance = |of: fn(&Significance) -> &Array2<f32>| scores.significance().map(|s| of(s)[(concept_idx, idx)]);
        Best {
            name,
            score,
            sign: scores.sign().map(|sign| sign[(concept_idx, idx)]),
            p: chance(|s| &s.p),
            q: chance(|s| &s.q),
        }
    };
    ranking.top(top).iter().zip(&ranking.scores).map(of_neuron).collect()
}
