//! The choice of experts by a router, and what it leaves of them.

use super::Cpu;
use super::math;
use super::tensor::Tensor;
use crate::engine::Choice;

/// The places of the largest of `values`, first ones before equal later ones.
pub(crate) fn largest(values: &[f32], n: usize) -> Vec<usize> {
    let mut places: Vec<usize> = (0..values.len()).collect();
    places.sort_by(|&a, &b| values[b].total_cmp(&values[a]).then(a.cmp(&b)));
    places.truncate(n);
    places
}

/// See [`crate::engine::Engine::choose`].
pub(super) fn choose(cpu: &Cpu, logits: &Tensor, choice: Choice) -> Tensor {
    let mut weights = logits.copy();
    for row in 0..weights.n_rows() {
        let (routed, shared) = weights.row_mut(row).split_at_mut(choice.n_experts);
        math::softmax(cpu.isa, routed, 1.0);
        let kept = largest(routed, choice.n_taken);
        let sum = if choice.normalizes { kept.iter().map(|&expert| routed[expert]).sum() } else { 1.0 };
        let probabilities: Vec<(usize, f32)> = kept.into_iter().map(|expert| (expert, routed[expert] / sum)).collect();
        routed.fill(0.0);
        for (expert, weight) in probabilities {
            routed[expert] = weight;
        }
        for weight in shared {
            *weight = math::sigmoid(*weight);
        }
    }
    weights
}
