//! What a user can ask nissl for, one file a task: `Config`, `Report`, `run(&Config, &dyn Progress)`.
//!
//! A task composes the crates below it: it loads a model, streams a corpus, writes a store, runs methods over it. The
//! doors (command line, server, Python) parse input into a `Config`, call `run`, and render the `Report`.
//!
//! **Boundary:** nothing is printed here, and no argument parser, web server or binding is known.

#![deny(missing_docs)]

pub mod error;
