//! The embedded demo model against what transformers computes from the same file.

use std::path::PathBuf;

use nissl_core::{Batch, HookPlan, HookPoint, Model, Output, Site};
use nissl_model::LanguageModel;

fn demo() -> LanguageModel {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../nissl-tasks/assets/demo/model");
    LanguageModel::from_folder(&folder, "demo").unwrap()
}

/// The token ids of "She looked at him and said,".
const PROMPT: [u32; 7] = [1438, 1084, 376, 452, 281, 595, 12];

#[test]
fn logits_and_residual_streams_equal_the_oracle() {
    let model = demo();
    let residual = (0..4).map(|layer| HookPoint::new(layer, Site::ResidPre));
    let points: Vec<HookPoint> = residual.chain([HookPoint::new(0, Site::FinalNorm)]).collect();
    let plan = HookPlan { capture: points.clone(), output: Output::Last, ..HookPlan::default() };
    let trace = model.run(&Batch::from_sentences([PROMPT]), &plan).unwrap();
    let logits = trace.logits.unwrap();
    for (got, want) in logits.iter().zip([2.18494, -1.46578, 0.62319, -7.94798, -3.26255f32]) {
        assert!((got - want).abs() < 2e-5, "logit {got}, want {want}");
    }
    for (point, want) in points.iter().zip([0.055_673, 1.954_034, 2.009_254, 2.123_432, 1.086_452f64]) {
        let values = &trace.sites[point];
        let mean = values.iter().map(|v| f64::from(v.abs())).sum::<f64>() / values.len() as f64;
        assert!((mean - want).abs() < 2e-6, "mean absolute value of {point}: {mean}, want {want}");
    }
}

#[test]
fn greedy_text_equals_the_oracle() {
    let model = demo();
    let tokenizer = model.tokenizer().unwrap();
    assert_eq!(tokenizer.encode("She looked at him and said,").unwrap().ids, PROMPT);
    let mut tokens = PROMPT.to_vec();
    for _ in 0..16 {
        let plan = HookPlan { output: Output::Last, ..HookPlan::default() };
        let logits = model.run(&Batch::from_sentences([&tokens]), &plan).unwrap().logits.unwrap();
        let best = logits.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).unwrap().0;
        tokens.push(best as u32);
    }
    let text = tokenizer.decode(&tokens).unwrap();
    assert_eq!(text, "She looked at him and said, \"I amid you are not to be a little, and I have been");
}
