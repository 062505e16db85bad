//! The commit of a shard: either all of it counts, for every site and table, or nothing.
//!
//! The order is what makes it so:
//! 1. every file of the shard and the tables is written under a temporary name and brought to the disk;
//! 2. each gets its own name: files beyond the committed rows, which no reader of the manifest looks at;
//! 3. `zarr.json` of each array gets the new number of rows;
//! 4. the manifest is replaced by one that names the new rows. This is the commit.
//!
//! Killed before 4, the next writer sets `zarr.json` back and removes the files.

use std::path::PathBuf;
use std::thread::{self, JoinHandle};

use crate::error::StoreError;
use crate::files;
use crate::manifest::{Manifest, Part, Run, part_path};
use crate::moments::Moments;
use crate::sentence::SentenceRows;
use crate::tables::{self, ROWS, RowTable, SENTENCES, STATS, SentenceTable};
use crate::writer::folder;
use crate::writer::open_shard::OpenShard;
use crate::zarr;

/// Bytes of text in one part; Arrow counts them in 31 bits.
const MAX_TEXT_BYTES: usize = 1 << 30;

/// The tables of a shard that is being written.
#[derive(Debug)]
pub(super) struct Tables {
    pub(super) first_row: u64,
    pub(super) rows: RowTable,
    /// Number of sentences recorded in earlier parts.
    first_sentence: u64,
    sentences: SentenceTable,
    /// Number of sentences begun, in earlier parts and this one.
    pub(super) n_sentences: u64,
    /// Number of rows, up to the end of this part, of the last sentence if others of its rows follow; else 0.
    pub(super) open_rows: u64,
    text_bytes: usize,
}

impl Tables {
    /// Empty tables for what follows the committed rows.
    pub(super) fn new(manifest: &Manifest) -> Self {
        Self {
            first_row: manifest.n_rows,
            rows: RowTable::new(manifest.run.word_columns.len()),
            first_sentence: manifest.n_recorded(),
            sentences: SentenceTable::new(manifest.run.sentence_columns.len()),
            n_sentences: manifest.n_sentences,
            open_rows: 0,
            text_bytes: 0,
        }
    }

    /// Empty tables for what follows these.
    pub(super) fn next(&self, run: &Run) -> Self {
        Self {
            first_row: self.first_row + self.rows.n_rows() as u64,
            rows: RowTable::new(run.word_columns.len()),
            first_sentence: self.first_sentence + self.sentences.n_sentences() as u64,
            sentences: SentenceTable::new(run.sentence_columns.len()),
            n_sentences: self.n_sentences,
            open_rows: 0,
            text_bytes: 0,
        }
    }

    /// Records a sentence; its rows follow.
    pub(super) fn begin_sentence(&mut self, sentence: &SentenceRows) -> Result<(), StoreError> {
        let labels = sentence.labels.iter().chain(sentence.rows.iter().flat_map(|row| &row.labels));
        self.text_bytes += sentence.text.len() + sentence.rows.iter().map(|row| row.word.len()).sum::<usize>();
        self.text_bytes += labels.flatten().map(String::len).sum::<usize>();
        self.text_bytes += (sentence.rows.len() + 1) * sentence.id.as_ref().map_or(0, String::len);
        if self.text_bytes > MAX_TEXT_BYTES || self.n_sentences >= u64::from(u32::MAX) {
            let what = format!("text up to sentence {}", self.n_sentences);
            let expected = format!("at most {MAX_TEXT_BYTES} bytes a shard");
            return Err(StoreError::input(what, expected, self.text_bytes));
        }
        self.sentences.push(sentence);
        self.n_sentences += 1;
        Ok(())
    }

    fn is_empty(&self) -> bool {
        self.rows.n_rows() == 0 && self.sentences.n_sentences() == 0
    }
}

/// A shard with all its rows, to be committed.
pub(super) struct Commit {
    pub(super) root: PathBuf,
    /// None if there are no rows.
    pub(super) shard: Option<OpenShard>,
    pub(super) tables: Tables,
    /// Whether these are the last rows.
    pub(super) complete: bool,
}

impl Commit {
    /// Commits beside the caller; the thread returns the manifest as it is then.
    pub(super) fn start(self, manifest: Manifest) -> Result<JoinHandle<Result<Manifest, StoreError>>, StoreError> {
        let (root, root_of_run) = (self.root.clone(), self.root.clone());
        let thread = thread::Builder::new().name("nissl-store-commit".to_owned());
        let run = move || {
            let committed = manifest.clone();
            self.run(manifest).inspect_err(|_| folder::tidy(&root_of_run, &committed))
        };
        thread.spawn(run).map_err(StoreError::io("start a thread that writes", &root))
    }

    fn run(self, mut manifest: Manifest) -> Result<Manifest, StoreError> {
        let n_rows = self.tables.rows.n_rows();
        if !self.tables.is_empty() {
            let moments = match self.shard {
                Some(shard) => shard.publish(&self.root, n_rows)?,
                None => vec![Moments::default(); manifest.run.n_neurons()],
            };
            manifest.parts.push(write_tables(&self.root, &manifest, &self.tables, &moments)?);
        }
        manifest.n_rows += n_rows as u64;
        manifest.open_rows = self.tables.open_rows;
        manifest.n_sentences = self.tables.n_sentences - u64::from(self.tables.open_rows > 0);
        manifest.complete = self.complete;
        zarr::update(&self.root, &manifest)?;
        manifest.save(&self.root)?;
        Ok(manifest)
    }
}

fn write_tables(
    root: &std::path::Path,
    manifest: &Manifest,
    tables: &Tables,
    moments: &[Moments],
) -> Result<Part, StoreError> {
    let part_idx = manifest.parts.len();
    let path = |table| part_path(root, table, part_idx);
    let run = &manifest.run;
    let part = Part {
        n_rows: tables.rows.n_rows() as u64,
        n_sentences: tables.sentences.n_sentences() as u64,
        n_not_finite: moments.iter().map(|moments| moments.not_finite).sum(),
        rows: tables.rows.write(&path(ROWS), tables.first_row, &run.word_columns)?,
        sentences: tables.sentences.write(&path(SENTENCES), tables.first_sentence, &run.sentence_columns)?,
        stats: tables::write_moments(&path(STATS), &run.sites, moments)?,
    };
    for table in [ROWS, SENTENCES, STATS] {
        files::sync_dir(&root.join(table))?;
    }
    Ok(part)
}
