//! Reads the reference fixtures under `tests/golden`.

use std::path::PathBuf;

use ndarray::Array2;
use nissl_core::{HookPoint, Labels, Matrix, Site, TextRows, site_columns};
use serde_json::Value;

/// The folder of a fixture.
pub fn folder(case: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "..", "..", "tests", "golden", case].iter().collect()
}

/// The text of a file of a fixture.
pub fn text(case: &str, file: &str) -> String {
    let path = folder(case).join(file);
    std::fs::read_to_string(&path).unwrap_or_else(|err| panic!("{}: {err}", path.display()))
}

/// The JSON of a file of a fixture.
pub fn json(case: &str, file: &str) -> Value {
    serde_json::from_str(&text(case, file)).unwrap_or_else(|err| panic!("{case}/{file}: {err}"))
}

/// What NeuroX recorded and what it found there: 222 words, 3 layers of 16 units.
pub struct NeuroxSet {
    /// The activations, `[222, 48]`, as `blocks.{layer}.hook_resid_post`.
    pub x: Matrix,
    /// The words.
    pub text: TextRows,
    /// The tags: `DT`, `NN`, `VB`.
    pub labels: Labels,
    /// Orders and lists that NeuroX computed from these.
    pub expected: Value,
}

/// Reads the NeuroX fixture from its text formats.
pub fn neurox() -> NeuroxSet {
    let (mut words, mut values) = (Vec::new(), Vec::new());
    for line in text("neurox", "acts.json").lines() {
        let line: Value = serde_json::from_str(line).expect("one JSON object a line");
        let sentence = line["linex_index"].as_u64().expect("sentences are numbered") as u32;
        for feature in line["features"].as_array().expect("a list of words") {
            words.push((sentence, feature["token"].as_str().expect("a word").to_owned()));
            for layer in feature["layers"].as_array().expect("a list of layers") {
                let of_layer = layer["values"].as_array().expect("a list of values").iter();
                values.extend(of_layer.map(|value| value.as_f64().expect("a number") as f32));
            }
        }
    }
    let labels = text("neurox", "sent.label");
    let labels: Vec<Option<&str>> = labels.split_whitespace().map(Some).collect();
    let columns = site_columns(&[0, 1, 2].map(|layer| (HookPoint::new(layer, Site::ResidPost), 16)));
    let values = Array2::from_shape_vec((words.len(), columns.len()), values).expect("48 values a word");
    NeuroxSet {
        x: Matrix::new(values, columns).expect("a neuron for each column"),
        text: TextRows::from_words(words),
        labels: Labels::from_names(&labels),
        expected: json("neurox", "expected.json"),
    }
}
