#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::collections::BTreeMap;

use nissl_core::NoProgress;
use serde_json::Value;

use super::*;

fn golden(path: &str) -> String {
    format!("{}/../../tests/golden/{path}", env!("CARGO_MANIFEST_DIR"))
}

/// Sentences of 7, 1 and 12 tokens; the target is the token after the next, around the sentence's end.
fn examples(d_vocab: usize) -> Examples {
    let mut examples = Examples::default();
    for n in [7, 1, 12] {
        let tokens: Vec<u32> = (0..n).map(|i| ((i + n) * 31 % d_vocab) as u32).collect();
        examples.batch.push(&tokens);
        examples.targets.extend((0..n).map(|i| Some(tokens[(i + 2) % n])));
    }
    examples
}

fn trainer(family: &str) -> Trainer {
    let mut trainer = Trainer::load(&golden(&format!("models/{family}")), &NoProgress).unwrap();
    trainer.optimizer = AdamW { beta2: 0.95, weight_decay: 0.1, max_norm: Some(0.5), ..AdamW::default() };
    trainer
}

#[test]
fn losses_and_norms_of_six_steps_equal_pytorch() {
    let text = std::fs::read_to_string(golden("training/expected.json")).unwrap();
    let expected: BTreeMap<String, Vec<(f64, f64)>> = serde_json::from_str(&text).unwrap();
    assert_eq!(expected.len(), 3);
    for (family, steps) in expected {
        let mut trainer = trainer(&family);
        let examples = examples(trainer.info().d_vocab);
        for (number, (loss, norm)) in steps.into_iter().enumerate() {
            let held = trainer.loss(&examples).unwrap();
            let got = trainer.step(std::slice::from_ref(&examples), 3e-3).unwrap();
            assert!((got.loss / loss - 1.0).abs() < 1e-5, "{family} step {number}: loss {}, want {loss}", got.loss);
            let off = (got.gradient_norm / norm - 1.0).abs();
            assert!(off < 1e-4, "{family} step {number}: norm {}, want {norm}", got.gradient_norm);
            assert!((held.0 / held.1 as f64 / got.loss - 1.0).abs() < 1e-6, "measured as trained");
        }
    }
}

#[test]
fn a_resumed_trainer_takes_the_steps_of_one_that_never_stopped() {
    let mut whole = trainer("gpt2");
    let examples = examples(whole.info().d_vocab);
    let step = |trainer: &mut Trainer| trainer.step(std::slice::from_ref(&examples), 1e-2).unwrap();
    step(&mut whole);
    step(&mut whole);
    let folder = tempfile::tempdir().unwrap();
    whole.save_model(folder.path()).unwrap();
    whole.save_optimizer(folder.path()).unwrap();
    let mut resumed = Trainer::resume(folder.path()).unwrap();
    resumed.optimizer = whole.optimizer;
    assert_eq!(resumed.steps(), 2);
    for _ in 0..3 {
        assert_eq!(step(&mut resumed), step(&mut whole));
    }
}

#[test]
fn a_new_model_of_every_family_has_all_its_weights() {
    let sizes = Sizes { n_layers: 2, d_model: 16, n_heads: 2, d_mlp: None, n_ctx: 12 };
    let tokenizer = || NewTokenizer::Characters.learn(["abcdefgh ".to_owned()].into_iter()).unwrap();
    for family in FAMILIES.iter().filter(|family| family.fresh.is_some()) {
        let mut new = Trainer::fresh(family.name, &sizes, tokenizer(), 5).unwrap();
        let d_vocab = new.info().d_vocab;
        let first = new.step(&[examples(d_vocab)], 1e-2).unwrap();
        assert!((first.loss - (d_vocab as f64).ln()).abs() < 0.2, "{}: {first:?}", family.name);
        let moved = new.moments.of.len();
        assert_eq!(moved, new.checkpoint.names().len(), "{}: every weight has a gradient", family.name);
        let config: Value = serde_json::from_slice(&new.config).unwrap();
        assert_eq!(config["vocab_size"], d_vocab);
    }
}

#[test]
fn what_cannot_be_trained_is_refused_by_name() {
    let sizes = Sizes::default();
    let tokenizer = NewTokenizer::Characters.learn(["ab".to_owned()].into_iter()).unwrap();
    let err = Trainer::fresh("textgenrnn", &sizes, tokenizer, 1).err().unwrap().to_string();
    assert!(err.contains("known are bert, gpt2, llama"), "{err}");
    let mut trainer = trainer("gpt2");
    let d_vocab = trainer.info().d_vocab as u32;
    let outside = Examples { batch: Batch::from_sentences([[0]]), targets: vec![Some(d_vocab)] };
    assert!(trainer.loss(&outside).is_err() && trainer.step(&[outside], 1.0).is_err());
}
