//! Files of reference activations: what a model computed with given tokens, to be compared with later.
//!
//! A reference is a safetensors file with `tokens` `[T]` and `offsets` `[S + 1]` (64-bit integers; sentences one behind
//! the other), hook points `[T, width]`, patterns `<hook point>.<sentence>` `[heads, queries, keys]`, and `logits`
//! `[T, n_logits]`. Its metadata say who made it and from which texts. `scripts/reference.py` makes one with
//! transformers, `nissl check --write` with nissl.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use nissl_core::{Batch, HookPoint};
use nissl_model::{Checkpoint, TensorView};
use serde_json::{Map, Value, json};

use crate::error::TaskError;
use crate::output::write_whole;

/// What `format` in the metadata is.
const FORMAT: &str = "nissl reference 1";

/// Who made a file that nissl wrote begins with this.
const OURS: &str = "nissl ";

/// An opened reference.
#[derive(Debug)]
pub(crate) struct Reference {
    path: PathBuf,
    file: Checkpoint,
    metadata: BTreeMap<String, String>,
    /// The tokens it was made with.
    pub(crate) batch: Batch,
    /// The texts that the tokens were made of, if it says so.
    pub(crate) texts: Vec<String>,
}

/// Something that a reference holds values of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    /// A site, or a pattern's site and sentence.
    Point(HookPoint, Option<usize>),
    /// The logits.
    Logits,
}

impl Part {
    /// Its name in the file.
    pub(crate) fn name(self) -> String {
        match self {
            Self::Point(point, None) => point.to_string(),
            Self::Point(point, Some(sentence)) => format!("{point}.{sentence}"),
            Self::Logits => "logits".to_owned(),
        }
    }
}

impl Reference {
    /// Opens a reference and checks its tokens.
    ///
    /// # Errors
    /// If it cannot be read, is no safetensors file, or has no tokens.
    pub(crate) fn open(path: &Path) -> Result<Self, TaskError> {
        if !path.is_file() {
            let source = std::fs::read(path).err().unwrap_or_else(|| std::io::ErrorKind::NotFound.into());
            return Err(TaskError::io("read", path, source));
        }
        let file = Checkpoint::open(path)?;
        let metadata = file.metadata()?;
        let wrong = |what: &str, expected: &str, got: String| TaskError::Format {
            path: path.to_owned(),
            expected: format!("{what}: {expected}"),
            got,
        };
        if let Some(format) = metadata.get("format").filter(|format| *format != FORMAT) {
            return Err(wrong("a reference", &format!("format '{FORMAT}'"), format!("format '{format}'")));
        }
        if !file.contains("tokens") || !file.contains("offsets") {
            let got = file.names().next().map_or("nothing".to_owned(), |name| format!("other tensors, such as {name}"));
            return Err(wrong("a reference", "tensors tokens and offsets", got));
        }
        let tokens = integers(path, &file.tensor("tokens")?)?;
        let tokens = tokens.iter().map(|&token| u32::try_from(token).map_err(|_| token)).collect::<Result<Vec<_>, _>>();
        let tokens = tokens.map_err(|token| wrong("tokens", "numbers of tokens", token.to_string()))?;
        let offsets = integers(path, &file.tensor("offsets")?)?;
        let ends = (offsets.first().copied(), offsets.last().copied());
        if ends != (Some(0), Some(tokens.len() as i64)) || !offsets.is_sorted() {
            let expected = format!("to ascend from 0 to {}", tokens.len());
            return Err(wrong("offsets", &expected, format!("{:?}", &offsets[..offsets.len().min(8)])));
        }
        let sources = if file.contains("sources") { Some(integers(path, &file.tensor("sources")?)?) } else { None };
        let batch = packed(&tokens, &offsets, sources.as_deref())
            .ok_or_else(|| wrong("sources", "a length a sentence, none longer than it", format!("{sources:?}")))?;
        let texts: Vec<String> = match metadata.get("texts") {
            Some(texts) => {
                serde_json::from_str(texts).map_err(|err| wrong("texts", "a JSON list of texts", err.to_string()))?
            }
            None => Vec::new(),
        };
        if !texts.is_empty() && texts.len() != batch.n_sentences() {
            return Err(wrong("texts", &format!("{} of them", batch.n_sentences()), texts.len().to_string()));
        }
        Ok(Self { path: path.to_owned(), file, metadata, batch, texts })
    }

    /// What the metadata say under a name.
    pub(crate) fn says(&self, name: &str) -> Option<&str> {
        self.metadata.get(name).map(String::as_str)
    }

    /// Whether nissl wrote it: then the same bits are expected.
    pub(crate) fn is_ours(&self) -> bool {
        self.says("made_by").is_some_and(|by| by.starts_with(OURS))
    }

    /// What it has values of, in the order of the forward pass, and the names of what is not known here.
    pub(crate) fn parts(&self) -> (Vec<Part>, Vec<String>) {
        let (mut parts, mut unknown) = (Vec::new(), Vec::new());
        for name in self.file.names().filter(|name| !["tokens", "offsets", "sources"].contains(name)) {
            match part(name) {
                Some(part) => parts.push(part),
                None => unknown.push(name.to_owned()),
            }
        }
        parts.sort_unstable();
        (parts, unknown)
    }

