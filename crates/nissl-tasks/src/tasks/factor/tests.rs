use nissl_core::NoProgress;
use nissl_testing::PlantedActivations;

use super::*;
use crate::testing::planted_store;

#[test]
fn planted_copies_are_in_one_factor_and_all_is_in_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let store = planted_store(folder.path(), &PlantedActivations::new(3, 0.1));
    let out = folder.path().join("factors.json");
    let how = Factorization { factors: 6, ..Factorization::default() };
    let config = Config { store, how, words: Some(500), out: Some(out.clone()), ..Config::default() };
    let report = run(&config, &NoProgress).unwrap();
    assert_eq!((report.words, report.neurons, report.factors.len()), (500, 128, 6));
    assert!((report.factors.iter().map(|factor| factor.share).sum::<f64>() - 1.0).abs() < 1e-9);
    // Neurons 0 to 3 are copies, up to their sign.
    let first = |factor: &FactorReport| factor.neurons.iter().take(3).filter(|part| part.name.idx < 4).count();
    assert!(report.factors.iter().any(|factor| first(factor) >= 2), "{:?}", report.factors);
    let written: serde_json::Value = serde_json::from_slice(&std::fs::read(out).unwrap()).unwrap();
    let sizes = ["strengths", "weights", "neurons"].map(|name| written[name].as_array().unwrap().len());
    assert_eq!(sizes, [500, 6, 128]);
    assert_eq!(run(&report.head.config, &NoProgress).unwrap(), report, "a report's config repeats it");
}

#[test]
fn too_little_memory_is_refused_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let store = planted_store(folder.path(), &PlantedActivations::new(3, 0.1));
    let err = run(&Config { store, memory: 1000, ..Config::default() }, &NoProgress).unwrap_err().to_string();
    assert!(err.contains("choose sites or words, or give more"), "{err}");
}
