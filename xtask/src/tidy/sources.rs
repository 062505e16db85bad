//! What every Rust file has, and what none has without a reason.

use super::sizes::stale;
use super::{Problem, is_test_file, test_start};
use crate::tree::Tree;

/// Files with `unsafe` code, each with its reason.
const UNSAFE: &[(&str, &str)] = &[
    ("crates/nissl-methods/src/panels/kernel.rs", "products of columns, in AVX-512, AVX2 and FMA intrinsics"),
    ("crates/nissl-methods/src/panels/kernel/tests.rs", "calls each of these kernels"),
    ("crates/nissl-model/src/checkpoint/mmap.rs", "maps a checkpoint into memory"),
    ("crates/nissl-model/src/engine/cpu/gemm.rs", "calls the kernel that the processor has, with checked lengths"),
    ("crates/nissl-model/src/engine/cpu/isa.rs", "calls code compiled for the processor's instructions"),
    ("crates/nissl-model/src/engine/cpu/kernel_x86.rs", "the matrix kernel, in AVX2 and FMA intrinsics"),
    ("crates/nissl-model/src/engine/cpu/native.rs", "calls the decoder that the processor has, with checked lengths"),
    ("crates/nissl-model/src/engine/cpu/native_x86.rs", "decodes weights, by vectors on raw pointers"),
    ("crates/nissl-model/src/engine/cpu/vector_x86.rs", "vectors of floats, in AVX-512, AVX2, FMA and F16C intrinsics"),
    ("fuzz/src/memory.rs", "an allocator that counts, for the fuzzers"),
    ("crates/nissl-model/src/engine/cpu/team.rs", "shows borrowed work to threads that live longer"),
];

/// A file begins by saying what it is about, or by including the page that does.
pub(super) fn file_docs(tree: &Tree, problems: &mut Vec<Problem>) {
    for (path, text) in tree.rust().filter(|(path, _)| !is_test_file(path)) {
        if !text.starts_with("//! ") && !text.starts_with("#![doc = include_str!(") {
            problems.push(Problem::new(path, 1, "begins with a `//!` line that says what the file is about"));
        }
    }
}

/// Lints are lifted only with a reason, and no test is switched off.
pub(super) fn attributes(tree: &Tree, problems: &mut Vec<Problem>) {
    for (path, text) in tree.rust() {
        let lines: Vec<&str> = text.lines().collect();
        for (i, line) in lines.iter().enumerate() {
            let line = line.trim_start();
            if line.starts_with("#[ignore") {
                problems.push(Problem::new(path, i + 1, "no test is ignored: let it return early, or remove it"));
            }
            if line.starts_with("#[should_panic") {
                problems.push(Problem::new(path, i + 1, "test the error or the panic's message, not `should_panic`"));
            }
            let lifts =
                ["#[expect(", "#![expect(", "#[allow(", "#![allow("].iter().any(|start| line.starts_with(start));
            if lifts && !lines[i..].iter().take(8).any(|l| l.contains("reason = \"")) {
                problems.push(Problem::new(path, i + 1, "a lifted lint says why: `#[expect(lint, reason = \"...\")]`"));
            }
        }
    }
}

/// `unsafe` stays in the few files named here.
pub(super) fn unsafe_code(tree: &Tree, problems: &mut Vec<Problem>) {
    for (path, text) in tree.rust() {
        if UNSAFE.iter().any(|(known, _)| *known == path) {
            continue;
        }
        let is_code = |line: &str| {
            let code = line.split("//").next().unwrap_or_default();
            has_word(code, concat!("un", "safe")) && !code.contains('"')
        };
        if let Some(i) = text.lines().position(is_code) {
            let what = "unsafe code in a file that is not on the list of xtask/src/tidy/sources.rs";
            problems.push(Problem::new(path, i + 1, what));
        }
    }
    stale(tree, UNSAFE, problems);
}

/// Tests wait for what they need, not for a time.
pub(super) fn waiting_tests(tree: &Tree, problems: &mut Vec<Problem>) {
    let call = concat!("thread::", "sleep");
    for (path, text) in tree.rust() {
        let tests = if is_test_file(path) { 0 } else { test_start(text) };
        for (i, _) in text.lines().enumerate().skip(tests).filter(|(_, line)| line.contains(call)) {
            problems.push(Problem::new(path, i + 1, "a test that sleeps is slow or fails by chance"));
        }
    }
}

/// Whether `word` stands in `text` by itself.
pub(super) fn has_word(text: &str, word: &str) -> bool {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').any(|w| w == word)
}
