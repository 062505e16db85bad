//! Times loading: `loading MODEL [--native]`, from the first line of the program to the logits of a short prompt.
//!
//! Prints seconds, and the most memory that the process ever had, in MB (on Linux).

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a measuring program")]

use std::time::Instant;

use nissl_core::{Batch, HookPlan, Model, NoProgress, Output};
use nissl_model::{LanguageModel, LoadOptions, WeightFormat};

fn main() {
    let start = Instant::now();
    let args: Vec<String> = std::env::args().collect();
    let native = args.iter().any(|arg| arg == "--native");
    let weights = if native { WeightFormat::Native } else { WeightFormat::F32 };
    let model =
        LanguageModel::load_with(&args[1], &LoadOptions { weights, ..LoadOptions::default() }, &NoProgress).unwrap();
    let loaded = start.elapsed().as_secs_f64();
    let plan = HookPlan { output: Output::Last, ..HookPlan::default() };
    let logits = model.run(&Batch::from_sentences([[1, 2, 3, 4, 5]]), &plan).unwrap().logits.unwrap();
    let seconds = start.elapsed().as_secs_f64();
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next()?.parse().ok());
    let peak = peak.map_or(f64::NAN, |kib: f64| kib * 1024.0 / 1e6);
    let first = logits[[0, 0]];
    println!(r#"{{"loaded_s": {loaded:.3}, "first_logits_s": {seconds:.3}, "peak_mb": {peak:.1}, "logit": {first}}}"#);
}
