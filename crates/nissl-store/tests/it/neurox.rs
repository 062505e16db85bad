//! NeuroX's files are read and written as NeuroX reads and writes them.

use std::fs;
use std::path::{Path, PathBuf};

use ndarray::{Array2, s};
use nissl_core::{Activations, HookPoint, NoProgress, Site};
use nissl_store::neurox::{ExportOptions, ImportOptions, ImportText, Reader, export, import, layer_points};
use nissl_store::{CorpusRef, Dtype, Row, SentenceRows, Store};

use crate::sample;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/neurox").join(name)
}

fn words() -> Vec<Vec<String>> {
    let text = fs::read_to_string(golden("sent.word")).unwrap();
    text.lines().map(|line| line.split(' ').map(ToOwned::to_owned).collect()).collect()
}

fn matrix(store: &Store) -> Array2<f32> {
    let x = store.all();
    let mut values = Array2::zeros((x.n_tokens(), x.neurons().len()));
    x.read(0..x.n_tokens(), 0..x.neurons().len(), values.view_mut()).unwrap();
    values
}

fn import_plain(source: &Path, dir: &Path) -> Store {
    import(source, dir, &ImportOptions::default(), &NoProgress).unwrap()
}

#[test]
fn the_golden_file_is_read_from_hdf5_and_json() {
    let dir = sample::folder().unwrap();
    let expected: serde_json::Value = serde_json::from_slice(&fs::read(golden("expected.json")).unwrap()).unwrap();
    let mut stores = Vec::new();
    for name in ["acts.hdf5", "acts.json"] {
        let store = import_plain(&golden(name), &dir.path().join(name));
        let points: Vec<_> = store.points().collect();
        let after = |block| HookPoint::new(block, Site::ResidPost);
        assert_eq!(points, [(HookPoint::new(0, Site::Embed), 16), (after(0), 16), (after(1), 16)]);
        assert_eq!((store.n_rows(), store.manifest().n_sentences), (222, 40));
        let sentences = store.sentences().unwrap();
        for (sentence, words) in words().iter().enumerate() {
            assert_eq!(sentences.text[sentence], words.join(" "));
        }
        let text = store.text().unwrap();
        let all: Vec<_> = words().concat();
        assert!((0..222).all(|row| text.word(row) == all[row]));
        stores.push(matrix(&store));
    }
    let (hdf5, json) = (&stores[0], &stores[1]);
    let sum: f64 = hdf5.iter().map(|&v| v as f64).sum();
    let want = expected["X_sum"].as_f64().unwrap();
    assert!((sum - want).abs() < 1e-3 * want.abs().max(1.0), "sum of all activations: {sum}, NeuroX has {want}");
    let largest = (hdf5 - json).iter().fold(0.0_f32, |max, diff| max.max(diff.abs()));
    assert!(largest <= 5.1e-9 + f32::EPSILON * 4.0, "JSON has eight decimals: {largest}");
}

#[test]
fn json_is_exported_byte_for_byte_as_neurox_writes_it() {
    let dir = sample::folder().unwrap();
    let store = import_plain(&golden("acts.hdf5"), &dir.path().join("store"));
    let path = dir.path().join("out.json");
    export(&store, &path, &ExportOptions::default(), &NoProgress).unwrap();
    assert!(fs::read(path).unwrap() == fs::read(golden("acts.json")).unwrap());
}

#[test]
fn an_exported_hdf5_reads_back_the_same() {
    let dir = sample::folder().unwrap();
    let store = import_plain(&golden("acts.hdf5"), &dir.path().join("store"));
    let path = dir.path().join("out.hdf5");
    export(&store, &path, &ExportOptions::default(), &NoProgress).unwrap();
    let sentences = |path: &Path| Reader::open(path).unwrap().map(Result::unwrap).collect::<Vec<_>>();
    assert_eq!(sentences(&path), sentences(&golden("acts.hdf5")));
}

#[test]
fn a_group_of_many_sentences_has_a_deep_tree_and_repeats_are_told_apart() {
    let dir = sample::folder().unwrap();
    let json = dir.path().join("many.json");
    let line = |i: usize| {
        let word = if i.is_multiple_of(2) { "same".to_owned() } else { format!("w{i}") };
        format!(
            "{{\"linex_index\": {i}, \"features\": [{{\"token\": \"{word}\", \"layers\": [{{\"index\": 0, \"values\": [{i}.0]}}]}}]}}\n"
        )
    };
    fs::write(&json, (0..700).map(line).collect::<String>()).unwrap();
    let store = import_plain(&json, &dir.path().join("store"));
    let path = dir.path().join("many.hdf5");
    export(&store, &path, &ExportOptions::default(), &NoProgress).unwrap();
    let read: Vec<_> = Reader::open(&path).unwrap().map(Result::unwrap).collect();
    assert_eq!(read.len(), 700);
    for (i, sentence) in read.iter().enumerate() {
        assert_eq!(sentence.values, [i as f32]);
        assert_eq!(sentence.words.as_ref().unwrap()[0] == "same", i % 2 == 0);
    }
}

