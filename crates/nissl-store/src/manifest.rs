//! `nissl.json`: what the store holds and how much of it is committed. It is the only record of that.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use nissl_core::HookPoint;
use serde::{Deserialize, Serialize};

use crate::dtype::Dtype;
use crate::error::StoreError;
use crate::files;
use crate::layout::Layout;

/// Name of the manifest in the store's folder.
pub(crate) const FILE: &str = "nissl.json";
/// What `format` says.
const FORMAT: &str = "nissl-store";
/// The version of the format that is written and read.
const FORMAT_VERSION: u32 = 1;
/// A manifest is a few kilobytes; a larger file than this is not one.
const MAX_BYTES: u64 = 64 << 20;

/// What a store records: everything that must be the same for a run to go on where another stopped.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// The model whose activations these are.
    pub model: ModelRef,
    /// Digest of the tokenizer; empty if there is none.
    pub tokenizer: String,
    /// The text.
    pub corpus: CorpusRef,
    /// How the tokens of a word become one row: `mean`; `token` where each row is a token.
    pub aggregation: String,
    /// How values are kept.
    pub dtype: Dtype,
    /// The recorded hook points, in the order in which the writer is handed their values.
    pub sites: Vec<SiteWidth>,
    /// Names of the label columns of words.
    pub word_columns: Vec<String>,
    /// Names of the label columns of sentences.
    pub sentence_columns: Vec<String>,
    /// Anything else that the run depends on: the configuration of the extraction.
    pub extra: serde_json::Value,
}

/// A model, by name and by what its weights are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelRef {
    /// What the user calls it.
    pub name: String,
    /// Digest of config and weights; empty if unknown.
    pub fingerprint: String,
}

/// A text, by name and by what it says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CorpusRef {
    /// What the user calls it.
    pub name: String,
    /// Digest of its bytes; empty if unknown.
    pub digest: String,
}

/// A recorded hook point and its number of units.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SiteWidth {
    /// The hook point.
    pub point: HookPoint,
    /// Number of units.
    pub width: u32,
}

impl Run {
    /// Number of neurons of all sites together.
    pub fn n_neurons(&self) -> usize {
        self.sites.iter().map(|site| site.width as usize).sum()
    }

    /// Bytes of one row over all sites.
    pub fn bytes_per_row(&self) -> usize {
        self.n_neurons() * self.dtype.size()
    }
}

/// The manifest of a store.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Always `nissl-store`.
    pub format: String,
    /// Version of the format.
    pub format_version: u32,
    /// Version of nissl that began the store.
    pub nissl_version: String,
    /// Whether the run came to its end.
    pub complete: bool,
    /// Number of committed rows.
    pub n_rows: u64,
    /// Number of sentences of which every row is committed.
    pub n_sentences: u64,
    /// Number of committed rows of the sentence after those, whose other rows are not committed yet.
    pub open_rows: u64,
    /// How activations lie in their files.
    pub layout: Layout,
    /// What is recorded.
    pub run: Run,
    /// The committed parts, one a row of shards.
    pub parts: Vec<Part>,
}

/// What was committed at once: one shard a site and one part a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// Rows in it.
    pub n_rows: u64,
    /// Sentences whose record is in it.
    pub n_sentences: u64,
    /// Values that are infinite or not a number.
    pub n_not_finite: u64,
    /// `rows/part-*.parquet`.
    pub rows: FileDigest,
    /// `sentences/part-*.parquet`.
    pub sentences: FileDigest,
    /// `stats/part-*.parquet`.
    pub stats: FileDigest,
}

/// Length and CRC-32C of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileDigest {
    /// Length in bytes.
    pub bytes: u64,
    /// CRC-32C of all bytes.
    pub crc32c: u32,
}

impl Manifest {
    /// Number of sentences whose record is committed: one more than `n_sentences` if one has some of its rows.
    pub(crate) fn n_recorded(&self) -> u64 {
        self.parts.iter().fold(0, |n, part| n.saturating_add(part.n_sentences))
    }

    /// Shards a site, each with its number of rows.
    pub(crate) fn shards(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        self.parts.iter().enumerate().map(|(idx, part)| (idx, part.n_rows as usize)).filter(|(_, n_rows)| *n_rows > 0)
    }

    /// The manifest of a store without rows.
    pub(crate) fn new(run: Run, layout: Layout) -> Self {
        Self {
            format: FORMAT.to_owned(),
            format_version: FORMAT_VERSION,
            nissl_version: env!("CARGO_PKG_VERSION").to_owned(),
            complete: false,
            n_rows: 0,
            n_sentences: 0,
            open_rows: 0,
            layout,
            run,
            parts: Vec::new(),
        }
    }

    /// Number of values that are infinite or not a number.
    pub fn n_not_finite(&self) -> u64 {
        self.parts.iter().map(|part| part.n_not_finite).sum()
    }

