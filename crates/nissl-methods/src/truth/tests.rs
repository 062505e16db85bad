#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use nissl_core::{Context, LabeledActivations, Ranker};

use super::*;
use crate::rankers::{AveragePrecision, Probeless};

fn planted(difficulty: Difficulty) -> Planted {
    Planted::new(&difficulty, 7).unwrap()
}

/// Correlation of a column with the rows of a concept.
fn correlation(planted: &Planted, column: usize, concept: usize) -> f64 {
    let of = planted.labels.mask(concept);
    let x: Vec<f64> = planted.x.values().column(column).iter().map(|&value| f64::from(value)).collect();
    let y: Vec<f64> = of.iter().map(|&is| f64::from(u8::from(is))).collect();
    let mean = |of: &[f64]| of.iter().sum::<f64>() / of.len() as f64;
    let (mx, my) = (mean(&x), mean(&y));
    let sum = |f: &dyn Fn(usize) -> f64| (0..x.len()).map(f).sum::<f64>();
    let cov = sum(&|i| (x[i] - mx) * (y[i] - my));
    cov / (sum(&|i| (x[i] - mx).powi(2)) * sum(&|i| (y[i] - my).powi(2))).sqrt()
}

#[test]
fn each_kind_correlates_with_its_concept_as_it_should() {
    let planted = planted(Difficulty { rows: 20_000, ..Difficulty::default() });
    // A shift of 1 on a tenth of the rows: r = √(p(1-p)) / √(1 + p(1-p)).
    let (p, near) = (0.1_f64, 0.06);
    let full = (p * (1.0 - p)).sqrt() / (1.0 + p * (1.0 - p)).sqrt();
    for (column, neuron) in planted.key.iter().enumerate() {
        let want = match neuron.kind {
            Kind::Focused | Kind::Copy | Kind::Polysemous | Kind::Switch => full,
            Kind::Distributed => full / 4.0,
            Kind::Confounded => full / 2.0,
            Kind::Dead | Kind::Position | Kind::Frequency => continue,
            _ => 0.0,
        };
        let concept = neuron.concepts.first().copied().unwrap_or(0);
        let got = correlation(&planted, column, concept).abs();
        assert!((got - want).abs() < near, "{neuron:?}: {got}, not {want}");
    }
}

#[test]
fn a_copy_has_the_noise_of_a_focused_neuron_of_its_concept() {
    let planted = planted(Difficulty { rows: 5000, signal: 0.0, ..Difficulty::default() });
    let key = &planted.key;
    let of = |kind| (0..key.len()).filter(move |&idx| key[idx].kind == kind);
    let x = planted.x.values();
    let r = |a: usize, b: usize| {
        let (a, b) = (x.column(a), x.column(b));
        let mean = |of: &ndarray::ArrayView1<'_, f32>| of.iter().map(|&v| f64::from(v)).sum::<f64>() / of.len() as f64;
        let (ma, mb) = (mean(&a), mean(&b));
        let sum = |f: &dyn Fn(f64, f64) -> f64| -> f64 {
            a.iter().zip(&b).map(|(&a, &b)| f(f64::from(a) - ma, f64::from(b) - mb)).sum()
        };
        sum(&|a, b| a * b) / (sum(&|a, _| a * a) * sum(&|_, b| b * b)).sqrt()
    };
    for copy in of(Kind::Copy) {
        let same = |&idx: &usize| key[idx].concepts == key[copy].concepts;
        let most = of(Kind::Focused).filter(same).map(|original| r(copy, original).abs()).fold(0.0, f64::max);
        assert!((most - 0.9).abs() < 0.02, "{most}");
    }
}

#[test]
fn the_same_seed_plants_the_same_and_another_another() {
    let difficulty = Difficulty { rows: 300, ..Difficulty::default() };
    let [one, same, other] = [1, 1, 2].map(|seed| Planted::new(&difficulty, seed).unwrap());
    assert_eq!(one.x, same.x);
    assert_eq!(one.key, same.key);
    assert_ne!(one.x, other.x);
    assert_ne!(one.key, other.key);
}

