//! Panels of weights that stay as they are stored: 16-bit floats, and quantized numbers.
//!
//! A panel of 32 columns is a row of blocks of 1, 32 or 256 inner steps. A quantized block has the 32 columns' scales
//! side by side, then pieces of 32 steps: their scales of 8 bits, then their codes, cut into a plane of the low 2, 4 or
//! 8 bits and one of the 1 or 2 bits above. A plane is rows of 32 words of 32 bits, one a column, each with the codes
//! of the next 32, 16, 8 or 4 steps from the lowest bits on; codes of 8 bits are rows of 32 bytes. So a panel is as
//! large as what it is made of, up to 4% (a scale of 6 bits takes 8).
//!
//! Decoded they are the numbers of [`crate::checkpoint::Piece`], to the last bit: every product is exact in 32 bits.

#![expect(clippy::inline_always, reason = "the bodies are compiled once for each instruction set")]

use super::isa::for_each_isa;
use super::tensor::PANEL;
use crate::checkpoint::{Dtype, PIECE, Piece, Quant};

/// How the numbers of a panel are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// 32-bit floats, as the kernels take them.
    F32,
    /// 16-bit floats.
    F16,
    /// The upper halves of 32-bit floats.
    Bf16,
    /// Codes with scales.
    Quant(Quant),
}

impl Kind {
    /// What numbers that are stored so in a checkpoint are kept as.
    pub(crate) fn of(dtype: Dtype) -> Self {
        match dtype {
            Dtype::F16 => Self::F16,
            Dtype::Bf16 => Self::Bf16,
            Dtype::Quantized(quant) => Self::Quant(quant),
            Dtype::F32 | Dtype::F64 | Dtype::Other { .. } => Self::F32,
        }
    }

    /// Inner steps of a block.
    fn block_len(self) -> usize {
        match self {
            Self::F32 | Self::F16 | Self::Bf16 => 1,
            Self::Quant(quant) => quant.block_len(),
        }
    }

    /// Bytes of a panel of `n_in` inner steps.
    pub(crate) fn panel_bytes(self, n_in: usize) -> usize {
        let block_bytes = match self {
            Self::F32 => 4 * PANEL,
            Self::F16 | Self::Bf16 => 2 * PANEL,
            Self::Quant(quant) => Layout::of(quant).block_bytes(quant),
        };
        n_in / self.block_len() * block_bytes
    }
}

/// How the scales of a piece are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scales {
    /// They are all 1.
    One,
    /// A byte a column.
    Whole,
    /// A byte a column for each half.
    Halves,
    /// A byte a column for each half, the scale of what is taken off in its upper four bits.
    Shared,
}

/// How a quantized block is stored.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    /// Bits of the lower plane.
    low: u32,
    /// Bits of the upper plane.
    high: u32,
    /// What is added to a code so that none is negative; nothing to those of 8 bits.
    offset: i8,
    scales: Scales,
    /// Whether something is taken off.
    min: bool,
}

impl Layout {
    pub(crate) fn of(quant: Quant) -> Self {
        let (low, high, offset, scales, min) = match quant {
            Quant::Q4_0 => (4, 0, 8, Scales::One, false),
            Quant::Q4_1 => (4, 0, 0, Scales::One, true),
            Quant::Q5_0 => (4, 1, 16, Scales::One, false),
            Quant::Q5_1 => (4, 1, 0, Scales::One, true),
            Quant::Q8_0 => (8, 0, 0, Scales::One, false),
            Quant::Q2K => (2, 0, 0, Scales::Shared, true),
            Quant::Q3K => (2, 1, 4, Scales::Halves, false),
            Quant::Q4K => (4, 0, 0, Scales::Whole, true),
            Quant::Q5K => (4, 1, 0, Scales::Whole, true),
            Quant::Q6K => (4, 2, 32, Scales::Halves, false),
        };
        Self { low, high, offset, scales, min }
    }

    /// Bytes before the pieces of a block.
    fn header_bytes(self) -> usize {
        2 * PANEL * (1 + usize::from(self.min))
    }

    /// Bytes of the scales of a piece.
    fn scale_bytes(self) -> usize {
        match self.scales {
            Scales::One => 0,
            Scales::Whole => PANEL * (1 + usize::from(self.min)),
            Scales::Halves => 2 * PANEL * (1 + usize::from(self.min)),
            Scales::Shared => 2 * PANEL,
        }
    }

