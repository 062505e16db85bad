//! NeuroX's JSON: a line a sentence, each word with its layers.
//!
//! `{"linex_index": 0, "features": [{"token": "a", "layers": [{"index": 0, "values": [0.5, ...]}, ...]}, ...]}`,
//! written as Python's `json` writes it, values rounded to eight decimals.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::error::StoreError;
use crate::files;
use crate::neurox::Sentence;

#[derive(Deserialize)]
struct Line {
    features: Vec<Feature>,
}

#[derive(Deserialize)]
struct Feature {
    token: String,
    layers: Vec<Layer>,
}

#[derive(Deserialize)]
struct Layer {
    values: Vec<f32>,
}

/// The sentences of a file, a line at a time.
#[derive(Debug)]
pub(super) struct Sentences {
    path: PathBuf,
    lines: BufReader<File>,
    /// Number of the line that was read last, from 1.
    line: usize,
    buffer: Vec<u8>,
}

impl Sentences {
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        let lines = BufReader::with_capacity(1 << 18, files::open(path)?);
        Ok(Self { path: path.to_owned(), lines, line: 0, buffer: Vec::new() })
    }

    #[expect(clippy::needless_pass_by_value, reason = "callers hand over numbers and text as they have them")]
    fn unfit(&self, place: &str, expected: impl ToString, got: impl ToString) -> StoreError {
        StoreError::format(&self.path, format!("line {}{place}", self.line), expected.to_string(), got.to_string())
    }

    fn parse(&self) -> Result<Sentence, StoreError> {
        let line: Line = serde_json::from_slice(&self.buffer)
            .map_err(|error| self.unfit("", "a sentence as NeuroX writes it", error))?;
        let n_words = line.features.len();
        let n_layers = line.features.first().map_or(0, |feature| feature.layers.len());
        let width = line.features.first().and_then(|f| f.layers.first()).map_or(0, |layer| layer.values.len());
        let mut values = vec![0.0; n_layers * n_words * width];
        let mut words = Vec::with_capacity(n_words);
        for (word_idx, feature) in line.features.into_iter().enumerate() {
            let place = |layer: Option<usize>| match layer {
                None => format!(", word {word_idx}"),
                Some(layer) => format!(", word {word_idx}, layer {layer}"),
            };
            if feature.layers.len() != n_layers {
                let got = feature.layers.len();
                return Err(self.unfit(&place(None), format!("{n_layers} layers, as the first word has"), got));
            }
            for (layer_idx, layer) in feature.layers.iter().enumerate() {
                if layer.values.len() != width {
                    let expected = format!("{width} values, as the first layer has");
                    return Err(self.unfit(&place(Some(layer_idx)), expected, layer.values.len()));
                }
                let start = (layer_idx * n_words + word_idx) * width;
                values[start..start + width].copy_from_slice(&layer.values);
            }
            words.push(feature.token);
        }
        Ok(Sentence { words: Some(words), n_words, n_layers, width, values })
    }
}

impl Iterator for Sentences {
    type Item = Result<Sentence, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.buffer.clear();
        self.line += 1;
        match self.lines.read_until(b'\n', &mut self.buffer) {
            Err(error) => Some(Err(StoreError::io("read", &self.path)(error))),
            Ok(0) => None,
            Ok(_) => Some(self.parse()),
        }
    }
}

/// `{sentence: name of its dataset}` in the order of the file, as NeuroX reads it.
pub(super) fn sentence_index(path: &Path, text: &str) -> Result<Vec<(String, String)>, StoreError> {
    let expected = "a JSON object of sentences and numbers";
    let unfit = |got: String| StoreError::format(path, "sentence_to_index", expected, got);
    let index: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(text).map_err(|error| unfit(error.to_string()))?;
    let name = |(sentence, name): (String, serde_json::Value)| match name {
        serde_json::Value::String(name) => Ok((sentence, name)),
        serde_json::Value::Number(number) => Ok((sentence, number.to_string())),
        other => Err(unfit(other.to_string())),
    };
    index.into_iter().map(name).collect()
}

/// Writes a file of sentences. It has no name until [`Writer::finish`].
pub(super) struct Writer {
    path: PathBuf,
    out: BufWriter<File>,
    n_sentences: usize,
}

impl Writer {
    pub(super) fn create(path: &Path) -> Result<Self, StoreError> {
        let out = BufWriter::with_capacity(1 << 18, files::create_temporary(path)?);
        Ok(Self { path: path.to_owned(), out, n_sentences: 0 })
    }

    /// Adds a sentence, `values` `[n_layers, n_words, width]`.
    pub(super) fn add(
        &mut self,
        words: &[&str],
        n_layers: usize,
        width: usize,
        values: &[f32],
    ) -> Result<(), StoreError> {
        let mut line = format!("{{\"linex_index\": {}, \"features\": [", self.n_sentences);
        for (word_idx, word) in words.iter().enumerate() {
            line.push_str(if word_idx > 0 { ", {\"token\": " } else { "{\"token\": " });
            push_string(&mut line, word);
            line.push_str(", \"layers\": [");
            for layer_idx in 0..n_layers {
                line.push_str(if layer_idx > 0 { ", {\"index\": " } else { "{\"index\": " });
                let _ = write!(line, "{layer_idx}, \"values\": [");
                let start = (layer_idx * words.len() + word_idx) * width;
                for (idx, &value) in values[start..start + width].iter().enumerate() {
                    if idx > 0 {
                        line.push_str(", ");
                    }
                    push_rounded(&mut line, value);
                }
                line.push_str("]}");
            }
            line.push_str("]}");
        }
        line.push_str("]}\n");
        self.n_sentences += 1;
        self.out.write_all(line.as_bytes()).map_err(StoreError::io("write", &self.path))
    }

    pub(super) fn finish(self) -> Result<(), StoreError> {
        let file = self.out.into_inner().map_err(|error| StoreError::io("write", &self.path)(error.into_error()))?;
        files::publish(&file, &self.path)
    }
}

/// A string as Python's `json` writes it: ASCII only.
pub(super) fn push_string(out: &mut String, text: &str) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            ' '..='~' => out.push(character),
            _ => {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
        }
    }
    out.push('"');
}

/// A value rounded to eight decimals, as Python prints the result.
pub(super) fn push_rounded(out: &mut String, value: f32) {
    if !value.is_finite() {
        out.push_str(match value {
            f32::INFINITY => "Infinity",
            f32::NEG_INFINITY => "-Infinity",
            _ => "NaN",
        });
        return;
    }
    let rounded: f64 = format!("{:.8}", value as f64).parse().expect("a number that was just printed");
    let printed = format!("{rounded:?}");
    match printed.split_once('e') {
        None => out.push_str(&printed),
        // Python gives an exponent a sign and at least two digits.
        Some((digits, exponent)) => {
            let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |exponent| ('-', exponent));
            let _ = write!(out, "{digits}e{sign}{exponent:0>2}");
        }
    }
}
