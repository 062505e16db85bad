use nissl_testing::{Random, Tol, assert_close};

use super::*;

fn sets(d: usize) -> impl Iterator<Item = Vec<bool>> {
    (0..1_usize << d).map(move |bits| (0..d).map(|neuron| bits >> neuron & 1 == 1).collect())
}

fn size(set: &[bool]) -> usize {
    set.iter().filter(|&&has| has).count()
}

fn sum(phi: &[f64], set: &[bool]) -> f64 {
    phi.iter().zip(set).filter(|(_, has)| **has).map(|(phi, _)| phi).sum()
}

fn eight() -> Vec<f64> {
    let mut random = Random::new(3);
    (0..8).map(|_| 1.5 * random.normal()).collect()
}

#[test]
fn a_poisson_distribution_has_its_closed_forms() {
    let phi = [1.0_f64.ln(), 3.0_f64.ln()];
    let poisson = Poisson::new(&phi);
    assert_close("inclusion", &poisson.inclusion(), &[0.5, 0.75][..], Tol::abs(1e-12));
    assert_close("ln Z", &-poisson.log_density(&[false, false]), &8.0_f64.ln(), Tol::abs(1e-12));
    assert_close("entropy", &poisson.entropy(), &1.255_482, Tol::abs(1e-6));
}

#[test]
fn a_poisson_distribution_is_that_of_all_sets_one_by_one() {
    let phi = eight();
    let poisson = Poisson::new(&phi);
    let chances: Vec<(Vec<bool>, f64)> = sets(8).map(|set| (set.clone(), poisson.log_density(&set).exp())).collect();
    assert_close("all", &chances.iter().map(|(_, p)| p).sum::<f64>(), &1.0, Tol::abs(1e-9));
    let mean: f64 = chances.iter().map(|(set, p)| size(set) as f64 * p).sum();
    assert_close("size", &mean, &poisson.inclusion().iter().sum::<f64>(), Tol::abs(1e-9));
    let entropy: f64 = chances.iter().map(|(_, p)| -p * p.ln()).sum();
    assert_close("entropy", &poisson.entropy(), &entropy, Tol::abs(1e-9));
    for (neuron, &slope) in poisson.entropy_slope().iter().enumerate() {
        let moved = |by: f64| {
            let mut phi = phi.clone();
            phi[neuron] += by;
            Poisson::new(&phi).entropy()
        };
        assert_close("slope", &slope, &((moved(1e-5) - moved(-1e-5)) / 2e-5), Tol::abs(1e-8));
    }
}

#[test]
fn a_conditional_poisson_distribution_has_its_closed_forms() {
    let phi = [1.0_f64, 2.0, 3.0].map(f64::ln);
    let all = ConditionalPoisson::new(&phi);
    let z: Vec<f64> = (1..=3).map(|size| all.at(3, size).exp()).collect();
    assert_close("Z", &z, &[6.0, 11.0, 6.0][..], Tol::rel(1e-12));
    let of_two = all.inclusion(&[0.0, 0.0, 1.0, 0.0]);
    assert_close("pairs", &of_two, &[5.0 / 11.0, 8.0 / 11.0, 9.0 / 11.0][..], Tol::rel(1e-12));
    assert_close("entropy", &all.entropy(), &1.767_388, Tol::abs(1e-6));
    // Of sets of one size: H = Σ p ln p over them.
    for (size, want) in [(1, 1.011_404), (2, 0.994_924), (3, 0.0)] {
        let mut weight = vec![0.0; 4];
        weight[size] = 1.0;
        let entropy = all.at(3, size) - all.inclusion(&weight).iter().zip(&phi).map(|(p, phi)| p * phi).sum::<f64>();
        assert_close(&format!("entropy of {size}"), &entropy, &want, Tol::abs(1e-6));
    }
}

#[test]
fn a_conditional_poisson_distribution_is_that_of_all_sets_one_by_one() {
    let phi = eight();
    let all = ConditionalPoisson::new(&phi);
    let chances: Vec<(Vec<bool>, f64)> = sets(8)
        .filter(|set| size(set) > 0)
        .map(|set| (set.clone(), all.log_density(sum(&phi, &set), size(&set)).exp()))
        .collect();
    assert_close("all", &chances.iter().map(|(_, p)| p).sum::<f64>(), &1.0, Tol::abs(1e-9));
    let entropy: f64 = chances.iter().map(|(_, p)| -p * p.ln()).sum();
    assert_close("entropy", &all.entropy(), &entropy, Tol::abs(1e-9));
    for k in 1..=8 {
        let mut weight = vec![0.0; 9];
        weight[k] = 1.0;
        let of_size = || chances.iter().filter(|(set, _)| size(set) == k);
        let total: f64 = of_size().map(|(_, p)| p).sum();
        assert_close("sizes are alike", &total, &0.125, Tol::abs(1e-9));
        let want: Vec<f64> =
            (0..8).map(|d| of_size().filter(|(set, _)| set[d]).map(|(_, p)| p / total).sum::<f64>()).collect();
        assert_close(&format!("inclusion at {k}"), &all.inclusion(&weight), &want, Tol::abs(1e-9));
    }
}

#[test]
fn drawn_sets_have_their_size_and_come_as_often_as_their_weight_says() {
    let phi = &eight()[..5];
    let all = ConditionalPoisson::new(phi);
    let mut random = Random::new(9);
    let n = 40_000;
    for k in 1..=5 {
        let mut counts = [0_usize; 32];
        for _ in 0..n {
            let mut set = 0_usize;
            all.draw(k, || random.uniform(), |neuron| set |= 1 << neuron);
            assert_eq!(set.count_ones() as usize, k);
            counts[set] += 1;
        }
        for set in sets(5).filter(|set| size(set) == k) {
            let bits: usize = set.iter().enumerate().map(|(neuron, &has)| usize::from(has) << neuron).sum();
            let p = (sum(phi, &set) - all.at(5, k)).exp();
            let got = counts[bits] as f64 / n as f64;
            // Five standard errors.
            assert!((got - p).abs() <= 5.0 * (p * (1.0 - p) / n as f64).sqrt() + 1e-9, "{set:?}: {got}, want {p}");
        }
    }
}

#[test]
fn many_neurons_of_very_different_weights_stay_exact() {
    let phi: Vec<f64> = (0..600).map(|neuron| f64::from(neuron % 41 - 20)).collect();
    let all = ConditionalPoisson::new(&phi);
    for k in [1, 15, 300, 590] {
        let mut weight = vec![0.0; 601];
        weight[k] = 1.0;
        let inclusion = all.inclusion(&weight);
        assert!(inclusion.iter().all(|p| (-1e-12..=1.0 + 1e-12).contains(p)));
        assert_close("as many as the size", &inclusion.iter().sum::<f64>(), &(k as f64), Tol::rel(1e-9));
    }
}
