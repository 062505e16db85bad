//! What must hold of the gradients of parameters, and what is refused.

use nissl_core::{Batch, HookPlan, Model, Objective};
use nissl_model::LanguageModel;

use crate::parity::golden;

/// Models whose checkpoints hold the weights as they are used.
const MODELS: [&str; 9] =
    ["bert", "gpt2", "llama", "lstm", "lstm-bidirectional", "lstm-projection", "lstm-deep", "gru", "gru-deep"];

fn load(family: &str) -> LanguageModel {
    LanguageModel::from_folder(&golden(family), family).unwrap()
}

fn batch(lengths: &[usize]) -> Batch {
    let token = |i: usize, j: usize| ((i * 31 + j * 7) % 60) as u32;
    Batch::from_sentences(lengths.iter().enumerate().map(|(i, n)| (0..*n).map(|j| token(i, j)).collect::<Vec<_>>()))
}

fn targets(batch: &Batch) -> Vec<Option<u32>> {
    (0..batch.n_tokens()).map(|i| (i % 5 != 2).then_some((i * 3 % 7) as u32)).collect()
}

#[test]
fn one_two_and_eight_threads_give_the_same_gradients_of_parameters_to_the_last_bit() {
    for model in MODELS.map(load) {
        let batch = batch(&[50, 20, 60, 1, 7, 44, 44, 13, 64, 64, 30, 2].map(|n| n.min(model.info().n_ctx)));
        let targets = targets(&batch);
        let run = |n| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap();
            pool.install(|| model.parameter_gradients(&batch, &targets).unwrap())
        };
        let one = run(1);
        assert!(one == run(2) && one == run(8), "{}", model.info().name);
        assert!(one.gradients.values().flatten().all(|value| value.is_finite()));
    }
}

#[test]
fn a_batch_has_the_sum_of_its_sentences_gradients() {
    for model in MODELS.map(load) {
        let (whole, both) = (batch(&[30, 17]), targets(&batch(&[30, 17])));
        let all = model.parameter_gradients(&whole, &both).unwrap();
        let part = |sentence: usize| {
            let alone = Batch::from_sentences([whole.sentence(sentence)]);
            model.parameter_gradients(&alone, &both[whole.rows(sentence)]).unwrap()
        };
        let (a, b) = (part(0), part(1));
        assert!((all.loss - a.loss - b.loss).abs() < 1e-9 && all.n_targets == a.n_targets + b.n_targets);
        for (name, values) in &all.gradients {
            let largest = values.iter().fold(0.0f32, |most, v| most.max(v.abs())).max(0.1);
            for ((all, a), b) in values.iter().zip(&a.gradients[name]).zip(&b.gradients[name]) {
                assert!((all - a - b).abs() <= 1e-5 * largest, "{} {name}: {all}, {a} + {b}", model.info().name);
            }
        }
    }
}

#[test]
fn the_loss_is_that_of_the_objective() {
    for model in MODELS.map(load) {
        let (batch, targets) = (batch(&[9]), targets(&batch(&[9])));
        let found = model.parameter_gradients(&batch, &targets).unwrap();
        let mean = model.gradients(&batch, &HookPlan::default(), &[Objective::Loss { targets }], &[]).unwrap();
        let sum = mean.values[0] * found.n_targets as f64;
        assert!((found.loss - sum).abs() < 1e-9 * sum, "{}: {} and {sum}", model.info().name, found.loss);
    }
}

#[test]
fn without_targets_every_gradient_is_zero() {
    for model in MODELS.map(load) {
        let batch = batch(&[9, 4]);
        let none = model.parameter_gradients(&batch, &[None; 13]).unwrap();
        let some = model.parameter_gradients(&batch, &targets(&batch)).unwrap();
        assert!(none.loss.to_bits() == 0f64.to_bits() && none.n_targets == 0);
        for (name, values) in &some.gradients {
            assert_eq!(none.gradients[name].len(), values.len(), "{name}");
            assert!(none.gradients[name].iter().all(|value| *value == 0.0), "{name}");
            assert!(values.iter().any(|value| *value != 0.0), "{} {name}", model.info().name);
        }
    }
}

#[test]
fn what_cannot_be_trained_or_does_not_fit_is_refused_by_name() {
    let said = |model: &LanguageModel, targets: &[Option<u32>]| {
        model.parameter_gradients(&batch(&[3]), targets).unwrap_err().to_string()
    };
    for family in
        ["char-rnn", "textgenrnn", "mpnet", "deberta-v2", "xlnet", "rwkv5", "rwkv6", "rwkv7", "mamba", "mlstm"]
    {
        let expected = format!("weights of {family} are not used as its checkpoints hold them");
        assert!(said(&load(family), &[Some(1); 3]).contains(&expected));
    }
    let model = load("gpt2");
    assert_eq!(said(&model, &[None; 4]), "targets: expected one for each of 3 tokens, got 4");
    assert!(said(&model, &[None, Some(5000), None]).starts_with("targets: expected one of"));
}
