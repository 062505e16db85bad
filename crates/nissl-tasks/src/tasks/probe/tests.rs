//! A probe of planted activations is fitted, judged, saved, and says the same when it is applied.

use nissl_core::NoProgress;
use nissl_testing::PlantedActivations;
use nissl_testing::planted::key;
use tempfile::TempDir;

use super::*;
use crate::testing::{StopAfter, planted_store};

fn planted() -> (TempDir, Config) {
    let folder = tempfile::tempdir().unwrap();
    let store = planted_store(folder.path(), &PlantedActivations::new(7, 0.1));
    let config = Config {
        store,
        concepts: vec!["tag".to_owned()],
        lambda1: 1e-2,
        lambda2: 1e-2,
        tolerance: 1e-3,
        k: vec![4],
        random_sets: 1,
        draws: 100,
        out: Some(folder.path().join("probe")),
        ..Config::default()
    };
    (folder, config)
}

#[test]
fn a_saved_probe_says_what_the_fitted_one_said() {
    let (folder, config) = planted();
    let report = run(&config, &NoProgress).unwrap();
    let evaluation = report.evaluation.as_ref().unwrap();
    assert!(evaluation.accuracy.value > evaluation.majority + 0.2, "{:?}", evaluation.accuracy);
    assert!(
        evaluation.accuracy.low <= evaluation.accuracy.value && evaluation.accuracy.value <= evaluation.accuracy.high
    );
    assert!(
        evaluation.control.is_some()
            && evaluation.leakage.is_some()
            && evaluation.few[0].best.value > evaluation.few[0].random
    );
    let verb = report.top.iter().find(|top| top.name == "VERB").unwrap();
    let mut best = PlantedActivations::idx(&verb.neurons[..4].iter().map(|best| best.name).collect::<Vec<_>>());
    best.sort_unstable();
    assert_eq!(best, key::VERBS);
    let saved = std::fs::read_to_string(folder.path().join("probe/report.json")).unwrap();
    assert_eq!(serde_json::from_str::<Report>(&saved).unwrap(), report);

    let out = folder.path().join("said");
    let apply = Config { probe: config.out.clone(), out: Some(out.clone()), ..config.clone() };
    let applied = run(&apply, &NoProgress).unwrap();
    let said = applied.applied.unwrap();
    assert_eq!((said.predicted.iter().sum::<usize>(), said.labeled), (said.rows, said.rows));
    // All rows: fitted on, chosen by and reported on.
    let shares = evaluation.rows.map(|n| n as f64 / said.rows as f64);
    let parts = [evaluation.train_accuracy, evaluation.dev_accuracy, evaluation.accuracy.value];
    let want: f64 = shares.iter().zip(parts).map(|(share, accuracy)| share * accuracy).sum();
    assert!((said.accuracy.unwrap().value - want).abs() < 1e-3, "{:?} {want}", said.accuracy);
    let lines = std::fs::read_to_string(out.join("predictions.jsonl")).unwrap();
    assert_eq!(lines.lines().count(), said.rows);
}

#[test]
fn a_number_is_predicted_from_labels_that_name_it() {
    let (_folder, mut config) = planted();
    config.concepts = vec!["3 := tag=VERB".to_owned(), "1 := tag=NOUN".to_owned(), "2 := tag=DET".to_owned()];
    config.numeric = true;
    let report = run(&config, &NoProgress).unwrap();
    assert!(report.regression.unwrap().r2.value > 0.5, "{:?}", report.regression);
    config.concepts = vec!["tag".to_owned()];
    let err = run(&config, &NoProgress).unwrap_err().to_string();
    assert!(err.contains("labels that are numbers, got 'ADJ'"), "{err}");
}

#[test]
fn a_damaged_probe_is_refused() {
    let (folder, config) = planted();
    let quick = Config { controls: 0, k: vec![], ..config.clone() };
    run(&quick, &NoProgress).unwrap();
    let apply = Config { probe: config.out.clone(), out: None, ..config };
    let names = folder.path().join("probe/probe.json");
    let whole = std::fs::read_to_string(&names).unwrap();
    let check = |text: String, expected: &str| {
        std::fs::write(&names, text).unwrap();
        let err = run(&apply, &NoProgress).unwrap_err().to_string();
        assert!(err.contains(expected), "{err}");
    };
    check(whole.replace("\"format\": 1", "\"format\": 2"), "expected format 1, got format 2");
    check(whole.replace("hook_post[5]\"", "hook_post[500]\""), "expected neurons in ascending order");
    check(whole.replacen("{ \"name\": \"ADJ\" }", "", 1).replacen("\"ADJ\"", "1", 1), "the names of a probe");
    std::fs::write(&names, &whole).unwrap();
    let numbers = folder.path().join("probe/probe.safetensors");
    let bytes = std::fs::read(&numbers).unwrap();
    std::fs::write(&numbers, &bytes[..bytes.len() / 2]).unwrap();
    let err = run(&apply, &NoProgress).unwrap_err().to_string();
    assert!(err.contains("a safetensors file"), "{err}");
}

#[test]
fn what_cannot_be_fitted_is_told_and_nothing_is_written() {
    let (_folder, config) = planted();
    let fails = |change: &dyn Fn(&mut Config), expected: &str| {
        let mut config = config.clone();
        change(&mut config);
        let err = run(&config, &NoProgress).unwrap_err().to_string();
        assert!(err.contains(expected), "{err}");
        assert!(!config.out.unwrap().exists());
    };
    fails(&|c| c.concepts.clear(), "label columns of this store: tag, number");
    fails(&|c| c.lambda1 = -1.0, "parameter lambda1 = -1");
    fails(&|c| c.split.train = 0.0, "parameter train = 0");
    fails(&|c| c.probe = Some("nowhere".into()), "cannot read nowhere");
    let err = run(&config, &StopAfter::new(0)).unwrap_err();
    assert_eq!(err.kind(), crate::ErrorKind::Cancelled);
}
