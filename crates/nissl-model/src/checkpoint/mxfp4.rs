//! Matrices in MXFP4: blocks of 32 numbers of 4 bits (a sign, two bits of exponent, one of mantissa) that share a power
//! of two.
//!
//! Two tensors of bytes hold several matrices `[n_out, n_in]`: `NAME_blocks` `[n, n_out, n_in / 32, 16]`, two numbers a
//! byte, the first in the lower half, and `NAME_scales` `[n, n_out, n_in / 32]`, exponents that count from -127. All
//! numbers are exact in 32-bit floats.

use super::{Checkpoint, TensorView};
use crate::error::LoadError;

/// Numbers that share a power of two.
const BLOCK: usize = 32;

/// What four bits stand for, without the power.
const VALUES: [f32; 16] = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, -0.0, -0.5, -1.0, -1.5, -2.0, -3.0, -4.0, -6.0];

/// Matrices that are stored so, one beside the other.
pub(crate) struct Stack<'a> {
    blocks: TensorView<'a>,
    scales: TensorView<'a>,
    n_values: usize,
}

impl<'a> Stack<'a> {
    /// Finds `n` matrices `[n_out, n_in]`; none if they are not stored so.
    ///
    /// # Errors
    /// If they are, with other shapes or in another number format.
    pub(crate) fn find(
        checkpoint: &'a Checkpoint,
        name: &str,
        [n, n_out, n_in]: [usize; 3],
    ) -> Result<Option<Self>, LoadError> {
        let blocks = format!("{name}_blocks");
        if !checkpoint.contains(&blocks) {
            return Ok(None);
        }
        let (blocks, scales) = (checkpoint.tensor(&blocks)?, checkpoint.tensor(&format!("{name}_scales"))?);
        let n_blocks = n_in / BLOCK;
        check(&blocks, &[n, n_out, n_blocks, BLOCK / 2])?;
        check(&scales, &[n, n_out, n_blocks])?;
        if !n_in.is_multiple_of(BLOCK) {
            return Err(wrong(&blocks, "shape", format!("rows of {n_in} numbers"), format!("{:?}", blocks.shape)));
        }
        Ok(Some(Self { blocks, scales, n_values: n_out * n_in }))
    }

    /// The numbers of a matrix, row after row.
    ///
    /// # Errors
    /// If some of them are none.
    pub(crate) fn matrix(&self, idx: usize) -> Result<Vec<f32>, LoadError> {
        let blocks = &self.blocks.bytes[idx * self.n_values / 2..(idx + 1) * self.n_values / 2];
        let scales = &self.scales.bytes[idx * self.n_values / BLOCK..(idx + 1) * self.n_values / BLOCK];
        let mut values = Vec::with_capacity(self.n_values);
        for (block, scale) in blocks.chunks_exact(BLOCK / 2).zip(scales) {
            // 6 times a power beyond this one is no number of 32 bits.
            if *scale > 252 {
                return Err(wrong(&self.scales, "value", "0 to 252".to_owned(), scale.to_string()));
            }
            let power = 2.0f64.powi(i32::from(*scale) - 127) as f32;
            for byte in block {
                values.extend([byte & 15, byte >> 4].map(|bits| VALUES[usize::from(bits)] * power));
            }
        }
        Ok(values)
    }
}

fn check(tensor: &TensorView<'_>, shape: &[usize]) -> Result<(), LoadError> {
    if tensor.shape != shape {
        return Err(wrong(tensor, "shape", format!("{shape:?}"), format!("{:?}", tensor.shape)));
    }
    if tensor.bytes.len() != shape.iter().product::<usize>() {
        return Err(wrong(tensor, "number format", "U8".to_owned(), tensor.dtype.to_string()));
    }
    Ok(())
}

fn wrong(tensor: &TensorView<'_>, what: &'static str, expected: String, got: String) -> LoadError {
    LoadError::Weight { what, name: tensor.name.to_owned(), expected, got }
}

#[cfg(test)]
mod tests;
