use nissl_core::NoProgress;
use nissl_testing::PlantedActivations;
use serde_json::Value;

use super::*;
use crate::testing::planted_store;

#[test]
fn planted_copies_are_reported_and_every_neuron_is_in_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let store = planted_store(folder.path(), &PlantedActivations::new(3, 0.1));
    let out = folder.path().join("clusters.json");
    let config = Config { store, threshold: 0.3, out: Some(out.clone()), ..Config::default() };
    let report = run(&config, &NoProgress).unwrap();
    let members: Vec<Vec<u32>> =
        report.largest.iter().map(|cluster| cluster.members.iter().map(|neuron| neuron.idx).collect()).collect();
    assert_eq!(members, [vec![0, 1, 2, 3], vec![5, 11]]);
    assert_eq!((report.neurons, report.clusters, report.alone), (128, 124, 122));
    assert_eq!(report.windows, [Window { layers: 1, clusters: 2 }]);
    let written: Value = serde_json::from_slice(&std::fs::read(out).unwrap()).unwrap();
    assert_eq!(written["labels"].as_array().unwrap().len(), 128);
    assert_eq!(
        (written["merges"].as_array().unwrap().len(), written["clusters"].as_array().unwrap().len()),
        (127, 124)
    );
    assert_eq!(run(&report.head.config, &NoProgress).unwrap(), report, "a report's config repeats it");
}

#[test]
fn so_many_clusters_are_made_by_k_means() {
    let folder = tempfile::tempdir().unwrap();
    let store = planted_store(folder.path(), &PlantedActivations::new(3, 0.1));
    let report = run(&Config { store, k: Some(9), restarts: 2, ..Config::default() }, &NoProgress).unwrap();
    assert_eq!((report.neurons, report.clusters), (128, 9));
    let rows = report.store.rows as f64;
    // Standardized, all neurons but the two constant ones have this distance from 0.
    assert!(report.inertia.unwrap() < 126.0 * rows, "{report:?}");
    let together = |a: u32, b: u32| {
        let has = |cluster: &Cluster, idx| cluster.members.iter().any(|neuron| neuron.idx == idx);
        report.largest.iter().any(|cluster| has(cluster, a) && has(cluster, b))
    };
    assert!(together(0, 1) && together(0, 3) && !together(0, 2), "copies, but not the negated one");
}

#[test]
fn too_little_memory_is_refused_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let store = planted_store(folder.path(), &PlantedActivations::new(3, 0.1));
    let err = run(&Config { store, memory: 1000, ..Config::default() }, &NoProgress).unwrap_err().to_string();
    assert!(err.contains("choose sites, or give more"), "{err}");
}
