//! What methods cost over a store: seconds, reads of the store that take as long, and memory.
//!
//! `store_methods STORE LABELS [--memory MB] [--only NAME,..] [--export FOLDER] [--steps N] [--penalties L,..]` prints a
//! line of JSON a run. Names are `read`, those of `RUNS`, `linear` and `gaussian`; `--export` writes `x.f32` (rows one
//! behind the other) and `y.u32` for peers; `benches/store.py` makes the comparison. The best of three runs counts where
//! one takes less than five seconds.

#![expect(clippy::print_stdout, reason = "a program that measures tells what it measured")]

use std::error::Error;
use std::hint::black_box;
use std::io::Write as _;
use std::ops::Range;
use std::path::Path;
use std::time::Instant;

use ndarray::{Array2, ArrayViewMut2, ShapeBuilder};
use nissl_core::{
    Activations, ActivationsError, Context, LabeledActivations, Labels, NeuronId, TextActivations, TextRows,
};
use nissl_methods::probes::{LinearOptions, fit_classes};
use nissl_methods::{Method, find};
use nissl_store::{Selection, Store};
use rayon::prelude::*;
use serde_json::{Value, json};

/// Methods, parameters, and how many neurons they look at if not all.
const RUNS: &[(&str, &str, usize)] = &[
    ("probeless", r#"{"min_count":1}"#, usize::MAX),
    ("mean-select", "{}", usize::MAX),
    ("iou", "{}", usize::MAX),
    ("sensitivity", "{}", usize::MAX),
    ("average-precision", "{}", usize::MAX),
    ("top-words", r#"{"num":20}"#, usize::MAX),
    ("top-contexts", "{}", usize::MAX),
    ("variance-reduction", "{}", usize::MAX),
    ("lookup", "{}", usize::MAX),
    ("tx-ray", "{}", usize::MAX),
    ("compositional", r#"{"rounds":5,"words":2000,"min_count":1}"#, 64),
    ("linear-probe", "{}", usize::MAX),
    ("lca", "{}", usize::MAX),
    ("sparse-probe", "{}", usize::MAX),
    ("gaussian-probe", r#"{"steps":5}"#, usize::MAX),
];

struct Args {
    store: String,
    labels: String,
    memory: usize,
    only: Vec<String>,
    export: Option<String>,
    steps: usize,
    penalties: Vec<f64>,
}

fn args() -> Result<Args, Box<dyn Error>> {
    let mut found = Args {
        store: String::new(),
        labels: String::new(),
        memory: 2 << 30,
        only: Vec::new(),
        export: None,
        steps: 50,
        penalties: vec![1e-2, 1e-3, 1e-4, 1e-5],
    };
    let mut rest = std::env::args().skip(1);
    while let Some(arg) = rest.next() {
        let mut value = || rest.next().ok_or_else(|| format!("{arg} needs a value"));
        match arg.as_str() {
            "--memory" => found.memory = value()?.parse::<usize>()? << 20,
            "--only" => found.only = value()?.split(',').map(str::to_owned).collect(),
            "--export" => found.export = Some(value()?),
            "--steps" => found.steps = value()?.parse()?,
            "--penalties" => found.penalties = value()?.split(',').map(str::parse).collect::<Result<_, _>>()?,
            _ if found.store.is_empty() => found.store = arg,
            _ => found.labels = arg,
        }
    }
    if found.labels.is_empty() {
        return Err("usage: store_methods STORE LABELS [--memory MB] [--only NAME,..] [--export FOLDER]".into());
    }
    Ok(found)
}

fn main() -> Result<(), Box<dyn Error>> {
    let args = args()?;
    let store = Store::open(&args.store)?;
    let (x, labels, text) = (store.all(), store.labels(&args.labels)?, store.text()?);
    if let Some(folder) = &args.export {
        return export(&x, &labels, Path::new(folder));
    }
    let wanted = |name: &str| args.only.is_empty() || args.only.iter().any(|only| only == name);
    let ctx = Context { memory: args.memory, ..Context::default() };
    let read = if wanted("read") { best_of_three(|| read_once(&x))? } else { f64::NAN };
    let line = |name: &str, seconds: f64, told: Value| {
        let reads = if read.is_nan() { Value::Null } else { json!(seconds / read) };
        println!("{}", json!({ "name": name, "seconds": seconds, "reads": reads, "peak_mb": peak_mb(), "told": told }));
    };
    if !read.is_nan() {
        line("read", read, json!({ "rows": x.n_tokens(), "neurons": x.neurons().len() }));
    }
    for (name, params, most) in RUNS.iter().filter(|(name, ..)| wanted(name)) {
        let entry = find(name)?;
        let method = entry.build(&serde_json::from_str(params)?)?;
        let few = Few { x: &x, n: (*most).min(x.neurons().len()) };
        let seconds = best_of_three(|| run(&method, &few, &labels, &text, ctx))?;
        line(name, seconds, json!({ "neurons": few.n }));
    }
    if wanted("linear") {
        let of: Option<Vec<u32>> = (0..x.n_tokens()).map(|row| labels.of(row).first().copied()).collect();
        let of = of.ok_or("a row has no label")?;
        for &penalty in &args.penalties {
            let options =
                LinearOptions { lambda1: penalty, lambda2: penalty, tolerance: 1e-3, ..LinearOptions::default() };
            let start = Instant::now();
            let fit = fit_classes(&x, &of, labels.concepts().len(), &options, ctx)?;
            let weights = fit.weights.iter().filter(|&&w| w != 0.0).count();
            let told = json!({ "penalties": penalty, "objective": fit.objective, "gap": fit.gap, "steps": fit.steps, "weights": weights });
            line("linear", start.elapsed().as_secs_f64(), told);
        }
    }
    if wanted("gaussian") {
        let entry = find("gaussian-probe")?;
        let method = entry.build(&json!({ "steps": args.steps, "min_gain": -1e9 }))?;
        let start = Instant::now();
        let picked = run(&method, &x, &labels, &text, ctx)?;
        line("gaussian", start.elapsed().as_secs_f64(), json!({ "steps": args.steps, "picked": picked }));
    }
    Ok(())
}

/// Runs a method; for a Gaussian probe, the number of neurons that it picked.
fn run(
    method: &Method,
    x: &dyn Activations,
    labels: &Labels,
    text: &TextRows,
    ctx: Context<'_>,
) -> Result<usize, Box<dyn Error>> {
    Ok(match method {
        Method::Ranker(ranker) => {
            let scores = ranker.score(LabeledActivations::new(x, labels)?.with_text(text)?, ctx)?;
            black_box(scores).provenance.params["picked"]["neurons"].as_array().map_or(0, Vec::len)
        }
        Method::Profiler(profiler) => {
            black_box(profiler.profile(TextActivations::new(x, text)?.with_labels(labels)?, ctx)?).len()
        }
        Method::Attributor(_) => 0,
    })
}

/// The first neurons of a store.
struct Few<'a> {
    x: &'a Selection,
    n: usize,
}

impl Activations for Few<'_> {
    fn n_tokens(&self) -> usize {
        self.x.n_tokens()
    }

    fn neurons(&self) -> &[NeuronId] {
        &self.x.neurons()[..self.n]
    }

    fn read(
        &self,
        rows: Range<usize>,
        columns: Range<usize>,
        out: ArrayViewMut2<'_, f32>,
    ) -> Result<(), ActivationsError> {
        self.x.read(rows, columns, out)
    }

    fn column_block(&self) -> usize {
        self.x.column_block()
    }

    fn row_block(&self) -> usize {
        self.x.row_block()
    }
}

/// Reads all columns as methods do: in parallel, in the blocks that the store likes.
fn read_once(x: &Selection) -> Result<(), Box<dyn Error>> {
    let (n_tokens, width) = (x.n_tokens(), x.column_block());
    let firsts: Vec<usize> = (0..x.neurons().len()).step_by(width).collect();
    firsts.par_iter().try_for_each_init(Vec::new, |buffer: &mut Vec<f32>, &first| {
        let columns = first..x.neurons().len().min(first + width);
        buffer.resize(n_tokens * columns.len(), 0.0);
        let shape = (n_tokens, columns.len()).f();
        let view = ArrayViewMut2::from_shape(shape, buffer).expect("the buffer was given this size");
        x.read(0..n_tokens, columns, view)?;
        black_box(buffer);
        Ok::<(), ActivationsError>(())
    })?;
    Ok(())
}

fn export(x: &Selection, labels: &Labels, folder: &Path) -> Result<(), Box<dyn Error>> {
    std::fs::create_dir_all(folder)?;
    let mut file = std::io::BufWriter::new(std::fs::File::create(folder.join("x.f32"))?);
    let width = x.neurons().len();
    for first in (0..x.n_tokens()).step_by(x.row_block()) {
        let rows = first..x.n_tokens().min(first + x.row_block());
        let mut block = Array2::zeros((rows.len(), width));
        x.read(rows, 0..width, block.view_mut())?;
        for value in &block {
            file.write_all(&value.to_le_bytes())?;
        }
    }
    let of = (0..x.n_tokens()).flat_map(|row| labels.of(row).first().copied().unwrap_or(u32::MAX).to_le_bytes());
    std::fs::write(folder.join("y.u32"), of.collect::<Vec<u8>>())?;
    println!("{}", json!({ "rows": x.n_tokens(), "neurons": width, "classes": labels.concepts().len() }));
    Ok(())
}

fn best_of_three<T>(mut work: impl FnMut() -> Result<T, Box<dyn Error>>) -> Result<f64, Box<dyn Error>> {
    let mut best = f64::INFINITY;
    for _ in 0..3 {
        let start = Instant::now();
        work()?;
        let seconds = start.elapsed().as_secs_f64();
        best = best.min(seconds);
        if seconds > 5.0 {
            break;
        }
    }
    Ok(best)
}

/// The most memory that this process has held, where the system tells.
fn peak_mb() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kilobytes: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some((kilobytes / 1024.0).round())
}
