//! Any bytes, read as a user's file: see `nissl_model::fuzzing`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| nissl_fuzz::run("world", bytes));
