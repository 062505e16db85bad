//! The labels of rows, each distinct set of them once: sums over few sets give the sums of all concepts.

use std::collections::HashMap;

use nissl_core::{Concept, Context, Labels, MethodError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::concepts::{Kept, keep};

/// What rows without any label are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Unlabeled {
    /// Negatives of every concept.
    #[default]
    Negative,
    /// Left out: concepts are told from each other alone.
    Skip,
}

/// The sets of labels that occur, and which each row has.
pub(crate) struct LabelSets {
    /// The set of each row, `[n_tokens]`; `None` for rows that are left out.
    codes: Vec<Option<u32>>,
    /// Where each set starts in `ids`, `[n_sets + 1]`.
    offsets: Vec<u32>,
    /// The concepts of each set.
    ids: Vec<u32>,
    /// Rows of each set, `[n_sets]`.
    n_rows: Vec<u32>,
    /// Rows of each concept, `[n_concepts]`.
    n_positives: Vec<u32>,
}

impl LabelSets {
    /// The sets for a method that tells the rows of a concept from all others, with the concepts that are left: those
    /// with `min_count` rows or more that not every row has.
    ///
    /// # Errors
    /// If `min_count` is 0 or no concept is left.
    pub(crate) fn against_rest(
        labels: &Labels,
        (method, min_count, unlabeled): (&'static str, usize, Unlabeled),
        ctx: Context<'_>,
    ) -> Result<(Vec<Concept>, Self), MethodError> {
        if min_count == 0 {
            let (value, expected) = ("0".to_owned(), "at least 1");
            return Err(MethodError::Parameter { method, name: "min_count", value, expected });
        }
        let counts = |row: &usize| unlabeled == Unlabeled::Negative || !labels.of(*row).is_empty();
        let n_rows = (0..labels.n_tokens()).filter(counts).count();
        let why_not = |count| {
            if count < min_count {
                Some(format!("{count} rows, min_count {min_count}"))
            } else {
                (count == n_rows).then(|| format!("all {n_rows} rows have it"))
            }
        };
        let kept = keep(labels, method, 1, ctx, why_not)?;
        let sets = Self::new(labels, &kept, unlabeled == Unlabeled::Skip);
        Ok((kept.concepts, sets))
    }

    /// The sets of the kept concepts; rows without any label at all are left out if `skip_unlabeled`.
    fn new(labels: &Labels, kept: &Kept, skip_unlabeled: bool) -> Self {
        let n_positives = vec![0; kept.concepts.len()];
        let mut sets = Self { codes: Vec::new(), offsets: vec![0], ids: Vec::new(), n_rows: Vec::new(), n_positives };
        let mut seen: HashMap<Vec<u32>, u32> = HashMap::new();
        for row in 0..labels.n_tokens() {
            let of_row = labels.of(row);
            if of_row.is_empty() && skip_unlabeled {
                sets.codes.push(None);
                continue;
            }
            let set: Vec<u32> = of_row.iter().filter_map(|&old| kept.new_idx[old as usize]).collect();
            for &concept in &set {
                sets.n_positives[concept as usize] += 1;
            }
            let code = *seen.entry(set).or_insert_with_key(|set| {
                sets.ids.extend(set);
                sets.offsets.push(sets.ids.len() as u32);
                sets.n_rows.push(0);
                sets.offsets.len() as u32 - 2
            });
            sets.n_rows[code as usize] += 1;
            sets.codes.push(Some(code));
        }
        sets
    }

    /// The set of each row, `[n_tokens]`; `None` for rows that are left out.
    pub(crate) fn codes(&self) -> &[Option<u32>] {
        &self.codes
    }

    /// Number of sets.
    pub(crate) fn len(&self) -> usize {
        self.n_rows.len()
    }

    /// Rows of each concept, `[n_concepts]`.
    pub(crate) fn n_positives(&self) -> &[u32] {
        &self.n_positives
    }

    /// Rows that are in a set.
    pub(crate) fn n_rows(&self) -> u32 {
        self.n_rows.iter().sum()
    }

    /// The concepts of a set, ascending.
    pub(crate) fn concepts(&self, code: u32) -> &[u32] {
        let code = code as usize;
        &self.ids[self.offsets[code] as usize..self.offsets[code + 1] as usize]
    }

    /// From a number for each set to the sum over the sets of each concept, `[n_concepts]`.
    pub(crate) fn by_concept<T: Copy + Default + std::ops::AddAssign>(&self, of_set: &[T]) -> Vec<T> {
        let mut sums = vec![T::default(); self.n_positives.len()];
        for (code, &value) in of_set.iter().enumerate() {
            for &concept in self.concepts(code as u32) {
                sums[concept as usize] += value;
            }
        }
        sums
    }
}
