//! How long work reports where it is, is told to stop, and goes on where it was.

/// Receives progress and says whether to go on. Doors implement it: a bar, plain lines, server-sent events.
pub trait Progress: Send + Sync {
    /// A stage begins. `total` is the number of `unit`s it will take, if known.
    fn stage(&self, name: &str, total: Option<u64>, unit: &str);
    /// `done` units of the current stage are finished.
    fn step(&self, done: u64);
    /// A line worth keeping (a warning, a count); shown beside the bar.
    fn note(&self, line: &str);
    /// Whether the user asked to stop. Work checks it between blocks and leaves nothing half-written.
    fn cancelled(&self) -> bool;
    /// Keeps what is done under a name, in place of what was kept under it before, for a later run that is asked for the
    /// same. What it is is computed only when it is kept: that may be less often than it is offered. By default nothing
    /// is kept.
    fn keep(&self, name: &str, done: &dyn Fn() -> Vec<u8>) {
        let _ = (name, done);
    }
    /// What an earlier run that was asked for the same kept under a name.
    fn kept(&self, name: &str) -> Option<Vec<u8>> {
        let _ = name;
        None
    }
}

/// Reports to nobody and never stops.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoProgress;

impl Progress for NoProgress {
    fn stage(&self, _name: &str, _total: Option<u64>, _unit: &str) {}
    fn step(&self, _done: u64) {}
    fn note(&self, _line: &str) {}
    fn cancelled(&self) -> bool {
        false
    }
}
