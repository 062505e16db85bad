//! A report on planted activations: its numbers, and its page.

use nissl_core::NoProgress;
use nissl_testing::PlantedActivations;
use nissl_testing::planted::key;
use tempfile::TempDir;

use super::*;
use crate::testing::planted_store;

fn planted() -> (TempDir, Config) {
    let folder = tempfile::tempdir().unwrap();
    let store = planted_store(folder.path(), &PlantedActivations::new(7, 0.1));
    let config = Config {
        store,
        concepts: vec!["tag: NOUN, VERB, ADJ".to_owned()],
        methods: vec!["average-precision".to_owned(), "probeless".to_owned()],
        top: 4,
        k: vec![1, 4],
        random_sets: 2,
        draws: 100,
        permutations: Some(2),
        neurons: 2,
        out: folder.path().join("report"),
        ..Config::default()
    };
    (folder, config)
}

#[test]
fn a_page_says_what_few_neurons_tell_and_how_far_methods_agree() {
    let (_folder, config) = planted();
    let report = run(&config, &NoProgress).unwrap();
    let [ap, probeless] = [&report.judged.orders[0], &report.judged.orders[1]];
    for first in [ap[1], probeless[1]] {
        // Planted neurons tell verbs and adjectives; random ones little.
        assert!(first.accuracy.value > report.judged.random[1].mean, "{first:?} {:?}", report.judged.random);
        assert!(first.accuracy.value > report.judged.majority);
    }
    assert!((report.agreement[0][0] - 1.0).abs() < 1e-12 && report.agreement[0][1] > report.chance);
    assert_eq!(report.methods[0].concepts.len(), 3);
    assert!(report.methods[0].concepts.iter().all(|concept| concept.found.is_some()));
    let html = std::fs::read_to_string(&report.page).unwrap();
    for text in ["What few neurons tell", "How far the methods agree", "more than chance", "probeless", "VERB"] {
        assert!(html.contains(text), "{text}");
    }
    assert!(html.contains("default-src 'none'") && !html.contains("src=\""));
    let saved: Report =
        serde_json::from_str(&std::fs::read_to_string(config.out.join("report.json")).unwrap()).unwrap();
    assert_eq!(saved, report);
}

#[test]
fn concepts_take_turns_and_no_neuron_comes_twice() {
    let (_folder, config) = planted();
    let ranking = rank::Config {
        store: config.store.clone(),
        concepts: config.concepts.clone(),
        methods: config.methods.clone(),
        permutations: Some(0),
        ..rank::Config::default()
    };
    let (_, scores) = rank::scores(&ranking, &NoProgress).unwrap();
    let order = taking_turns(&scores[0], 10);
    assert_eq!(order.len(), 10);
    let mut sorted = order.clone();
    sorted.sort_unstable();
    sorted.dedup();
    assert_eq!(sorted.len(), 10);
    // The first three are the best of the three concepts; that of verbs is a planted one.
    assert!(order[..3].iter().any(|neuron| key::VERBS.contains(neuron)), "{order:?}");
    assert_eq!(taking_turns(&scores[0], 1000).len(), 128);
}
