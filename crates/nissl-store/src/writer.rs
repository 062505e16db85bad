//! Writes a store, so that a run killed at any moment goes on where it was.
//!
//! Rows are gathered, packed into chunks group by group of rows, and appended to shard files under temporary names.
//! When a shard is full it is committed for all sites and tables together (see [`commit`]); the manifest names the
//! committed rows and nothing else does. What is not committed when a run ends is done again by the next.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use nissl_core::HookPoint;

use crate::chunk::RowBuffer;
use crate::error::StoreError;
use crate::files::Lock;
use crate::layout::Layout;
use crate::manifest::{Manifest, Run, SiteWidth};
use crate::sentence::{SentenceRows, Values};

mod commit;
mod folder;
mod open_shard;

use commit::{Commit, Tables};
use open_shard::OpenShard;

/// Settings of a writer that do not change what is written, beyond how it is cut into blocks.
#[derive(Clone, Copy, Debug)]
pub struct WriteOptions {
    /// Bytes that may be buffered. A row of all sites times the rows of two chunks must fit, so chunks get fewer rows
    /// where the budget is small; sixteen at least.
    pub memory_budget: usize,
    /// How activations lie in their files; chosen by the budget if `None`. A resumed store keeps its own.
    pub layout: Option<Layout>,
}

impl Default for WriteOptions {
    fn default() -> Self {
        Self { memory_budget: 64 << 20, layout: None }
    }
}

/// Where a run goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ResumePoint {
    /// The sentence that [`Writer::append`] is to be handed next, counted from 0 in the order of the corpus.
    pub sentence: u64,
    /// Number of its rows that are stored already; `append` passes over them, so it is handed the whole sentence.
    pub rows_stored: usize,
}

/// Writes the activations of a run and what their rows stand for.
///
/// Dropped before [`Writer::finish`], it leaves a store that can be resumed and read up to the last full shard.
#[derive(Debug)]
pub struct Writer {
    root: PathBuf,
    /// What is known to be committed.
    manifest: Manifest,
    /// Rows that are gathered, one buffer a site.
    buffers: Vec<RowBuffer>,
    /// Number of gathered rows.
    n_buffered: usize,
    /// The shard that is being written; none if nothing of it is in a file yet.
    shard: Option<OpenShard>,
    /// The tables of the shard that is being written.
    tables: Tables,
    /// Rows to be passed over in the next sentence.
    n_skip: usize,
    /// The commit of the shard before, under way beside the writing of this one.
    committing: Option<JoinHandle<Result<Manifest, StoreError>>>,
    /// Set by the first failure: what is in memory no longer agrees with what is on the disk.
    failed: bool,
    lock: Option<Lock>,
}

impl Writer {
    /// Begins a store in `path`, which must be empty or not there.
    ///
    /// # Errors
    /// [`StoreError::Exists`] if something is there; [`StoreError::Input`] if the run cannot be stored;
    /// [`StoreError::Io`] if the folder cannot be written.
    pub fn create(path: impl AsRef<Path>, run: Run, options: &WriteOptions) -> Result<Self, StoreError> {
        let root = path.as_ref();
        crate::manifest::check_run(&run).map_err(|(what, expected, got)| StoreError::input(what, expected, got))?;
        let layout = options.layout.unwrap_or_else(|| Layout::for_budget(run.bytes_per_row(), options.memory_budget));
        layout.check(root)?;
        let lock = folder::claim(root)?;
        let manifest = Manifest::new(run, layout);
        folder::prepare(root, &manifest)?;
        manifest.save(root)?;
        Self::new(root, manifest, lock)
    }

    /// Goes on with the store in `path`, which must have been begun with the same run. What was not committed when
    /// the last writer ended is removed.
    ///
    /// # Errors
    /// [`StoreError::OtherRun`] naming the first field of `run` that differs; [`StoreError::Locked`] if somebody is
    /// writing the store; [`StoreError::Io`] if there is none.
    pub fn resume(path: impl AsRef<Path>, run: &Run) -> Result<Self, StoreError> {
        let root = path.as_ref();
        Manifest::load(root)?;
        let lock = Lock::take(root)?;
        // Read again: another writer may have committed until the lock was ours.
        let manifest = Manifest::load(root)?;
        folder::check_same_run(root, &manifest, run)?;
        folder::prepare(root, &manifest)?;
        folder::clean(root, &manifest)?;
        Self::new(root, manifest, lock)
    }

