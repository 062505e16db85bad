//! The rows and targets that labels make.

use nissl_core::{Concept, Context, Labels, MethodError};

use super::targets::Targets;
use crate::concepts::{Kept, keep};

/// The classes of rows that have one label each.
pub(crate) struct Classes {
    /// The concepts that are scored: the first of the classes.
    pub(crate) concepts: Vec<Concept>,
    /// Class of every row; rows without one are left out.
    pub(crate) of: Vec<Option<u32>>,
    /// Number of classes: one more than the concepts where a single concept is told from the rows without it.
    pub(crate) n: usize,
}

impl Classes {
    /// The classes of `labels`; concepts with fewer than `min_count` rows are left out and noted.
    ///
    /// # Errors
    /// If a row has several labels or too few concepts are left.
    pub(crate) fn new(
        labels: &Labels,
        method: &'static str,
        min_count: usize,
        ctx: Context<'_>,
    ) -> Result<Self, MethodError> {
        let of_row = labels.exclusive(method)?;
        let is_single = labels.concepts().len() == 1;
        let why_not = |count| (count < min_count).then(|| format!("{count} rows, min_count {min_count}"));
        let Kept { concepts, new_idx } = keep(labels, method, if is_single { 1 } else { 2 }, ctx, why_not)?;
        if !is_single {
            let of = of_row.iter().map(|label| label.and_then(|old| new_idx[old as usize])).collect();
            return Ok(Self { n: concepts.len(), concepts, of });
        }
        let of: Vec<Option<u32>> = of_row.iter().map(|label| Some(u32::from(label.is_none()))).collect();
        let got = of.iter().filter(|class| **class == Some(1)).count();
        if got < min_count {
            let concept = format!("not {}", concepts[0].name);
            return Err(MethodError::TooFewRows { method, concept, expected: min_count, got });
        }
        Ok(Self { n: 2, concepts, of })
    }

    /// The targets of some rows that have a class.
    ///
    /// # Panics
    /// If a row has none.
    pub(crate) fn targets(&self, rows: &[usize]) -> Targets {
        let of = rows.iter().map(|&row| self.of[row].expect("only rows with a class are asked for")).collect();
        Targets::Classes { of, n: self.n }
    }
}

/// Concepts that a row may have any number of.
pub(crate) struct ConceptSets {
    /// The concepts.
    pub(crate) concepts: Vec<Concept>,
    new_idx: Vec<Option<u32>>,
}

impl ConceptSets {
    /// The concepts of `labels`; those with fewer than `min_count` rows, or that all rows have, are left out and noted.
    ///
    /// # Errors
    /// If none is left.
    pub(crate) fn new(
        labels: &Labels,
        method: &'static str,
        min_count: usize,
        ctx: Context<'_>,
    ) -> Result<Self, MethodError> {
        let why_not = |count| {
            if count < min_count {
                Some(format!("{count} rows, min_count {min_count}"))
            } else {
                (count == labels.n_tokens()).then(|| "all rows have it".to_owned())
            }
        };
        let Kept { concepts, new_idx } = keep(labels, method, 1, ctx, why_not)?;
        Ok(Self { concepts, new_idx })
    }

    /// Whether each of some rows has each concept, `[n_concepts][rows]`.
    pub(crate) fn masks(&self, labels: &Labels, rows: &[usize]) -> Vec<Vec<bool>> {
        let mut masks = vec![vec![false; rows.len()]; self.concepts.len()];
        for (place, &row) in rows.iter().enumerate() {
            for concept in labels.of(row).iter().filter_map(|&old| self.new_idx[old as usize]) {
                masks[concept as usize][place] = true;
            }
        }
        masks
    }

    /// The targets of some rows.
    pub(crate) fn targets(&self, labels: &Labels, rows: &[usize]) -> Targets {
        let (masks, n) = (self.masks(labels, rows), self.concepts.len());
        Targets::Sets { has: (0..rows.len()).flat_map(|row| masks.iter().map(move |mask| mask[row])).collect(), n }
    }
}
