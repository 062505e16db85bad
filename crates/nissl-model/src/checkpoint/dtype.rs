//! How numbers are stored, in every format that is read.

use std::fmt;

use super::quant::Quant;

/// How a tensor's numbers are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dtype {
    /// 32-bit floats.
    F32,
    /// 16-bit floats (IEEE half precision).
    F16,
    /// 16-bit floats with the exponent of 32-bit ones.
    Bf16,
    /// 64-bit floats.
    F64,
    /// Small whole numbers in blocks that share a scale, as GGUF files have them.
    Quantized(Quant),
    /// Any other type that the formats know: carried, never read as weights.
    Other {
        /// Its name in safetensors.
        name: &'static str,
        /// Bits a number.
        bits: u8,
    },
}

/// The types that are carried and never read: name and bits.
const OTHERS: &[(&str, u8)] = &[
    ("BOOL", 8),
    ("U8", 8),
    ("I8", 8),
    ("U16", 16),
    ("I16", 16),
    ("U32", 32),
    ("I32", 32),
    ("U64", 64),
    ("I64", 64),
    ("C64", 64),
    ("F8_E4M3", 8),
    ("F8_E5M2", 8),
    ("F8_E8M0", 8),
    ("F8_E4M3FNUZ", 8),
    ("F8_E5M2FNUZ", 8),
    ("F6_E2M3", 6),
    ("F6_E3M2", 6),
    ("F4", 4),
];

impl Dtype {
    /// A type by its name in safetensors.
    pub(super) fn parse(name: &str) -> Option<Self> {
        match name {
            "F32" => Some(Self::F32),
            "F16" => Some(Self::F16),
            "BF16" => Some(Self::Bf16),
            "F64" => Some(Self::F64),
            _ => OTHERS.iter().find(|(known, _)| *known == name).map(|&(name, bits)| Self::Other { name, bits }),
        }
    }

    /// Bits of numbers that are stored together, and how many numbers those are.
    fn block(self) -> (usize, usize) {
        match self {
            Self::F16 | Self::Bf16 => (16, 1),
            Self::F32 => (32, 1),
            Self::F64 => (64, 1),
            Self::Quantized(quant) => (8 * quant.block_bytes(), quant.block_len()),
            Self::Other { bits, .. } => (bits.into(), 1),
        }
    }

    /// Bits of all numbers of a shape; `None` if they cannot be counted, or if a row does not end with a block. Of a shape
    /// that is counted the dimensions can be multiplied in any order: a 0 hides none that are too large.
    pub(super) fn bits(self, shape: &[usize]) -> Option<usize> {
        let (bits, n) = self.block();
        if n > 1 && !shape.last().is_some_and(|last| last.is_multiple_of(n)) {
            return None;
        }
        shape.iter().try_fold(1usize, |product, &dim| product.checked_mul(dim.max(1)))?;
        (shape.iter().product::<usize>() / n).checked_mul(bits)
    }

    /// Whether numbers of this type are weights: they become 32-bit floats without loss.
    pub(crate) fn is_weight(self) -> bool {
        matches!(self, Self::F32 | Self::F16 | Self::Bf16 | Self::Quantized(_))
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::Bf16 => "BF16",
            Self::F64 => "F64",
            Self::Quantized(quant) => quant.name(),
            Self::Other { name, .. } => name,
        })
    }
}
