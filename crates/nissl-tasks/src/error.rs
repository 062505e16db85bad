//! Why a task stopped, and whose fault it was.

use std::path::PathBuf;

use nissl_core::{MethodError, ModelError, NameError, PlanError};
use thiserror::Error;

/// Why a task could not be done.
#[derive(Debug, Error)]
pub enum TaskError {
    /// A field of a config that is missing or out of its range.
    #[error("{field}: expected {expected}, got {got}")]
    Config {
        /// The field.
        field: String,
        /// What is allowed.
        expected: String,
        /// What was given.
        got: String,
    },
    /// A name that nobody bears.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A file that could not be read or written.
    #[error("cannot {action} {}", .path.display())]
    Io {
        /// What was tried: `read`, `write`, `create`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The reason.
        #[source]
        source: std::io::Error,
    },
    /// A file whose content is not what it should be.
    #[error("{}: expected {expected}, got {got}", .path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What should be there.
        expected: String,
        /// What is there.
        got: String,
    },
    /// A method that could not do its work.
    #[error(transparent)]
    Method(#[from] MethodError),
    /// A model that could not run.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The user stopped it; `resume` says how to go on.
    #[error("stopped: {resume}")]
    Cancelled {
        /// What is kept, and what to do to go on.
        resume: String,
    },
}

/// Whose fault an error is; doors make exit codes and statuses of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The user's input: a file, a name, a parameter, a full disk.
    Input,
    /// Ours: something that should not happen whatever the input.
    Internal,
    /// Nobody's: the user stopped it.
    Cancelled,
}

impl TaskError {
    /// A field of a config that is missing or out of its range.
    pub fn config(field: impl Into<String>, expected: impl Into<String>, got: impl Into<String>) -> Self {
        Self::Config { field: field.into(), expected: expected.into(), got: got.into() }
    }

    /// A file that could not be read or written.
    pub fn io(action: &'static str, path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        Self::Io { action, path: path.into(), source }
    }

    /// Whose fault it is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Cancelled { .. } | Self::Method(MethodError::Cancelled) => ErrorKind::Cancelled,
            Self::Model(ModelError::Engine { .. })
            | Self::Method(MethodError::ScoreNotFinite { .. } | MethodError::Shape { .. }) => ErrorKind::Internal,
            _ => ErrorKind::Input,
        }
    }
}

impl From<PlanError> for TaskError {
    fn from(err: PlanError) -> Self {
        Self::Model(ModelError::Plan(err))
    }
}
