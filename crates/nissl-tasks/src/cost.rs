//! What a piece of work costs: time and memory.

use std::fs;
use std::time::Instant;

use serde::{Deserialize, Serialize};

/// What a piece of work cost on this machine; the next run costs something else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cost {
    /// Seconds by the clock.
    pub seconds: f64,
    /// The most memory that the whole process held meanwhile, in bytes; none where the system does not tell it.
    pub peak: Option<u64>,
}

/// Does some work and tells what it cost.
pub(crate) fn costing<T>(work: impl FnOnce() -> T) -> (Cost, T) {
    // Linux forgets the peak so far; elsewhere there is no such file, and none to read it from.
    let forgotten = fs::write("/proc/self/clear_refs", "5").is_ok();
    let start = Instant::now();
    let done = work();
    let seconds = start.elapsed().as_secs_f64();
    (Cost { seconds, peak: forgotten.then(peak).flatten() }, done)
}

/// The most memory that the process has held, in bytes.
fn peak() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_that_holds_memory_is_told_by_its_peak() {
        let hold = |bytes: usize| costing(|| vec![1u8; bytes].iter().map(|&one| u64::from(one)).sum::<u64>());
        let (cost, sum) = hold(256 << 20);
        assert!(sum == 256 << 20 && cost.seconds > 0.0);
        if let Some(peak) = cost.peak {
            assert!(peak >= 256 << 20);
        }
    }
}
