//! Weights in memory, to be changed: what a training holds.

use std::ops::Range;
use std::path::Path;
use std::sync::OnceLock;

use super::mmap::MappedFile;
use super::{Checkpoint, Dtype, Entry, Part};

/// Where the bytes of tensors are.
#[derive(Debug)]
pub(super) enum Bytes {
    /// In a file.
    Mapped(MappedFile),
    /// In memory, as 32-bit floats.
    Owned(Vec<f32>),
}

impl Bytes {
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::Mapped(file) => file.bytes(),
            Self::Owned(values) => bytemuck::cast_slice(values),
        }
    }

    /// The file, if it is one.
    pub(super) fn mapped(&self) -> Option<&MappedFile> {
        match self {
            Self::Mapped(file) => Some(file),
            Self::Owned(_) => None,
        }
    }

    /// Gives back the memory of bytes that can be read again.
    pub(super) fn release(&self, range: Range<usize>) {
        if let Self::Mapped(file) = self {
            file.release(range);
        }
    }
}

impl Checkpoint {
    /// A checkpoint in memory, of tensors with their shapes and values; `path` is what errors name.
    ///
    /// # Panics
    /// If a tensor has not as many values as its shape says.
    pub(crate) fn in_memory(path: &Path, mut tensors: Vec<(String, Vec<usize>, Vec<f32>)>) -> Self {
        tensors.sort_by(|a, b| a.0.cmp(&b.0));
        let (mut parts, mut entries) = (Vec::new(), Vec::new());
        for (idx, (name, shape, values)) in tensors.into_iter().enumerate() {
            assert_eq!(values.len(), shape.iter().product::<usize>(), "{name} has as many values as its shape says");
            let range = 0..4 * values.len();
            entries.push((idx, Entry { name, dtype: Dtype::F32, shape, range, copied: false, paired: None }));
            parts.push(Part { file: Bytes::Owned(values), copied: Vec::new() });
        }
        Self { path: path.to_owned(), parts, tensors: entries, fingerprint: OnceLock::new() }
    }

    /// Tensors with heads and their columns apart, which are those whose names end as `names` say, become matrices and
    /// vectors with both as one, under other names.
    pub(crate) fn join_heads(&mut self, names: &[(&str, &str)]) {
        for (_, entry) in &mut self.tensors {
            let Some((stem, now)) = names.iter().find_map(|(old, now)| Some((entry.name.strip_suffix(old)?, now)))
            else {
                continue;
            };
            entry.name = format!("{stem}{now}");
            if let Some(d_head) = entry.shape.pop() {
                match entry.shape.last_mut() {
                    Some(n_heads) => *n_heads *= d_head,
                    None => entry.shape.push(d_head),
                }
            }
        }
        self.tensors.sort_by(|a, b| a.1.name.cmp(&b.1.name));
    }

    /// Forgets a tensor.
    pub(crate) fn remove(&mut self, name: &str) {
        if let Some(idx) = self.position(name) {
            self.fingerprint = OnceLock::new();
            self.tensors.remove(idx);
        }
    }

    /// The values of a tensor in memory, to be changed; none if there is no such tensor or it is in a file.
    pub(crate) fn values_mut(&mut self, name: &str) -> Option<&mut [f32]> {
        let idx = self.position(name)?;
        // Its digest will be another.
        self.fingerprint = OnceLock::new();
        match &mut self.parts[self.tensors[idx].0].file {
            Bytes::Owned(values) => Some(values),
            Bytes::Mapped(_) => None,
        }
    }
}
