#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use candle_core::{D, DType, Tensor, Var};
use nissl_core::Model;

use super::*;
use crate::engine::candle::Candle;
use crate::engine::candle::tests::{Loaded, batch, golden, models};
use crate::language_model::LanguageModel;

/// Gradients must agree within this share of the largest one of the parameter.
const TOLERANCE: f64 = 1e-5;

fn load(family: &str) -> LanguageModel {
    LanguageModel::from_folder(&golden(family), family).unwrap()
}

/// Targets for most tokens.
fn targets(n: usize, n_logits: usize) -> Vec<Option<u32>> {
    (0..n).map(|i| (i % 4 != 1).then_some((i * 13 % n_logits) as u32)).collect()
}

fn n_logits(model: &LanguageModel) -> usize {
    let one = Batch::from_sentences([[1]]);
    let plan = HookPlan { output: nissl_core::Output::All, ..HookPlan::default() };
    model.run(&one, &plan).unwrap().logits.unwrap().ncols()
}

/// The loss and the gradients of all parameters by the twin in f64.
fn twin(family: &str, batch: &Batch, targets: &[Option<u32>]) -> (f64, BTreeMap<String, Vec<f64>>) {
    let twin = Loaded::new(Candle::twin(DType::F64), family);
    let x = Var::from_tensor(&twin.embed(batch)).unwrap();
    let (plan, n_ctx) = (HookPlan::default(), twin.info.n_ctx);
    let prepared = Prepared::new(&plan, n_ctx).differentiated(&[]);
    let logits = twin.watched(x.as_tensor().clone(), batch, &prepared, &NoCapture);
    let most = logits.max_keepdim(D::Minus1).unwrap().detach();
    let sum = logits.broadcast_sub(&most).unwrap().exp().unwrap().sum_keepdim(D::Minus1).unwrap().log().unwrap();
    let sum = (sum + most).unwrap();
    let mut loss = (sum.sum_all().unwrap() * 0.0).unwrap();
    for (row, target) in targets.iter().enumerate() {
        if let Some(token) = target {
            let logit = logits.narrow(0, row, 1).unwrap().narrow(1, *token as usize, 1).unwrap();
            let own = (sum.narrow(0, row, 1).unwrap() - logit).unwrap().sum_all().unwrap();
            loss = (loss + own).unwrap();
        }
    }
    let gradients = loss.backward().unwrap();
    let flat = |gradient: &Tensor| gradient.flatten_all().unwrap().to_vec1::<f64>().unwrap();
    let mut found: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    let mut add = |name: String, part: Vec<f64>| {
        let sum = found.entry(name).or_insert_with(|| vec![0.0; part.len()]);
        sum.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
    };
    for (name, parameter) in twin.engine.parameters.lock().unwrap().iter() {
        add(name.clone(), flat(gradients.get(parameter).unwrap()));
    }
    // The tables are sums of rows, whose gradient is that of the sum.
    let gradient = gradients.get(&x).unwrap().to_vec2::<f64>().unwrap();
    let positions: Vec<usize> = (0..batch.n_sentences()).flat_map(|i| 0..batch.sentence(i).len()).collect();
    let one = |row: usize, column: usize| {
        let mut one = ndarray::Array2::<f32>::zeros((batch.n_tokens(), twin.embeddings.width()));
        one[[row, column]] = 1.0;
        one
    };
    for row in 0..batch.n_tokens() {
        for (column, value) in gradient[row].iter().enumerate() {
            let mut tables = twin.embeddings.gradients(&twin.checkpoint);
            // Where a one goes there goes the gradient: the scatter is checked by the golden fixtures.
            let ones = one(row, column);
            let own = ones.slice(ndarray::s![row..=row, ..]);
            twin.embeddings.add_gradient(&batch.tokens()[row..=row], &positions[row..=row], &own, &mut tables);
            for (name, table) in tables {
                add(name, table.iter().map(|one| f64::from(*one) * value).collect());
            }
        }
    }
    (loss.to_scalar().unwrap(), found)
}

#[test]
fn gradients_of_every_parameter_equal_the_twins_in_f64() {
    let without = [
        "char-rnn",
        "textgenrnn",
        "mpnet",
        "deberta-v2",
        "xlnet",
        "rwkv5",
        "rwkv6",
        "rwkv7",
        "mamba",
        "mlstm",
        "gpt_oss",
    ];
    for family in models().filter(|family| !without.contains(family)) {
        let model = load(family);
        let batch = batch(model.info());
        let targets = targets(batch.n_tokens(), n_logits(&model));
        let ours = model.parameter_gradients(&batch, &targets).unwrap();
        let (loss, twin) = twin(family, &batch, &targets);
        assert!((ours.loss - loss).abs() < 1e-5 * loss, "{family}: {} and {loss}", ours.loss);
        assert_eq!(ours.n_targets, targets.iter().flatten().count());
        assert_eq!(ours.gradients.keys().collect::<Vec<_>>(), twin.keys().collect::<Vec<_>>(), "{family}");
        for (name, gradient) in &ours.gradients {
            let want = &twin[name];
            assert_eq!(gradient.len(), want.len(), "{family} {name}");
            // The gradient of a bias of keys is a sum that is zero but for rounding: it is as exact as its matrix's.
            let matrix = name.replace(".bias", ".weight");
            let all = want.iter().chain(twin.get(&matrix).into_iter().flatten());
            let largest = all.fold(0.0f64, |most, v| most.max(v.abs()));
            for (at, (got, want)) in gradient.iter().zip(want).enumerate() {
                let off = (f64::from(*got) - want).abs() / largest.max(f64::MIN_POSITIVE);
                assert!(
                    off < TOLERANCE || got.to_bits() == (*want as f32).to_bits(),
                    "{family} {name}[{at}]: {got}, want {want}: {off:.1e}"
                );
            }
        }
    }
}
