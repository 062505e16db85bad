//! What a sentencepiece file says: a message of protobuf (`ModelProto`), read with nothing but its wire format.
//!
//! A file is hostile until checked. Lengths are compared with what is left before anything is taken; texts are UTF-8;
//! no text occurs twice, none is empty or long; scores are finite; there is one unknown piece. What is not needed is
//! passed over.

use std::collections::HashMap;
use std::path::Path;

use crate::checkpoint::cursor::{Cursor, malformed};
use crate::error::LoadError;
use crate::tokenizer::check::MAX_PIECE;
use crate::tokenizer::{bytes, charsmap};

/// What a piece is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PieceKind {
    Normal,
    Unknown,
    /// Stands for nothing in a text: `<s>`.
    Control,
    /// Found in a text before it is cut up.
    UserDefined,
    Unused,
    /// A byte of a character that is no piece: `<0x0A>`.
    Byte,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Piece<'a> {
    pub(super) text: &'a str,
    pub(super) score: f32,
    pub(super) kind: PieceKind,
}

/// How a text is cut into pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    Unigram,
    Bpe,
    /// Each character by itself.
    Characters,
}

/// What a file says. The defaults are those of the format.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "the fields of the file")]
pub(super) struct ModelProto<'a> {
    pub(super) pieces: Vec<Piece<'a>>,
    pub(super) algorithm: Algorithm,
    pub(super) byte_fallback: bool,
    /// The rules by which characters are replaced, checked; empty if there are none.
    pub(super) charsmap: &'a [u8],
    pub(super) add_dummy_prefix: bool,
    pub(super) remove_extra_whitespaces: bool,
    pub(super) escape_whitespaces: bool,
}

/// The value of a field.
enum Value<'a> {
    Varint(u64),
    Fixed32([u8; 4]),
    Bytes(Cursor<'a>, usize),
    /// Eight bytes, which no field that is needed has.
    Other,
}

/// Reads a number of one to ten bytes, seven bits each.
fn varint(cursor: &mut Cursor<'_>) -> Result<u64, LoadError> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = cursor.u8()?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(cursor.wrong("a number of at most ten bytes", "a longer one"))
}

/// Reads the next field of a message that ends at `end`: its number and its value.
fn field<'a>(cursor: &mut Cursor<'a>, end: usize) -> Result<Option<(u64, Value<'a>)>, LoadError> {
    if cursor.at() >= end {
        return Ok(None);
    }
    let tag = varint(cursor)?;
    let value = match tag & 7 {
        0 => Value::Varint(varint(cursor)?),
        1 => cursor.take(8).map(|_| Value::Other)?,
        2 => {
            let n = varint(cursor)?;
            let left = end.saturating_sub(cursor.at());
            if n > left as u64 {
                return Err(cursor.wrong(format!("at most {left} bytes in field {}", tag >> 3), n));
            }
            let inside = cursor.clone();
            cursor.take(n as usize)?;
            Value::Bytes(inside, n as usize)
        }
        5 => Value::Fixed32(cursor.array()?),
        other => return Err(cursor.wrong("a field of protobuf (wire type 0, 1, 2 or 5)", format!("type {other}"))),
    };
    if cursor.at() > end {
        return Err(cursor.wrong(format!("a field that ends before byte {end}"), cursor.at()));
    }
    Ok(Some((tag >> 3, value)))
}

/// Goes through the fields of a message of `n` bytes.
fn fields<'a>(
    cursor: &Cursor<'a>,
    n: usize,
    mut each: impl FnMut(u64, Value<'a>) -> Result<(), LoadError>,
) -> Result<(), LoadError> {
    let mut cursor = cursor.clone();
    let end = cursor.at() + n;
    while let Some((number, value)) = field(&mut cursor, end)? {
        each(number, value)?;
    }
    Ok(())
}

impl<'a> ModelProto<'a> {
    /// Reads and checks a file.
    pub(super) fn read(path: &'a Path, file: &'a [u8]) -> Result<Self, LoadError> {
        let mut model = Self {
            pieces: Vec::new(),
            algorithm: Algorithm::Unigram,
            byte_fallback: false,
            charsmap: &[],
            add_dummy_prefix: true,
            remove_extra_whitespaces: true,
            escape_whitespaces: true,
        };
        let cursor = Cursor::new(path, "sentencepiece model", file);
        fields(&cursor, file.len(), |number, value| {
            match (number, value) {
                (1, Value::Bytes(cursor, n)) => model.pieces.push(piece(&cursor, n)?),
                (2, Value::Bytes(cursor, n)) => model.trainer(&cursor, n)?,
                (3, Value::Bytes(cursor, n)) => model.normalizer(&cursor, n)?,
                (1..=3, _) => return Err(cursor.wrong(format!("a message in field {number}"), "a number")),
                _ => {}
            }
            Ok(())
        })?;
        model.check(path)?;
        charsmap::check(path, model.charsmap)?;
        Ok(model)
    }

