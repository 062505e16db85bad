//! What several tests of this crate need: a store of planted activations, a toy tokenizer, a progress that stops.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use nissl_core::{Activations, Labels, Progress};
use nissl_store::{Dtype, Row, Run, SentenceRows, SiteWidth, Store, Values, WriteOptions, Writer};
use nissl_testing::PlantedActivations;

/// The folder of a store of planted activations, with a label column for each kind of label.
pub(crate) fn planted_store(folder: &Path, planted: &PlantedActivations) -> PathBuf {
    let path = folder.join("planted");
    let columns: [(&str, &Labels); 5] = [
        ("tag", &planted.tag),
        ("number", &planted.number),
        ("tense", &planted.tense),
        ("topic", &planted.topic),
        ("quote", &planted.quote),
    ];
    let width = planted.x.neurons().len();
    let run = Run {
        dtype: Dtype::Float32,
        aggregation: "mean".to_owned(),
        sites: vec![SiteWidth { point: planted.x.neurons()[0].point, width: width as u32 }],
        word_columns: columns.iter().map(|(name, _)| (*name).to_owned()).collect(),
        ..Run::default()
    };
    let mut writer = Writer::create(&path, run, &WriteOptions::default()).unwrap();
    let text = &planted.text;
    for rows in text.sentences() {
        let words: Vec<&str> = rows.clone().map(|row| text.word(row)).collect();
        let mut sentence = SentenceRows { text: words.join(" "), ..SentenceRows::default() };
        let mut start = 0;
        for (position, row) in rows.clone().enumerate() {
            let word = text.word(row);
            let label = |labels: &Labels| labels.of(row).first().map(|&id| labels.concepts()[id as usize].name.clone());
            sentence.rows.push(Row {
                position: position as u32,
                word: word.to_owned(),
                start: start as u32,
                end: (start + word.len()) as u32,
                n_tokens: 1,
                labels: columns.iter().map(|(_, labels)| label(labels)).collect(),
            });
            start += word.len() + 1;
        }
        let values = planted.x.values().slice(ndarray::s![rows, ..]).iter().copied().collect::<Vec<f32>>();
        writer.append(&[sentence], &[Values::F32(&values)]).unwrap();
    }
    writer.finish().unwrap();
    path
}

/// All values of a store, as bits.
pub(crate) fn bits(store: &Store) -> Vec<u32> {
    let x = store.all();
    let mut values = ndarray::Array2::zeros((x.n_tokens(), x.neurons().len()));
    x.read(0..x.n_tokens(), 0..x.neurons().len(), values.view_mut()).unwrap();
    values.iter().map(|value: &f32| value.to_bits()).collect()
}

/// The words of the toy tokenizer, in order of their tokens; `##s` goes on with a word.
pub(crate) const WORDS: &[&str] = &["[UNK]", "the", "a", "cat", "dog", "##s", "sees", "likes", "old", "man", "beyond"];

/// Writes the tokenizer of [`WORDS`]: words apart at blanks, the longest known piece first.
pub(crate) fn toy_tokenizer(folder: &Path) -> nissl_model::Tokenizer {
    let vocab: serde_json::Map<String, serde_json::Value> =
        WORDS.iter().enumerate().map(|(id, word)| ((*word).to_owned(), id.into())).collect();
    let tokenizer = serde_json::json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": [],
        "normalizer": null,
        "pre_tokenizer": { "type": "Whitespace" },
        "post_processor": null,
        "decoder": null,
        "model": {
            "type": "WordPiece",
            "unk_token": "[UNK]",
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": vocab,
        },
    });
    let path = folder.join("tokenizer.json");
    std::fs::write(&path, tokenizer.to_string()).unwrap();
    nissl_model::Tokenizer::from_file(&path).unwrap()
}

/// Stops the task after so many steps.
pub(crate) struct StopAfter(pub(crate) AtomicU64);

impl StopAfter {
    pub(crate) fn new(steps: u64) -> Self {
        Self(AtomicU64::new(steps))
    }
}

impl Progress for StopAfter {
    fn stage(&self, _name: &str, _total: Option<u64>, _unit: &str) {}
    fn step(&self, _done: u64) {
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
    }
    fn note(&self, _line: &str) {}
    fn cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }
}

/// A folder with the small T5 of the golden models and the tokenizer of [`WORDS`].
pub(crate) fn toy_t5() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/models/t5");
    for name in ["config.json", "model.safetensors"] {
        std::fs::copy(golden.join(name), folder.path().join(name)).unwrap();
    }
    toy_tokenizer(folder.path());
    folder
}
