//! What sentencepiece does with a text before it is cut into pieces, and how pieces become text again.

use serde_json::{Value as Json, json};

use super::conventions::Folded;
use super::proto::{Algorithm, ModelProto, PieceKind};
use crate::error::LoadError;
use crate::tokenizer::charsmap::base64;
use crate::tokenizer::folder::Folder;
use crate::tokenizer::tokens::Added;

/// What stands for a space in pieces.
pub(crate) const MARK: &str = "▁";

/// Which parts of a text, between special tokens, are read as if they began with a space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Prefix {
    None,
    Every,
    First,
}

/// How texts are treated.
pub(super) struct Text {
    prefix: Prefix,
    mark: &'static str,
    /// Whether quotes become one sign, accents are taken off, and letters are made small.
    quotes: bool,
    accents: bool,
    small: bool,
}

impl Text {
    pub(super) fn new(folder: &Folder<'_>, model: &ModelProto<'_>, folded: Folded) -> Result<Self, LoadError> {
        let mark = if model.escape_whitespaces { MARK } else { " " };
        let first = folder.flag("legacy")? == Some(false) && model.escape_whitespaces;
        let prefix = match folder.flag("add_prefix_space")?.unwrap_or(model.add_dummy_prefix) {
            false => Prefix::None,
            true if first => Prefix::First,
            true => Prefix::Every,
        };
        let accents = folded.accents && !folder.flag("keep_accents")?.unwrap_or(false);
        let small = match folded.small {
            Some(usual) => folder.flag("do_lower_case")?.unwrap_or(usual),
            None => false,
        };
        Ok(Self { prefix, mark, quotes: folded.accents, accents, small })
    }

    /// A piece that is found in a text before it is cut up. One with a mark in it is found where the text's spaces are
    /// marks; where a mark is put before a text, it would be put before the piece too.
    pub(super) fn found(&self, piece: &str) -> Added {
        let in_marked = self.prefix == Prefix::None && piece.contains(self.mark);
        if in_marked { Added::in_normalized(piece) } else { Added::new(piece, false) }
    }

    pub(super) fn normalizer(&self, model: &ModelProto<'_>) -> Json {
        let string = |from: &str, to: &str| json!({"type": "Replace", "pattern": {"String": from}, "content": to});
        let regex = |from: &str, to: &str| json!({"type": "Replace", "pattern": {"Regex": from}, "content": to});
        let mut all = Vec::new();
        if self.quotes {
            all.extend([string("``", "\""), string("''", "\"")]);
        }
        if self.accents {
            all.extend([json!({"type": "NFKD"}), json!({"type": "StripAccents"})]);
        }
        if self.small {
            all.push(json!({"type": "Lowercase"}));
        }
        if self.prefix == Prefix::Every {
            all.push(json!({"type": "Prepend", "prepend": " "}));
        }
        if !model.charsmap.is_empty() {
            all.push(json!({"type": "Precompiled", "precompiled_charsmap": base64(model.charsmap)}));
        }
        if model.remove_extra_whitespaces {
            // A mark of the text counts as a space at its end, and nowhere else.
            all.extend([regex(" {2,}", " "), regex(&format!("[ {}]+\\z", self.mark), "")]);
            if self.prefix == Prefix::None {
                all.push(regex(r"\A ", ""));
            }
        }
        all.push(string(" ", self.mark));
        json!({"type": "Sequence", "normalizers": all})
    }

    pub(super) fn pre_tokenizer(&self, model: &ModelProto<'_>) -> Json {
        let normal = model.pieces.iter().filter(|piece| piece.kind == PieceKind::Normal).map(|piece| piece.text);
        let apart = model.escape_whitespaces && words_apart(normal);
        let mut all = Vec::new();
        if self.prefix == Prefix::First {
            all.push(json!({"type": "Metaspace", "replacement": MARK, "prepend_scheme": "first", "split": apart}));
        } else if apart {
            let pattern = json!({"String": MARK});
            all.push(json!({"type": "Split", "pattern": pattern, "behavior": "MergedWithNext", "invert": false}));
        }
        if model.byte_fallback && model.algorithm == Algorithm::Unigram {
            // A text that spells the name of a byte is not that byte.
            let pattern = json!({"Regex": "<(?=0x[0-9A-F]{2}>)"});
            all.push(json!({"type": "Split", "pattern": pattern, "behavior": "MergedWithPrevious", "invert": false}));
        }
        if all.is_empty() { Json::Null } else { json!({"type": "Sequence", "pretokenizers": all}) }
    }

    pub(super) fn decoder(&self, model: &ModelProto<'_>) -> Json {
        let mut all = vec![json!({"type": "Replace", "pattern": {"String": self.mark}, "content": " "})];
        if model.byte_fallback {
            all.push(json!({"type": "ByteFallback"}));
        }
        all.push(json!({"type": "Fuse"}));
        if self.prefix != Prefix::None {
            all.push(json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}));
        }
        json!({"type": "Sequence", "decoders": all})
    }
}

/// Whether no piece reaches over the start of a word: then words can be cut apart first, which is faster.
pub(crate) fn words_apart<'a>(mut pieces: impl Iterator<Item = &'a str> + Clone) -> bool {
    let reaches = |text: &str| text.char_indices().skip(1).any(|(at, _)| text[at..].starts_with(MARK));
    !pieces.clone().any(reaches) && pieces.any(|text| text == MARK)
}
