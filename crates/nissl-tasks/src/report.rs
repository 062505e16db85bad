//! What every report begins with: enough to run the task again.

use serde::{Deserialize, Serialize};

/// Task, version and config.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Head<C> {
    /// The task that made the report.
    pub task: String,
    /// Version of nissl.
    pub version: String,
    /// The config it ran with.
    pub config: C,
}

/// The head of a report of this version.
pub(crate) fn head<C: Clone>(task: &str, config: &C) -> Head<C> {
    Head { task: task.to_owned(), version: env!("CARGO_PKG_VERSION").to_owned(), config: config.clone() }
}