    /// [`Writer::resume`] if there is a store in `path`, else [`Writer::create`].
    ///
    /// # Errors
    /// As those two.
    pub fn create_or_resume(path: impl AsRef<Path>, run: &Run, options: &WriteOptions) -> Result<Self, StoreError> {
        if path.as_ref().join(crate::manifest::FILE).exists() {
            Self::resume(path, run)
        } else {
            Self::create(path, run.clone(), options)
        }
    }

    fn new(root: &Path, manifest: Manifest, lock: Lock) -> Result<Self, StoreError> {
        let rows = manifest.layout.rows_per_group();
        let buffer = |site: &SiteWidth| {
            let n_values = rows.saturating_mul(site.width as usize);
            RowBuffer::new(manifest.run.dtype, n_values).ok_or_else(|| {
                let what = format!("buffer of {rows} rows of {}", site.point);
                StoreError::input(what, "memory for it", format!("none for {n_values} values"))
            })
        };
        Ok(Self {
            root: root.to_owned(),
            buffers: manifest.run.sites.iter().map(buffer).collect::<Result<_, _>>()?,
            n_buffered: 0,
            shard: None,
            tables: Tables::new(&manifest),
            n_skip: manifest.open_rows as usize,
            manifest,
            committing: None,
            failed: false,
            lock: Some(lock),
        })
    }

    /// Number of rows that are stored or gathered.
    pub fn n_rows(&self) -> u64 {
        self.tables.first_row + self.tables.rows.n_rows() as u64
    }

    /// Number of rows that are known to be committed: those that a run killed now would not have to do again.
    pub fn rows_done(&self) -> u64 {
        self.manifest.n_rows
    }

    /// The sentence that [`Writer::append`] is to be handed next.
    pub fn resume_point(&self) -> ResumePoint {
        ResumePoint { sentence: self.tables.n_sentences, rows_stored: self.n_skip }
    }

    /// Whether the store was finished already; it takes no more rows.
    pub fn is_complete(&self) -> bool {
        self.manifest.complete
    }

