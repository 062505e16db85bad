//! AdamW, as PyTorch computes it.

use std::collections::BTreeMap;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Values that a thread updates at a time.
const CHUNK: usize = 1 << 14;

/// Parameters of AdamW (Loshchilov and Hutter, 2019) with a bound on the gradient.
///
/// `p -= lr * weight_decay * p`, then `p -= lr * m / (sqrt(v) + eps)`, with the moments corrected for their start at 0.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdamW {
    /// Decay of the gradient's running mean, in [0, 1).
    pub beta1: f64,
    /// Decay of its running square, in [0, 1).
    pub beta2: f64,
    /// Added to the root of the running square.
    pub eps: f64,
    /// Share of a matrix that a learning rate of 1 would take away at a step; vectors (biases, norms) keep theirs.
    pub weight_decay: f64,
    /// Largest norm of all gradients together; larger ones are scaled down. None: no bound.
    pub max_norm: Option<f64>,
}

impl Default for AdamW {
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.01, max_norm: Some(1.0) }
    }
}

/// The running moments of every parameter.
#[derive(Clone, Debug, Default)]
pub(super) struct Moments {
    /// Steps made.
    pub(super) steps: u64,
    /// By parameter, running mean and running square, each as long as the parameter.
    pub(super) of: BTreeMap<String, (Vec<f32>, Vec<f32>)>,
}

/// The norm of all gradients together.
pub(super) fn norm(gradients: &BTreeMap<String, Vec<f32>>) -> f64 {
    let chunks: Vec<&[f32]> = gradients.values().flat_map(|values| values.chunks(CHUNK)).collect();
    let squares = |values: &&[f32]| values.iter().map(|&g| f64::from(g) * f64::from(g)).sum::<f64>();
    let sums: Vec<f64> = chunks.par_iter().map(squares).collect();
    sums.iter().sum::<f64>().sqrt()
}

/// One value's way through a step; all factors are worked out in 64 bits and rounded once.
struct Factors {
    scale: f32,
    beta1: f32,
    beta2: f32,
    rest1: f32,
    rest2: f32,
    eps: f32,
    keep: f32,
    step: f32,
    root: f32,
}

impl AdamW {
    /// How much gradients of a norm are scaled by.
    pub(super) fn scale(&self, norm: f64) -> f64 {
        self.max_norm.map_or(1.0, |most| (most / (norm + 1e-6)).min(1.0))
    }

    /// Moves `values` against `gradient`, which is scaled by `scale` first. `steps` counts this step too.
    pub(super) fn update(
        &self,
        values: &mut [f32],
        gradient: &[f32],
        (mean, square): (&mut [f32], &mut [f32]),
        decays: bool,
        (learning_rate, scale, steps): (f64, f64, u64),
    ) {
        let steps = i32::try_from(steps).unwrap_or(i32::MAX);
        let decay = if decays { learning_rate * self.weight_decay } else { 0.0 };
        let factors = Factors {
            scale: scale as f32,
            beta1: self.beta1 as f32,
            beta2: self.beta2 as f32,
            rest1: (1.0 - self.beta1) as f32,
            rest2: (1.0 - self.beta2) as f32,
            eps: self.eps as f32,
            keep: (1.0 - decay) as f32,
            step: (learning_rate / (1.0 - self.beta1.powi(steps))) as f32,
            root: (1.0 - self.beta2.powi(steps)).sqrt() as f32,
        };
        values
            .par_chunks_mut(CHUNK)
            .zip(gradient.par_chunks(CHUNK))
            .zip(mean.par_chunks_mut(CHUNK).zip(square.par_chunks_mut(CHUNK)))
            .for_each(|((values, gradient), (mean, square))| {
                let moments = mean.iter_mut().zip(square);
                for ((value, gradient), (mean, square)) in values.iter_mut().zip(gradient).zip(moments) {
                    let gradient = gradient * factors.scale;
                    *mean = *mean * factors.beta1 + gradient * factors.rest1;
                    *square = *square * factors.beta2 + gradient * gradient * factors.rest2;
                    let size = square.sqrt() / factors.root + factors.eps;
                    *value = *value * factors.keep - factors.step * (*mean / size);
                }
            });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One parameter by torch.optim.AdamW(lr=0.1, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1) on gradients 0.5,
    /// -1.0 and 0.25, from 1.0 on.
    #[test]
    fn three_steps_equal_pytorch() {
        let adamw = AdamW { beta2: 0.95, weight_decay: 0.1, max_norm: None, ..AdamW::default() };
        let (mut value, mut mean, mut square) = (vec![1.0f32], vec![0.0], vec![0.0]);
        let mut seen = Vec::new();
        for (step, gradient) in [0.5f32, -1.0, 0.25].into_iter().enumerate() {
            let at = (0.1, 1.0, step as u64 + 1);
            adamw.update(&mut value, &[gradient], (&mut mean, &mut square), true, at);
            seen.push(value[0]);
        }
        for (got, want) in seen.iter().zip(EXPECTED) {
            assert!((got - want).abs() < 1e-6, "{seen:?}");
        }
    }

    const EXPECTED: [f32; 3] = [0.89, 0.917_437_43, 0.921_985_4];

    #[test]
    fn a_gradient_beyond_the_bound_is_scaled_to_it() {
        let gradients = BTreeMap::from([("a".to_owned(), vec![3.0; 4]), ("b".to_owned(), vec![4.0; 4])]);
        let norm = norm(&gradients);
        assert!((norm - 10.0).abs() < 1e-12);
        assert!((AdamW::default().scale(norm) - 0.1).abs() < 1e-6);
        assert!((AdamW { max_norm: None, ..AdamW::default() }.scale(norm) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn vectors_do_not_decay() {
        let adamw = AdamW { weight_decay: 0.5, ..AdamW::default() };
        let run = |decays| {
            let (mut value, mut mean, mut square) = (vec![2.0f32], vec![0.0], vec![0.0]);
            adamw.update(&mut value, &[0.0], (&mut mean, &mut square), decays, (0.1, 1.0, 1));
            value[0]
        };
        assert!((run(false) - 2.0).abs() < 1e-7 && (run(true) - 1.9).abs() < 1e-6);
    }
}
