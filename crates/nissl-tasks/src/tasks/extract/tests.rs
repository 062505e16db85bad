//! What is recorded is what the model computes, row by row, whatever the threads and batches and however often the run
//! was stopped.

use std::fs;

use nissl_core::{Activations as _, NoProgress};
use nissl_testing::ToyModel;
use nissl_testing::Unit;
use tempfile::TempDir;

use super::*;
use crate::testing::{StopAfter, WORDS, bits, toy_tokenizer};

/// A toy model that knows all words but the last, and has one neuron that fires after `the` and `cat`.
fn toy() -> ToyModel {
    let (the, cat) = (1, 3);
    let unit = Unit { key: vec![(the, 1.0), (cat, 1.0)], bias: -1.0, value: Vec::new() };
    ToyModel::new(WORDS.len() - 1, vec![vec![unit]])
}

struct Case {
    folder: TempDir,
    config: Config,
}

impl Case {
    fn new(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("text.txt");
        fs::write(&path, text).unwrap();
        let config = Config {
            model: "toy".to_owned(),
            text: path,
            out: folder.path().join("store"),
            sites: vec!["embed,mlp".to_owned()],
            dtype: Dtype::Float32,
            ..Config::default()
        };
        Self { folder, config }
    }

    fn record(&self) -> Result<Report, TaskError> {
        self.record_with(&NoProgress)
    }

    fn record_with(&self, progress: &dyn Progress) -> Result<Report, TaskError> {
        record(&self.config, &toy(), &toy_tokenizer(self.folder.path()), progress)
    }

    fn store(&self) -> Store {
        Store::open(&self.config.out).unwrap()
    }

    /// Rows as word and the values of the embedding, which has one place a token.
    fn rows(&self) -> Vec<(String, Vec<(usize, f32)>)> {
        let store = self.store();
        let x = store.all();
        let mut values = ndarray::Array2::<f32>::zeros((store.n_rows(), x.neurons().len()));
        x.read(0..store.n_rows(), 0..x.neurons().len(), values.view_mut()).unwrap();
        let words = store.rows().unwrap().word;
        let width = WORDS.len() - 1;
        let present = |row: ndarray::ArrayView1<'_, f32>| {
            row.iter().copied().enumerate().take(width).filter(|(_, value)| *value != 0.0).collect()
        };
        words.into_iter().zip(values.outer_iter().map(present)).collect()
    }
}

#[test]
fn a_word_is_the_mean_of_its_tokens() {
    let case = Case::new("the cats\nold dogs\n");
    case.record().unwrap();
    let expected = [
        ("the".to_owned(), vec![(1, 1.0)]),
        ("cats".to_owned(), vec![(3, 0.5), (5, 0.5)]),
        ("old".to_owned(), vec![(8, 1.0)]),
        ("dogs".to_owned(), vec![(4, 0.5), (5, 0.5)]),
    ];
    assert_eq!(case.rows(), expected);
}

#[test]
fn tokens_are_rows_where_words_are_not_asked_for() {
    let mut case = Case::new("the cats\n");
    case.config.aggregate = Aggregate::None;
    let report = case.record().unwrap();
    assert_eq!(report.store.rows, 3);
    let expected = [(1, "the"), (3, "cat"), (5, "##s")].map(|(id, word)| (word.to_owned(), vec![(id, 1.0)]));
    assert_eq!(case.rows(), expected);
}

#[test]
fn first_last_and_max_are_told_apart() {
    for (aggregate, expected) in [
        (Aggregate::First, vec![(3, 1.0)]),
        (Aggregate::Last, vec![(5, 1.0)]),
        (Aggregate::Max, vec![(3, 1.0), (5, 1.0)]),
    ] {
        let mut case = Case::new("cats\n");
        case.config.aggregate = aggregate;
        case.record().unwrap();
        assert_eq!(case.rows(), [("cats".to_owned(), expected)], "{aggregate:?}");
    }
}

