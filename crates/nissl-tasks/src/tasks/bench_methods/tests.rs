//! Methods on planted activations find what was planted, and say what they cost and whether they say it again.

use std::collections::BTreeSet;
use std::path::Path;

use nissl_core::NoProgress;
use nissl_testing::PlantedActivations;
use serde_json::json;

use super::*;
use crate::ranking_file::load_ranking;
use crate::testing::{StopAfter, planted_store};

fn planted(folder: &Path) -> Config {
    Config {
        store: planted_store(folder, &PlantedActivations::new(3, 0.1)),
        concepts: vec!["tag: VERB, NOUN".to_owned()],
        methods: ["probeless", "average-precision", "gaussian-probe"].map(str::to_owned).to_vec(),
        set: Map::from_iter([("steps".to_owned(), json!(4))]),
        samples: 2,
        seeds: 2,
        judging: Judging { k: vec![1, 4, 16], random_sets: 2, draws: 50, ..Judging::default() },
        ..Config::default()
    }
}

/// Without what another run costs.
fn without_costs(mut report: Report) -> Report {
    report.methods.iter_mut().for_each(|method| method.cost = Cost::default());
    report
}

#[test]
fn methods_are_judged_on_other_sentences_and_say_whether_they_agree_with_themselves() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let config = Config { out: Some(out.clone()), plots: true, disjoint_words: true, ..planted(folder.path()) };
    let report = run(&config, &NoProgress).unwrap();
    let names: Vec<&str> = report.methods.iter().map(|method| method.name.as_str()).collect();
    assert_eq!((names, report.failed.len()), (vec!["probeless", "average-precision", "gaussian-probe"], 0));
    assert_eq!(report.rows.iter().sum::<usize>() as u64, report.store.rows);
    let verb = report.judged.concepts.iter().position(|concept| concept.name == "VERB").unwrap();
    for (idx, method) in report.methods.iter().enumerate() {
        assert!(report.judged.concepts[verb].curves.rankings[idx].best[1].value > 0.99, "{}", method.name);
        // The mean of the concepts, and none is better than all of them.
        let values: Vec<f64> =
            report.judged.concepts.iter().map(|one| one.curves.rankings[idx].best[1].value).collect();
        assert!((method.best[1].value - f64::midpoint(values[0], values[1])).abs() < 1e-12);
        assert!(method.cost.seconds > 0.0 && method.area.value > 0.0 && method.params.is_object());
        let samples = method.samples.unwrap().value;
        assert!(samples > report.random_samples.unwrap() + 0.1 && samples < 1.0, "{}: {samples}", method.name);
    }
    let seeds: Vec<bool> = report.methods.iter().map(|method| method.seeds.is_some()).collect();
    assert_eq!(seeds, [false, false, true], "the seed of the last draws its split");
    let disjoint = report.disjoint.as_ref().unwrap();
    assert!(disjoint.concepts.len() == 2 && disjoint.concepts[0].curves.rows != report.judged.concepts[0].curves.rows);
    // What was written says the same, and its config makes it again.
    let read: Report = serde_json::from_slice(&std::fs::read(&report.files[0]).unwrap()).unwrap();
    let again = run(&read.head.config, &NoProgress).unwrap();
    assert_eq!(without_costs(again), without_costs(report.clone()));
    let table = load_ranking(&report.judged.rankings[0].path).unwrap();
    assert_eq!((table.provenance.method.as_str(), table.neurons().len()), ("probeless", 128));
    let page = std::fs::read_to_string(out.join(PAGE)).unwrap();
    assert!(page.contains("nissl bench methods --config") && page.contains("No word type on both sides"));
    assert!(!page.contains("src="));
    for name in ["consistency.svg", "consistency.png", "accuracy.svg", "accuracy-disjoint.svg", "overlap.png"] {
        assert!(out.join("plots").join(name).exists(), "{name}");
    }
}

#[test]
fn samples_share_no_sentence_and_are_all_of_it() {
    let planted = PlantedActivations::new(5, 0.0);
    let all = Rows { x: &planted.x, text: &planted.text, labels: &planted.tag };
    let config = Config { samples: 3, ..Config::default() };
    let samples = samples(&config, &all);
    let of = |sample: &Sample<'_>| sample.text.sentence_of().iter().copied().collect::<BTreeSet<u32>>();
    let sentences: Vec<BTreeSet<u32>> = samples.iter().map(of).collect();
    assert_eq!(sentences.iter().map(BTreeSet::len).collect::<Vec<_>>(), [200; 3]);
    assert_eq!(sentences.iter().flatten().collect::<BTreeSet<_>>().len(), 600);
    // Words, labels and activations are still those of one row: the verb neuron is 1 on verbs alone.
    for Sample { x, text, labels } in &samples {
        let mut values = ndarray::Array2::zeros((x.n_tokens(), 1));
        x.read(0..x.n_tokens(), 0..1, values.view_mut()).unwrap();
        let verb = labels.concepts().iter().position(|concept| concept.name == "VERB").unwrap();
        let is_verb: Vec<f32> = labels.mask(verb).into_iter().map(|is| f32::from(u8::from(is))).collect();
        assert_eq!((values.column(0).to_vec(), text.n_tokens()), (is_verb, labels.n_tokens()));
    }
}

#[test]
fn a_ranking_overlaps_itself_by_1_and_a_single_one_by_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let config = Config { samples: 1, seeds: 1, ..planted(folder.path()) };
    let report = run(&config, &NoProgress).unwrap();
    assert!(report.methods.iter().all(|method| method.samples.is_none() && method.seeds.is_none()));
    assert_eq!((report.random_samples, report.disjoint), (None, None));
    let out = folder.path().join("out");
    let report = run(&Config { out: Some(out), ..config }, &NoProgress).unwrap();
    let scores = load_ranking(&report.judged.rankings[0].path).unwrap();
    let same = consistency(&[&scores, &scores, &scores]).unwrap();
    assert!((same.value - 1.0).abs() < 1e-12 && (same.low - 1.0).abs() < 1e-12);
}

#[test]
fn methods_that_fail_are_told_and_what_cannot_be_run_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let config = planted(folder.path());
    let refused = |config: &Config| run(config, &NoProgress).unwrap_err().to_string();
    let set = Map::from_iter([("probeless.min_count".to_owned(), json!(100_000)), ("steps".to_owned(), json!(2))]);
    let report = run(&Config { set: set.clone(), ..config.clone() }, &NoProgress).unwrap();
    assert_eq!((report.methods.len(), report.failed.len(), report.failed[0].name.as_str()), (2, 1, "probeless"));
    let set = Map::from_iter([("probeless.min_count".to_owned(), json!(100_000))]);
    let none = refused(&Config { set, methods: vec!["probeless".to_owned()], ..config.clone() });
    assert!(none.contains("methods: expected at least one that can rank") && none.contains("probeless"), "{none}");
    assert!(refused(&Config { share: 1.0, ..config.clone() }).contains("share: expected a share of the rows"));
    assert!(refused(&Config { plots: true, ..config.clone() }).contains("for the plots"));
    assert!(refused(&Config { concepts: Vec::new(), ..config.clone() }).contains("label columns of this store"));
    let stopped = run(&config, &StopAfter::new(2)).unwrap_err();
    assert!(matches!(stopped, TaskError::Cancelled { .. }), "{stopped}");
}
