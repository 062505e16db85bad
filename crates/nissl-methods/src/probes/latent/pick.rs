//! Neurons picked one by one for what the probe tells with them alone.

use nissl_core::MethodError;

use super::{Latent, Ordered};
use crate::probes::gaussian::{Picked, Told, entropy};
use crate::probes::linear::loss::softmax;
use crate::probes::metrics::largest_output;

/// Picks the neuron with which, together with those before, the same weights tell most of the classes `of` the rows that
/// the design is not fitted on; until less than `min_gain` bits are added.
///
/// # Errors
/// If the activations cannot be read or the user stops it.
pub(crate) fn pick(
    columns: &Ordered<'_>,
    probe: &Latent,
    of: &[u32],
    (steps, min_gain): (usize, f64),
) -> Result<Picked, MethodError> {
    let (c, k) = (columns.order.len(), probe.bias.len());
    let first = columns.design.n_fit();
    let entropy = entropy(of, k);
    let mut picked = Picked { order: Vec::new(), curve: Vec::new(), alone: vec![None; c], entropy };
    let mut z: Vec<f64> = of.iter().flat_map(|_| probe.bias.iter().copied()).collect();
    let told = |z: &[f64]| {
        let (mut p, mut likelihood, mut n_right) = (vec![0.0; k], 0.0, 0);
        for (z, &class) in z.chunks(k).zip(of) {
            likelihood += z[class as usize] - softmax(z, &mut p);
            n_right += usize::from(largest_output(z) == class as usize);
        }
        let n = of.len().max(1) as f64;
        let information = entropy + likelihood / n / std::f64::consts::LN_2;
        let normalized = if entropy > 0.0 { information / entropy } else { 0.0 };
        Told { information, normalized, accuracy: n_right as f64 / n }
    };
    let with = |z: &[f64], neuron: usize, column: &[f32]| -> Vec<f64> {
        let weights = &probe.theta[neuron * k..(neuron + 1) * k];
        let rows = z.chunks(k).zip(&column[first..]);
        rows.flat_map(|(z, &value)| z.iter().zip(weights).map(move |(z, w)| z + w * f64::from(value))).collect()
    };
    let mut reached = told(&z).information;
    for step in 0..steps.min(c) {
        let found = columns.map(|neuron, column| told(&with(&z, neuron, column)).information)?;
        if step == 0 {
            let varies = |neuron: usize| columns.design.scales()[columns.order[neuron]].1 > 0.0;
            for (neuron, &bits) in found.iter().enumerate().filter(|(neuron, _)| varies(*neuron)) {
                picked.alone[columns.order[neuron]] = Some(bits);
            }
        }
        let is_free = |neuron: &usize| !picked.order.contains(&columns.order[*neuron]);
        let better = |best: Option<usize>, neuron: usize| {
            if best.is_none_or(|best| found[neuron] > found[best]) { Some(neuron) } else { best }
        };
        let Some(neuron) = (0..c).filter(is_free).fold(None, better) else { break };
        if found[neuron] < reached + min_gain {
            break;
        }
        reached = found[neuron];
        let column = columns.design.gathered(&[columns.order[neuron]])?;
        z = with(&z, neuron, &column);
        picked.order.push(columns.order[neuron]);
        picked.curve.push(told(&z));
    }
    Ok(picked)
}
