//! Planted neurons are found through a store and a file, with the same scores as the method gives in memory.

use nissl_core::NoProgress;
use nissl_methods::rankers::AveragePrecision;
use nissl_testing::PlantedActivations;
use nissl_testing::planted::key;
use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::ranking_file::load_ranking;
use crate::testing::{StopAfter, planted_store};

fn planted() -> (TempDir, PlantedActivations, Config) {
    let folder = tempfile::tempdir().unwrap();
    let planted = PlantedActivations::new(7, 0.1);
    let store = planted_store(folder.path(), &planted);
    let config = Config { store, out: Some(folder.path().join("rankings")), ..Config::default() };
    (folder, planted, config)
}

#[test]
fn scores_are_those_of_the_method_in_memory() {
    let (folder, planted, mut config) = planted();
    config.concepts = vec!["tag".to_owned()];
    let (report, scores) = scores(&config, &NoProgress).unwrap();
    let data = LabeledActivations::new(&planted.x, &planted.tag).unwrap();
    let expected = AveragePrecision::default().score(data, Context::default()).unwrap();
    assert_eq!(scores[1].values(), expected.values());
    assert!(scores[1].significance().is_some());
    for (method, scores) in report.methods.iter().zip(&scores) {
        let file = folder.path().join("rankings").join(format!("{}.parquet", method.name));
        assert_eq!(method.file.as_deref(), Some(file.as_path()));
        assert_eq!(&load_ranking(&file).unwrap(), scores);
    }
    let saved = std::fs::read_to_string(folder.path().join("rankings/rank.json")).unwrap();
    assert_eq!(serde_json::from_str::<Report>(&saved).unwrap(), report);
}

#[test]
fn planted_neurons_come_first() {
    let (_folder, _, mut config) = planted();
    let first = |config: &Config, concept: &str| -> Vec<Vec<usize>> {
        let report = run(config, &NoProgress).unwrap();
        let of_method = |method: &MethodReport| {
            let concept = method.concepts.iter().find(|c| c.name == concept).unwrap();
            PlantedActivations::idx(&concept.top.iter().map(|best| best.name).collect::<Vec<_>>())
        };
        report.methods.iter().map(of_method).collect()
    };
    config.concepts = vec!["tag".to_owned()];
    config.methods = vec!["average-precision".to_owned()];
    config.set = Map::from_iter([("signed".to_owned(), json!(true))]);
    let mut best = first(&config, "VERB")[0][..4].to_vec();
    best.sort_unstable();
    assert_eq!(best, key::VERBS);
    config.set.clear();
    for (column, concept, neuron) in
        [("number", "plural", key::NUMBER), ("tense", "past", key::TENSE), ("topic", "food", key::TOPIC)]
    {
        config.concepts = vec![column.to_owned()];
        config.methods = vec!["average-precision".to_owned(), "probeless".to_owned()];
        config.set = Map::from_iter([("probeless.min_count".to_owned(), json!(10))]);
        for best in first(&config, concept) {
            assert_eq!(best[0], neuron, "{concept}");
        }
    }
}

#[test]
fn a_condition_is_a_concept() {
    let (_folder, _, mut config) = planted();
    config.concepts = vec!["plural noun := tag=NOUN & number=plural".to_owned()];
    config.methods = vec!["average-precision".to_owned()];
    let report = run(&config, &NoProgress).unwrap();
    let concept = &report.methods[0].concepts[0];
    assert_eq!((concept.name.as_str(), concept.top[0].name), ("plural noun", PlantedActivations::neuron(key::NUMBER)));
}

#[test]
fn a_method_that_needs_exclusive_concepts_fails_alone_or_compares_each_with_the_rest() {
    let (_folder, planted, mut config) = planted();
    config.concepts = vec!["tag".to_owned(), "number".to_owned()];
    let report = run(&config, &NoProgress).unwrap();
    let [failure] = &report.failed[..] else { panic!("one failure: {:?}", report.failed) };
    assert_eq!(failure.name, "probeless");
    assert!(failure.error.contains("needs one label a row"), "{}", failure.error);
    assert_eq!(report.methods.len(), 1);

    config.one_vs_rest = vec!["probeless".to_owned()];
    let (report, scores) = scores(&config, &NoProgress).unwrap();
    assert_eq!((report.methods.len(), report.failed.len()), (2, 0));
    assert_eq!(scores[0].provenance.params["one_vs_rest"], true);
    let plural = scores[0].concept("number=plural").unwrap();
    assert_eq!(scores[0].ranking(plural).neurons[0], PlantedActivations::neuron(key::NUMBER));
    assert_eq!(scores[0].neurons(), planted.x.neurons());
}

