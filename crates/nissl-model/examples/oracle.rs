//! Checks a model against known answers: `oracle greedy FOLDER PROMPT N` prints the greedy continuation,
//! `oracle cosine FOLDER A B` the cosine of two sentences, pooled as the folder says, or else by their mean,
//! `oracle logits FOLDER TOKENS FILE` how far the logits after some tokens (`34,105,110`) are from those in a file of
//! 32-bit floats.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a measuring program")]

use std::path::Path;

use nissl_core::{Batch, HookPlan, Model, Output};
use nissl_model::{LanguageModel, Pooling, SentenceVectors};

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let model = LanguageModel::open(&args[2]).unwrap();
    if args[1] == "logits" {
        let tokens: Vec<u32> = args[3].split(',').map(|token| token.parse().unwrap()).collect();
        let plan = HookPlan { output: Output::Last, ..HookPlan::default() };
        let logits = model.run(&Batch::from_sentences([&tokens]), &plan).unwrap().logits.unwrap();
        let bytes = std::fs::read(&args[4]).unwrap();
        let want = bytes.chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()));
        let off = logits.iter().zip(want).map(|(got, want)| (got - want).abs()).fold(0.0f32, f32::max);
        return println!("{} logits, largest difference {off:e}", logits.len());
    }
    let tokenizer = model.tokenizer().unwrap();
    if args[1] == "greedy" {
        let mut tokens = tokenizer.encode(&args[3]).unwrap().ids;
        println!("{tokens:?}");
        for _ in 0..args[4].parse().unwrap() {
            let plan = HookPlan { output: Output::Last, ..HookPlan::default() };
            let logits = model.run(&Batch::from_sentences([&tokens]), &plan).unwrap().logits.unwrap();
            tokens.push(logits.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).unwrap().0 as u32);
        }
        println!("{}", tokenizer.decode(&tokens).unwrap());
    } else {
        let mean = SentenceVectors { poolings: vec![Pooling::Mean], normalized: false, max_tokens: None };
        let vectors = SentenceVectors::from_folder(Path::new(&args[2])).unwrap().unwrap_or(mean);
        let embed = |text: &String| {
            let batch = Batch::from_sentences([tokenizer.encode(text).unwrap().ids]);
            vectors.of(&model, &batch).unwrap().row(0).to_owned()
        };
        let (a, b) = (embed(&args[3]), embed(&args[4]));
        println!("{:.6}", a.dot(&b) / (a.dot(&a) * b.dot(&b)).sqrt());
    }
}
