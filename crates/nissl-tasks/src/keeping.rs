//! What a stopped run keeps, so that the same command goes on where it was.
//!
//! A file a name lies beside the task's output: a digest of all that was asked for, a digest of what follows, and what
//! the method keeps. It appears whole or not at all; a file of another question, or a broken one, is passed over. When
//! the task is done its files go.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use nissl_core::{MethodError, Progress};
use serde::Serialize;

use crate::error::TaskError;
use crate::output::write_whole;

/// How often what is done is written.
const EVERY: Duration = Duration::from_secs(5);
/// Bytes of a digest.
const DIGEST: usize = 32;

/// Passes on progress, and keeps what is done in files.
pub(crate) struct Keeping<'a> {
    progress: &'a dyn Progress,
    /// What the files' names begin with; nothing is kept if there is no output.
    prefix: Option<PathBuf>,
    key: [u8; DIGEST],
    state: Mutex<State>,
}

struct State {
    /// When what was done under a name was last written.
    written: BTreeMap<String, Instant>,
    /// The files that there are.
    files: BTreeSet<PathBuf>,
    failed: bool,
}

impl<'a> Keeping<'a> {
    /// Keeps beside `prefix` for runs that ask for the same: whose `asked` are written the same.
    pub(crate) fn new(progress: &'a dyn Progress, prefix: Option<PathBuf>, asked: &impl Serialize) -> Self {
        let text = serde_json::to_vec(asked).expect("what is asked for is plain structs with text keys");
        let state = State { written: BTreeMap::new(), files: BTreeSet::new(), failed: false };
        Self { progress, prefix, key: *blake3::hash(&text).as_bytes(), state: Mutex::new(state) }
    }

    /// What a user who stops the run is told.
    pub(crate) fn stopped(&self) -> TaskError {
        let resume = match &self.prefix {
            Some(_) => "what is done is kept; the same command goes on where it was".to_owned(),
            None => "nothing was kept, as there is no --out".to_owned(),
        };
        TaskError::Cancelled { resume }
    }

    /// An error of a task, as it is told: where the user stopped it, with what is kept.
    pub(crate) fn told(&self, err: TaskError) -> TaskError {
        match err {
            TaskError::Method(MethodError::Cancelled) | TaskError::Cancelled { .. } => self.stopped(),
            other => other,
        }
    }

    /// Takes away the files of a run that is done.
    pub(crate) fn finish(self) {
        for file in self.state.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner).files {
            // A file that stays is passed over by whoever asks for something else.
            let _ = fs::remove_file(file);
        }
    }

    fn file(&self, name: &str) -> Option<PathBuf> {
        let prefix = self.prefix.as_ref()?;
        let mut file = prefix.file_name().unwrap_or_default().to_owned();
        // Names may hold what no file name can.
        let digest = blake3::hash(name.as_bytes()).to_hex();
        file.push(format!(".{}.kept", &digest.as_str()[..16]));
        Some(prefix.with_file_name(file))
    }
}

impl Progress for Keeping<'_> {
    fn stage(&self, name: &str, total: Option<u64>, unit: &str) {
        self.progress.stage(name, total, unit);
    }
    fn step(&self, done: u64) {
        self.progress.step(done);
    }
    fn note(&self, line: &str) {
        self.progress.note(line);
    }
    fn cancelled(&self) -> bool {
        self.progress.cancelled()
    }

    fn keep(&self, name: &str, done: &dyn Fn() -> Vec<u8>) {
        let Some(file) = self.file(name) else { return };
        let mut state = self.state.lock().expect("no thread panicked");
        let early = state.written.get(name).is_some_and(|last| last.elapsed() < EVERY);
        if state.failed || early && !self.progress.cancelled() {
            return;
        }
        let done = done();
        let written = write_whole(&file, |out| {
            out.write_all(&self.key)?;
            out.write_all(blake3::hash(&done).as_bytes())?;
            out.write_all(&done)
        });
        state.written.insert(name.to_owned(), Instant::now());
        match written {
            Ok(()) => {
                state.files.insert(file);
            }
            Err(err) => {
                state.failed = true;
                self.progress.note(&format!("what is done is not kept: {err}"));
            }
        }
    }

    fn kept(&self, name: &str) -> Option<Vec<u8>> {
        let file = self.file(name)?;
        let bytes = fs::read(&file).ok()?;
        let (key, rest) = bytes.split_first_chunk::<DIGEST>()?;
        let (digest, done) = rest.split_first_chunk::<DIGEST>()?;
        if *key != self.key || digest != blake3::hash(done).as_bytes() {
            return None;
        }
        self.state.lock().expect("no thread panicked").files.insert(file);
        Some(done.to_vec())
    }
}

#[cfg(test)]
mod tests;
