//! Activations in NeuroX's own formats: HDF5 and JSON, with its `.word` and `.label` files.
//!
//! A file holds sentence after sentence, each `[n_layers, n_words, width]`. What it has no place for (which hook point
//! a layer is, model, tokenizer, aggregation) is kept beside it, in `<file>.nissl.json`. Without that, layer 0 is the
//! embedding and layer `i` the residual stream after block `i - 1`, as NeuroX records them.

use std::path::{Path, PathBuf};

use nissl_core::{HookPoint, Site};

use crate::error::StoreError;

mod export;
mod hdf5;
mod import;
mod json;
mod sidecar;

pub use export::{ExportOptions, export};
pub use import::{ImportOptions, ImportText, import};

/// The format of a NeuroX file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A dataset a sentence and an index of sentences.
    Hdf5,
    /// A line a sentence.
    Json,
}

impl Format {
    /// The format that a path's ending stands for.
    ///
    /// # Errors
    /// [`StoreError::Input`] if it is neither `.hdf5`, `.h5`, `.json` nor `.jsonl`.
    pub fn of(path: &Path) -> Result<Self, StoreError> {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("hdf5" | "h5") => Ok(Self::Hdf5),
            Some("json" | "jsonl") => Ok(Self::Json),
            _ => Err(StoreError::input(
                "ending of a NeuroX file",
                ".hdf5, .h5, .json or .jsonl",
                format!("'{}'", path.display()),
            )),
        }
    }
}

/// A sentence of a NeuroX file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sentence {
    /// The words; `None` where the file does not tell them apart.
    pub words: Option<Vec<String>>,
    /// Number of words.
    pub n_words: usize,
    /// Number of layers.
    pub n_layers: usize,
    /// Neurons of a layer.
    pub width: usize,
    /// The activations, `[n_layers, n_words, width]`.
    pub values: Vec<f32>,
}

/// Reads a NeuroX file sentence by sentence; one sentence is in memory at a time.
#[derive(Debug)]
pub struct Reader {
    path: PathBuf,
    source: Source,
    /// Layers and width of the sentences so far.
    shape: Option<(usize, usize)>,
    n_sentences: usize,
}

#[derive(Debug)]
enum Source {
    Hdf5(hdf5::Sentences),
    Json(json::Sentences),
}

impl Reader {
    /// Opens a file; its ending tells its format.
    ///
    /// # Errors
    /// [`StoreError::Io`] if it cannot be opened, [`StoreError::Format`] if it is not what its ending says.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let path = path.as_ref().to_owned();
        let source = match Format::of(&path)? {
            Format::Hdf5 => Source::Hdf5(hdf5::Sentences::open(&path)?),
            Format::Json => Source::Json(json::Sentences::open(&path)?),
        };
        Ok(Self { path, source, shape: None, n_sentences: 0 })
    }

    fn check(&mut self, sentence: Sentence) -> Result<Sentence, StoreError> {
        let shape = (sentence.n_layers, sentence.width);
        let empty = sentence.n_words == 0;
        match self.shape {
            Some(expected) if expected != shape && !empty => {
                let form = |(n_layers, width)| format!("{n_layers} layers of {width} neurons");
                let what = format!("sentence {}", self.n_sentences);
                return Err(StoreError::format(&self.path, what, form(expected), form(shape)));
            }
            None if !empty => self.shape = Some(shape),
            _ => {}
        }
        self.n_sentences += 1;
        Ok(sentence)
    }
}

impl Iterator for Reader {
    type Item = Result<Sentence, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = match &mut self.source {
            Source::Hdf5(sentences) => sentences.next()?,
            Source::Json(sentences) => sentences.next()?,
        };
        Some(next.and_then(|sentence| self.check(sentence)))
    }
}

/// The hook points that NeuroX's layers stand for: the embedding, then the residual stream after each block.
pub fn layer_points(n_layers: usize) -> Vec<HookPoint> {
    let embed = HookPoint::new(0, Site::Embed);
    let after = |block| HookPoint::new(block as u16, Site::ResidPost);
    std::iter::once(embed).chain((0..n_layers.saturating_sub(1)).map(after)).take(n_layers).collect()
}

#[cfg(test)]
mod tests;
