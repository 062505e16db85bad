//! Why a model could not be loaded.

use std::error::Error as StdError;
use std::io;
use std::path::PathBuf;

use thiserror::Error;

fn hint(nearest: Option<&String>) -> String {
    nearest.map_or_else(String::new, |name| format!("; did you mean {name}?"))
}

/// Why a model could not be loaded: what, where, what was expected and what was got.
#[derive(Debug, Error)]
pub enum LoadError {
    /// A file that cannot be read or written.
    #[error("{}: {source}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A folder or name that does not lead to a model.
    #[error("{}: expected {expected}, got {got}", .path.display())]
    NotAModel {
        /// Where it was looked for.
        path: PathBuf,
        /// What has to be there.
        expected: String,
        /// What is there.
        got: String,
    },
    /// A file that is not JSON, or not of the expected form.
    #[error("{}: {source}", .path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// What is wrong, with line and column.
        source: serde_json::Error,
    },
    /// A field of the config that the family cannot take.
    #[error("{}: field {field}: expected {expected}, got {got}", .path.display())]
    Config {
        /// The config file.
        path: PathBuf,
        /// The field.
        field: String,
        /// What is allowed.
        expected: String,
        /// Its value.
        got: String,
    },
    /// A field of the config that the family does not know, and that may change what the model computes.
    #[error(
        "{}: field {field}: {family} does not know it, and it may change what the model computes: expected nothing, got \
         {got}; to go on without it, allow {field}{}",
        .path.display(), hint(.nearest.as_ref())
    )]
    UnknownOption {
        /// The config file.
        path: PathBuf,
        /// The field.
        field: String,
        /// Its value.
        got: String,
        /// The family that reads the config.
        family: &'static str,
        /// The nearest field that it knows.
        nearest: Option<String>,
    },
    /// An architecture that is not in the list of families.
    #[error("{}: unknown architecture '{got}': known are {known}{}", .path.display(), hint(.nearest.as_ref()))]
    UnknownArchitecture {
        /// The config file.
        path: PathBuf,
        /// The architecture it names.
        got: String,
        /// Those that are known, with commas.
        known: String,
        /// The nearest of them.
        nearest: Option<String>,
    },
    /// A weights file that breaks its format: truncated, damaged or hostile.
    #[error("{}: {part}: expected {expected}, got {got}", .path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The part of it: the header, a tensor by name.
        part: String,
        /// What the format demands.
        expected: String,
        /// What the file says.
        got: String,
    },
    /// A weights file that would run code: nothing of it is run, and nothing of it is used.
    #[error("{}: pickle calls {name}: refused, only plain weights are read", .path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// What it calls: module and name.
        name: String,
    },
    /// A weight that the checkpoint lacks.
    #[error("{}: no weight is called '{name}'{}", .path.display(), hint(.nearest.as_ref()))]
    MissingWeight {
        /// The folder.
        path: PathBuf,
        /// The weight.
        name: String,
        /// The nearest name that the checkpoint has.
        nearest: Option<String>,
    },
    /// A head that the checkpoint lacks.
    #[error("{}: head {asked}: expected one of those that the checkpoint has ({known})", .path.display())]
    NoHead {
        /// The folder.
        path: PathBuf,
        /// The kind that was asked for.
        asked: &'static str,
        /// Those that are there, with commas.
        known: String,
    },
    /// A weight of another shape or number format than the config asks for.
    #[error("{what} of {name}: expected {expected}, got {got}")]
    Weight {
        /// `shape` or `number format`.
        what: &'static str,
        /// The weight.
        name: String,
        /// What the model needs.
        expected: String,
        /// What the checkpoint has.
        got: String,
    },
    /// A tokenizer file that cannot be understood, or a text that it cannot encode.
    #[error("{}: {source}", .path.display())]
    Tokenizer {
        /// The tokenizer file.
        path: PathBuf,
        /// What the tokenizer said.
        source: Box<dyn StdError + Send + Sync>,
    },
    /// A text for a model without a tokenizer, or with one that cannot be read.
    #[error("{}: expected a tokenizer to read texts with, got {got}", .path.display())]
    NoTokenizer {
        /// The model's folder or file.
        path: PathBuf,
        /// That there is none, or what is wrong with it.
        got: String,
    },
    /// A Hub name that is neither in the cache nor can be downloaded.
    #[error("{repo}@{revision}: {what}")]
    Hub {
        /// The Hub name, `org/name`.
        repo: String,
        /// The revision.
        revision: String,
        /// What went wrong, with the file or address.
        what: String,
    },
    /// A device that is not there, or that this build knows nothing of.
    #[error("device {device}: {what}")]
    Device {
        /// Its name.
        device: &'static str,
        /// What is wrong.
        what: String,
    },
    /// The user stopped it.
    #[error("cancelled")]
    Cancelled,
}
