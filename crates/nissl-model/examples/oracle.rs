//! Checks a model against known answers: `oracle greedy FOLDER PROMPT N` prints the greedy continuation,
//! `oracle cosine FOLDER A B` the cosine of two sentences, pooled as the folder says, or else by their mean.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a measuring program")]

use std::path::Path;

use nissl_core::{Batch, HookPlan, Model, Output};
use nissl_model::{LanguageModel, Pooling, SentenceVectors};

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let model = LanguageModel::open(&args[2]).unwrap();
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
        let mean = SentenceVectors { poolings: vec![Pooling::Mean], normalized: false };
        let vectors = SentenceVectors::from_folder(Path::new(&args[2])).unwrap().unwrap_or(mean);
        let embed = |text: &String| {
            let batch = Batch::from_sentences([tokenizer.encode(text).unwrap().ids]);
            vectors.of(&model, &batch).unwrap().row(0).to_owned()
        };
        let (a, b) = (embed(&args[3]), embed(&args[4]));
        println!("{:.6}", a.dot(&b) / (a.dot(&a) * b.dot(&b)).sqrt());
    }
}
