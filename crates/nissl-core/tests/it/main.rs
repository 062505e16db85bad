//! What holds for the nouns of nissl, whatever they are made of.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod labels;
mod matrix;
mod names;
mod plan;
mod ranking;
mod saved;
mod text;
