//! What is known about each row: no label, one, or several.

use serde::{Deserialize, Serialize};

use crate::error::MethodError;

/// A property that rows have or have not: `NOUN`, `Number=Plur`, `in quotes`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Concept {
    /// What the user calls it.
    pub name: String,
}

impl Concept {
    /// A concept of this name.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into() }
    }
}

/// The labels of all rows, `[n_tokens]`: each row has none, one or several of the concepts.
///
/// Kept as offsets into a list of concept indices, which serves all three forms.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct Labels {
    concepts: Vec<Concept>,
    offsets: Vec<u32>,
    ids: Vec<u32>,
}

/// Labels as they are read, before their offsets and indices are known to fit.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Unchecked {
    concepts: Vec<Concept>,
    offsets: Vec<u32>,
    ids: Vec<u32>,
}

impl TryFrom<Unchecked> for Labels {
    type Error = String;

    fn try_from(Unchecked { concepts, offsets, ids }: Unchecked) -> Result<Self, String> {
        let ends = (offsets.first().copied(), offsets.last().map(|&last| last as usize));
        if ends != (Some(0), Some(ids.len())) || !offsets.is_sorted() {
            return Err(format!("offsets of labels: expected to ascend from 0 to {}", ids.len()));
        }
        if let Some(id) = ids.iter().find(|&&id| id as usize >= concepts.len()) {
            return Err(format!("label {id}: expected an index below {}", concepts.len()));
        }
        let labels = Self { concepts, offsets, ids };
        let is_ascending = |row: &[u32]| row.is_sorted_by(|a, b| a < b);
        match (0..labels.n_tokens()).find(|&row| !is_ascending(labels.of(row))) {
            Some(row) => Err(format!("labels of row {row}: expected ascending indices, got {:?}", labels.of(row))),
            None => Ok(labels),
        }
    }
}

impl Labels {
    /// At most one label a row: the index of its concept, or `None`.
    ///
    /// # Panics
    /// If an index is not below the number of concepts.
    pub fn single(concepts: Vec<Concept>, rows: impl IntoIterator<Item = Option<u32>>) -> Self {
        Self::several(concepts, rows.into_iter().map(|row| row.into_iter().collect::<Vec<_>>()))
    }

    /// Any number of labels a row. Repeated labels of a row are kept once.
    ///
    /// # Panics
    /// If an index is not below the number of concepts.
    pub fn several<R: AsRef<[u32]>>(concepts: Vec<Concept>, rows: impl IntoIterator<Item = R>) -> Self {
        let (mut offsets, mut ids) = (vec![0], Vec::new());
        for row in rows {
            let mut row = row.as_ref().to_vec();
            row.sort_unstable();
            row.dedup();
            assert!(row.iter().all(|&id| (id as usize) < concepts.len()), "labels are indices into the concepts");
            ids.extend(row);
            offsets.push(ids.len() as u32);
        }
        Self { concepts, offsets, ids }
    }

    /// Labels by name; concepts are numbered in order of their names.
    pub fn from_names<N: AsRef<str>>(rows: &[Option<N>]) -> Self {
        let mut names: Vec<&str> = rows.iter().flatten().map(AsRef::as_ref).collect();
        names.sort_unstable();
        names.dedup();
        let find = |name: &str| names.binary_search(&name).expect("every name is in the list") as u32;
        let ids: Vec<Option<u32>> = rows.iter().map(|row| row.as_ref().map(|name| find(name.as_ref()))).collect();
        Self::single(names.iter().map(|&name| Concept::new(name)).collect(), ids)
    }

    /// The concepts, `[n_concepts]`.
    pub fn concepts(&self) -> &[Concept] {
        &self.concepts
    }

    /// Number of rows.
    pub fn n_tokens(&self) -> usize {
        self.offsets.len() - 1
    }

    /// The labels of a row, in ascending order.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn of(&self, row: usize) -> &[u32] {
        &self.ids[self.offsets[row] as usize..self.offsets[row + 1] as usize]
    }

    /// Number of rows of each concept, `[n_concepts]`.
    pub fn counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.concepts.len()];
        for &id in &self.ids {
            counts[id as usize] += 1;
        }
        counts
    }

    /// Whether each row has the concept, `[n_tokens]`.
    pub fn mask(&self, concept_idx: usize) -> Vec<bool> {
        (0..self.n_tokens()).map(|row| self.of(row).contains(&(concept_idx as u32))).collect()
    }

    /// The one label of each row, `[n_tokens]`, for a method whose classes exclude each other.
    ///
    /// # Errors
    /// [`MethodError::NotExclusive`] if a row has several.
    pub fn exclusive(&self, method: &'static str) -> Result<Vec<Option<u32>>, MethodError> {
        (0..self.n_tokens())
            .map(|row| match self.of(row) {
                [] => Ok(None),
                [id] => Ok(Some(*id)),
                several => Err(MethodError::NotExclusive { method, row, got: several.len() }),
            })
            .collect()
    }

    /// The same labels for chosen rows only, in the given order.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn select(&self, rows: &[usize]) -> Self {
        Self::several(self.concepts.clone(), rows.iter().map(|&row| self.of(row)))
    }
}
