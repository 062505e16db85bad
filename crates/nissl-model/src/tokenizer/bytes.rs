//! Bytes as tokens, as ByT5 has them: no file has its vocabulary, it follows from the settings.

use std::path::Path;

use serde_json::{Value as Json, json};

use super::folder::Folder;
use super::kinds::{Kind, Made};
use super::tokens::{Added, Around, Role, Tokens};
use crate::error::LoadError;

pub(super) const KIND: Kind = Kind {
    find: |folder| Ok(folder.file("tokenizer_config.json").filter(|_| matches!(folder.class(), Ok(Some(CLASS))))),
    read,
};

const CLASS: &str = "ByT5Tokenizer";
const SPECIAL: &[Role] = &[
    Role { role: "pad_token", content: "<pad>", spaces: (true, true) },
    Role { role: "eos_token", content: "</s>", spaces: (true, true) },
    Role { role: "unk_token", content: "<unk>", spaces: (true, true) },
];
/// The first byte's number: it comes after the special tokens.
const FIRST: u32 = 3;
/// How many tokens for blanks there are after the bytes, if nothing is said, and at most.
const EXTRA: u64 = 125;
const MAX_EXTRA: u64 = 1 << 16;

/// What a byte is called as a token.
pub(super) fn name(byte: u8) -> String {
    format!("<0x{byte:02X}>")
}

fn read(folder: &Folder<'_>, _: &Path) -> Result<Made, LoadError> {
    let n_extra = folder.size("extra_ids")?.unwrap_or(EXTRA);
    if n_extra > MAX_EXTRA {
        return Err(folder.wrong("extra_ids", format!("at most {MAX_EXTRA}"), n_extra));
    }
    let mut tokens = Tokens::default();
    for (id, role) in SPECIAL.iter().enumerate() {
        tokens.set(id as u32, role.content);
    }
    for byte in 0..=u8::MAX {
        tokens.set(FIRST + u32::from(byte), name(byte));
    }
    for i in 0..n_extra as u32 {
        let token = format!("<extra_id_{i}>");
        tokens.set(FIRST + 256 + i, token.as_str());
        tokens.add(Added::special(&token));
    }
    tokens.add_special(folder, SPECIAL)?;
    let around = tokens.around(folder, Around::flags(false, true))?;
    Ok(tokenizer(&tokens.vocab().into(), &tokens.added(), &around).into())
}

/// What tokenizer.json would say of a vocabulary of bytes.
pub(super) fn tokenizer(vocab: &Json, added: &Json, around: &Json) -> Json {
    json!({
        "version": "1.0",
        "added_tokens": added,
        "normalizer": null,
        "pre_tokenizer": null,
        "post_processor": around,
        "decoder": {"type": "Sequence", "decoders": [{"type": "ByteFallback"}, {"type": "Fuse"}]},
        // No character is a token, so that each becomes its bytes.
        "model": {"type": "BPE", "byte_fallback": true, "vocab": vocab, "merges": []},
    })
}
