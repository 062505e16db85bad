//! What every fuzzer does: runs a reader on bytes, and checks that its memory stays in proportion to them.

mod memory;

use nissl_model::fuzzing::READERS;

/// What a reader may allocate for the smallest file: caches and tables of a size that no file says.
const FREE: usize = 48 << 20;
/// How many times the size of a file a reader may allocate beyond that.
const FACTOR: usize = 1024;

#[global_allocator]
static MEMORY: memory::Counting = memory::Counting;

/// Runs a reader by its name.
///
/// # Panics
/// If the reader does, or if it allocates too much at a time.
pub fn run(name: &str, bytes: &[u8]) {
    let (_, read) = READERS.iter().find(|(known, _)| *known == name).expect("a reader of this name");
    let limit = FREE + FACTOR * bytes.len();
    let before = memory::start();
    read(bytes);
    let peak = memory::peak().saturating_sub(before);
    assert!(peak <= limit, "{name}: {peak} bytes allocated for a file of {}", bytes.len());
}
