//! Times the forward pass alone: `forward FOLDER [N_SENTENCES N_TOKENS REPEATS]`, sentences of random tokens.
//!
//! Of a model with an encoder and a decoder each is source and target. Prints tokens a second and the rate of the matrix products.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a measuring program")]

use std::time::Instant;

use nissl_core::{HookPlan, HookPoint, Model, Site};
use nissl_model::LanguageModel;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let number = |i: usize, default: usize| args.get(i).map_or(default, |text| text.parse().unwrap());
    let (n_sentences, n_tokens, repeats) = (number(2, 32), number(3, 64), number(4, 10));
    let start = Instant::now();
    let model = LanguageModel::open(&args[1]).unwrap();
    let info = model.info();
    println!("loaded {} in {:.2} s", info.name, start.elapsed().as_secs_f64());
    let token = |i: usize| (i * 7919 % info.d_vocab) as u32;
    let sentences = (0..n_sentences).map(|s| (0..n_tokens).map(|t| token(s * n_tokens + t)).collect::<Vec<_>>());
    let batch = model.batch_of(sentences);
    let attention = 2 * info.d_model * info.n_heads * info.d_head + 2 * info.d_model * info.n_kv_heads * info.d_head;
    let gated = info.width(HookPoint::new(0, Site::MlpPreLinear)).is_some();
    let weights = info.n_layers * (attention + (2 + usize::from(gated)) * info.d_model * info.d_mlp);
    let scores = info.n_layers * 2 * n_tokens * info.n_heads * info.d_head;
    let flops = 2.0 * (weights + scores) as f64 * batch.n_tokens() as f64;
    for threads in [1, 2] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let last = info.points().map(|(point, _)| point).filter(|point| point.site() == Site::ResidPost).last();
        let plan = HookPlan::capture(last);
        let run = || pool.install(|| model.run(&batch, &plan).unwrap());
        run();
        let mut times: Vec<f64> = (0..repeats)
            .map(|_| {
                let start = Instant::now();
                run();
                start.elapsed().as_secs_f64()
            })
            .collect();
        times.sort_by(f64::total_cmp);
        let (best, median) = (times[0], times[repeats / 2]);
        if args.iter().any(|arg| arg == "--json") {
            let (ms, best, gflops) = (median * 1e3, best * 1e3, flops / median / 1e9);
            println!(r#"{{"threads": {threads}, "ms": {ms}, "best": {best}, "gflops": {gflops}}}"#);
            continue;
        }
        println!(
            "{threads} threads: best {:.1} ms, median {:.1} ms, {:.0} tokens/s, {:.1} GFLOP/s (best {:.1})",
            best * 1e3,
            median * 1e3,
            batch.n_tokens() as f64 / median,
            flops / median / 1e9,
            flops / best / 1e9
        );
    }
}
