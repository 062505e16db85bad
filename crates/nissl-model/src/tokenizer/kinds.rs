//! The kinds of files that a tokenizer is made from where a folder has no `tokenizer.json`.

use std::path::{Path, PathBuf};

use serde_json::Value as Json;

use super::folder::Folder;
use super::{byte_level, bytes, sentencepiece, vocabulary, wordpiece};
use crate::error::LoadError;

/// A kind of tokenizer files. One more of them is one file and one line in [`KINDS`].
pub(super) struct Kind {
    /// The file that it is read from, if the folder has it with all that belongs to it.
    pub(super) find: fn(&Folder<'_>) -> Result<Option<PathBuf>, LoadError>,
    /// What tokenizer.json would say.
    pub(super) read: fn(&Folder<'_>, &Path) -> Result<Json, LoadError>,
}

/// Every kind, in the order in which a folder is searched for them.
const KINDS: &[Kind] = &[wordpiece::KIND, sentencepiece::KIND, byte_level::KIND, vocabulary::KIND, bytes::KIND];

/// The file that a folder's tokenizer is made from, and what tokenizer.json would say.
pub(super) fn find(path: &Path) -> Result<Option<(PathBuf, Json)>, LoadError> {
    let folder = Folder::open(path)?;
    for kind in KINDS {
        if let Some(file) = (kind.find)(&folder)? {
            let json = (kind.read)(&folder, &file)?;
            return Ok(Some((file, json)));
        }
    }
    Ok(None)
}