#[track_caller]
fn check_error(change: impl FnOnce(&mut Config), expected: &str) {
    let (_folder, _, mut config) = planted();
    config.concepts = vec!["tag".to_owned()];
    change(&mut config);
    let err = run(&config, &NoProgress).unwrap_err().to_string();
    assert!(err.contains(expected), "{err}");
    assert!(!config.out.unwrap().exists(), "nothing is written");
}

#[test]
fn what_cannot_be_ranked_is_named_with_what_can() {
    check_error(|c| c.concepts = vec!["tagg".to_owned()], "did you mean tag?");
    check_error(|c| c.concepts.clear(), "label columns of this store: tag, number, tense, topic, quote");
    check_error(|c| c.methods = vec!["probless".to_owned()], "did you mean probeless?");
    check_error(
        |c| c.methods = vec!["top-words".to_owned()],
        "a method that ranks neurons by recorded activations (probeless, average-precision, ",
    );
    check_error(|c| c.methods.clear(), "methods: expected at least one");
    check_error(|c| c.sites = vec!["resid".to_owned()], "has no site 'resid'");
    let set = |name: &str, value| Map::from_iter([(name.to_owned(), value)]);
    check_error(|c| c.set = set("min_cuont", json!(3)), "has no parameter 'min_cuont'; did you mean min_count?");
    check_error(|c| c.set = set("min_count", json!("many")), "min_count = \"many\": expected a whole number");
    check_error(|c| c.set = set("min_count", json!(100_000)), "left out");
}

#[test]
fn a_stopped_ranking_writes_nothing_and_is_nobodys_fault() {
    let (_folder, _, mut config) = planted();
    config.concepts = vec!["tag".to_owned()];
    let err = run(&config, &StopAfter::new(0)).unwrap_err();
    assert_eq!(err.kind(), crate::ErrorKind::Cancelled);
    assert_eq!(err.to_string(), "stopped: nothing was written");
    assert!(!config.out.unwrap().exists());
}

#[test]
fn planted_neurons_are_found_and_noise_is_not() {
    let (_folder, planted, mut config) = planted();
    config.concepts = vec!["tag".to_owned()];
    config.methods = vec!["probeless".to_owned()];
    let (report, scores) = scores(&config, &NoProgress).unwrap();
    let significance = scores[0].significance().unwrap();
    let verb = scores[0].concept("VERB").unwrap();
    assert!(key::VERBS.iter().all(|&neuron| significance.q[(verb, neuron)] < 0.01));
    // Of 64 neurons of noise and 7 tags about one in twenty has a chance below 0.05, and none is found.
    let noise = significance.p.slice(ndarray::s![.., key::NOISE]);
    let low = noise.iter().filter(|&&p| p < 0.05).count();
    assert!((5..=45).contains(&low), "{low} of {}", noise.len());
    assert!(significance.q.slice(ndarray::s![.., key::NOISE]).iter().filter(|&&q| q <= FOUND).count() <= 2);
    assert!(significance.q.column(key::DEAD).iter().all(|&q| q >= 1.0));
    assert_eq!(report.methods[0].permutations, 20);
    let of_verb = report.methods[0].concepts.iter().find(|concept| concept.name == "VERB").unwrap();
    assert!(of_verb.found.unwrap() >= 4 && of_verb.top[0].q.unwrap() < 0.01);
    assert_eq!(planted.x.neurons().len(), report.methods[0].neurons);

    config.permutations = Some(0);
    let none = super::scores(&config, &NoProgress).unwrap().1;
    assert!(none[0].significance().is_none());
    assert_eq!(none[0].values(), scores[0].values());
}
