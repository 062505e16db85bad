//! Sentencepiece models: `tokenizer.model`, `spiece.model`, `sentencepiece.bpe.model`, `spm.model`, or the only `.spm`.
//!
//! How a text is normalized and cut stands in the file. Which numbers its pieces have in a model, and what goes
//! around a text, is a convention of the tokenizer's class.

mod conventions;
mod merges;
mod proto;
mod text;

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value as Json, json};

use self::conventions::CONVENTIONS;
pub(super) use self::conventions::{Folded, Numbers, Rules};
pub(crate) use self::merges::{Scored, merges};
use self::proto::{Algorithm, ModelProto, PieceKind};
use self::text::Text;
pub(crate) use self::text::{MARK, words_apart};
use super::folder::Folder;
use super::kinds::{Kind, Made};
use super::tokens::{Added, Tokens};
use crate::checkpoint::cursor::malformed;
use crate::checkpoint::source;
use crate::error::LoadError;

pub(super) const KIND: Kind = Kind { find, read };

const NAMES: &[&str] = &["tokenizer.model", "spiece.model", "sentencepiece.bpe.model", "spm.model"];
/// What a piece loses that a digit and a comma end, where they are to be kept apart.
const APART: f64 = 100.0;
/// How many tokens for blanks T5 has after its pieces, if nothing is said, and at most.
const EXTRA: u64 = 100;
const MAX_EXTRA: u64 = 1 << 16;

pub(super) fn find(folder: &Folder<'_>) -> Result<Option<PathBuf>, LoadError> {
    if let Some(path) = NAMES.iter().find_map(|name| folder.file(name)) {
        return Ok(Some(path));
    }
    let names = source::list(folder.path())?;
    let of_kind = |name: &&String| Path::new(name).extension().is_some_and(|ext| ext == "spm");
    let all: Vec<&String> = names.iter().filter(of_kind).collect();
    match all[..] {
        [] => Ok(None),
        [only] => Ok(Some(folder.path().join(only))),
        [..] => Err(LoadError::NotAModel {
            path: folder.path().to_owned(),
            expected: format!("one .spm file, or one called {}", NAMES.join(", ")),
            got: format!("{} .spm files", all.len()),
        }),
    }
}

fn read(folder: &Folder<'_>, path: &Path) -> Result<Made, LoadError> {
    tokenizer(folder, path, folder.choose(CONVENTIONS)?, &[]).map(Made::from)
}

/// What tokenizer.json would say of a model and special tokens behind all others.
pub(super) fn tokenizer(folder: &Folder<'_>, path: &Path, rules: &Rules, more: &[String]) -> Result<Json, LoadError> {
    let file = fs::read(path).map_err(|source| LoadError::Io { path: path.to_owned(), source })?;
    let model = ModelProto::read(path, &file)?;
    if folder.flag("split_by_punct")? == Some(true) {
        return Err(folder.wrong("split_by_punct", "false (nothing else yet)", true));
    }
    let mut pieces = pieces(folder, path, &model, rules)?;
    let own: HashSet<&str> = model.pieces.iter().map(|piece| piece.text).collect();
    let known: HashSet<String> = pieces.iter().map(|(text, _)| text.clone()).collect();
    pieces.extend(more.iter().filter(|text| !known.contains(*text)).map(|text| (text.clone(), 0.0)));
    let mut tokens = Tokens::default();
    for (id, (text, _)) in pieces.iter().enumerate() {
        tokens.set(id as u32, text.as_str());
    }
    let text = Text::new(folder, &model, rules.folded)?;
    for piece in &model.pieces {
        match piece.kind {
            PieceKind::Control => tokens.add(Added::special(piece.text)),
            PieceKind::UserDefined => tokens.add(text.found(piece.text)),
            _ => {}
        }
    }
    // What has a role is described by it.
    let has_role = |text: &str| rules.special.iter().any(|role| role.content == text);
    let others = pieces.iter().map(|(text, _)| text.as_str()).filter(|text| !own.contains(text) && !has_role(text));
    others.for_each(|text| tokens.add(Added::special(text)));
    tokens.add_special(folder, rules.special)?;
    let unknown = model.unknown().text;
    let inner = match model.algorithm {
        Algorithm::Unigram => unigram(path, &model, &pieces, &tokens)?,
        Algorithm::Bpe | Algorithm::Characters => json!({
            "type": "BPE", "dropout": null, "unk_token": unknown, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": true, "byte_fallback": model.byte_fallback,
            "ignore_merges": false, "vocab": tokens.vocab(), "merges": bpe_merges(path, &model)?,
        }),
    };
    Ok(json!({
        "version": "1.0",
        "added_tokens": tokens.added(),
        "normalizer": text.normalizer(&model),
        "pre_tokenizer": text.pre_tokenizer(&model),
        "post_processor": tokens.around(folder, rules.around)?,
        "decoder": text.decoder(&model),
        "model": inner,
    }))
}

