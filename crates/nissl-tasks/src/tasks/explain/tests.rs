//! Planted neurons are explained through a store by what was planted.

use nissl_core::NoProgress;
use nissl_testing::PlantedActivations;
use nissl_testing::planted::key;
use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::testing::{StopAfter, planted_store};

fn planted() -> (TempDir, Config) {
    let folder = tempfile::tempdir().unwrap();
    let store = planted_store(folder.path(), &PlantedActivations::new(7, 0.0));
    let set = json!({ "threshold": "value", "value": 0.5 });
    let config = Config { store, set: set.as_object().unwrap().clone(), ..Config::default() };
    (folder, config)
}

fn formula(report: &NeuronReport) -> &str {
    &report.methods[0].profile.explanations[0].text
}

#[test]
fn neurons_that_are_named_are_explained_in_their_order() {
    let (_folder, mut config) = planted();
    config.neurons = [key::QUOTE, key::MODIFIER, key::VERB].map(PlantedActivations::neuron).to_vec();
    let report = run(&config, &NoProgress).unwrap();
    let names: Vec<NeuronId> = report.neurons.iter().map(|neuron| neuron.name).collect();
    assert_eq!(names, config.neurons);
    let formulas: Vec<&str> = report.neurons.iter().map(formula).collect();
    // A column that has a label of the same rows says the same: the shorter name in order of the text comes first.
    assert_eq!(formulas, ["quote=inside", "(tag=ADJ OR tag=ADV) AND NOT 'very'", "tag=VERB"]);
    let feature = &report.neurons[2].methods[1].profile.explanations[0];
    assert_eq!((report.neurons[2].methods[1].name.as_str(), feature.text.as_str()), ("variance-reduction", "tag=VERB"));
    let number = &report.neurons[2].methods[2].profile.numbers[0];
    assert!(number.name == "correlation" && number.value > 0.999, "{number:?}");
}

#[test]
fn the_best_of_all_are_reported_and_the_others_are_in_the_file() {
    let (folder, mut config) = planted();
    config.concepts = vec!["tag".to_owned()];
    config.best = 3;
    let out = folder.path().join("deep/explained.jsonl");
    config.out = Some(out.clone());
    let report = run(&config, &NoProgress).unwrap();
    assert_eq!((report.explained, report.neurons.len(), report.failed.len()), (128, 3, 0));
    assert_eq!(formula(&report.neurons[0]), "VERB");
    let text = std::fs::read_to_string(out).unwrap();
    let all: Vec<NeuronReport> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(all.len(), 128);
    assert_eq!(all[key::MODIFIER].methods[0].profile.explanations.len(), 3);
}

#[test]
fn what_cannot_be_explained_is_named_with_what_can() {
    let error = |change: &dyn Fn(&mut Config)| {
        let (_folder, mut config) = planted();
        change(&mut config);
        run(&config, &NoProgress).unwrap_err().to_string()
    };
    let err = error(&|config| {
        config.methods = vec!["probeless".to_owned()];
        config.set = Map::new();
    });
    assert!(err.starts_with("methods: expected a method that says what a neuron fires on (top-words, "), "{err}");
    let err = error(&|config| config.neurons = vec![PlantedActivations::neuron(500)]);
    assert!(err.contains("500"), "{err}");
    let err = error(&|config| config.set = json!({ "beem": 3 }).as_object().unwrap().clone());
    assert!(err.contains("did you mean beam?"), "{err}");
}

#[test]
fn a_stop_is_obeyed() {
    let (_folder, config) = planted();
    let err = run(&config, &StopAfter::new(0)).unwrap_err();
    assert_eq!(err.to_string(), "stopped: nothing was written");
}
