//! Checks a model against known answers: `oracle greedy FOLDER PROMPT N` prints the greedy continuation,
//! `oracle cosine FOLDER A B` the cosine of two mean-pooled sentences.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a measuring program")]

use ndarray::{Array1, Axis};
use nissl_core::{Batch, HookPlan, HookPoint, Model, Output, Site};
use nissl_model::LanguageModel;

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
        let point = HookPoint::new(model.info().n_layers as u16 - 1, Site::ResidPost);
        let embed = |text: &String| -> Array1<f32> {
            let batch = Batch::from_sentences([tokenizer.encode(text).unwrap().ids]);
            model.run(&batch, &HookPlan::capture([point])).unwrap().sites[&point].mean_axis(Axis(0)).unwrap()
        };
        let (a, b) = (embed(&args[3]), embed(&args[4]));
        println!("{:.6}", a.dot(&b) / (a.dot(&a) * b.dot(&b)).sqrt());
    }
}