#[test]
fn what_neurox_loses_is_kept_beside_its_file() {
    let dir = sample::folder().unwrap();
    let run = sample::run(Dtype::Float16);
    let store = sample::write(&dir.path().join("store"), &run, 20);
    let point = HookPoint::new(1, Site::MlpPost);
    let path = dir.path().join("acts.hdf5");
    let options = ExportOptions { points: vec![point], labels: Some("upos".into()), ..ExportOptions::default() };
    let files = export(&store, &path, &options, &NoProgress).unwrap();
    let names: Vec<_> = files.iter().map(|file| file.file_name().unwrap().to_str().unwrap()).collect();
    assert_eq!(names, ["acts.hdf5", "acts.hdf5.nissl.json", "acts.word", "acts.label"]);
    let back = import_plain(&path, &dir.path().join("back"));
    assert_eq!(back.points().collect::<Vec<_>>(), [(point, 33)]);
    let (old, new) = (&store.manifest().run, &back.manifest().run);
    assert_eq!((&old.model, &old.tokenizer, &old.aggregation), (&new.model, &new.tokenizer, &new.aggregation));
    // The MLP comes last in the forward pass of the sample.
    assert_eq!(matrix(&back), matrix(&store).slice(s![.., 27..]));
    assert_eq!(back.rows().unwrap().sentence, store.rows().unwrap().sentence);
    let label = fs::read_to_string(dir.path().join("acts.label")).unwrap();
    assert_eq!(label.lines().nth(1), Some("VERB DET NOUN VERB DET"));
}

#[test]
fn a_decomposed_export_has_a_file_a_layer() {
    let dir = sample::folder().unwrap();
    let store = import_plain(&golden("acts.hdf5"), &dir.path().join("store"));
    let options = ExportOptions { decompose: true, ..ExportOptions::default() };
    export(&store, &dir.path().join("x.hdf5"), &options, &NoProgress).unwrap();
    let path = dir.path().join("x-layer2.hdf5");
    fs::remove_file(dir.path().join("x-layer2.hdf5.nissl.json")).unwrap();
    let layer = import_plain(&path, &dir.path().join("layer"));
    assert_eq!(layer.points().collect::<Vec<_>>(), [(layer_points(3)[2], 16)]);
    assert_eq!(matrix(&layer), matrix(&store).slice(s![.., 32..]));
}

