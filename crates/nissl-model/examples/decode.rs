//! Times decoding, one token after the other: `decode MODEL [N_TOKENS REPEATS] [--native] [--json]`.
//!
//! Prints tokens a second behind a prompt of eight, with idle hooks and with one neuron edited, on one and two threads.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a measuring program")]

use std::ops::ControlFlow;
use std::time::Instant;

use nissl_core::{Batch, Edit, EditSpec, Generation, HookPlan, HookPoint, Model, NoProgress, Positions, Site, Units};
use nissl_model::{LanguageModel, LoadOptions, WeightFormat};

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let (flags, values): (Vec<&String>, Vec<&String>) = args.iter().skip(1).partition(|arg| arg.starts_with("--"));
    let number = |i: usize, default: usize| values.get(i).map_or(default, |text| text.parse().unwrap());
    let (n_tokens, repeats) = (number(1, 64), number(2, 5));
    let has = |flag: &str| flags.iter().any(|other| *other == flag);
    let weights = if has("--native") { WeightFormat::Native } else { WeightFormat::F32 };
    let model =
        LanguageModel::load_with(values[0], &LoadOptions { weights, ..LoadOptions::default() }, &NoProgress).unwrap();
    let d_vocab = model.info().d_vocab;
    let batch = Batch::from_sentences([(0..8).map(|i| (i * 7919 % d_vocab) as u32).collect::<Vec<_>>()]);
    let options = Generation { max_new_tokens: n_tokens + 1, stop_tokens: Some(Vec::new()), ..Generation::default() };
    let layer = (model.info().n_layers / 2) as u16;
    let edit = EditSpec {
        point: HookPoint::new(layer, Site::MlpPost),
        units: Units::Some(vec![7]),
        positions: Positions::All,
        edit: Edit::Set { value: 1.0 },
        when: None,
    };
    let edited = HookPlan { edits: vec![edit], ..HookPlan::default() };
    for threads in [1, 2] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        // Seconds from the first new token to the last, the prompt left out.
        let run = |plan: &HookPlan| {
            let times = pool.install(|| {
                let mut times = Vec::new();
                let mut seen = |_| {
                    times.push(Instant::now());
                    ControlFlow::Continue(())
                };
                model.generate(&batch, &options, plan, &mut seen).unwrap();
                times
            });
            (times[times.len() - 1] - times[0]).as_secs_f64() / (times.len() - 1) as f64
        };
        let mut rates: [Vec<f64>; 2] = [Vec::new(), Vec::new()];
        for _ in 0..repeats {
            rates[0].push(1.0 / run(&HookPlan::default()));
            rates[1].push(1.0 / run(&edited));
        }
        for rates in &mut rates {
            rates.sort_by(f64::total_cmp);
        }
        let [idle, edited] = rates.each_ref().map(|rates| rates[repeats / 2]);
        let [best, edited_best] = rates.each_ref().map(|rates| rates[repeats - 1]);
        if has("--json") {
            println!(r#"{{"threads": {threads}, "tokens_s": {idle}, "best": {best}, "edited_best": {edited_best}}}"#);
        } else {
            println!(
                "{threads} threads: median {idle:.1} tokens/s (best {best:.1}), one neuron edited {edited:.1} (best {edited_best:.1})"
            );
        }
    }
}
