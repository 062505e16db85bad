//! The embedded demo model against what transformers computes from the same file.

use std::ops::ControlFlow;
use std::path::PathBuf;

use nissl_core::{Batch, End, Generated, Generation, HookPlan, HookPoint, Model, Output, Site};
use nissl_model::{LanguageModel, TextStream};

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

const TEXT: &str = "She looked at him and said, \"I amid you are not to be a little, and I have been";

fn generate(model: &LanguageModel, options: &Generation) -> Generated {
    let prompts = Batch::from_sentences([PROMPT]);
    let mut found = model.generate(&prompts, options, &HookPlan::default(), &mut |_| ControlFlow::Continue(()));
    found.as_mut().unwrap().remove(0)
}

#[test]
fn greedy_text_equals_the_oracle() {
    let model = demo();
    let tokenizer = model.tokenizer().unwrap();
    assert_eq!(tokenizer.encode("She looked at him and said,").unwrap().ids, PROMPT);
    let found = generate(&model, &Generation { max_new_tokens: 16, ..Generation::default() });
    assert_eq!(tokenizer.decode(&[&PROMPT, found.tokens.as_slice()].concat()).unwrap(), TEXT);
}

#[test]
fn text_comes_token_by_token_as_the_whole_is_spelled() {
    let model = demo();
    let tokenizer = model.tokenizer().unwrap();
    // Characters of several bytes, and white space, are tokens by parts.
    let text = "é 日本語  — \u{1f600}\n\tdone ß";
    let tokens = tokenizer.encode(text).unwrap().ids;
    assert!(tokens.len() > text.chars().count(), "some characters are several tokens");
    for n_before in [0, 1, 2, 5, 9] {
        let before = tokenizer.decode(&tokens[..n_before]).unwrap();
        let mut stream = TextStream::new(tokenizer, &tokens[..n_before]);
        let mut spelled = before.trim_end_matches('\u{fffd}').to_owned();
        for &token in &tokens[n_before..] {
            let new = stream.push(token).unwrap();
            assert!(!new.contains('\u{fffd}'), "{n_before}: {new}");
            spelled.push_str(&new);
        }
        spelled.push_str(&stream.finish().unwrap());
        assert_eq!(spelled, text, "behind {n_before} tokens");
    }
}

#[test]
fn a_text_ends_when_it_spells_a_stop_text() {
    let model = demo();
    let greedy = |stop_texts: &[&str], n_beams| {
        let stop_texts = stop_texts.iter().map(|&text| text.to_owned()).collect();
        let options = Generation { max_new_tokens: 16, stop_texts, n_beams, ..Generation::default() };
        let found = generate(&model, &options);
        (model.tokenizer().unwrap().decode(&found.tokens).unwrap(), found.end)
    };
    // Over two tokens, and within one.
    assert_eq!(greedy(&["you are"], 1), (" \"I amid you are".to_owned(), End::StopText));
    assert_eq!(greedy(&["zzz", "ittl"], 1).0, " \"I amid you are not to be a little");
    assert_eq!(greedy(&["zzz"], 1).1, End::MaxNewTokens);
    let (text, end) = greedy(&["I"], 3);
    assert!(text.contains('I') && end == End::StopText, "{text}");
}
