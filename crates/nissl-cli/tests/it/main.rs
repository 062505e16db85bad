//! The command line, as a user meets it.
//!
//! Outputs are kept as snapshots, with times and the test's own paths replaced. Numbers come from fixtures, not from a
//! model, wherever they are part of a snapshot: a forward pass may differ in the last digit between machines.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod errors;
mod help;
mod nissl;
mod runs;
mod stop;
