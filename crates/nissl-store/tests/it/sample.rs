//! Small runs whose every value is known from its row and neuron.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use nissl_core::{HookPoint, Site};
use nissl_store::{
    CorpusRef, Dtype, Layout, ModelRef, Row, Run, SentenceRows, SiteWidth, Store, StoreError, Values, WriteOptions,
    Writer,
};

/// A folder of its own for a test; in memory where the system has such folders, so that waiting for the disk takes no
/// time.
pub(crate) fn folder() -> std::io::Result<tempfile::TempDir> {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir())
}

/// Shards of 64 rows in chunks of 16 x 16.
pub(crate) const OPTIONS: WriteOptions = WriteOptions {
    memory_budget: 1 << 20,
    layout: Some(Layout { rows_per_shard: 64, rows_per_chunk: 16, columns_per_chunk: 16 }),
};

/// A run of three sites: 20 and 7 neurons in blocks, 33 after them.
pub(crate) fn run(dtype: Dtype) -> Run {
    let site = |layer, site, width| SiteWidth { point: HookPoint::new(layer, site), width };
    Run {
        model: ModelRef { name: "toy".into(), fingerprint: "f00d".into() },
        tokenizer: "70ce".into(),
        corpus: CorpusRef { name: "sample".into(), digest: "7e87".into() },
        aggregation: "mean".into(),
        dtype,
        sites: vec![site(1, Site::MlpPost, 33), site(0, Site::Embed, 20), site(0, Site::ResidPost, 7)],
        word_columns: vec!["upos".into(), "Number".into()],
        sentence_columns: vec!["genre".into()],
        extra: serde_json::json!({ "max_tokens": 512 }),
    }
}

/// The value of a neuron in a row: exact in every type.
pub(crate) fn value(site: usize, row: usize, unit: usize) -> f32 {
    let hash = (row * 31 + unit * 7 + site * 13) % 251;
    hash as f32 - 125.0
}

fn n_words(number: usize) -> usize {
    number * 5 % 7
}

/// Sentence `number` of the sample: 0 to 6 words, some without labels.
pub(crate) fn sentence(number: usize) -> SentenceRows {
    let n_words = n_words(number);
    let words: Vec<String> = (0..n_words).map(|i| format!("w{}ü", (number + i * i) % 11)).collect();
    let text = words.join(" ");
    let mut start = 0;
    let mut rows = Vec::new();
    for (position, word) in words.into_iter().enumerate() {
        let end = start + word.len() as u32;
        let upos = Some(["NOUN", "VERB", "DET"][(number + position) % 3].to_owned());
        let number_label = position.is_multiple_of(2).then(|| "Plur".to_owned());
        let position = position as u32 * 2;
        rows.push(Row { position, word, start, end, n_tokens: position % 3 + 1, labels: vec![upos, number_label] });
        start = end + 1;
    }
    let id = (!number.is_multiple_of(4)).then(|| format!("s-{number}"));
    let genre = Some(if number < 40 { "news" } else { "mail" }.to_owned());
    SentenceRows { id, text, labels: vec![genre], rows }
}

/// Values of all sites for `n_rows` rows from `first_row` on.
pub(crate) fn values(run: &Run, first_row: usize, n_rows: usize) -> Vec<Vec<f32>> {
    let site = |(site, width): (usize, usize)| {
        (first_row..first_row + n_rows)
            .flat_map(move |row| (0..width).map(move |unit| value(site, row, unit)))
            .collect()
    };
    run.sites.iter().map(|s| s.width as usize).enumerate().map(site).collect()
}

/// Number of rows of the first `n_sentences` sentences.
pub(crate) fn rows_before(n_sentences: usize) -> usize {
    (0..n_sentences).map(n_words).sum()
}

/// Appends sentences `first..end` as one block.
pub(crate) fn try_append(writer: &mut Writer, run: &Run, first: usize, end: usize) -> Result<(), StoreError> {
    let sentences: Vec<_> = (first..end).map(sentence).collect();
    let n_rows = sentences.iter().map(|sentence| sentence.rows.len()).sum();
    let values = values(run, rows_before(first), n_rows);
    let values: Vec<_> = values.iter().map(|values| Values::F32(values)).collect();
    writer.append(&sentences, &values)
}

/// Appends sentences `first..end` in blocks of three.
pub(crate) fn append(writer: &mut Writer, run: &Run, first: usize, end: usize) {
    for start in (first..end).step_by(3) {
        try_append(writer, run, start, end.min(start + 3)).unwrap();
    }
}

/// Numbers that look random (a linear congruential generator).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end
    }
}

/// A finished store of the first `n_sentences` sentences.
pub(crate) fn write(path: &Path, run: &Run, n_sentences: usize) -> Store {
    let mut writer = Writer::create(path, run.clone(), &OPTIONS).unwrap();
    append(&mut writer, run, 0, n_sentences);
    writer.finish().unwrap()
}

/// All files of a store, by name.
pub(crate) fn files(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.insert(path.strip_prefix(root).unwrap().to_owned(), fs::read(&path).unwrap());
            }
        }
    }
    found
}
