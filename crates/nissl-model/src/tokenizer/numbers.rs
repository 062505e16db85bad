//! Numbers that pieces have in a model, where they are not those of what cuts a text into pieces.

use std::collections::{BTreeMap, HashMap};

/// Pieces and their numbers, those of one vocabulary.
#[derive(Debug)]
pub(super) struct Numbers {
    ids: BTreeMap<String, u32>,
    pieces: HashMap<u32, String>,
    /// The number of a piece that is not among them.
    unknown: u32,
}

impl Numbers {
    /// Those of a vocabulary, with the number of what it lacks.
    pub(super) fn new(ids: BTreeMap<String, u32>, unknown: u32) -> Self {
        let pieces = ids.iter().map(|(piece, id)| (*id, piece.clone())).collect();
        Self { ids, pieces, unknown }
    }

    /// The number of a piece, that of the unknown if it has none.
    pub(super) fn of(&self, piece: &str) -> u32 {
        self.id(piece).unwrap_or(self.unknown)
    }

    /// The number of a piece, if it has one.
    pub(super) fn id(&self, piece: &str) -> Option<u32> {
        self.ids.get(piece).copied()
    }

    /// The piece of a number.
    pub(super) fn piece(&self, id: u32) -> Option<&str> {
        self.pieces.get(&id).map(String::as_str)
    }

    /// How many pieces there are.
    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }

    /// Pieces and numbers, as a digest is taken of them.
    pub(super) fn json(&self) -> String {
        serde_json::json!([self.ids, self.unknown]).to_string()
    }
}