#[test]
fn rankings_find_strong_neurons_and_none_where_there_is_no_signal() {
    let mean = |signal: f64| {
        let planted = planted(Difficulty { signal, confound: 0.0, ..Difficulty::default() });
        let data = LabeledActivations::new(&planted.x, &planted.labels).unwrap();
        let scores = AveragePrecision { signed: true, ..AveragePrecision::default() }.score(data, Context::default());
        let scores = scores.unwrap();
        (0..4).map(|concept| planted.recovery(&scores, concept).unwrap().precision).sum::<f64>() / 4.0
    };
    assert!(mean(3.0) > 0.95, "{}", mean(3.0));
    assert!(mean(0.0) < 0.3, "{}", mean(0.0));
}

#[test]
fn recovery_counts_by_kind_and_knows_whose_neurons_they_are() {
    let planted = planted(Difficulty::default());
    let of = |wanted: &dyn Fn(&PlantedNeuron) -> bool| -> Vec<NeuronId> {
        let columns = planted.key.iter().zip(planted.x.neurons()).filter(|(neuron, _)| wanted(neuron));
        columns.map(|(_, &name)| name).collect()
    };
    let own = of(&|neuron| neuron.kind.is_strong() && neuron.concepts.contains(&1));
    let found = planted.of_ranking(&own, 1).unwrap();
    // Two focused, two copies, and of two concepts each a polysemous and a switch.
    assert_eq!((found.k, found.precision), (8, 1.0));
    assert_eq!(found.kinds[..4], [(2, 2), (2, 2), (2, 2), (2, 2)]);
    let others = of(&|neuron| neuron.kind == Kind::Focused && !neuron.concepts.contains(&1));
    assert!(planted.of_ranking(&others, 1).unwrap().precision < 1e-9);
    let confounded = of(&|neuron| neuron.kind == Kind::Confounded);
    assert!(planted.of_ranking(&confounded, 1).unwrap().precision < 1e-9);
}

#[test]
fn what_cannot_be_planted_is_refused_by_name() {
    let refused = |difficulty: Difficulty, name: &str| {
        let error = Planted::new(&difficulty, 0).unwrap_err().to_string();
        assert!(error.contains(name), "{error}");
    };
    refused(Difficulty { neurons: 20, ..Difficulty::default() }, "neurons");
    refused(Difficulty { share: 0.5, ..Difficulty::default() }, "concepts");
    refused(Difficulty { signal: f64::NAN, ..Difficulty::default() }, "signal");
    refused(Difficulty { rows: 3, ..Difficulty::default() }, "rows");
    refused(Difficulty { confound: 2.0, ..Difficulty::default() }, "confound");
}

#[test]
fn probeless_without_standardizing_takes_loud_noise_for_a_concept() {
    let planted = planted(Difficulty { signal: 0.5, ..Difficulty::default() });
    let loud = |zscore: bool| {
        let method = Probeless { zscore, min_count: 1 };
        let data = LabeledActivations::new(&planted.x, &planted.labels).unwrap();
        let scores = method.score(data, Context::default()).unwrap();
        let place = Kind::ALL.iter().position(|&kind| kind == Kind::Loud).unwrap();
        (0..4).map(|concept| planted.recovery(&scores, concept).unwrap().kinds[place].0).sum::<usize>()
    };
    assert!(loud(false) > loud(true) + 4, "{} {}", loud(false), loud(true));
}

/// A large penalty leaves no weight, which loses nothing where a tenth of the rows have the concept; it ranks no neuron.
#[test]
fn linguistic_correlation_analysis_finds_the_neurons_of_a_single_rare_concept() {
    let planted = planted(Difficulty { concepts: 1, ..Difficulty::default() });
    let data = LabeledActivations::new(&planted.x, &planted.labels).unwrap();
    let scores = crate::rankers::Lca::default().score(data, Context::default()).unwrap();
    let precision = planted.recovery(&scores, 0).unwrap().precision;
    assert!(precision > 0.5, "{precision}, by {:?}", scores.provenance.params["chosen"]);
}
