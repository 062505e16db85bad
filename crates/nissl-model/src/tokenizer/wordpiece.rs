//! `vocab.txt`: words and their continuations (`##ing`), one a line, as BERT has them.

use std::fs;
use std::path::Path;

use serde_json::json;

use super::folder::{Convention, Folder};
use super::kinds::{Kind, Made};
use super::tokens::{Around, Role, Tokens, role};
use crate::error::LoadError;

pub(super) const KIND: Kind = Kind { find: |folder| Ok(folder.file("vocab.txt")), read };

/// The special tokens of BERT.
const BERT: &[Role] = &[
    role("unk_token", "[UNK]"),
    role("sep_token", "[SEP]"),
    role("pad_token", "[PAD]"),
    role("cls_token", "[CLS]"),
    role("mask_token", "[MASK]"),
];

/// Those of MPNet, which has the words of BERT and the special tokens of RoBERTa.
const MPNET: &[Role] = &[
    role("bos_token", "<s>"),
    role("eos_token", "</s>"),
    role("sep_token", "</s>"),
    role("cls_token", "<s>"),
    role("unk_token", "[UNK]"),
    role("pad_token", "<pad>"),
    Role { role: "mask_token", content: "<mask>", spaces: (true, false) },
];

const CONVENTIONS: &[Convention<&[Role]>] = &[
    Convention {
        classes: &[
            "BertTokenizer",
            "DistilBertTokenizer",
            "ElectraTokenizer",
            "MobileBertTokenizer",
            "SqueezeBertTokenizer",
            "ConvBertTokenizer",
        ],
        model_types: &["bert", "distilbert", "electra", "mobilebert", "squeezebert", "convbert"],
        rules: BERT,
    },
    Convention { classes: &["MPNetTokenizer"], model_types: &["mpnet"], rules: MPNET },
];

/// Longer words are unknown.
const MAX_CHARACTERS: usize = 100;

fn read(folder: &Folder<'_>, path: &Path) -> Result<Made, LoadError> {
    let text = fs::read_to_string(path).map_err(|source| LoadError::Io { path: path.to_owned(), source })?;
    let usual = folder.choose(CONVENTIONS)?;
    if folder.flag("do_basic_tokenize")? == Some(false) {
        return Err(folder.wrong("do_basic_tokenize", "true (nothing else yet)", false));
    }
    let mut tokens = Tokens::default();
    for (id, token) in text.lines().enumerate() {
        // A token that comes twice has its last number, as everywhere.
        tokens.set(id as u32, token);
    }
    tokens.add_special(folder, usual)?;
    let (_, unknown) = tokens.of_role(folder, "unk_token")?;
    Ok(json!({
        "version": "1.0",
        "added_tokens": tokens.added(),
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": true,
            "handle_chinese_chars": folder.flag("tokenize_chinese_chars")?.unwrap_or(true),
            "strip_accents": folder.flag("strip_accents")?,
            "lowercase": folder.flag("do_lower_case")?.unwrap_or(true),
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": tokens.around(folder, Around::CLASS)?,
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
        "model": {
            "type": "WordPiece", "unk_token": unknown, "continuing_subword_prefix": "##",
            "max_input_chars_per_word": MAX_CHARACTERS, "vocab": tokens.vocab(),
        },
    })
    .into())
}
