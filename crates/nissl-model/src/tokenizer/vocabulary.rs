//! Tokenizers of models that have nothing but `vocab.json`: a token and its number each.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value as Json, json};

use super::byte_level;
use super::bytes;
use super::folder::Folder;
use super::kinds::{Kind, Made};
use crate::error::LoadError;

pub(super) const KIND: Kind = Kind { find: |folder| Ok(folder.file("vocab.json")), read };

/// What `tokenizer.json` would say for a vocabulary.
///
/// If all bytes are in it (`<0x00>` to `<0xFF>`), they are the tokens. Else, if nine in ten tokens are single
/// characters, each character of a text is a token, and one that the vocabulary lacks is passed over. Else the tokens
/// are words between white space, and an unknown one is `<unk>`, or `[UNK]`.
fn read(_: &Folder<'_>, path: &Path) -> Result<Made, LoadError> {
    let vocabulary = byte_level::vocabulary(path)?;
    let n_characters = vocabulary.keys().filter(|token| token.chars().nth(1).is_none()).count();
    let json = if (0..=u8::MAX).all(|byte| vocabulary.contains_key(&bytes::name(byte))) {
        bytes::tokenizer(&json!(vocabulary), &json!([]), &Json::Null)
    } else if 10 * n_characters >= 9 * vocabulary.len() {
        characters(&vocabulary)
    } else {
        words(&vocabulary)
    };
    Ok(json.into())
}

/// Byte-pair encoding without a pair, on single characters: an unknown one gives no token and no error.
pub(crate) fn characters(vocabulary: &BTreeMap<String, u32>) -> Json {
    json!({
        "version": "1.0",
        "added_tokens": [],
        "pre_tokenizer": { "type": "Split", "pattern": { "Regex": r"[\s\S]" }, "behavior": "Isolated", "invert": false },
        "decoder": { "type": "Fuse" },
        "model": { "type": "BPE", "vocab": vocabulary, "merges": [] },
    })
}

fn words(vocabulary: &BTreeMap<String, u32>) -> Json {
    let unknown = ["<unk>", "[UNK]"].into_iter().find(|token| vocabulary.contains_key(*token)).unwrap_or("<unk>");
    json!({
        "version": "1.0",
        "added_tokens": [],
        "pre_tokenizer": { "type": "WhitespaceSplit" },
        "model": { "type": "WordLevel", "vocab": vocabulary, "unk_token": unknown },
    })
}
