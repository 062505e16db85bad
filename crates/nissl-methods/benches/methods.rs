//! Seconds of every method on 25,000 rows, 2,000 neurons and 17 concepts, beside one read of the matrix.
//!
//! `cargo bench -p nissl-methods`; set `RAYON_NUM_THREADS` to choose the threads. The best of three runs counts.

#![expect(clippy::print_stdout, reason = "a program that measures tells what it measured")]

use std::hint::black_box;
use std::time::Instant;

use ndarray::{Array2, ShapeBuilder};
use nissl_core::{
    Activations, Context, HookPoint, LabeledActivations, Labels, Matrix, Site, TextActivations, TextRows, site_columns,
};
use nissl_methods::{METHODS, Method};
use nissl_testing::Random;
use rayon::prelude::*;
use serde_json::{Value, json};

/// Rows, neurons, concepts and word types.
struct Size {
    n_tokens: usize,
    n_neurons: usize,
    n_concepts: usize,
    n_types: usize,
}

const FULL: Size = Size { n_tokens: 25_000, n_neurons: 2_000, n_concepts: 17, n_types: 5_000 };

/// What is run when a test runner looks in: whether it works, not how fast.
const TINY: Size = Size { n_tokens: 250, n_neurons: 20, n_concepts: 3, n_types: 50 };

fn main() {
    let size = if std::env::args().any(|arg| arg == "--bench") { FULL } else { TINY };
    let (x, labels, text) = data(&size);
    let read = best_of_three(|| read_once(&x));
    println!(
        "{} rows, {} neurons, {} concepts, {} threads",
        size.n_tokens,
        size.n_neurons,
        size.n_concepts,
        rayon::current_num_threads()
    );
    println!("{:<42} {:>9} {:>8}", "", "seconds", "reads");
    let line = |name: &str, seconds: f64| println!("{name:<42} {seconds:>9.3} {:>8.1}", seconds / read);
    line("one read, in blocks of columns", read);
    for (name, params) in RUNS {
        let params: Value = serde_json::from_str(params).expect("parameters are JSON");
        let entry = METHODS.iter().find(|entry| entry.name == *name).expect("the method is in the catalogue");
        let method = entry.build(&params).expect("the parameters fit");
        let seconds = best_of_three(|| run(&method, &x, &labels, &text));
        let shown = if params == json!({}) { (*name).to_owned() } else { format!("{name} {params}") };
        line(&shown, seconds);
    }
}

/// Methods and parameters.
const RUNS: &[(&str, &str)] = &[
    ("probeless", r#"{"min_count":1}"#),
    ("mean-select", "{}"),
    ("iou", "{}"),
    ("iou", r#"{"threshold":"relu"}"#),
    ("average-precision", "{}"),
    ("average-precision", r#"{"signed":true}"#),
    ("top-words", r#"{"num":20}"#),
    ("top-contexts", "{}"),
    ("top-contexts", r#"{"bottom":true}"#),
    ("variance-reduction", "{}"),
    ("tx-ray", "{}"),
    ("lookup", "{}"),
    ("compositional", r#"{"rounds":5}"#),
];

fn run(method: &Method, x: &Matrix, labels: &Labels, text: &TextRows) {
    // Ample, so that lists of words fit; blocks are as large as the cache likes whatever the memory.
    let ctx = Context { memory: 2 << 30, ..Context::default() };
    match method {
        Method::Ranker(ranker) => {
            let data = LabeledActivations::new(x, labels).expect("a label for each row");
            black_box(ranker.score(data, ctx).expect("random data can be scored"));
        }
        Method::Profiler(profiler) => {
            let data = TextActivations::new(x, text).expect("a word for each row");
            black_box(profiler.profile(data, ctx).expect("random data has profiles"));
        }
        Method::Attributor(_) => unreachable!("no run names one"),
    }
}

fn data(size: &Size) -> (Matrix, Labels, TextRows) {
    let mut random = Random::new(0);
    let values = Array2::from_shape_fn((size.n_tokens, size.n_neurons), |_| random.normal() as f32);
    let neurons = site_columns(&[(HookPoint::new(0, Site::MlpPost), size.n_neurons)]);
    let x = Matrix::new(values, neurons).expect("a neuron for each column");
    let names: Vec<String> = (0..size.n_concepts).map(|idx| format!("concept {idx}")).collect();
    let labels = Labels::from_names(
        &(0..size.n_tokens).map(|_| Some(&names[random.below(size.n_concepts)])).collect::<Vec<_>>(),
    );
    // Words as frequent as in a text: the k-th most frequent about 1/k as often as the first.
    let mut word = |_| ((size.n_types as f64).powf(random.uniform()) - 1.0) as usize;
    let text = TextRows::from_words((0..size.n_tokens).map(|row| (row as u32 / 20, format!("word{}", word(row)))));
    (x, labels, text)
}

/// Reads all columns as methods do: in parallel, in the blocks that the matrix likes.
fn read_once(x: &Matrix) {
    let (n_tokens, width) = (x.n_tokens(), x.column_block());
    let firsts: Vec<usize> = (0..x.neurons().len()).step_by(width).collect();
    firsts.par_iter().for_each_init(Vec::new, |buffer: &mut Vec<f32>, &first| {
        let columns = first..x.neurons().len().min(first + width);
        buffer.resize(n_tokens * columns.len(), 0.0);
        let shape = (n_tokens, columns.len()).f();
        let view = ndarray::ArrayViewMut2::from_shape(shape, buffer).expect("the buffer was given this size");
        x.read(0..n_tokens, columns, view).expect("the block is in the matrix");
        black_box(buffer);
    });
}

fn best_of_three(mut work: impl FnMut()) -> f64 {
    let mut best = f64::INFINITY;
    for _ in 0..3 {
        let start = Instant::now();
        work();
        best = best.min(start.elapsed().as_secs_f64());
    }
    best
}
