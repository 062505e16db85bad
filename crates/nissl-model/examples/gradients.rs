//! Times gradients: `gradients FOLDER [N_SENTENCES N_TOKENS REPEATS]`, sentences of random tokens.
//!
//! Prints the time of a forward pass with the logits of every sentence's last token, of the gradient of a log-probability
//! with respect to the first, the middle and the last MLP, and of a training step's gradients. `--only train` or
//! `--only sites` leaves the other out.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a measuring program")]

use std::time::Instant;

use nissl_core::{Batch, HookPlan, HookPoint, Model, Objective, Output, Site};
use nissl_model::LanguageModel;

/// The peak of resident memory, in MiB; 0 where the system does not say.
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap_or(0) / 1024
}

/// Best and median of some runs, in ms.
fn time(repeats: usize, mut run: impl FnMut()) -> (f64, f64) {
    run();
    let mut times: Vec<f64> = (0..repeats)
        .map(|_| {
            let start = Instant::now();
            run();
            start.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    times.sort_by(f64::total_cmp);
    (times[0], times[repeats / 2])
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let number = |i: usize, default: usize| args.get(i).and_then(|text| text.parse().ok()).unwrap_or(default);
    let (n_sentences, n_tokens, repeats) = (number(2, 32), number(3, 64), number(4, 5));
    let only = args.iter().position(|arg| arg == "--only").map(|at| args[at + 1].as_str());
    let model = LanguageModel::open(&args[1]).unwrap();
    let info = model.info();
    println!("{} layers of {}, loaded with {} MiB", info.n_layers, info.d_model, peak());
    let token = |i: usize| (i * 7919 % info.d_vocab) as u32;
    let sentences = (0..n_sentences).map(|s| (0..n_tokens).map(|t| token(s * n_tokens + t)).collect::<Vec<_>>());
    let batch = Batch::from_sentences(sentences);
    if only != Some("train") {
        let plan = HookPlan { output: Output::Last, ..HookPlan::default() };
        let (best, median) = time(repeats, || drop(model.run(&batch, &plan).unwrap()));
        println!("forward with logits: best {best:.1} ms, median {median:.1} ms, {} MiB", peak());
        let last = info.n_layers as u16 - 1;
        let mut layers = vec![0, last / 2, last];
        layers.dedup();
        for layer in layers {
            let wrt = [HookPoint::new(layer, Site::MlpPost)];
            let objective = [Objective::log_prob(5)];
            let gradient = || drop(model.gradients(&batch, &HookPlan::default(), &objective, &wrt).unwrap());
            let (own, own_median) = time(repeats, gradient);
            let ratio = own_median / median;
            println!(
                "gradient to {}: best {own:.1} ms, median {own_median:.1} ms, {ratio:.2} forward passes, {} MiB",
                wrt[0],
                peak()
            );
        }
    }
    if only != Some("sites") {
        let targets: Vec<Option<u32>> = (0..batch.n_tokens()).map(|i| Some(token(i + 3))).collect();
        let (best, median) = time(repeats, || drop(model.parameter_gradients(&batch, &targets).unwrap()));
        println!("gradients of all parameters: best {best:.1} ms, median {median:.1} ms, {} MiB", peak());
    }
}
