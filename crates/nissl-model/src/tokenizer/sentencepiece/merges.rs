//! Merges for pieces that have scores in their place.

use std::collections::HashMap;

/// The longest piece for which merges are sought, in bytes.
const MAX_MERGED: usize = 256;
/// How much longer all merges may be than all pieces; those of real files are three times as long.
const MAX_GROWTH: usize = 32;
/// How long all merges may be for any pieces, however few.
const FREE: usize = 1 << 20;

/// A piece of a text, its number and its score.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scored<'a> {
    pub(crate) id: usize,
    pub(crate) text: &'a str,
    pub(crate) score: f64,
}

/// Sentencepiece merges the neighbors that make the piece of the highest score; so any two pieces that make a third
/// are a merge, in order of its score. Of equal ones the piece that comes first in the file is first. `None` if the
/// pieces are made to have far too many.
pub(crate) fn merges(pieces: &[Scored<'_>]) -> Option<Vec<[String; 2]>> {
    let ids: HashMap<&str, usize> = pieces.iter().map(|piece| (piece.text, piece.id)).collect();
    let n_bytes: usize = pieces.iter().map(|piece| piece.text.len()).sum();
    let mut left = n_bytes.saturating_mul(MAX_GROWTH).max(FREE);
    let mut found = Vec::new();
    for piece in pieces.iter().filter(|piece| piece.text.len() <= MAX_MERGED) {
        for (at, _) in piece.text.char_indices().skip(1) {
            let (first, last) = piece.text.split_at(at);
            if let (Some(&first_id), Some(&last_id)) = (ids.get(first), ids.get(last)) {
                left = left.checked_sub(piece.text.len())?;
                found.push((piece, first_id, last_id, at));
            }
        }
    }
    found.sort_by(|a, b| b.0.score.total_cmp(&a.0.score).then((a.0.id, a.1, a.2).cmp(&(b.0.id, b.1, b.2))));
    let merge = |(piece, _, _, at): (&Scored<'_>, _, _, _)| {
        let (first, last) = piece.text.split_at(at);
        [first.to_owned(), last.to_owned()]
    };
    Some(found.into_iter().map(merge).collect())
}
