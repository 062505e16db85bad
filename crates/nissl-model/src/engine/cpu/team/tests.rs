use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;

use super::*;

fn with_pool<R: Send>(n_threads: usize, run: impl FnOnce() -> R + Send) -> R {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().expect("threads can be started");
    pool.install(run)
}

#[test]
fn every_piece_is_done_once_whatever_the_number_of_threads() {
    for n_threads in [1, 2, 5] {
        with_pool(n_threads, || {
            Team::gather(n_threads - 1, |team| {
                for round in 0..2000 {
                    let n = round % 9;
                    let done: Vec<AtomicUsize> = (0..n).map(|_| AtomicUsize::new(0)).collect();
                    team.each(n, &|piece| {
                        done[piece].fetch_add(1, Ordering::Relaxed);
                    });
                    assert!(done.iter().all(|count| count.load(Ordering::Relaxed) == 1), "round {round}");
                }
            });
        });
    }
}

#[test]
fn work_within_work_is_done_by_who_asks_for_it() {
    with_pool(3, || {
        Team::gather(2, |team| {
            let sum = Mutex::new(0);
            team.each(5, &|i| team.each(4, &|j| *sum.lock().expect("nobody panics") += i * j));
            assert_eq!(sum.into_inner().expect("nobody panics"), 10 * 6);
        });
    });
}

#[test]
fn more_helpers_than_threads_are_not_waited_for() {
    let sum = AtomicUsize::new(0);
    with_pool(1, || {
        Team::gather(7, |team| {
            team.each(100, &|i| {
                sum.fetch_add(i, Ordering::Relaxed);
            });
        });
    });
    assert_eq!(sum.into_inner(), 4950);
}

#[test]
fn a_panic_in_a_piece_reaches_who_asked() {
    for n_threads in [1, 3] {
        let run = || {
            Team::gather(n_threads - 1, |team| {
                team.each(50, &|piece| assert!(piece != 20, "piece {piece}"));
                team.each(50, &|_| {});
            });
        };
        assert!(with_pool(n_threads, || catch_unwind(AssertUnwindSafe(run)).is_err()));
    }
}