    /// The recorded hook points and their widths, in the order in which `append` is handed their values.
    pub fn sites(&self) -> impl ExactSizeIterator<Item = (HookPoint, usize)> + '_ {
        self.manifest.run.sites.iter().map(|site| (site.point, site.width as usize))
    }

    /// Adds whole sentences, in the order of the corpus from [`Writer::resume_point`] on. `values` has one entry a
    /// site, in the order of the run: row-major `[n_rows, width]` for the rows of all these sentences.
    ///
    /// # Errors
    /// [`StoreError::Input`] if sizes do not fit, with nothing added; [`StoreError::Io`] if something cannot be
    /// written, after which the store can be resumed but this writer takes no more.
    pub fn append(&mut self, sentences: &[SentenceRows], values: &[Values<'_>]) -> Result<(), StoreError> {
        self.check(sentences, values)?;
        let result = self.append_checked(sentences, values);
        self.failed |= result.is_err();
        result
    }

    /// Commits the last rows and marks the store as complete.
    ///
    /// # Errors
    /// As [`Writer::append`].
    pub fn finish(mut self) -> Result<crate::Store, StoreError> {
        self.check_usable()?;
        if !self.manifest.complete {
            if self.n_skip > 0 {
                let expected =
                    format!("sentence {}, of which {} rows are stored", self.manifest.n_sentences, self.n_skip);
                return Err(StoreError::input("the end of the text", expected, "nothing more"));
            }
            self.flush()?;
            self.commit(true)?;
            self.join()?;
        }
        if let Some(lock) = self.lock.take() {
            lock.remove();
        }
        crate::Store::open(&self.root)
    }

    fn check_usable(&self) -> Result<(), StoreError> {
        if self.failed {
            return Err(StoreError::input("writer", "one that has not failed", "one that has: resume the store"));
        }
        Ok(())
    }

    fn check(&self, sentences: &[SentenceRows], values: &[Values<'_>]) -> Result<(), StoreError> {
        self.check_usable()?;
        if self.manifest.complete {
            return Err(StoreError::input("store", "one that takes more rows", "a complete one"));
        }
        let run = &self.manifest.run;
        for (idx, sentence) in sentences.iter().enumerate() {
            sentence.check(run, self.tables.n_sentences + idx as u64)?;
        }
        if let Some(first) = sentences.first()
            && first.rows.len() < self.n_skip
        {
            let what = format!("rows of sentence {}", self.tables.n_sentences);
            return Err(StoreError::input(what, format!("at least the {} stored ones", self.n_skip), first.rows.len()));
        }
        let n_rows: usize = sentences.iter().map(|sentence| sentence.rows.len()).sum();
        if values.len() != run.sites.len() {
            return Err(StoreError::input("sites of a block", run.sites.len(), values.len()));
        }
        for (site, values) in run.sites.iter().zip(values) {
            let expected = n_rows * site.width as usize;
            if values.len() != expected {
                return Err(StoreError::input(format!("values of {}", site.point), expected, values.len()));
            }
            if run.dtype.size() == 4 && matches!(values, Values::Bits16(_)) {
                let what = format!("values of {}", site.point);
                return Err(StoreError::input(what, "32-bit values, as the store keeps", "16-bit ones"));
            }
        }
        Ok(())
    }

    fn append_checked(&mut self, sentences: &[SentenceRows], values: &[Values<'_>]) -> Result<(), StoreError> {
        // Row of the block up to which values have been gathered.
        let mut gathered = 0;
        let mut row = 0;
        for sentence in sentences {
            let first = std::mem::take(&mut self.n_skip);
            if first == 0 {
                self.tables.begin_sentence(sentence)?;
            } else {
                self.tables.n_sentences += 1;
                gathered = first;
            }
            for (idx, info) in sentence.rows.iter().enumerate().skip(first) {
                let number = self.tables.n_sentences - 1;
                self.tables.rows.push(number as u32, sentence, info);
                self.n_buffered += 1;
                if self.n_buffered == self.manifest.layout.rows_per_group() || self.is_shard_full() {
                    self.gather(values, gathered..row + idx + 1);
                    gathered = row + idx + 1;
                    self.flush()?;
                }
                if self.is_shard_full() {
                    self.tables.open_rows = if idx + 1 < sentence.rows.len() { idx as u64 + 1 } else { 0 };
                    self.commit(false)?;
                }
            }
            row += sentence.rows.len();
        }
        self.gather(values, gathered..row);
        Ok(())
    }

    fn is_shard_full(&self) -> bool {
        self.tables.rows.n_rows() == self.manifest.layout.rows_per_shard as usize
    }

    /// Copies rows of a block to the buffers.
    fn gather(&mut self, values: &[Values<'_>], rows: Range<usize>) {
        for ((buffer, values), site) in self.buffers.iter_mut().zip(values).zip(&self.manifest.run.sites) {
            let width = site.width as usize;
            let range = rows.start * width..rows.end * width;
            match values {
                Values::F32(values) => buffer.push_f32(&values[range]),
                Values::Bits16(bits) => buffer.push_bits(&bits[range]),
            }
        }
    }

    /// Writes the gathered rows to the shard's files.
    fn flush(&mut self) -> Result<(), StoreError> {
        if self.n_buffered == 0 {
            return Ok(());
        }
        let shard = match &mut self.shard {
            Some(shard) => shard,
            none => {
                let shard_idx = self.tables.first_row / self.manifest.layout.rows_per_shard as u64;
                none.insert(OpenShard::create(&self.root, &self.manifest, shard_idx as usize)?)
            }
        };
        shard.append(&self.buffers, self.n_buffered)?;
        self.buffers.iter_mut().for_each(RowBuffer::clear);
        self.n_buffered = 0;
        Ok(())
    }

    /// Begins to commit the shard that is being written, when the one before is committed. All its rows must have
    /// been flushed.
    fn commit(&mut self, complete: bool) -> Result<(), StoreError> {
        self.join()?;
        let next = self.tables.next(&self.manifest.run);
        let tables = std::mem::replace(&mut self.tables, next);
        let commit = Commit { root: self.root.clone(), shard: self.shard.take(), tables, complete };
        self.committing = Some(commit.start(self.manifest.clone())?);
        Ok(())
    }

    /// Waits until the commit that is under way is done.
    fn join(&mut self) -> Result<(), StoreError> {
        let Some(thread) = self.committing.take() else { return Ok(()) };
        match thread.join() {
            Ok(manifest) => self.manifest = manifest?,
            Err(panic) => std::panic::resume_unwind(panic),
        }
        Ok(())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // A commit that is under way is let end; what is not committed goes, and if that fails the next writer does it.
        if let Some(thread) = self.committing.take() {
            let _ = thread.join();
        }
        if let Some(shard) = self.shard.take() {
            shard.discard();
        }
    }
}
