//! A matrix or vector whose type and shape were checked, to be decoded piece by piece.

use std::ops::Range;

use super::{Dtype, TensorView};
use crate::error::LoadError;

/// A checked weight: floating point, of the shape that was asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Weight<'a> {
    tensor: TensorView<'a>,
}

impl<'a> Weight<'a> {
    /// Checks the type and the shape; `None` in `shape` stands for any size.
    ///
    /// # Errors
    /// [`LoadError::Weight`].
    pub(crate) fn new(tensor: TensorView<'a>, shape: &[Option<usize>]) -> Result<Self, LoadError> {
        let wrong = |what, expected, got| LoadError::Weight { what, name: tensor.name.to_owned(), expected, got };
        let fits = shape.len() == tensor.shape.len()
            && shape.iter().zip(tensor.shape).all(|(want, got)| want.is_none_or(|want| want == *got));
        if !fits {
            let expected: Vec<String> =
                shape.iter().map(|n| n.map_or_else(|| "any".to_owned(), |n| n.to_string())).collect();
            return Err(wrong("shape", format!("[{}]", expected.join(", ")), format!("{:?}", tensor.shape)));
        }
        if !tensor.dtype.is_weight() {
            return Err(wrong("number format", "F32, F16 or BF16".to_owned(), tensor.dtype.to_string()));
        }
        Ok(Self { tensor })
    }

    /// A matrix of 32-bit floats, as little-endian bytes; `name` is the checkpoint's, or nothing if it does not hold
    /// these values in this order.
    ///
    /// # Panics
    /// If `bytes` are not as many as `shape` says.
    pub(crate) fn of_f32(name: &'a str, shape: &'a [usize], bytes: &'a [u8]) -> Self {
        assert_eq!(bytes.len(), 4 * shape.iter().product::<usize>(), "a matrix has as many values as its shape says");
        Self { tensor: TensorView::of_bytes(name, Dtype::F32, shape, bytes) }
    }

    /// A matrix of several that one tensor holds; the checkpoint has no name for it.
    ///
    /// # Panics
    /// If there is none of this number.
    pub(crate) fn matrix(&self, idx: usize) -> Self {
        let bytes = self.tensor.row_bytes(idx);
        Self { tensor: TensorView { name: "", shape: &self.tensor.shape[1..], bytes, ..self.tensor } }
    }

    /// What the checkpoint calls it.
    pub(crate) fn name(&self) -> &'a str {
        self.tensor.name
    }

    /// Its dimensions.
    pub(crate) fn shape(&self) -> &'a [usize] {
        self.tensor.shape
    }

    /// How its values are stored.
    pub(crate) fn dtype(&self) -> Dtype {
        self.tensor.dtype
    }

    /// The bytes of a row of a matrix, as they are stored.
    ///
    /// # Panics
    /// If there is no such row.
    pub(crate) fn row_bytes(&self, row: usize) -> &'a [u8] {
        self.tensor.row_bytes(row)
    }

    /// Tells the system that the pages of some rows are not needed for now, see [`super::Checkpoint::release`].
    pub(crate) fn release_rows(&self, rows: Range<usize>) {
        let (Some(file), None) = (self.tensor.file, self.tensor.paired) else { return };
        let (row, next) = (self.row_bytes(rows.start), self.row_bytes(rows.end - 1));
        let start = row.as_ptr().addr() - file.bytes().as_ptr().addr();
        file.release(start..start + next.as_ptr().addr() + next.len() - row.as_ptr().addr());
    }

    /// Converts the values from `start` on into `out`.
    ///
    /// # Panics
    /// If there are not so many.
    pub(crate) fn decode(&self, start: usize, out: &mut [f32]) {
        self.tensor.decode(start, out);
    }

    /// Adds the values from `start` on to `out`.
    ///
    /// # Panics
    /// If there are not so many.
    pub(crate) fn add_to(&self, start: usize, out: &mut [f32]) {
        let mut scratch = [0.0f32; 256];
        for (i, out) in out.chunks_mut(scratch.len()).enumerate() {
            let values = &mut scratch[..out.len()];
            self.decode(start + i * 256, values);
            out.iter_mut().zip(values).for_each(|(out, value)| *out += *value);
        }
    }
}