/// The pieces in order of their numbers in the model, with their scores.
fn pieces(
    folder: &Folder<'_>,
    path: &Path,
    model: &ModelProto<'_>,
    rules: &Rules,
) -> Result<Vec<(String, f64)>, LoadError> {
    let own = model.pieces.iter().map(|piece| {
        let kept_apart = rules.folded.accents && piece.text.ends_with(',') && {
            let before = piece.text.chars().nth_back(1);
            before.is_some_and(char::is_numeric)
        };
        (piece.text.to_owned(), f64::from(piece.score) - if kept_apart { APART } else { 0.0 })
    });
    let special = |text: &str| (text.to_owned(), 0.0);
    Ok(match rules.numbers {
        Numbers::Own => own.collect(),
        Numbers::Behind(last) => {
            let lacks = |text: &&&str| !model.pieces.iter().any(|piece| piece.text == **text);
            own.chain(last.iter().filter(lacks).map(|text| special(text))).collect()
        }
        Numbers::Elsewhere => {
            let kinds = model.pieces.iter().map(|piece| piece.kind);
            own.zip(kinds).filter(|(_, kind)| *kind != PieceKind::Control).map(|(piece, _)| piece).collect()
        }
        Numbers::Blanks => {
            let n = folder.size("extra_ids")?.unwrap_or(EXTRA);
            if n > MAX_EXTRA {
                return Err(folder.wrong("extra_ids", format!("at most {MAX_EXTRA}"), n));
            }
            own.chain((0..n).rev().map(|i| special(&format!("<extra_id_{i}>")))).collect()
        }
        Numbers::Between { first, from, last } => {
            let begins = model.pieces.iter().take(3).map(|piece| piece.text);
            if !begins.clone().eq(["<unk>", "<s>", "</s>"]) {
                let got: Vec<&str> = begins.collect();
                return Err(malformed(path, "pieces", "<unk>, <s>, </s> first", format!("{got:?}")));
            }
            let (first, last) = (first.iter().map(|text| special(text)), last.iter().map(|text| special(text)));
            first.chain(own.skip(from)).chain(last).collect()
        }
    })
}

fn unigram(path: &Path, model: &ModelProto<'_>, pieces: &[(String, f64)], tokens: &Tokens) -> Result<Json, LoadError> {
    let wrong = |expected: &str, got: &str| malformed(path, "pieces", expected, got);
    if !tokens.is_dense() {
        return Err(wrong("numbers without gaps, with those of added tokens", "gaps"));
    }
    let unknown = tokens.id(model.unknown().text);
    let unknown = unknown.ok_or_else(|| wrong("the unknown piece among the tokens", "another one in its place"))?;
    let scores: HashMap<&str, f64> = pieces.iter().map(|(text, score)| (text.as_str(), *score)).collect();
    let vocab: Vec<Json> =
        tokens.iter().map(|(_, text)| json!([text, scores.get(text).copied().unwrap_or(0.0)])).collect();
    Ok(json!({"type": "Unigram", "unk_id": unknown, "vocab": vocab, "byte_fallback": model.byte_fallback}))
}

fn bpe_merges(path: &Path, model: &ModelProto<'_>) -> Result<Vec<[String; 2]>, LoadError> {
    if model.algorithm == Algorithm::Characters {
        return Ok(Vec::new());
    }
    let all = model.pieces.iter().enumerate().filter(|(_, piece)| piece.kind == PieceKind::Normal);
    let scored = all.map(|(id, piece)| Scored { id, text: piece.text, score: piece.score.into() });
    merges(&scored.collect::<Vec<_>>()).ok_or_else(|| malformed(path, "pieces", "pieces made of few others", "of many"))
}

#[cfg(test)]
mod tests;
