//! Numbers that an earlier run kept, and how they are kept: bit for bit.

use nissl_core::Progress;

/// Passes on progress and keeps nothing: for a method within another.
pub(crate) struct Unkept<'a>(pub(crate) &'a dyn Progress);

impl Progress for Unkept<'_> {
    fn stage(&self, name: &str, total: Option<u64>, unit: &str) {
        self.0.stage(name, total, unit);
    }
    fn step(&self, done: u64) {
        self.0.step(done);
    }
    fn note(&self, line: &str) {
        self.0.note(line);
    }
    fn cancelled(&self) -> bool {
        self.0.cancelled()
    }
}

/// Keeps numbers after so many steps.
pub(crate) fn keep(progress: &dyn Progress, name: &str, steps: u64, numbers: &dyn Fn() -> Vec<f64>) {
    progress.keep(name, &|| {
        let mut bytes = steps.to_le_bytes().to_vec();
        bytes.extend(numbers().into_iter().flat_map(f64::to_le_bytes));
        bytes
    });
}

/// What was kept under a name: the steps and the numbers, if there are as many as `fits` says for these steps.
pub(crate) fn kept(
    progress: &dyn Progress,
    name: &str,
    fits: impl Fn(u64) -> Option<usize>,
) -> Option<(u64, Vec<f64>)> {
    let (steps, numbers) = kept_all(progress, name)?;
    (fits(steps)? == numbers.len()).then_some((steps, numbers))
}

/// What was kept under a name: the steps and the numbers.
pub(crate) fn kept_all(progress: &dyn Progress, name: &str) -> Option<(u64, Vec<f64>)> {
    let bytes = progress.kept(name)?;
    let (steps, rest) = bytes.split_first_chunk()?;
    let (steps, (numbers, left)) = (u64::from_le_bytes(*steps), rest.as_chunks());
    let numbers = numbers.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect();
    left.is_empty().then_some((steps, numbers))
}