#[test]
fn a_sentence_that_cannot_be_run_is_reported_and_the_others_are_run() {
    let case = Case::new("the cat\nthe beyond\nold man\n");
    let report = case.record().unwrap();
    assert_eq!(report.store.rows, 4);
    assert_eq!(report.store.sentences, 3);
    let [failure] = &report.failed[..] else { panic!("one failure: {:?}", report.failed) };
    assert_eq!((failure.name.as_str(), failure.line), ("2", 2));
    assert_eq!(failure.error, "token 10: the model's vocabulary has 10 tokens");
}

#[test]
fn a_sentence_longer_than_the_context_loses_no_word() {
    let words: Vec<&str> = WORDS[1..4].iter().copied().cycle().take(200).collect();
    let case = Case::new(&words.join(" "));
    let report = case.record().unwrap();
    assert_eq!(report.store.rows, 200);
    assert_eq!((report.alignment.sentences_windowed, report.alignment.words), (1, 200));
    assert!(report.alignment.windows > 3, "{:?}", report.alignment);
    let found: Vec<String> = case.rows().into_iter().map(|(word, _)| word).collect();
    assert_eq!(found, words);
    for (word, values) in case.rows() {
        let id = WORDS.iter().position(|w| *w == word).unwrap();
        assert_eq!(values, [(id, 1.0)], "{word}");
    }
}

#[test]
fn concepts_become_label_columns() {
    let mut case = Case::new("the cats\nold dogs\n");
    case.config.concepts = vec!["animal := {cats, dogs}".to_owned(), "short := /^.{1,3}$/".to_owned()];
    let report = case.record().unwrap();
    let names: Vec<&str> = report.columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(names, ["animal", "short"]);
    let labels = case.store().labels("animal").unwrap();
    assert_eq!((0..4).map(|row| labels.of(row).len()).collect::<Vec<_>>(), [0, 1, 0, 1]);
}

/// Sentences of different lengths, enough for two shards of rows.
fn long_text() -> String {
    let sentences = (0..2500).map(|n| {
        let words: Vec<&str> = (0..3 + n % 7).map(|k| WORDS[1 + (n * 3 + k * 5) % 4]).collect();
        words.join(" ") + "\n"
    });
    sentences.collect()
}

#[test]
fn a_stopped_run_goes_on_where_it_was_and_ends_the_same() {
    let text = long_text();
    let whole = Case::new(&text);
    let expected = whole.record().unwrap();
    assert!(expected.store.rows > 9000 && expected.resumed_at.is_none());

    let mut case = Case::new(&text);
    case.config.batch_tokens = 300;
    let mut resumed = Vec::new();
    for stop_after in [2, 40, 55] {
        let err = case.record_with(&StopAfter::new(stop_after)).unwrap_err();
        assert!(matches!(err, TaskError::Cancelled { .. }), "{err}");
        resumed.push(case.store().n_rows());
    }
    assert_eq!(resumed, [0, 8192, 8192], "whole shards are kept");
    let report = case.record().unwrap();
    assert!(report.resumed_at.is_some_and(|sentence| sentence > 0));
    assert_eq!(report.alignment, expected.alignment);
    assert_eq!(report.corpus, expected.corpus);
    assert_eq!(bits(&case.store()), bits(&whole.store()));
    assert_eq!(case.store().rows().unwrap(), whole.store().rows().unwrap());
    assert_eq!(case.store().sentences().unwrap(), whole.store().sentences().unwrap());

    let again = case.record().unwrap();
    assert_eq!(again.store, report.store, "a complete store is left as it is");
}

