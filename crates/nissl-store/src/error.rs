//! Why a store could not be written or read: what, where, expected, got.

use std::io;
use std::path::{Path, PathBuf};

use nissl_core::{ActivationsError, NameError};
use thiserror::Error;

/// Why a store, or a file of another program, could not be written or read.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The file system refused: missing file, full disk, no permission.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried: `write`.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// A store is to be created where something else is.
    #[error("{} is not empty: resume the store in it, or choose another folder", path.display())]
    Exists {
        /// The folder.
        path: PathBuf,
    },
    /// Two writers at once.
    #[error("{} is being written by another process", path.display())]
    Locked {
        /// The folder.
        path: PathBuf,
    },
    /// A file that is not what it should be.
    #[error("{}: {what}: expected {expected}, got {got}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// Which part of it: a field, a line, a byte offset.
        what: String,
        /// What should be there.
        expected: String,
        /// What is there.
        got: String,
    },
    /// Bytes that do not match their checksum.
    #[error(
        "{}: {what} at byte {offset} is corrupt: its checksum is {expected:08x}, its bytes have {got:08x}",
        path.display()
    )]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Which block of it.
        what: String,
        /// Where the block starts.
        offset: u64,
        /// The checksum that is stored.
        expected: u32,
        /// The checksum of the bytes.
        got: u32,
    },
    /// A run that is not the one the store was begun with.
    #[error("{} was begun with another {what}: expected {expected}, got {got}", path.display())]
    OtherRun {
        /// The store.
        path: PathBuf,
        /// What differs.
        what: &'static str,
        /// What the store has.
        expected: String,
        /// What the run has.
        got: String,
    },
    /// Something handed to the writer or exporter that does not fit.
    #[error("{what}: expected {expected}, got {got}")]
    Input {
        /// What does not fit.
        what: String,
        /// What would fit.
        expected: String,
        /// What was handed over.
        got: String,
    },
    /// A hook point or label column that the store does not have.
    #[error(transparent)]
    Unknown(#[from] NameError),
    /// A table that cannot be written or read.
    #[error("cannot {action} the table {}", path.display())]
    Table {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the Parquet library says.
        #[source]
        source: parquet::errors::ParquetError,
    },
    /// The user stopped it.
    #[error("cancelled")]
    Cancelled,
}

impl From<StoreError> for ActivationsError {
    fn from(error: StoreError) -> Self {
        Self::Read(Box::new(error))
    }
}

impl StoreError {
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }

    #[expect(clippy::needless_pass_by_value, reason = "callers hand over numbers and text as they have them")]
    pub(crate) fn format(path: &Path, what: impl Into<String>, expected: impl ToString, got: impl ToString) -> Self {
        let (expected, got) = (expected.to_string(), got.to_string());
        Self::Format { path: path.to_owned(), what: what.into(), expected, got }
    }

    #[expect(clippy::needless_pass_by_value, reason = "callers hand over numbers and text as they have them")]
    pub(crate) fn input(what: impl Into<String>, expected: impl ToString, got: impl ToString) -> Self {
        Self::Input { what: what.into(), expected: expected.to_string(), got: got.to_string() }
    }
}
