//! Why a task stopped, and whose fault it was.

use std::path::PathBuf;

use nissl_core::{ActivationsError, MethodError, ModelError, NameError, PlanError};
use nissl_data::DataError;
use nissl_methods::CatalogError;
use nissl_model::LoadError;
use nissl_store::StoreError;
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
    /// An edit that cannot be understood; the text is shown with the place below it.
    #[error("edit, column {}: {what}\n    {text}\n    {:column$}^", .column + 1, "")]
    Edit {
        /// The edit as it was given.
        text: String,
        /// Characters before the place.
        column: usize,
        /// What is wrong there.
        what: String,
    },
    /// A site that the model or store has not.
    #[error("{owner} has no site '{name}'{}", .nearest.as_ref().map_or_else(String::new, |n| format!("; did you mean {n}?")))]
    UnknownSite {
        /// The model or store.
        owner: String,
        /// What was asked for.
        name: String,
        /// The nearest name.
        nearest: Option<String>,
    },
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
    /// An endpoint that does not answer as it should.
    #[error("{url}: {what}")]
    Endpoint {
        /// Its address.
        url: String,
        /// What is wrong.
        what: String,
    },
    /// A model that could not be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// A corpus or concept that could not be read.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A store that could not be written or read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A store that was begun with another config.
    #[error("{} was begun with another {what}: it has {expected}, the config has {got}", .path.display())]
    OtherConfig {
        /// The store.
        path: PathBuf,
        /// What differs.
        what: String,
        /// What the store has.
        expected: String,
        /// What the config has.
        got: String,
    },
    /// A method that cannot be made from its parameters.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
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

    /// What the user could do about it, where there is something to say that the message does not.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::UnknownSite { .. } => Some(
                "nissl sites MODEL lists a model's sites; resid, mlp, attn, mixer, lstm and all are groups of them"
                    .to_owned(),
            ),
            Self::Load(LoadError::UnknownArchitecture { .. }) => {
                Some("nissl models lists the families that can be loaded".to_owned())
            }
            Self::Load(LoadError::UnknownOption { field, .. }) => {
                Some(format!("--allow-unknown {field} loads the model without it"))
            }
            Self::Model(ModelError::NoLogits { .. }) => {
                Some("this checkpoint ends with the last layer: take one with its language-model head".to_owned())
            }
            Self::OtherConfig { .. } => Some("--force overwrites it; or choose another folder".to_owned()),
            _ if matches!(self.store(), Some(StoreError::Corrupt { .. })) => {
                Some("the file was damaged after it was written: record it anew with nissl extract --force".to_owned())
            }
            Self::Data(DataError::UnknownSuffix { .. }) => Some("name the format with --format".to_owned()),
            Self::Io { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => {
                Some("the disk is full: free some space and run the same command again".to_owned())
            }
            _ => None,
        }
    }

    /// The error of a store that this is, or that made a method fail.
    fn store(&self) -> Option<&StoreError> {
        match self {
            Self::Store(err) => Some(err),
            Self::Method(MethodError::Activations(ActivationsError::Read(err))) => err.downcast_ref(),
            _ => None,
        }
    }

    /// Whose fault it is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Cancelled { .. }
            | Self::Method(MethodError::Cancelled)
            | Self::Load(LoadError::Cancelled)
            | Self::Store(StoreError::Cancelled) => ErrorKind::Cancelled,
            Self::Model(ModelError::Engine { .. })
            | Self::Method(
                MethodError::ScoreNotFinite { .. }
                | MethodError::Shape { .. }
                | MethodError::Activations(ActivationsError::Shape { .. }),
            ) => ErrorKind::Internal,
            _ => ErrorKind::Input,
        }
    }
}

impl From<ActivationsError> for TaskError {
    fn from(err: ActivationsError) -> Self {
        Self::Method(MethodError::Activations(err))
    }
}

impl From<PlanError> for TaskError {
    fn from(err: PlanError) -> Self {
        Self::Model(ModelError::Plan(err))
    }
}
