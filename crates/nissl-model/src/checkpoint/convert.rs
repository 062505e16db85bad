//! Stored numbers to 32-bit floats, exactly: every f16 and bf16 value is an f32 value.

use std::borrow::Cow;

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use rayon::prelude::*;

use super::safetensors::Dtype;
use super::{LoadError, TensorView};

/// Numbers that one thread converts at a time.
const CHUNK: usize = 1 << 16;

impl<'a> TensorView<'a> {
    /// The numbers as 32-bit floats; borrowed where they are stored so, aligned and in the machine's byte order.
    ///
    /// # Errors
    /// If they are stored as anything but F32, F16 or BF16: a conversion would not be exact.
    pub fn to_f32(&self) -> Result<Cow<'a, [f32]>, LoadError> {
        match self.dtype {
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
