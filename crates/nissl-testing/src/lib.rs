//! For the tests of nissl, never shipped: data and models whose answers are known, and checks that every method of a
//! kind must pass.
//!
//! * [`PlantedActivations`]: a toy corpus and 128 neurons of which each does something known;
//! * [`ToyModel`]: a language model of a few lines whose every value follows from a formula;
//! * [`assert_close`]: compares numbers and says where they first differ;
//! * [`conformance`]: what holds for every ranker and every profiler;
//! * [`golden`]: reads the committed reference fixtures.

#![expect(clippy::missing_panics_doc, reason = "a helper of tests fails by panicking")]

pub mod conformance;
pub mod golden;
pub mod planted;

mod close;
mod random;
mod select;
mod toy;

pub use close::{Tol, Values, assert_close, difference};
pub use planted::PlantedActivations;
pub use random::Random;
pub use select::{select_columns, select_rows, select_text};
pub use toy::{Fact, ToyModel, Unit};
