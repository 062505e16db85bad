//! Behind a running model the methods give what they give over a store.

use std::path::Path;

use nissl_core::NoProgress;
use nissl_data::ReadOptions;
use nissl_store::Dtype;
use serde_json::json;
use tempfile::TempDir;

use super::super::*;
use crate::testing::StopAfter;

/// More rows than one block has.
const SENTENCES: usize = 120;

fn source(dtype: Dtype) -> extract::Config {
    let assets = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/demo");
    extract::Config {
        model: assets.join("model").display().to_string(),
        text: assets.join("demo.jsonl"),
        sites: vec!["0-1.mlp,1.resid_post".to_owned()],
        dtype,
        read: ReadOptions { limit: Some(SENTENCES), ..ReadOptions::default() },
        ..extract::Config::default()
    }
}

fn config(concept: &str) -> Config {
    let set = json!({ "min_count": 5, "iou.threshold": "relu" });
    Config {
        concepts: vec![concept.to_owned()],
        methods: ["probeless", "average-precision", "mean-select", "iou"].map(str::to_owned).to_vec(),
        set: set.as_object().unwrap().clone(),
        permutations: Some(2),
        ..Config::default()
    }
}

fn over_a_store(folder: &TempDir, config: &Config, dtype: Dtype) -> (Report, Vec<Scores>) {
    let out = folder.path().join(format!("store-{dtype}"));
    extract::run(&extract::Config { out: out.clone(), ..source(dtype) }, &NoProgress).unwrap();
    scores(&Config { store: out, ..config.clone() }, &NoProgress).unwrap()
}

fn streamed(config: &Config, dtype: Dtype) -> (Report, Vec<Scores>) {
    scores(&Config { stream: Some(source(dtype)), ..config.clone() }, &NoProgress).unwrap()
}

/// The same to the bit but for the fingerprint of the data, which knows of no files here.
fn assert_same(streamed: &(Report, Vec<Scores>), stored: &(Report, Vec<Scores>)) {
    assert_eq!(streamed.1.len(), stored.1.len());
    for (streamed, stored) in streamed.1.iter().zip(&stored.1) {
        let mut streamed = streamed.clone();
        streamed.provenance.data.clone_from(&stored.provenance.data);
        assert_eq!(streamed, *stored);
    }
    let (a, b) = (&streamed.0.store, &stored.0.store);
    assert_eq!((a.rows, a.sentences, a.neurons), (b.rows, b.sentences, b.neurons));
    assert_eq!(streamed.0.failed, stored.0.failed);
}

#[test]
fn scores_are_those_over_a_store_to_the_bit() {
    let folder = tempfile::tempdir().unwrap();
    for dtype in [Dtype::Float16, Dtype::Float32] {
        let config = config("author");
        let streamed = streamed(&config, dtype);
        assert!(streamed.0.store.rows > 1024, "{} rows are one block", streamed.0.store.rows);
        assert!(streamed.1.iter().all(|scores| scores.significance().is_some()), "chances are told too");
        assert_same(&streamed, &over_a_store(&folder, &config, dtype));
    }
}

#[test]
fn methods_that_split_the_sentences_split_them_as_over_a_store() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config("author");
    config.methods = vec!["sparse-probe".to_owned()];
    config.set.clear();
    assert_same(&streamed(&config, Dtype::Float16), &over_a_store(&folder, &config, Dtype::Float16));
}

#[test]
fn concepts_that_overlap_are_compared_one_by_one_as_over_a_store() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config("animal := {cat, dog, horse, lion}");
    config.concepts.push("short := /^.{1,3}$/".to_owned());
    config.concepts.push("rare := /^zzz$/".to_owned());
    config.one_vs_rest = vec!["probeless".to_owned(), "mean-select".to_owned()];
    let streamed = streamed(&config, Dtype::Float16);
    assert!(!streamed.0.failed.is_empty(), "a concept without rows fails by itself");
    assert_same(&streamed, &over_a_store(&folder, &config, Dtype::Float16));
}

#[test]
fn numbers_depend_on_neither_threads_nor_batches() {
    let run = |threads: usize, batch_tokens: usize| {
        let source = extract::Config { batch_tokens, ..source(Dtype::Float16) };
        let config = Config { stream: Some(source), ..config("author") };
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| scores(&config, &NoProgress)).unwrap().1
    };
    let one = run(1, 4096);
    assert!(run(2, 100) == one && run(8, 1) == one);
}

#[test]
fn a_method_that_needs_all_rows_says_so_where_they_do_not_fit_and_the_others_go_on() {
    let mut config = config("author");
    config.memory = 1 << 20;
    let (report, scores) = streamed(&config, Dtype::Float16);
    let failed: Vec<&str> = report.failed.iter().map(|failure| failure.name.as_str()).collect();
    assert_eq!((failed, scores.len()), (vec!["average-precision"], 3));
    let error = &report.failed[0].error;
    assert!(error.contains("are needed: expected room for all activations"), "{error}");
}

#[test]
fn a_stop_is_obeyed_and_nothing_is_claimed() {
    for steps in [1, 3, 6] {
        let config = Config { stream: Some(source(Dtype::Float16)), ..config("author") };
        let err = scores(&config, &StopAfter::new(steps)).unwrap_err();
        assert!(matches!(err, TaskError::Cancelled { .. } | TaskError::Load(_)), "{err}");
    }
}

#[test]
fn a_store_beside_a_model_and_an_output_that_nobody_writes_are_refused() {
    let both = Config { stream: Some(source(Dtype::Float16)), store: "s".into(), ..config("author") };
    let err = scores(&both, &NoProgress).unwrap_err().to_string();
    assert_eq!(err, "store: expected none, got s, beside a model to stream from");
    let source = extract::Config { out: "s".into(), ..source(Dtype::Float16) };
    let err = scores(&Config { stream: Some(source), ..config("author") }, &NoProgress).unwrap_err().to_string();
    assert_eq!(err, "stream.out: expected nothing, since nothing is written, got s");
    let err = scores(
        &Config { concepts: Vec::new(), ..Config { stream: Some(self::source(Dtype::Float16)), ..config("author") } },
        &NoProgress,
    );
    let err = err.unwrap_err().to_string();
    assert!(err.starts_with("concepts: expected at least one; label columns of this text: author"), "{err}");
}
