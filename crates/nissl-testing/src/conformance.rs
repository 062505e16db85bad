//! What holds for every method of a kind, tried on planted activations.
//!
//! A method's author calls [`check_ranker`], [`check_profiler`] or [`check_attributor`] and has a test suite; the catalogue's tests call
//! them for every line of the list.

use std::sync::Mutex;

use ndarray::{Array2, Axis};
use nissl_core::{Activations, Context, Matrix, MethodError, Progress};

use crate::random::Random;

mod attributor;
mod profiler;
mod ranker;

pub use attributor::check_attributor;
pub use profiler::check_profiler;
pub use ranker::check_ranker;

/// A check: what must hold, and how it is tried.
type Check<M> = (&'static str, fn(&M) -> Result<(), String>);

/// Runs all checks and panics with everything that does not hold.
fn run_all<M: ?Sized>(name: &str, method: &M, checks: &[Check<M>]) {
    let failed: Vec<String> = checks
        .iter()
        .filter_map(|(rule, check)| check(method).err().map(|reason| format!("  {rule}: {reason}")))
        .collect();
    assert!(failed.is_empty(), "{name} fails {} of {} checks:\n{}", failed.len(), checks.len(), failed.join("\n"));
}

fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise()) }
}

/// The answer of a run that must succeed.
fn done<T>(what: &str, result: Result<T, MethodError>) -> Result<T, String> {
    result.map_err(|err| format!("{what}: {err}"))
}

/// Runs `work` on so many threads.
fn on_threads<T: Send>(n_threads: usize, work: impl FnOnce() -> T + Send) -> T {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().expect("threads can be started");
    pool.install(work)
}

/// The matrix with one value replaced.
fn with_value(x: &Matrix, row: usize, column: usize, value: f32) -> Matrix {
    let mut values = x.values().clone();
    values[[row, column]] = value;
    Matrix::new(values, x.neurons().to_vec()).expect("the neurons are those of a matrix")
}

/// The matrix without rows, or without columns.
fn without_rows(x: &Matrix) -> Matrix {
    Matrix::new(Array2::zeros((0, x.neurons().len())), x.neurons().to_vec()).expect("a neuron for each column")
}

fn without_columns(x: &Matrix) -> Matrix {
    Matrix::new(x.values().select(Axis(1), &[]), Vec::new()).expect("no column, no neuron")
}

/// That an activation which is not finite is refused by neuron and row, whichever it is.
fn refuses_what_is_not_finite<T>(
    x: &Matrix,
    mut run: impl FnMut(&Matrix) -> Result<T, MethodError>,
) -> Result<(), String> {
    let mut random = Random::new(17);
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let (row, column) = (random.below(x.n_tokens()), random.below(x.neurons().len()));
        match run(&with_value(x, row, column, bad)) {
            Err(MethodError::NotFinite { neuron, row: named, .. }) if neuron == x.neurons()[column] && named == row => {
            }
            Err(other) => return Err(format!("{bad} in row {row}, column {column} was reported as: {other}")),
            Ok(_) => return Err(format!("{bad} in row {row}, column {column} was taken")),
        }
    }
    Ok(())
}

/// The same answer when only a few columns fit into memory, and an error when none does.
fn keeps_to_the_memory<T: PartialEq>(
    x: &Matrix,
    mut run: impl FnMut(Context<'_>) -> Result<T, MethodError>,
) -> Result<(), String> {
    let whole = done("ample memory", run(Context::default()))?;
    // Three columns and their scratch space on one thread; the answer itself is not counted against so little.
    let little = 1 << 20;
    assert!(little < 4 * x.n_tokens() * x.neurons().len(), "the matrix does not fit");
    let split = done("little memory", run(Context { memory: little, ..Context::default() }))?;
    ensure(whole == split, || "another answer with little memory".to_owned())?;
    ensure(run(Context { memory: 16, ..Context::default() }).is_err(), || "went on without memory".to_owned())
}

/// That a stop is obeyed, and stages and steps are told.
fn tells_progress_and_stops<T>(mut run: impl FnMut(Context<'_>) -> Result<T, MethodError>) -> Result<(), String> {
    let stopped = Recorder { stop: true, ..Recorder::default() };
    match run(Context { progress: &stopped, ..Context::default() }) {
        Err(MethodError::Cancelled) => {}
        Err(other) => return Err(format!("a stop was reported as: {other}")),
        Ok(_) => return Err("a stop was not obeyed".to_owned()),
    }
    let listening = Recorder::default();
    done("with progress", run(Context { progress: &listening, ..Context::default() }))?;
    let told = listening.told.lock().expect("no thread panicked");
    match told.iter().position(|said| matches!(said, Told::Stage(_))) {
        None => Err("no stage was told".to_owned()),
        Some(first) => {
            let Told::Stage(total) = told[first] else { unreachable!("it was just found") };
            let furthest = told.iter().filter_map(|said| if let Told::Step(n) = said { Some(*n) } else { None }).max();
            ensure(total.is_none() || furthest == total, || format!("steps to {furthest:?} of {total:?}"))
        }
    }
}

/// Records what it is told.
#[derive(Default)]
pub struct Recorder {
    stop: bool,
    told: Mutex<Vec<Told>>,
}

enum Told {
    Stage(Option<u64>),
    Step(u64),
    Note(String),
}

impl Recorder {
    /// The notes so far.
    pub fn notes(&self) -> Vec<String> {
        let told = self.told.lock().expect("no thread panicked");
        told.iter().filter_map(|said| if let Told::Note(line) = said { Some(line.clone()) } else { None }).collect()
    }

    fn push(&self, said: Told) {
        self.told.lock().expect("no thread panicked").push(said);
    }
}

impl Progress for Recorder {
    fn stage(&self, _name: &str, total: Option<u64>, _unit: &str) {
        self.push(Told::Stage(total));
    }

    fn step(&self, done: u64) {
        self.push(Told::Step(done));
    }

    fn note(&self, line: &str) {
        self.push(Told::Note(line.to_owned()));
    }

    fn cancelled(&self) -> bool {
        self.stop
    }
}