    /// Bytes of a plane of a piece.
    fn plane_bytes(bits: u32) -> usize {
        PIECE * PANEL / 8 * bits as usize
    }

    fn piece_bytes(self) -> usize {
        self.scale_bytes() + Self::plane_bytes(self.low) + Self::plane_bytes(self.high)
    }

    fn block_bytes(self, quant: Quant) -> usize {
        self.header_bytes() + quant.block_len() / PIECE * self.piece_bytes()
    }

    /// Puts a piece of a column into its panel, which was zero.
    pub(crate) fn put(self, quant: Quant, panel: &mut [u8], column: usize, piece_idx: usize, piece: &Piece) {
        let pieces = quant.block_len() / PIECE;
        let block = &mut panel[piece_idx / pieces * self.block_bytes(quant)..][..self.block_bytes(quant)];
        let (header, block) = block.split_at_mut(self.header_bytes());
        let (min, min_scales) = piece.min.unwrap_or_default();
        header[2 * column..][..2].copy_from_slice(&piece.d.to_le_bytes());
        if self.min {
            header[2 * (PANEL + column)..][..2].copy_from_slice(&min.to_le_bytes());
        }
        let stored = &mut block[piece_idx % pieces * self.piece_bytes()..][..self.piece_bytes()];
        let (scales, planes) = stored.split_at_mut(self.scale_bytes());
        for half in 0..2 {
            let (scale, min_scale) = (piece.scales[half] as u8, min_scales[half]);
            match self.scales {
                Scales::One => {}
                Scales::Whole => {
                    scales[column] = scale;
                    if self.min {
                        scales[PANEL + column] = min_scale;
                    }
                }
                Scales::Halves => scales[half * PANEL + column] = scale,
                Scales::Shared => scales[half * PANEL + column] = scale | min_scale << 4,
            }
        }
        let (low, high) = planes.split_at_mut(Self::plane_bytes(self.low));
        for (k, &code) in piece.codes.iter().enumerate() {
            let code = code.wrapping_add(self.offset) as u8;
            put_bits(low, self.low, k, column, code);
            if self.high > 0 {
                put_bits(high, self.high, k, column, code >> self.low);
            }
        }
    }
}

/// Puts the lowest `bits` of a code into its plane.
fn put_bits(plane: &mut [u8], bits: u32, k: usize, column: usize, code: u8) {
    if bits == 8 {
        plane[k * PANEL + column] = code;
        return;
    }
    let at = k * bits as usize;
    let byte = (at / 32 * PANEL + column) * 4 + at % 32 / 8;
    plane[byte] |= (code & ((1 << bits) - 1)) << (at % 8);
}

for_each_isa! {
    /// The numbers of a panel from inner step `from` on, `[out.len() / 32, 32]`; of quantized ones whole pieces.
    fn decode(kind: Kind, panel: &[u8], from: usize, out: &mut [f32]) = decode_body
}

#[inline(always)]
fn decode_body(kind: Kind, panel: &[u8], from: usize, out: &mut [f32]) {
    match kind {
        Kind::F32 => each(&panel[4 * PANEL * from..], out, f32::from_ne_bytes),
        Kind::F16 => each(&panel[2 * PANEL * from..], out, |bytes| half_to_f32(u16::from_le_bytes(bytes))),
        Kind::Bf16 => {
            each(&panel[2 * PANEL * from..], out, |bytes| f32::from_bits(u32::from(u16::from_le_bytes(bytes)) << 16));
        }
        Kind::Quant(quant) => {
            let layout = Layout::of(quant);
            match (layout.low, layout.high) {
                (2, 0) => pieces::<2, 0>(quant, layout, panel, from, out),
                (2, 1) => pieces::<2, 1>(quant, layout, panel, from, out),
                (4, 0) => pieces::<4, 0>(quant, layout, panel, from, out),
                (4, 1) => pieces::<4, 1>(quant, layout, panel, from, out),
                (4, 2) => pieces::<4, 2>(quant, layout, panel, from, out),
                _ => pieces::<8, 0>(quant, layout, panel, from, out),
            }
        }
    }
}

#[inline(always)]
fn each<const N: usize>(bytes: &[u8], out: &mut [f32], convert: impl Fn([u8; N]) -> f32) {
    out.iter_mut().zip(bytes.as_chunks().0).for_each(|(out, bytes)| *out = convert(*bytes));
}

