//! Threads that share the products of one run.
//!
//! A run of fewer sentences than threads would leave threads idle. They join its team instead: as long as the run lasts
//! they look for pieces of work, so that a piece is handed over in a fraction of a microsecond, where waking a thread of
//! the pool for every product would take ten times as long. Whoever leads never waits for anybody to come: pieces that
//! nobody takes it does itself.

#![expect(unsafe_code, reason = "work that is borrowed for a moment is shown to threads that live longer")]

use std::cell::UnsafeCell;
use std::hint;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicIsize, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

/// What is to be done with a piece, by how many are left after it.
type Work = &'static (dyn Fn(usize) + Sync);

/// The helpers of a run, and the work that they share.
pub(crate) struct Team {
    n_helpers: usize,
    /// What is to be done with each piece; read by whoever has taken one.
    work: UnsafeCell<Option<Work>>,
    /// Pieces that nobody has taken yet; none if it is not positive.
    left: AtomicIsize,
    /// Helpers that may have taken a piece.
    busy: AtomicUsize,
    /// Whether somebody leads.
    led: AtomicBool,
    /// Whether the run has ended.
    over: AtomicBool,
}

// SAFETY: `work` is written only by the one who leads, while no piece is left and no helper is busy; it is read only by
// those who took a piece, which the leader offers after writing, and waits for. Everything else is atomic.
unsafe impl Sync for Team {}
// SAFETY: the work is `Sync`, so it may be called from any thread.
unsafe impl Send for Team {}

impl Team {
    /// Nobody: work is done by the one who leads.
    pub(crate) fn alone() -> Arc<Self> {
        Self::of(0)
    }

    fn of(n_helpers: usize) -> Arc<Self> {
        Arc::new(Self {
            n_helpers,
            work: UnsafeCell::new(None),
            left: AtomicIsize::new(0),
            busy: AtomicUsize::new(0),
            led: AtomicBool::new(false),
            over: AtomicBool::new(false),
        })
    }

    /// Calls `run` with a team of up to `n_helpers` threads of the pool besides the calling one.
    pub(crate) fn gather<R: Send>(n_helpers: usize, run: impl FnOnce(&Arc<Self>) -> R + Send) -> R {
        let team = Self::of(n_helpers);
        if n_helpers == 0 {
            return run(&team);
        }
        rayon::scope(|scope| {
            let _end = OnDrop(|| team.over.store(true, Ordering::Release));
            for _ in 0..n_helpers {
                scope.spawn(|_| team.help());
            }
            run(&team)
        })
    }

    /// How many threads share the work.
    pub(crate) fn n_threads(&self) -> usize {
        self.n_helpers + 1
    }

    /// Does `work` for each of `0..n`, once and in any order, and returns when all is done.
    pub(crate) fn each(&self, n: usize, work: &(dyn Fn(usize) + Sync)) {
        if n < 2 || self.n_helpers == 0 || self.led.swap(true, Ordering::Acquire) {
            return (0..n).for_each(work);
        }
        // Pieces are taken from the last on: count them the other way, as memory is read ahead.
        let ascending = |left: usize| work(n - 1 - left);
        // SAFETY: only the lifetime changes. Nobody calls the work after this function: `end` takes back the pieces that
        // are left and waits for those who took one, on return and on unwinding.
        let shown = unsafe { std::mem::transmute::<&(dyn Fn(usize) + Sync), Work>(&ascending) };
        let end = OnDrop(|| {
            self.left.store(0, Ordering::SeqCst);
            let mut wait = Wait::default();
            while self.busy.load(Ordering::SeqCst) > 0 {
                wait.moment();
            }
            self.led.store(false, Ordering::Release);
        });
        // SAFETY: this thread leads, no piece is left, and the last leader waited until no helper was busy.
        unsafe { *self.work.get() = Some(shown) };
        self.left.store(n as isize, Ordering::SeqCst);
        while let Some(left) = self.take() {
            ascending(left);
        }
        drop(end);
    }

    /// Takes a piece, if one is left; returns how many are left after it.
    fn take(&self) -> Option<usize> {
        usize::try_from(self.left.fetch_sub(1, Ordering::SeqCst) - 1).ok()
    }

    /// Helps until the run is over.
    fn help(&self) {
        let mut wait = Wait::default();
        while !self.over.load(Ordering::Acquire) {
            if self.left.load(Ordering::Relaxed) <= 0 {
                wait.moment();
                continue;
            }
            self.busy.fetch_add(1, Ordering::SeqCst);
            let _done = OnDrop(|| {
                self.busy.fetch_sub(1, Ordering::SeqCst);
            });
            while let Some(left) = self.take() {
                // SAFETY: a piece was taken, so the leader has written the work and waits for this thread, which said
                // that it is busy before.
                if let Some(work) = unsafe { *self.work.get() } {
                    work(left);
                }
            }
            wait = Wait::default();
        }
    }
}

/// Waiting that begins as a loop, since work comes every few microseconds, and becomes sleep.
#[derive(Default)]
struct Wait {
    moments: u32,
}

impl Wait {
    fn moment(&mut self) {
        self.moments = self.moments.saturating_add(1);
        match self.moments {
            0..2000 => hint::spin_loop(),
            2000..2500 => thread::yield_now(),
            _ => thread::sleep(Duration::from_micros(50)),
        }
    }
}

/// Calls a function when it goes out of scope.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

#[cfg(test)]
mod tests;