    /// The values of a part, which must have this shape.
    ///
    /// # Errors
    /// If its shape is another, or its numbers are not floats.
    pub(crate) fn values(&self, part: Part, shape: &[usize]) -> Result<Vec<f32>, TaskError> {
        let tensor = self.file.tensor(&part.name())?;
        if tensor.shape != shape {
            let of = self.says("model").map_or(String::new(), |model| format!("; the reference is one of {model}"));
            return Err(TaskError::Format {
                path: self.path.clone(),
                expected: format!("{} of shape {shape:?}", part.name()),
                got: format!("{:?}{of}", tensor.shape),
            });
        }
        Ok(tensor.to_f32()?.into_owned())
    }
}

/// The batch of tokens between offsets, which were checked; none if the lengths of its sources do not fit.
fn packed(tokens: &[u32], offsets: &[i64], sources: Option<&[i64]>) -> Option<Batch> {
    let sentences = offsets.windows(2).map(|pair| &tokens[pair[0] as usize..pair[1] as usize]);
    let Some(sources) = sources else { return Some(Batch::from_sentences(sentences)) };
    if sources.len() != sentences.len() {
        return None;
    }
    let mut batch = Batch::new();
    for (sentence, &n_source) in sentences.zip(sources) {
        let (source, target) = sentence.split_at_checked(usize::try_from(n_source).ok()?)?;
        batch.push_pair(source, target);
    }
    Some(batch)
}

fn part(name: &str) -> Option<Part> {
    if name == "logits" {
        return Some(Part::Logits);
    }
    if let Ok(point) = name.parse::<HookPoint>() {
        return (!point.site().is_ragged()).then_some(Part::Point(point, None));
    }
    let (point, sentence) = name.rsplit_once('.')?;
    let point: HookPoint = point.parse().ok()?;
    let part = Part::Point(point, Some(sentence.parse().ok()?));
    (point.site().is_ragged() && part.name() == name).then_some(part)
}

fn integers(path: &Path, tensor: &TensorView<'_>) -> Result<Vec<i64>, TaskError> {
    if tensor.dtype.to_string() != "I64" || tensor.shape.len() != 1 {
        return Err(TaskError::Format {
            path: path.to_owned(),
            expected: format!("{} as a list of I64", tensor.name),
            got: format!("{} {:?}", tensor.dtype, tensor.shape),
        });
    }
    Ok(tensor.bytes.as_chunks().0.iter().map(|&bytes| i64::from_le_bytes(bytes)).collect())
}

/// Values to be written: a shape, and 32-bit floats row after row.
pub(crate) type Values = (Vec<usize>, Vec<f32>);

/// Writes a reference that nissl computed.
///
/// # Errors
/// If the file cannot be written.
pub(crate) fn write(
    path: &Path,
    model: &str,
    texts: &[String],
    batch: &Batch,
    parts: &BTreeMap<String, Values>,
) -> Result<(), TaskError> {
    let integers = |values: Vec<i64>| -> (&str, Vec<usize>, Vec<u8>) {
        ("I64", vec![values.len()], values.iter().flat_map(|value| value.to_le_bytes()).collect())
    };
    let mut tensors: BTreeMap<&str, (&str, Vec<usize>, Vec<u8>)> = parts
        .iter()
        .map(|(name, (shape, values))| {
            (name.as_str(), ("F32", shape.clone(), values.iter().flat_map(|value| value.to_le_bytes()).collect()))
        })
        .collect();
    tensors.insert("tokens", integers(batch.tokens().iter().map(|&token| i64::from(token)).collect()));
    tensors.insert("offsets", integers(batch.offsets().iter().map(|&offset| offset as i64).collect()));

    if batch.has_targets() {
        let sources = (0..batch.n_sentences()).map(|sentence| batch.n_source(sentence) as i64);
        tensors.insert("sources", integers(sources.collect()));
    }

    let mut header = Map::new();
    let metadata = json!({
        "format": FORMAT,
        "made_by": format!("{OURS}{}", env!("CARGO_PKG_VERSION")),
        "model": model.trim_end_matches('/').rsplit('/').next().unwrap_or(model),
        "computed_in": "float32",
        "texts": serde_json::to_string(texts).expect("texts are texts"),
    });
    header.insert("__metadata__".to_owned(), metadata);
    let mut at = 0;
    for (name, (dtype, shape, bytes)) in &tensors {
        let entry = json!({ "dtype": dtype, "shape": shape, "data_offsets": [at, at + bytes.len()] });
        header.insert((*name).to_owned(), entry);
        at += bytes.len();
    }
    let mut header = Value::Object(header).to_string();
    // Readers map the values; they lie aligned behind a header of whole words.
    header.push_str(&" ".repeat(header.len().next_multiple_of(8) - header.len()));
    write_whole(path, |file| {
        file.write_all(&(header.len() as u64).to_le_bytes())?;
        file.write_all(header.as_bytes())?;
        tensors.values().try_for_each(|(_, _, bytes)| file.write_all(bytes))
    })
}
