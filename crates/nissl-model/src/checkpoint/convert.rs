//! Stored numbers to 32-bit floats, exactly: every f16 and bf16 value is an f32 value, and what a quantized number
//! stands for is defined in f32.

use std::borrow::Cow;

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use rayon::prelude::*;

use super::{Dtype, LoadError, TensorView};

/// Numbers that one thread converts at a time.
const CHUNK: usize = 1 << 16;

impl<'a> TensorView<'a> {
    /// The numbers as 32-bit floats; borrowed where they are stored so, aligned and in the machine's byte order.
    ///
    /// # Errors
    /// If they are stored as anything but F32, F16, BF16 or quantized: a conversion would not be exact.
    pub fn to_f32(&self) -> Result<Cow<'a, [f32]>, LoadError> {
        match self.dtype {
            _ if self.paired.is_some() => Ok(Cow::Owned(self.decode_all())),
            Dtype::Quantized(_) => Ok(Cow::Owned(self.decode_all())),
            Dtype::F32 => Ok(match same_order::<f32>(self.bytes) {
                Some(values) => Cow::Borrowed(values),
                None => Cow::Owned(self.bytes.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()),
            }),
            Dtype::F16 => Ok(Cow::Owned(match same_order::<f16>(self.bytes) {
                Some(values) => in_parallel(values, HalfFloatSliceExt::convert_to_f32_slice),
                None => each_pair(self.bytes, |bytes| f16::from_le_bytes(bytes).to_f32()),
            })),
            Dtype::Bf16 => Ok(Cow::Owned(match same_order::<bf16>(self.bytes) {
                Some(values) => in_parallel(values, HalfFloatSliceExt::convert_to_f32_slice),
                None => each_pair(self.bytes, |bytes| bf16::from_le_bytes(bytes).to_f32()),
            })),
            Dtype::F64 | Dtype::Other { .. } => Err(LoadError::Weight {
                what: "number format",
                name: self.name.to_owned(),
                expected: "F32, F16 or BF16".to_owned(),
                got: self.dtype.to_string(),
            }),
        }
    }
}

impl<'a> TensorView<'a> {
    /// A tensor that does not lie in a file as it is.
    pub(crate) fn of_bytes(name: &'a str, dtype: Dtype, shape: &'a [usize], bytes: &'a [u8]) -> Self {
        Self { name, dtype, shape, bytes, paired: None, file: None }
    }
}

impl<'a> TensorView<'a> {
    /// Converts the numbers from `start` on.
    ///
    /// # Panics
    /// If there are not so many, or if they are no weights.
    pub(super) fn decode(&self, start: usize, out: &mut [f32]) {
        let Some(width) = self.paired else {
            return self.decode_stored(start, out);
        };
        let n_in = self.shape.last().copied().unwrap_or(1);
        let mut at = start;
        let mut left = out;
        while !left.is_empty() {
            let (row, column) = (at / n_in, at % n_in);
            let n = (n_in - column).min(left.len());
            let (now, rest) = std::mem::take(&mut left).split_at_mut(n);
            self.decode_stored(stored_row(row, width) * n_in + column, now);
            at += n;
            left = rest;
        }
    }

    /// The bytes of a row of a matrix, as the file holds them.
    ///
    /// # Panics
    /// If there is no such row.
    pub(super) fn row_bytes(&self, row: usize) -> &'a [u8] {
        let row = self.paired.map_or(row, |width| stored_row(row, width));
        let row_bytes = self.bytes.len() / self.shape[0];
        &self.bytes[row * row_bytes..][..row_bytes]
    }

    /// Converts numbers in the order in which the file holds them.
    fn decode_stored(&self, start: usize, out: &mut [f32]) {
        fn each<const N: usize>(bytes: &[u8], start: usize, out: &mut [f32], convert: impl Fn([u8; N]) -> f32) {
            let bytes = &bytes[start * N..(start + out.len()) * N];
            out.iter_mut().zip(bytes.as_chunks().0).for_each(|(out, bytes)| *out = convert(*bytes));
        }
        match self.dtype {
            Dtype::F32 => each(self.bytes, start, out, f32::from_le_bytes),
            Dtype::F16 => each(self.bytes, start, out, |bytes| f16::from_le_bytes(bytes).to_f32()),
            Dtype::Bf16 => each(self.bytes, start, out, |bytes| bf16::from_le_bytes(bytes).to_f32()),
            Dtype::Quantized(quant) => quant.decode(self.bytes, start, out),
            Dtype::F64 | Dtype::Other { .. } => panic!("{} are no weights", self.dtype),
        }
    }

    fn decode_all(&self) -> Vec<f32> {
        let mut out = vec![0.0; self.shape.iter().product()];
        out.par_chunks_mut(CHUNK).enumerate().for_each(|(i, out)| self.decode(i * CHUNK, out));
        out
    }
}

/// Where a row is stored that belongs to heads whose rows are stored in pairs: row `i` of the first half of a head as
/// row `2 i`, that of the second half behind it.
fn stored_row(row: usize, width: usize) -> usize {
    let (head, in_head) = (row / width, row % width);
    head * width + 2 * (in_head % (width / 2)) + in_head / (width / 2)
}

/// The bytes as numbers, if they lie aligned and the machine is little-endian.
fn same_order<T: bytemuck::AnyBitPattern>(bytes: &[u8]) -> Option<&[T]> {
    if cfg!(target_endian = "little") { bytemuck::try_cast_slice(bytes).ok() } else { None }
}

fn each_pair(bytes: &[u8], convert: impl Fn([u8; 2]) -> f32) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|&pair| convert(pair)).collect()
}

fn in_parallel<T: Sync>(values: &[T], convert: impl Fn(&[T], &mut [f32]) + Sync) -> Vec<f32> {
    let mut out = vec![0.0; values.len()];
    out.par_chunks_mut(CHUNK).zip(values.par_chunks(CHUNK)).for_each(|(to, from)| convert(from, to));
    out
}
