//! How a value is kept on disk.

use std::fmt;

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use serde::{Deserialize, Serialize};

/// How a value is kept on disk. Named as Zarr names it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dtype {
    /// 32 bits: what the model computed.
    Float32,
    /// 16 bits, 11 of precision, up to 65,504.
    #[default]
    Float16,
    /// 16 bits, 8 of precision, the range of `f32`.
    Bfloat16,
}

impl Dtype {
    /// Bytes a value takes.
    pub fn size(self) -> usize {
        match self {
            Self::Float32 => 4,
            Self::Float16 | Self::Bfloat16 => 2,
        }
    }

    /// The name in `zarr.json` and in the manifest: `float16`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Float32 => "float32",
            Self::Float16 => "float16",
            Self::Bfloat16 => "bfloat16",
        }
    }

    /// Converts values to the bits of a 16-bit type, rounding to nearest even; `out` is as long as `values`.
    ///
    /// # Panics
    /// If the type has 32 bits or the lengths differ.
    pub fn to_bits(self, values: &[f32], out: &mut [u16]) {
        match self {
            Self::Float16 => bytemuck::cast_slice_mut::<u16, f16>(out).convert_from_f32_slice(values),
            Self::Bfloat16 => bytemuck::cast_slice_mut::<u16, bf16>(out).convert_from_f32_slice(values),
            Self::Float32 => panic!("float32 has no 16-bit form"),
        }
    }

    /// Converts the bits of a 16-bit type to values; `out` is as long as `bits`.
    ///
    /// # Panics
    /// If the type has 32 bits or the lengths differ.
    pub fn from_bits(self, bits: &[u16], out: &mut [f32]) {
        match self {
            Self::Float16 => bytemuck::cast_slice::<u16, f16>(bits).convert_to_f32_slice(out),
            Self::Bfloat16 => bytemuck::cast_slice::<u16, bf16>(bits).convert_to_f32_slice(out),
            Self::Float32 => panic!("float32 has no 16-bit form"),
        }
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