/// Exactly, without branches, so that it is done for many at a time.
#[inline(always)]
fn half_to_f32(bits: u16) -> f32 {
    let sign = u32::from(bits & 0x8000) << 16;
    let rest = u32::from(bits & 0x7fff);
    // The exponent's bias is 15 there and 127 here; infinities and what is no number have the largest exponent.
    let normal = (rest << 13) + (112 << 23) + if rest < 0x7c00 { 0 } else { 112 << 23 };
    let small = (rest as f32 * (1.0 / 16_777_216.0)).to_bits();
    f32::from_bits(sign | if rest < 0x400 { small } else { normal })
}

#[inline(always)]
fn pieces<const LOW: u32, const HIGH: u32>(quant: Quant, layout: Layout, panel: &[u8], from: usize, out: &mut [f32]) {
    let per_block = quant.block_len() / PIECE;
    for (i, out) in out.as_chunks_mut::<{ PIECE * PANEL }>().0.iter_mut().enumerate() {
        let piece_idx = from / PIECE + i;
        let block = &panel[piece_idx / per_block * layout.block_bytes(quant)..][..layout.block_bytes(quant)];
        let (header, block) = block.split_at(layout.header_bytes());
        let piece = &block[piece_idx % per_block * layout.piece_bytes()..][..layout.piece_bytes()];
        let (scales, planes) = piece.split_at(layout.scale_bytes());
        let (low, high) = planes.split_at(Layout::plane_bytes(LOW));
        for half in 0..2 {
            let (scale, min) = scales_of(layout, header, scales, half);
            for k in 16 * half..16 * half + 16 {
                let out: &mut [f32; PANEL] = &mut out.as_chunks_mut().0[k];
                let mut codes = [0i32; PANEL];
                if LOW == 8 {
                    let row = &low[k * PANEL..][..PANEL];
                    codes.iter_mut().zip(row).for_each(|(code, &byte)| *code = i32::from(byte as i8));
                } else {
                    let row = words(low, k, LOW);
                    for (code, word) in codes.iter_mut().zip(row) {
                        *code = (u32::from_le_bytes(*word) >> (k as u32 * LOW % 32) & ((1 << LOW) - 1)) as i32;
                    }
                    if HIGH > 0 {
                        for (code, word) in codes.iter_mut().zip(words(high, k, HIGH)) {
                            let high = u32::from_le_bytes(*word) >> (k as u32 * HIGH % 32) & ((1 << HIGH) - 1);
                            *code |= (high << LOW) as i32;
                        }
                    }
                }
                for (((out, code), scale), min) in out.iter_mut().zip(codes).zip(&scale).zip(&min) {
                    let value = (code - i32::from(layout.offset)) as f32 * scale;
                    *out = if layout.min { value - min } else { value };
                }
            }
        }
    }
}

/// The words of a plane that hold the bits of step `k`.
#[inline(always)]
fn words(plane: &[u8], k: usize, bits: u32) -> &[[u8; 4]] {
    plane[k * bits as usize / 32 * 4 * PANEL..][..4 * PANEL].as_chunks().0
}

/// The scales of the 32 columns in one half of a piece, and what is taken off.
#[inline(always)]
fn scales_of(layout: Layout, header: &[u8], scales: &[u8], half: usize) -> ([f32; PANEL], [f32; PANEL]) {
    let (mut scale, mut min) = ([0.0; PANEL], [0.0; PANEL]);
    each(header, &mut scale, |bytes| half_to_f32(u16::from_le_bytes(bytes)));
    if layout.min {
        each(&header[2 * PANEL..], &mut min, |bytes| half_to_f32(u16::from_le_bytes(bytes)));
    }
    match layout.scales {
        Scales::One => {}
        Scales::Whole => {
            scale.iter_mut().zip(&scales[..PANEL]).for_each(|(scale, &byte)| *scale *= f32::from(byte as i8));
            min.iter_mut().zip(&scales[PANEL..]).for_each(|(min, &byte)| *min *= f32::from(byte));
        }
        Scales::Halves => {
            let row = &scales[half * PANEL..][..PANEL];
            scale.iter_mut().zip(row).for_each(|(scale, &byte)| *scale *= f32::from(byte as i8));
        }
        Scales::Shared => {
            let row = &scales[half * PANEL..][..PANEL];
            scale.iter_mut().zip(row).for_each(|(scale, &byte)| *scale *= f32::from(byte & 15));
            min.iter_mut().zip(row).for_each(|(min, &byte)| *min *= f32::from(byte >> 4));
        }
    }
    (scale, min)
}

#[cfg(test)]
mod tests;
