#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use ndarray::array;
use nissl_core::{CaptureSink, Gradients, ModelInfo, Site, Trace};
use nissl_testing::{Tol, ToyModel, Unit, assert_close};

use super::*;

fn embed() -> HookPoint {
    HookPoint::new(0, Site::Embed)
}

/// A model whose embedding has one place for each token, and one silent unit.
fn toy(n_tokens: usize) -> ToyModel {
    let unit = Unit { key: vec![(0, 1.0)], bias: -10.0, value: Vec::new() };
    ToyModel::new(n_tokens, vec![vec![unit]])
}

#[test]
fn a_word_of_a_bag_of_words_turns_it_by_its_share() {
    let model = toy(10);
    for n_tokens in [2_u32, 3, 7] {
        let tokens: Vec<u32> = (0..n_tokens).collect();
        let positions: Vec<usize> = (0..tokens.len()).collect();
        let scores = omission(&model, &tokens, &positions, (embed(), State::Mean)).unwrap();
        let want = 1.0 - (f64::from(n_tokens - 1) / f64::from(n_tokens)).sqrt();
        let scores: Vec<f64> = scores.into_iter().map(Option::unwrap).collect();
        assert_close("omission", &scores[..], &vec![want; tokens.len()][..], Tol::abs(1e-12));
    }
}

#[test]
fn states_are_told_apart_and_a_single_token_has_no_score() {
    let model = toy(10);
    let of = |state| omission(&model, &[1, 2, 3], &[0, 1, 2], (embed(), state)).unwrap();
    assert_eq!(of(State::Last), [Some(0.0), Some(0.0), Some(1.0)]);
    assert_eq!(of(State::First), [Some(1.0), Some(0.0), Some(0.0)]);
    assert_eq!(omission(&model, &[1], &[0], (embed(), State::Mean)).unwrap(), [None]);
}

#[test]
fn variance_sums_over_tokens_to_their_number_times_the_variance() {
    let values = array![[1.0_f32, 5.0], [2.0, 5.0], [6.0, 5.0]];
    let map = variance(&values.view());
    assert_close("map", &map, &array![[4.0, 0.0], [1.0, 0.0], [9.0, 0.0]], Tol::EXACT);
    // Mean 3, population variance 14 / 3.
    assert_close("sum", &map.sum_axis(Axis(0)), &array![14.0, 0.0], Tol::EXACT);
    assert_eq!(variance(&Array2::zeros((0, 2)).view()).dim(), (0, 2));
}

/// A model whose score of a sentence is the sum over its tokens of a weight times the embedding.
struct Linear(ModelInfo);

const WEIGHTS: [f32; 3] = [2.0, -0.5, 0.0];

impl Model for Linear {
    fn info(&self) -> &ModelInfo {
        &self.0
    }

    fn run(&self, _: &Batch, _: &HookPlan) -> Result<Trace, ModelError> {
        Ok(Trace::default())
    }

    fn run_into(&self, _: &Batch, _: &HookPlan, _: &dyn CaptureSink) -> Result<Option<Array2<f32>>, ModelError> {
        Ok(None)
    }

    fn gradients(
        &self,
        batch: &Batch,
        _: &HookPlan,
        _: &[Objective],
        wrt: &[HookPoint],
    ) -> Result<Gradients, ModelError> {
        let gradient = Array2::from_shape_fn((batch.n_tokens(), WEIGHTS.len()), |(_, unit)| WEIGHTS[unit]);
        Ok(Gradients { sites: wrt.iter().map(|&point| (point, gradient.clone())).collect(), ..Gradients::default() })
    }
}

#[test]
fn the_derivative_of_a_linear_score_is_the_size_of_its_weights_at_every_token() {
    let model = Linear(toy(3).info().clone());
    let map = derivative(&model, &[0, 1], &Objective::logit(0), embed()).unwrap();
    assert_close("map", &map, &array![[2.0_f32, 0.5, 0.0], [2.0, 0.5, 0.0]], Tol::EXACT);
}
