//! Sentences instead of rows: one value of a neuron for each, and the labels of all its rows.

use std::ops::Range;

use nissl_core::{LabeledActivations, Labels, MethodError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What stands for the rows of a sentence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum SentencePool {
    /// Each row stands for itself.
    #[default]
    None,
    /// Their largest value.
    Max,
    /// Their mean.
    Mean,
    /// Their sum.
    Sum,
}

/// The sentences and their labels.
pub(super) struct Sentences {
    pool: SentencePool,
    rows: Vec<Range<usize>>,
    /// A sentence has what one of its rows has.
    pub(super) labels: Labels,
}

impl Sentences {
    /// The sentences of labeled rows; `None` where each row stands for itself.
    ///
    /// # Errors
    /// If the sentences are not known.
    pub(super) fn new(
        data: LabeledActivations<'_>,
        pool: SentencePool,
        method: &'static str,
    ) -> Result<Option<Self>, MethodError> {
        if pool == SentencePool::None {
            return Ok(None);
        }
        let Some(text) = data.text else {
            let (value, expected) = (format!("{pool:?}").to_lowercase(), "none, where sentences are not known");
            return Err(MethodError::Parameter { method, name: "pool", value, expected });
        };
        let rows: Vec<Range<usize>> = text.sentences().collect();
        let labels = |rows: &Range<usize>| {
            let mut ids: Vec<u32> = rows.clone().flat_map(|row| data.labels.of(row).iter().copied()).collect();
            ids.sort_unstable();
            ids.dedup();
            ids
        };
        let labels = Labels::several(data.labels.concepts().to_vec(), rows.iter().map(labels));
        Ok(Some(Self { pool, rows, labels }))
    }

    /// The value of each sentence, of a column of rows.
    pub(super) fn fill(&self, column: &[f32], values: &mut Vec<f32>) {
        let sum = |rows: &[f32]| rows.iter().map(|&value| f64::from(value)).sum::<f64>();
        values.clear();
        values.extend(self.rows.iter().map(|rows| {
            let rows = &column[rows.clone()];
            match self.pool {
                SentencePool::None | SentencePool::Max => rows.iter().copied().fold(f32::NEG_INFINITY, f32::max),
                SentencePool::Mean => (sum(rows) / rows.len() as f64) as f32,
                SentencePool::Sum => sum(rows) as f32,
            }
        }));
    }
}
