//! Marian: `source.spm` cuts the texts that a model reads, `target.spm` those that it writes, `vocab.json` numbers the
//! pieces of both; with `separate_vocabs`, `target_vocab.json` those of the second.
//!
//! A piece that the vocabulary lacks is unknown, and what no piece spells is looked up there as it is. The codes of
//! languages in it (`>>fra<<`) are tokens wherever a text has them.

use std::path::{Path, PathBuf};

use super::byte_level;
use super::folder::{Convention, Folder};
use super::kinds::{Kind, Made};
use super::numbers;
use super::sentencepiece::{self, Folded, Numbers, Rules};
use super::tokens::{Around, Role, content, role};
use crate::checkpoint::cursor::malformed;
use crate::error::LoadError;

pub(super) const KIND: Kind = Kind { find, read };

const SOURCE: &str = "source.spm";
const TARGET: &str = "target.spm";

const CONVENTIONS: &[Convention<Rules>] = &[Convention {
    classes: &["MarianTokenizer"],
    model_types: &["marian"],
    rules: Rules {
        special: &[role("eos_token", "</s>"), role("unk_token", "<unk>"), role("pad_token", "<pad>")],
        around: Around::END,
        numbers: Numbers::Elsewhere,
        folded: Folded::NO,
    },
}];

const OWN: Rules = Rules {
    special: &[role("eos_token", "</s>"), role("unk_token", "<unk>")],
    around: Around::END,
    numbers: Numbers::Own,
    folded: Folded::NO,
};

#[expect(clippy::unnecessary_wraps, reason = "another kind's search may fail")]
fn find(folder: &Folder<'_>) -> Result<Option<PathBuf>, LoadError> {
    let all = [SOURCE, TARGET, "vocab.json"].map(|name| folder.file(name));
    Ok(if let [Some(source), Some(_), Some(_)] = all { Some(source) } else { None })
}

fn read(folder: &Folder<'_>, source: &Path) -> Result<Made, LoadError> {
    let target = if folder.flag("separate_vocabs")?.unwrap_or(false) { "target_vocab.json" } else { "vocab.json" };
    let target = one(folder, &folder.path().join(TARGET), target)?;
    Ok(Made { target: Some(Box::new(target)), ..one(folder, source, "vocab.json")? })
}

/// What a folder of Marian's own files has, if it has one: a model whose pieces have the numbers that they have there.
pub(super) fn own(path: &Path) -> Result<Option<(PathBuf, Made)>, LoadError> {
    let folder = Folder::open(path)?;
    let Some(model) = sentencepiece::find(&folder)? else { return Ok(None) };
    let json = sentencepiece::tokenizer(&folder, &model, &OWN, &[])?;
    Ok(Some((model, json.into())))
}

/// The tokenizer of one side.
fn one(folder: &Folder<'_>, model: &Path, vocabulary: &str) -> Result<Made, LoadError> {
    let rules = folder.choose(CONVENTIONS)?;
    let path = folder.path().join(vocabulary);
    let ids = byte_level::vocabulary(&path)?;
    let token = |role: &Role| -> Result<String, LoadError> {
        let found = folder.get(role.role).map_or(Some(role.content.into()), content);
        let token = found.ok_or_else(|| folder.wrong(role.role, "a token", "something else"))?;
        if ids.contains_key(&token) {
            return Ok(token);
        }
        Err(malformed(
            &path,
            "tokens",
            format!("'{}' among them", token.escape_debug()),
            format!("{} others", ids.len()),
        ))
    };
    let mut special = rules.special.iter().map(token).collect::<Result<Vec<_>, _>>()?;
    let unknown = ids[&special[1]];
    special.extend(ids.keys().filter(|token| token.starts_with(">>") && token.ends_with("<<")).cloned());
    let json = sentencepiece::tokenizer(folder, model, rules, &special)?;
    Ok(Made { numbers: Some(numbers::Numbers::new(ids, unknown)), ..json.into() })
}