    fn trainer(&mut self, cursor: &Cursor<'a>, n: usize) -> Result<(), LoadError> {
        let cursor = &cursor.seek("trainer_spec", cursor.at());
        fields(cursor, n, |number, value| {
            match (number, value) {
                (3, Value::Varint(kind)) => {
                    self.algorithm = match kind {
                        1 => Algorithm::Unigram,
                        2 => Algorithm::Bpe,
                        4 => Algorithm::Characters,
                        3 => return Err(cursor.wrong("pieces by unigram, BPE or characters", "by words")),
                        _ => return Err(cursor.wrong("model_type 1, 2 or 4", kind)),
                    }
                }
                (24, Value::Varint(1..)) => {
                    return Err(
                        cursor.wrong("the mark of a space at the start of a piece", "treat_whitespace_as_suffix")
                    );
                }
                (35, Value::Varint(flag)) => self.byte_fallback = flag != 0,
                _ => {}
            }
            Ok(())
        })
    }

    fn normalizer(&mut self, cursor: &Cursor<'a>, n: usize) -> Result<(), LoadError> {
        let cursor = &cursor.seek("normalizer_spec", cursor.at());
        fields(cursor, n, |number, value| {
            match (number, value) {
                (2, Value::Bytes(mut cursor, n)) => self.charsmap = cursor.take(n)?,
                (3, Value::Varint(flag)) => self.add_dummy_prefix = flag != 0,
                (4, Value::Varint(flag)) => self.remove_extra_whitespaces = flag != 0,
                (5, Value::Varint(flag)) => self.escape_whitespaces = flag != 0,
                _ => {}
            }
            Ok(())
        })
    }

    fn check(&self, path: &Path) -> Result<(), LoadError> {
        let wrong = |id: usize, expected: String, got: String| malformed(path, format!("piece {id}"), expected, got);
        let mut ids: HashMap<&str, usize> = HashMap::with_capacity(self.pieces.len());
        for (id, piece) in self.pieces.iter().enumerate() {
            if let Some(first) = ids.insert(piece.text, id) {
                let expected = format!("another text than that of piece {first}");
                return Err(wrong(id, expected, format!("'{}' again", piece.text.escape_debug())));
            }
        }
        if self.pieces.is_empty() {
            return Err(malformed(path, "sentencepiece model", "pieces", "none: is it a file of another format?"));
        }
        let unknown = self.pieces.iter().filter(|piece| piece.kind == PieceKind::Unknown).count();
        if unknown != 1 {
            return Err(malformed(path, "pieces", "one unknown piece", format!("{unknown} of {}", self.pieces.len())));
        }
        let is_byte = |byte| ids.get(&*bytes::name(byte)).is_some_and(|&id| self.pieces[id].kind == PieceKind::Byte);
        if let Some(byte) = (0..=u8::MAX).find(|&byte| self.byte_fallback && !is_byte(byte)) {
            return Err(malformed(path, "pieces", "a piece for every byte", format!("none for {}", bytes::name(byte))));
        }
        Ok(())
    }

    /// The unknown piece.
    pub(super) fn unknown(&self) -> &Piece<'a> {
        let unknown = self.pieces.iter().find(|piece| piece.kind == PieceKind::Unknown);
        unknown.expect("`check` has found one")
    }
}

fn piece<'a>(cursor: &Cursor<'a>, n: usize) -> Result<Piece<'a>, LoadError> {
    let cursor = &cursor.seek("piece", cursor.at());
    let mut piece = Piece { text: "", score: 0.0, kind: PieceKind::Normal };
    fields(cursor, n, |number, value| {
        match (number, value) {
            (1, Value::Bytes(mut cursor, n)) if n <= MAX_PIECE => piece.text = cursor.text(n)?,
            (1, Value::Bytes(cursor, n)) => return Err(cursor.wrong(format!("at most {MAX_PIECE} bytes"), n)),
            (2, Value::Fixed32(bytes)) => piece.score = f32::from_le_bytes(bytes),
            (3, Value::Varint(kind)) => {
                piece.kind = match kind {
                    1 => PieceKind::Normal,
                    2 => PieceKind::Unknown,
                    3 => PieceKind::Control,
                    4 => PieceKind::UserDefined,
                    5 => PieceKind::Unused,
                    6 => PieceKind::Byte,
                    _ => return Err(cursor.wrong("a type from 1 to 6", kind)),
                }
            }
            _ => {}
        }
        Ok(())
    })?;
    if piece.text.is_empty() {
        return Err(cursor.wrong("a text", format!("none at byte {}", cursor.at())));
    }
    if !piece.score.is_finite() {
        return Err(cursor.wrong(format!("a finite score for '{}'", piece.text.escape_debug()), piece.score));
    }
    Ok(piece)
}
