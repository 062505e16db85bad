//! Progress of a part of a task.

use nissl_core::Progress;

/// Passes on whether to stop, and nothing else: for work whose stages would only be noise.
pub(crate) struct Quiet<'a>(pub(crate) &'a dyn Progress);

impl Progress for Quiet<'_> {
    fn stage(&self, _name: &str, _total: Option<u64>, _unit: &str) {}
    fn step(&self, _done: u64) {}
    fn note(&self, _line: &str) {}
    fn cancelled(&self) -> bool {
        self.0.cancelled()
    }
}
