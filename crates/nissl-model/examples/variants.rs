//! Times the ablation of every MLP unit of a layer on one sentence: `variants FOLDER [N_TOKENS LAYERS]`, beside one
//! full forward pass a unit, timed on some of them. Only the logits of the last token are asked for.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a measuring program")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use nissl_core::{
    Batch, Edit, EditSpec, HookPlan, HookPoint, Model, ModelError, Output, Positions, Site, Trace, Units, VariantSink,
    Variants,
};
use nissl_model::LanguageModel;

struct Count(AtomicUsize);

impl VariantSink for Count {
    fn variant(&self, _: usize, trace: Trace) -> Result<(), ModelError> {
        assert!(trace.logits.is_some_and(|logits| logits.nrows() == 1));
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let model = LanguageModel::open(&args[1]).unwrap();
    let info = model.info();
    let n_tokens: usize = args.get(2).map_or(20, |text| text.parse().unwrap());
    let layers: Vec<u16> = match args.get(3) {
        Some(list) => list.split(',').map(|layer| layer.parse().unwrap()).collect(),
        None => (0..info.n_layers as u16).collect(),
    };
    let sentence: Vec<u32> = (0..n_tokens).map(|i| (i * 7919 % info.d_vocab) as u32).collect();
    let (batch, plan) = (Batch::from_sentences([&sentence]), HookPlan { output: Output::Last, ..HookPlan::default() });
    for layer in layers {
        let point = HookPoint::new(layer, Site::MlpPost);
        let edit = |unit: usize| {
            let units = Units::Some(vec![unit as u32]);
            vec![EditSpec { point, units, positions: Positions::All, edit: Edit::Zero, when: None }]
        };
        let edits: Vec<Vec<EditSpec>> = (0..info.d_mlp).map(edit).collect();
        let asked = Variants { sentence: &sentence, plan: &plan, edits: &edits, logits_at: None };
        let one = |unit: usize| {
            let start = Instant::now();
            model.run(&batch, &asked.plan_of(unit)).unwrap();
            start.elapsed().as_secs_f64()
        };
        one(0);
        let mut singles: Vec<f64> = (0..15).map(|i| one(i * info.d_mlp / 15)).collect();
        singles.sort_by(f64::total_cmp);
        let start = Instant::now();
        let count = Count(AtomicUsize::new(0));
        model.run_variants(&asked, &count).unwrap();
        let (together, n) = (start.elapsed().as_secs_f64(), count.0.into_inner());
        let single = singles[singles.len() / 2];
        println!(
            "layer {layer}: {n} variants in {together:.2} s, {:.3} ms each; one forward pass {:.2} ms (best {:.2}): {:.1} times faster",
            together / n as f64 * 1e3,
            single * 1e3,
            singles[0] * 1e3,
            single * n as f64 / together
        );
    }
}
