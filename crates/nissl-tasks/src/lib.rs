//! What a user can ask nissl for, one file a task: `Config`, `Report`, `run(&Config, &dyn Progress)`.
//!
//! A task composes the crates below it: it loads a model, streams a corpus, writes a store, runs methods over it. The
//! doors (command line, server, Python) parse input into a `Config`, call `run`, and render the `Report`.
//!
//! ```
//! use nissl_core::NoProgress;
//! use nissl_tasks::tasks::methods;
//!
//! let config = methods::Config { method: Some("probeless".to_owned()) };
//! let report = methods::run(&config, &NoProgress)?;
//! assert_eq!(report.methods[0].parameters[0].name, "zscore");
//! # Ok::<(), nissl_tasks::TaskError>(())
//! ```
//!
//! **Boundary:** nothing is printed here, and no argument parser, web server or binding is known.

#![deny(missing_docs)]
#![cfg_attr(test, expect(clippy::unwrap_used, reason = "a test that cannot go on should stop"))]

mod chosen;
mod claims;
mod compiled;
mod concepts;
mod cost;
mod edit_text;
mod error;
pub mod html;
mod judges;
mod keeping;
mod labels;
mod output;
mod page;
mod pieces;
mod progress;
mod prompts;
mod ranked;
mod ranking_file;
mod recorded;
mod reference;
mod report;
mod select;
mod sets;
mod stats;
pub mod tasks;
#[cfg(test)]
mod testing;

pub use cost::Cost;
pub use error::{ErrorKind, TaskError};
pub use nissl_methods::probes::inference::Interval;
pub use output::{write_json, write_whole};
pub use ranking_file::{load_ranking, save_ranking};
pub use report::Head;
pub use select::{GROUPS, SiteGroup, select};
pub use stats::{Histogram, Stats};
pub use tasks::{TASKS, TaskEntry};
