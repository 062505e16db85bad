//! Tests of the store as its users see it: through its public interface and its files.
#![expect(clippy::unwrap_used, clippy::float_cmp, reason = "tests: a failure is a failed test, and values are exact")]

mod golden;
mod hostile;
mod kill;
mod neurox;
mod properties;
mod round_trip;
mod sample;