#[test]
fn words_with_blanks_survive_both_formats() {
    let dir = sample::folder().unwrap();
    let row = |position, word: &str, start: usize| {
        let end = (start + word.len()) as u32;
        Row { position, word: word.into(), start: start as u32, end, n_tokens: 1, labels: vec![Some("X".into())] }
    };
    let sentence = |text: &str, rows| SentenceRows { text: text.into(), rows, ..SentenceRows::default() };
    let json = dir.path().join("in.json");
    let word = r#"{"token": "t", "layers": [{"index": 0, "values": [1.5]}]}"#;
    fs::write(&json, format!("{{\"features\": [{word}, {word}]}}\n{{\"features\": []}}\n")).unwrap();
    let text = ImportText {
        corpus: CorpusRef { name: "blanks".into(), digest: String::new() },
        word_columns: vec!["tag".into()],
        sentence_columns: Vec::new(),
        sentences: vec![
            sentence("New York \"é😀\"", vec![row(0, "New York", 0), row(1, "\"é😀\"", 9)]),
            sentence("", Vec::new()),
        ],
    };
    let options = ImportOptions { text: Some(text), ..ImportOptions::default() };
    let store = import(&json, &dir.path().join("store"), &options, &NoProgress).unwrap();
    for name in ["out.json", "out.hdf5"] {
        let path = dir.path().join(name);
        export(&store, &path, &ExportOptions::default(), &NoProgress).unwrap();
        let back = import_plain(&path, &dir.path().join(format!("back-{name}")));
        assert_eq!(back.rows().unwrap().word, ["New York", "\"é😀\""], "{name}");
        assert_eq!(back.manifest().n_sentences, 2);
    }
    let labels = ExportOptions { labels: Some("tag".into()), ..ExportOptions::default() };
    let error = export(&store, &dir.path().join("l.json"), &labels, &NoProgress).unwrap_err();
    let expected = "word of row 0, sentence 0: expected no blanks, which NeuroX separates at, got 'New York'";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn a_bad_line_of_json_is_named() {
    let dir = sample::folder().unwrap();
    let path = dir.path().join("bad.json");
    let good = r#"{"features": [{"token": "a", "layers": [{"index": 0, "values": [1.0, 2.0]}]}]}"#;
    let cases = [
        ("{\"features\": [", "line 2: expected a sentence as NeuroX writes it, got EOF while parsing"),
        (
            "{\"features\": [{\"token\": \"a\"}]}",
            "line 2: expected a sentence as NeuroX writes it, got missing field `layers`",
        ),
        ("\u{fffd}", "line 2: expected a sentence"),
        (
            r#"{"features": [{"token": "a", "layers": [{"values": [1.0]}]}]}"#,
            "sentence 1: expected 1 layers of 2 neurons, got 1 layers of 1 neurons",
        ),
        (
            r#"{"features": [{"token": "a", "layers": [{"values": [1, 2]}]}, {"token": "b", "layers": []}]}"#,
            "line 2, word 1: expected 1 layers",
        ),
        (r#"{"features": [{"token": "a", "layers": [{"values": [1, NaN]}]}]}"#, "line 2: expected a sentence"),
    ];
    for (line, expected) in cases {
        fs::write(&path, format!("{good}\n{line}\n{good}\n")).unwrap();
        let error = Reader::open(&path).unwrap().find_map(Result::err).unwrap().to_string();
        assert!(error.contains(expected), "{line}: {error}");
    }
}

#[test]
fn a_text_of_another_length_is_refused_by_sentence() {
    let dir = sample::folder().unwrap();
    let mut sentences: Vec<_> = words()
        .into_iter()
        .map(|words| {
            let rows = words.iter().map(|word| Row { word: word.clone(), ..Row::default() }).collect();
            SentenceRows { text: words.join(" "), rows, ..SentenceRows::default() }
        })
        .collect();
    sentences[3].rows.pop();
    let mut text = ImportText { sentences, ..ImportText::default() };
    let check = |text: &ImportText, name: &str, expected: &str| {
        let options = ImportOptions { text: Some(text.clone()), ..ImportOptions::default() };
        let error = import(&golden("acts.hdf5"), &dir.path().join(name), &options, &NoProgress).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    };
    check(&text, "a", "sentence 3: expected 3 words, as its text has ('cat mat ran cat'), got 4");
    let word = text.sentences[3].rows[0].clone();
    text.sentences[3].rows.push(word);
    text.sentences.pop();
    check(&text, "b", "sentence 39: expected no more sentences than the text");
    text.sentences.extend(vec![SentenceRows::default(); 2]);
    check(&text, "c", "sentence 39: expected 0 words");
}

#[test]
fn a_damaged_hdf5_is_an_error_and_never_a_panic() {
    let dir = sample::folder().unwrap();
    let path = dir.path().join("damaged.hdf5");
    let good = fs::read(golden("acts.hdf5")).unwrap();
    let read = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        match Reader::open(&path) {
            Ok(mut reader) => reader.find_map(Result::err),
            Err(error) => Some(error),
        }
    };
    assert!(read(&good).is_none());
    for len in [0, 7, 50, 95, 200, 800, 5000, 40_000, good.len() - 3000] {
        assert!(read(&good[..len]).is_some(), "cut to {len} bytes");
    }
    assert!(
        read(b"not HDF5 at all, but longer than any superblock would be, so that its first bytes are what counts...")
            .unwrap()
            .to_string()
            .contains("expected an HDF5 file")
    );
    // Every byte of the structure, one at a time, with all its bits turned.
    let structure = (0..0x130).chain(0x2a8..0x2c8).chain(0x430..0x480).chain(0x320..0x3d0).chain(59_000..59_060);
    for at in structure {
        let mut bytes = good.clone();
        bytes[at] ^= 0xff;
        let _ = read(&bytes);
    }
}

/// Stops after a number of steps.
struct StopAfter(u64, std::sync::atomic::AtomicU64);

impl nissl_core::Progress for StopAfter {
    fn stage(&self, _name: &str, _total: Option<u64>, _unit: &str) {}
    fn step(&self, done: u64) {
        self.1.store(done, std::sync::atomic::Ordering::Relaxed);
    }
    fn note(&self, _line: &str) {}
    fn cancelled(&self) -> bool {
        self.1.load(std::sync::atomic::Ordering::Relaxed) >= self.0
    }
}

#[test]
fn a_stopped_import_goes_on_and_a_stopped_export_leaves_nothing() {
    let dir = sample::folder().unwrap();
    let options = ImportOptions { write: sample::OPTIONS, ..ImportOptions::default() };
    let whole = import(&golden("acts.hdf5"), &dir.path().join("whole"), &options, &NoProgress).unwrap();
    let path = dir.path().join("stopped");
    for after in [3, 39] {
        let error = import(&golden("acts.hdf5"), &path, &options, &StopAfter(after, 0.into())).unwrap_err();
        assert_eq!(error.to_string(), "cancelled");
        let n_rows = Store::open(&path).unwrap().n_rows();
        assert_eq!(n_rows, if after == 3 { 0 } else { 192 });
    }
    for _ in 0..2 {
        let store = import(&golden("acts.hdf5"), &path, &options, &NoProgress).unwrap();
        assert!(sample::files(store.path()) == sample::files(whole.path()));
    }
    for name in ["out.json", "out.hdf5"] {
        let out = dir.path().join("out").join(name);
        fs::create_dir_all(out.parent().unwrap()).unwrap();
        export(&whole, &out, &ExportOptions::default(), &StopAfter(7, 0.into())).unwrap_err();
        assert!(sample::files(out.parent().unwrap()).is_empty());
    }
}
