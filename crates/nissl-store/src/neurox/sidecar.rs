//! `<file>.nissl.json`: what NeuroX's formats have no place for.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::StoreError;
use crate::files;
use crate::manifest::{Run, check_run};

const FORMAT: &str = "nissl-neurox-sidecar";
const FORMAT_VERSION: u32 = 1;
const MAX_BYTES: u64 = 1 << 30;

/// What is kept beside a NeuroX file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sidecar {
    format: String,
    format_version: u32,
    /// The run; its sites are the layers of the file, in order. Labels are not in the file, so it has no columns.
    pub(super) run: Run,
    /// The words of those sentences whose words have blanks in them, by the sentence's place in the file.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) words: BTreeMap<usize, Vec<String>>,
}

impl Sidecar {
    pub(super) fn new(run: Run, words: BTreeMap<usize, Vec<String>>) -> Self {
        Self { format: FORMAT.to_owned(), format_version: FORMAT_VERSION, run, words }
    }

    /// Where the sidecar of `file` is.
    pub(super) fn path(file: &Path) -> PathBuf {
        let mut name = file.as_os_str().to_owned();
        name.push(".nissl.json");
        name.into()
    }

    pub(super) fn save(&self, file: &Path) -> Result<(), StoreError> {
        let text = serde_json::to_vec_pretty(self).map_err(|e| StoreError::input("sidecar", "a JSON value", e))?;
        files::replace(&Self::path(file), &text)
    }

    /// The sidecar of `file`, if there is one.
    pub(super) fn load(file: &Path) -> Result<Option<Self>, StoreError> {
        let path = Self::path(file);
        if !path.exists() {
            return Ok(None);
        }
        let text = files::read_all(&path, MAX_BYTES)?;
        let sidecar: Self = serde_json::from_slice(&text)
            .map_err(|error| StoreError::format(&path, "sidecar", "the fields of version 1", error))?;
        if sidecar.format != FORMAT || sidecar.format_version != FORMAT_VERSION {
            let expected = format!("{FORMAT} {FORMAT_VERSION}");
            let got = format!("{} {}", sidecar.format, sidecar.format_version);
            return Err(StoreError::format(&path, "format", expected, got));
        }
        check_run(&sidecar.run).map_err(|(what, expected, got)| StoreError::format(&path, what, expected, got))?;
        Ok(Some(sidecar))
    }
}
