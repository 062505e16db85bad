#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use nissl_core::{Activations as _, Context};
use nissl_testing::planted::key;
use nissl_testing::{PlantedActivations, Tol, assert_close};

use super::*;
use crate::probes::ChosenNeurons;

const OPTIONS: LatentOptions = LatentOptions {
    masks: Masks::Poisson,
    steps: 100,
    batch: 256,
    rate: 0.05,
    eta: 0.01,
    lambda1: 1e-5,
    lambda2: 1e-5,
    patience: 10,
    seed: 0,
};

/// All sets of a few neurons with their chances.
fn sets(masks: Masks, phi: &[f64]) -> Vec<(Vec<bool>, f64)> {
    let c = phi.len();
    let all = (0..1_usize << c).map(|bits| (0..c).map(|neuron| bits >> neuron & 1 == 1).collect::<Vec<bool>>());
    let conditional = ConditionalPoisson::new(phi);
    let chance = |set: &Vec<bool>| {
        let size = set.iter().filter(|&&has| has).count();
        let sum: f64 = phi.iter().zip(set).filter(|(_, has)| **has).map(|(phi, _)| phi).sum();
        match masks {
            Masks::Poisson => {
                Poisson::new(phi).inclusion().iter().zip(set).map(|(p, &has)| if has { *p } else { 1.0 - p }).product()
            }
            Masks::ConditionalPoisson if size == 0 => 0.0,
            Masks::ConditionalPoisson => conditional.log_density(sum, size).exp(),
            Masks::All => f64::from(u8::from(size == c)),
        }
    };
    all.map(|set| (set.clone(), chance(&set))).collect()
}

#[test]
fn slopes_are_on_average_those_of_the_objective_over_all_sets() {
    let planted = PlantedActivations::new(0, 0.1);
    let few = ChosenNeurons::new(&planted.x, &[key::VERB, key::TENSE, key::POSITION, 70]);
    let n = 60;
    let design = Design::new(&few, Context::default(), "test", (0..n).collect(), n).unwrap();
    let of: Vec<u32> = (0..n).map(|row| planted.verb.of(row)[0]).collect();
    let columns = Ordered::new(&design).unwrap();
    let rows: Vec<usize> = (0..n).collect();
    for masks in [Masks::Poisson, Masks::ConditionalPoisson] {
        let options = LatentOptions { masks, eta: 0.3, lambda1: 0.02, lambda2: 0.05, ..OPTIONS };
        let fitting = Fitting { columns: &columns, of: &of, n_classes: 2, options };
        let now = Latent {
            theta: vec![0.5, -0.7, -0.3, 0.2, 0.9, 0.4, -0.2, -0.6],
            bias: vec![0.1, -0.2],
            phi: vec![0.4, -0.8, 1.1, 0.2],
            steps: 0,
            objective: 0.0,
        };
        // The objective, its expectation taken over all sets.
        let value = |now: &Latent| {
            let mut total = 0.0;
            for (set, chance) in sets(masks, &now.phi) {
                let bits: u64 = set.iter().enumerate().map(|(neuron, &has)| u64::from(has) << neuron).sum();
                let sets = Sets { words: 1, bits: vec![bits; n], log_density: Vec::new(), sizes: Vec::new() };
                let mut z = fitting.outputs(now, &rows, &sets).unwrap();
                total += chance * fitting.losses(&rows, &mut z).iter().sum::<f64>() / n as f64;
            }
            let penalty: f64 = now.theta.iter().map(|w| 0.02 * w.abs() + 0.05 * w * w).sum();
            total - 0.3 * Drawn::new(masks, &now.phi).entropy() + penalty
        };
        let mut mean = [vec![0.0; 8], vec![0.0; 2], vec![0.0; 4]];
        let draws = 3000;
        for draw in 0..draws {
            let slopes = fitting.slopes(&now, &rows, mix(draw)).unwrap();
            for (mean, slopes) in mean.iter_mut().zip([slopes.theta, slopes.bias, slopes.phi]) {
                mean.iter_mut().zip(slopes).for_each(|(mean, slope)| *mean += slope / draws as f64);
            }
        }
        let field = |now: &mut Latent, which: usize, idx: usize, by: f64| match which {
            0 => now.theta[idx] += by,
            1 => now.bias[idx] += by,
            _ => now.phi[idx] += by,
        };
        for (which, mean) in mean.iter().enumerate() {
            for (idx, &got) in mean.iter().enumerate() {
                let moved = |by: f64| {
                    let mut now = now.clone();
                    field(&mut now, which, idx, by);
                    value(&now)
                };
                let want = (moved(1e-5) - moved(-1e-5)) / 2e-5;
                assert_close(&format!("{masks:?}: {which}[{idx}]"), &got, &want, Tol::abs(0.008));
            }
        }
    }
}

#[test]
fn neurons_that_tell_the_class_are_drawn_more_often_than_noise() {
    let planted = PlantedActivations::new(0, 0.1);
    let of: Vec<u32> = (0..planted.x.n_tokens()).map(|row| planted.verb.of(row)[0]).collect();
    let design = Design::new(&planted.x, Context::default(), "test", (0..of.len()).collect(), of.len()).unwrap();
    let columns = Ordered::new(&design).unwrap();
    for masks in [Masks::Poisson, Masks::ConditionalPoisson] {
        let options = LatentOptions { masks, steps: 200, ..OPTIONS };
        let found = Fitting { columns: &columns, of: &of, n_classes: 2, options }.run().unwrap();
        let phi = |neuron: usize| found.phi[columns.order.iter().position(|&column| column == neuron).unwrap()];
        let noise = key::NOISE.map(phi).sum::<f64>() / key::NOISE.len() as f64;
        assert!(
            key::VERBS.iter().all(|&verb| phi(verb) > noise + 0.2),
            "{masks:?}: {:?}, {noise}",
            key::VERBS.map(phi)
        );
    }
}