#[test]
fn another_config_is_refused_by_name_unless_forced() {
    let mut case = Case::new("the cat\n");
    case.record().unwrap();
    case.config.aggregate = Aggregate::Last;
    let err = case.record().unwrap_err();
    assert!(err.to_string().contains("another aggregation"), "{err}");
    case.config.aggregate = Aggregate::Mean;
    case.config.read.split_sentences = true;
    let err = case.record().unwrap_err();
    assert!(err.to_string().contains("read.split_sentences: it has false, the config has true"), "{err}");
    case.config.force = true;
    case.record().unwrap();
}

#[test]
fn an_unreadable_line_stops_the_run_and_leaves_no_complete_store() {
    let case = Case::new("the cat\n");
    fs::write(&case.config.text, b"the cat\n\xff\xfe\n").unwrap();
    let err = case.record().unwrap_err();
    assert!(matches!(err, TaskError::Data(_)) && err.to_string().contains(":2:"), "{err}");
    assert!(!case.config.out.exists());
}

#[test]
fn numbers_depend_on_neither_threads_nor_batches_nor_memory() {
    let assets = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/demo");
    let folder = tempfile::tempdir().unwrap();
    let record = |threads: usize, batch_tokens: usize, memory: usize| {
        let config = Config {
            model: assets.join("model").display().to_string(),
            text: assets.join("demo.jsonl"),
            out: folder.path().join(format!("{threads}-{batch_tokens}-{memory}")),
            sites: vec!["0-1.mlp,1.resid,2.attn".to_owned()],
            read: ReadOptions { limit: Some(24), ..ReadOptions::default() },
            batch_tokens,
            memory,
            ..Config::default()
        };
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| run(&config, &NoProgress)).unwrap();
        bits(&Store::open(&config.out).unwrap())
    };
    let expected = record(1, 4096, 512 << 20);
    for (threads, batch_tokens, memory) in [(2, 4096, 512 << 20), (8, 4096, 1 << 20), (2, 1, 512 << 20), (8, 100, 0)] {
        let same = record(threads, batch_tokens, memory) == expected;
        assert!(same, "{threads} threads, batches of {batch_tokens} tokens, {memory} bytes");
    }
}

#[test]
fn a_text_is_the_source_of_a_model_with_an_encoder_and_a_decoder() {
    let folder = crate::testing::toy_t5();
    let text = folder.path().join("text.txt");
    fs::write(&text, "the cats\nold man sees\n").unwrap();
    let config = Config {
        model: folder.path().display().to_string(),
        text,
        out: folder.path().join("store"),
        sites: vec!["resid,1.mlp".to_owned()],
        dtype: Dtype::Float32,
        ..Config::default()
    };
    run(&config, &NoProgress).unwrap();
    let store = Store::open(&config.out).unwrap();
    let columns = store.all();
    let mut points: Vec<String> = columns.neurons().iter().map(|neuron| neuron.point.to_string()).collect();
    points.dedup();
    let expected =
        ["encoder.hook_embed", "encoder.0.hook_resid_post", "encoder.1.mlp.hook_post", "encoder.1.hook_resid_post"];
    assert_eq!((points, store.n_rows()), (expected.map(str::to_owned).to_vec(), 5));
    let model = nissl_model::LanguageModel::open(&config.model).unwrap();
    let point = "encoder.1.hook_resid_post".parse().unwrap();
    let sentence = nissl_core::Batch::from_sentences([[8, 9, 6]]);
    let trace = model.run(&sentence, &nissl_core::HookPlan::capture([point])).unwrap();
    let mut values = ndarray::Array2::<f32>::zeros((3, columns.neurons().len()));
    columns.read(2..5, 0..columns.neurons().len(), values.view_mut()).unwrap();
    let first = columns.neurons().iter().position(|neuron| neuron.point == point).unwrap();
    assert_eq!(values.slice(ndarray::s![.., first..]), trace.sites[&point]);
    let decoder = Config { sites: vec!["decoder.0.mlp".to_owned()], out: folder.path().join("other"), ..config };
    assert!(run(&decoder, &NoProgress).unwrap_err().to_string().contains("decoder.0.mlp"));
}