    /// Fingerprint of what is recorded and how much of it: the same for the same rows, however often the run was
    /// interrupted. Changes when any table changes; sixteen hexadecimal digits.
    pub fn fingerprint(&self) -> String {
        let text = serde_json::to_vec(self).unwrap_or_default();
        blake3::hash(&text).to_hex()[..16].to_owned()
    }

    /// Reads and checks the manifest of the store in `root`.
    pub(crate) fn load(root: &Path) -> Result<Self, StoreError> {
        let path = root.join(FILE);
        let bytes = files::read_all(&path, MAX_BYTES)?;
        let head: serde_json::Value =
            serde_json::from_slice(&bytes).map_err(|error| StoreError::format(&path, "manifest", "JSON", error))?;
        for (field, expected) in [("format", FORMAT.into()), ("format_version", FORMAT_VERSION.into())] {
            let expected: serde_json::Value = expected;
            let got = head.get(field).unwrap_or(&serde_json::Value::Null);
            if *got != expected {
                return Err(StoreError::format(&path, field, expected, got));
            }
        }
        let manifest: Self = serde_json::from_value(head)
            .map_err(|error| StoreError::format(&path, "manifest", "the fields of version 1", error))?;
        manifest.check(&path)?;
        Ok(manifest)
    }

    /// Replaces the manifest of the store in `root`: after it has returned, the new state is what readers see.
    pub(crate) fn save(&self, root: &Path) -> Result<(), StoreError> {
        let mut text =
            serde_json::to_vec_pretty(self).map_err(|error| StoreError::input("manifest", "a JSON value", error))?;
        text.push(b'\n');
        files::replace(&root.join(FILE), &text)?;
        files::sync_dir(root)
    }

    fn check(&self, path: &Path) -> Result<(), StoreError> {
        self.layout.check(path)?;
        check_run(&self.run).map_err(|(what, expected, got)| StoreError::format(path, what, expected, got))?;
        let mut n_rows = 0_u64;
        let full = self.layout.rows_per_shard as u64;
        for (idx, part) in self.parts.iter().enumerate() {
            let may_be_partial = idx + 1 == self.parts.len() && self.complete;
            if part.n_rows > full || (part.n_rows < full && !may_be_partial) {
                return Err(StoreError::format(path, format!("parts[{idx}].n_rows"), full, part.n_rows));
            }
            n_rows += part.n_rows;
        }
        if n_rows != self.n_rows {
            return Err(StoreError::format(path, "n_rows", format!("{n_rows}, as the parts say"), self.n_rows));
        }
        let n_sentences = self.n_recorded();
        let recorded = self.n_sentences.saturating_add(u64::from(self.open_rows > 0));
        if recorded != n_sentences || n_sentences > u64::from(u32::MAX) {
            return Err(StoreError::format(path, "n_sentences", format!("{n_sentences}, as the parts say"), recorded));
        }
        let bytes = usize::try_from(self.n_rows).ok().and_then(|n| n.checked_mul(self.run.bytes_per_row()));
        if bytes.is_none_or(|bytes| bytes > isize::MAX as usize) {
            return Err(StoreError::format(path, "n_rows", "a store that fits in the address space", self.n_rows));
        }
        Ok(())
    }
}

/// Checks what a user or a manifest says is recorded: `(what, expected, got)` of the first thing that is wrong.
pub(crate) fn check_run(run: &Run) -> Result<(), (String, String, String)> {
    const MAX_WIDTH: u32 = 1 << 24;
    let mut seen = BTreeSet::new();
    for site in &run.sites {
        let wrong = |expected: &str, got: String| Err((format!("site {}", site.point), expected.to_owned(), got));
        if !seen.insert(site.point) {
            return wrong("to be recorded once", "twice".to_owned());
        }
        if site.width == 0 || site.width > MAX_WIDTH {
            return wrong("a width from 1 to 16777216", site.width.to_string());
        }
        if site.point.site().is_ragged() {
            return wrong("a site of fixed width", "attention patterns".to_owned());
        }
    }
    if run.sites.is_empty() || run.n_neurons() > u32::MAX as usize {
        return Err(("sites".into(), "from 1 site to 4294967295 neurons".into(), format!("{}", run.sites.len())));
    }
    for (what, columns) in [("word_columns", &run.word_columns), ("sentence_columns", &run.sentence_columns)] {
        let mut seen = BTreeSet::new();
        if let Some(column) = columns.iter().find(|column| !seen.insert(column.as_str())) {
            return Err((what.to_owned(), "names without repeats".to_owned(), format!("'{column}' twice")));
        }
    }
    Ok(())
}

/// The parts of a table, in order.
pub(crate) fn part_path(root: &Path, table: &str, part_idx: usize) -> PathBuf {
    root.join(table).join(format!("part-{part_idx:05}.parquet"))
}
