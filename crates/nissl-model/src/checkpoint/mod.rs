//! A checkpoint as it lies on disk: memory-mapped weights by name.
//!
//! Nothing is copied on opening. A weight is converted when it is asked for; f32 weights that lie aligned in the
//! file are handed out as they are. Whoever packs weights into a form of its own calls [`Checkpoint::release`]
//! after each, so that the process never holds a model twice.

mod convert;
mod mmap;
mod safetensors;
pub(crate) mod source;
mod weight;

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use nissl_core::nearest;
use rayon::prelude::*;

pub use self::safetensors::Dtype;
pub(crate) use self::weight::Weight;

use self::mmap::MappedFile;
use self::safetensors::Entry;
use crate::error::LoadError;

/// The weights of a model, by name.
#[derive(Debug)]
pub struct Checkpoint {
    folder: PathBuf,
    files: Vec<MappedFile>,
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
    /// Its numbers, little-endian.
    pub bytes: &'a [u8],
}

impl Checkpoint {
    /// Opens the weights of a folder: `model.safetensors`, the shards of `model.safetensors.index.json`, or the only
    /// safetensors file that is there.
    ///
    /// # Errors
    /// If there are none, if a file cannot be read, or if one breaks the format.
    pub fn open(folder: &Path) -> Result<Self, LoadError> {
        let source = source::find(folder)?;
        let mut files = Vec::with_capacity(source.files.len());
        let mut tensors = Vec::new();
        for (file_idx, path) in source.files.iter().enumerate() {
            let file = MappedFile::open(path).map_err(|source| LoadError::Io { path: path.clone(), source })?;
            let entries = safetensors::entries(path, file.bytes())?;
            tensors.extend(entries.into_iter().map(|entry| (file_idx, entry)));
            files.push(file);
        }
        tensors.sort_by(|a, b| (&a.1.name, a.0).cmp(&(&b.1.name, b.0)));
        source.check(&mut tensors)?;
        Ok(Self { folder: folder.to_owned(), files, tensors, fingerprint: OnceLock::new() })
    }

    /// The folder it was opened from.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The names of all weights, in alphabetical order.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.tensors.iter().map(|(_, entry)| entry.name.as_str())
    }

    /// Whether there is a weight of this name.
    pub fn contains(&self, name: &str) -> bool {
        self.position(name).is_some()
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
            path: self.folder.clone(),
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
            let (file, entry) = &self.tensors[idx];
            self.files[*file].release(entry.range.clone());
        }
    }

    /// Digest of `config` and of every weight's name, type, shape and bytes: the same for a model in one file and in
    /// shards. 64 hexadecimal digits.
    ///
    /// All weights are read once, in parallel (about 1 GB a second and thread); a second call costs nothing if
    /// `config` is the same, as it must be.
    pub fn fingerprint(&self, config: &[u8]) -> &str {
        self.fingerprint.get_or_init(|| {
            let digest = |(file, entry): &(usize, Entry)| {
                let file = &self.files[*file];
                let digest = blake3::hash(&file.bytes()[entry.range.clone()]);
                // What is needed of it is elsewhere already, or will be read again.
                file.release(entry.range.clone());
                digest
            };
            let digests: Vec<blake3::Hash> = self.tensors.par_iter().map(digest).collect();
            let mut all = blake3::Hasher::new();
            all.update(blake3::hash(config).as_bytes());
            for ((_, entry), digest) in self.tensors.iter().zip(&digests) {
                let described = format!("{:?} {} {:?}\n", entry.name, entry.dtype, entry.shape);
                all.update(described.as_bytes()).update(digest.as_bytes());
            }
            all.finalize().to_hex().to_string()
        })
    }

    fn position(&self, name: &str) -> Option<usize> {
        self.tensors.binary_search_by(|(_, entry)| entry.name.as_str().cmp(name)).ok()
    }

    fn view(&self, idx: usize) -> TensorView<'_> {
        let (file, entry) = &self.tensors[idx];
        TensorView {
            name: &entry.name,
            dtype: entry.dtype,
            shape: &entry.shape,
            bytes: &self.files[*file].bytes()[entry.range.clone()],
        }
    }
}

#[cfg(test)]
mod tests;
