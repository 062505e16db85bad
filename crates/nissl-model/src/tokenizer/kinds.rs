//! The kinds of files that a tokenizer is made from where a folder has no `tokenizer.json`.

use std::path::{Path, PathBuf};

use serde_json::Value as Json;

use super::folder::Folder;
use super::longest::Longest;
use super::numbers::Numbers;
use super::{byte_level, bytes, marian, sentencepiece, vocabulary, wordpiece, world};
use crate::error::LoadError;

/// A kind of tokenizer files. One more of them is one file and one line in [`KINDS`].
pub(super) struct Kind {
    /// The file that it is read from, if the folder has it with all that belongs to it.
    pub(super) find: fn(&Folder<'_>) -> Result<Option<PathBuf>, LoadError>,
    pub(super) read: fn(&Folder<'_>, &Path) -> Result<Made, LoadError>,
}

/// What is made of such files.
pub(super) struct Made {
    /// What tokenizer.json would say.
    pub(super) json: Json,
    /// The numbers of pieces in the model, where they are others than there.
    pub(super) numbers: Option<Numbers>,
    /// What cuts up texts, where tokenizer.json has no words for it.
    pub(super) longest: Option<Longest>,
    /// The tokenizer of what the model writes, where it is another.
    pub(super) target: Option<Box<Self>>,
}

impl From<Json> for Made {
    fn from(json: Json) -> Self {
        Self { json, numbers: None, longest: None, target: None }
    }
}

/// Every kind, in the order in which a folder is searched for them.
const KINDS: &[Kind] =
    &[wordpiece::KIND, marian::KIND, sentencepiece::KIND, byte_level::KIND, vocabulary::KIND, bytes::KIND, world::KIND];

/// The file that a folder's tokenizer is made from, and what is made of it.
pub(super) fn find(path: &Path) -> Result<Option<(PathBuf, Made)>, LoadError> {
    let folder = Folder::open(path)?;
    for kind in KINDS {
        if let Some(file) = (kind.find)(&folder)? {
            let made = (kind.read)(&folder, &file)?;
            return Ok(Some((file, made)));
        }
    }
    Ok(None)
}
