//! How scores are spread: over layers, and over neurons.

use std::collections::BTreeMap;

use nissl_core::{HookPoint, NeuronId};
use serde::{Deserialize, Serialize};

/// Where the neurons of a set lie.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerSpread {
    /// The share of each site's layer, in their order; all that were to choose from, empty ones too.
    pub shares: Vec<(HookPoint, f64)>,
    /// Entropy of the shares over that of even ones: 0 for one layer alone, 1 for all alike; 0 of a single layer.
    pub entropy: f64,
}

/// How a set of neurons is spread over the layers of `all` neurons.
pub fn layer_spread(set: &[NeuronId], all: &[NeuronId]) -> LayerSpread {
    let mut counts: BTreeMap<HookPoint, usize> = all.iter().map(|neuron| (neuron.point, 0)).collect();
    for neuron in set {
        *counts.entry(neuron.point).or_default() += 1;
    }
    let n = set.len().max(1) as f64;
    let shares: Vec<(HookPoint, f64)> = counts.into_iter().map(|(point, count)| (point, count as f64 / n)).collect();
    let bits: f64 = shares.iter().filter(|(_, share)| *share > 0.0).map(|(_, share)| -share * share.log2()).sum();
    let most = (shares.len() as f64).log2();
    LayerSpread { entropy: if most > 0.0 { bits / most } else { 0.0 }, shares }
}

/// The unevenness of sizes (Gini): 0 for even ones, towards 1 for one alone; 0 where all are 0.
pub fn gini(scores: &[f32]) -> f64 {
    let mut sizes: Vec<f64> = scores.iter().map(|&score| f64::from(score).abs()).collect();
    sizes.sort_by(f64::total_cmp);
    let (n, sum) = (sizes.len() as f64, sizes.iter().sum::<f64>());
    let weighted: f64 = sizes.iter().enumerate().map(|(idx, size)| (2.0 * (idx + 1) as f64 - n - 1.0) * size).sum();
    if sum > 0.0 { weighted / (n * sum) } else { 0.0 }
}

/// The fewest neurons with this share of the sum of all sizes.
pub fn count_to_mass(scores: &[f32], share: f64) -> usize {
    let mut sizes: Vec<f64> = scores.iter().map(|&score| f64::from(score).abs()).collect();
    sizes.sort_by(|a, b| b.total_cmp(a));
    let wanted = share * sizes.iter().sum::<f64>();
    let mut sum = 0.0;
    let reached = |size: &f64| {
        let before = sum;
        sum += size;
        // As many as make the whole by another order of the sum.
        before < wanted * (1.0 - 1e-12)
    };
    sizes.iter().copied().take_while(reached).count()
}

/// The number of neurons (or concepts) that take part: (Σ s)² / Σ s² of the sizes; 0 where all are 0.
pub fn participation(scores: &[f32]) -> f64 {
    let sizes = || scores.iter().map(|&score| f64::from(score).abs());
    let (sum, squares) = (sizes().sum::<f64>(), sizes().map(|size| size * size).sum::<f64>());
    if squares > 0.0 { sum * sum / squares } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use nissl_core::{Site, site_columns};
    use nissl_testing::{Tol, assert_close};

    use super::*;

    #[test]
    fn entropy_is_zero_for_one_layer_and_one_for_all_alike() {
        let points: Vec<(HookPoint, usize)> = (0..4).map(|layer| (HookPoint::new(layer, Site::MlpPost), 3)).collect();
        let all = site_columns(&points);
        let one = layer_spread(&all[..3], &all);
        assert_close("one layer", &one.entropy, &0.0, Tol::abs(1e-12));
        assert_eq!(one.shares.len(), 4);
        let each: Vec<NeuronId> = all.iter().copied().step_by(3).collect();
        assert_close("all", &layer_spread(&each, &all).entropy, &1.0, Tol::abs(1e-12));
        let two = layer_spread(&[all[0], all[3]], &all);
        assert_close("two of four", &two.entropy, &0.5, Tol::abs(1e-12));
    }

    #[test]
    fn unevenness_is_that_of_the_worked_examples() {
        assert_close("one of four", &gini(&[0.0, 0.0, 0.0, 1.0]), &0.75, Tol::abs(1e-12));
        assert_close("even", &gini(&[-2.0, 2.0, 2.0]), &0.0, Tol::abs(1e-12));
        assert_close("zeros", &gini(&[0.0, 0.0]), &0.0, Tol::abs(1e-12));
        assert_close("one-hot", &participation(&[0.0, 3.0, 0.0]), &1.0, Tol::abs(1e-12));
        assert_close("five alike", &participation(&[0.2; 5]), &5.0, Tol::abs(1e-6));
    }

    #[test]
    fn the_fewest_neurons_with_a_share_of_the_mass() {
        let scores = [1.0, 4.0, 3.0, 2.0];
        assert_eq!([0.0, 0.4, 0.41, 0.7, 1.0].map(|share| count_to_mass(&scores, share)), [0, 1, 2, 2, 4]);
    }
}
