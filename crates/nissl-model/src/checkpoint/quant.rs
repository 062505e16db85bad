//! Quantized weights: blocks of small whole numbers that share scales, as GGUF files hold them.
//!
//! A block holds 32 or 256 numbers. Whatever the format, they are decoded 32 at a time (a *piece*), which is what the
//! formats' own sub-blocks allow; whoever wants other ranges gets them out of whole pieces. Every product and sum is
//! taken in 32-bit floats in the order in which the reference implementation takes them, so the values are the same
//! to the last bit.

use half::f16;

/// Numbers that are decoded at a time.
pub(super) const PIECE: usize = 32;

/// The quantized formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quant {
    /// 4 bits, a scale for 32.
    Q4_0,
    /// 4 bits, a scale and a minimum for 32.
    Q4_1,
    /// 5 bits, a scale for 32.
    Q5_0,
    /// 5 bits, a scale and a minimum for 32.
    Q5_1,
    /// 8 bits, a scale for 32.
    Q8_0,
    /// 2 bits, 4-bit scales and minima for 16 in blocks of 256.
    Q2K,
    /// 3 bits, 6-bit scales for 16 in blocks of 256.
    Q3K,
    /// 4 bits, 6-bit scales and minima for 32 in blocks of 256.
    Q4K,
    /// 5 bits, 6-bit scales and minima for 32 in blocks of 256.
    Q5K,
    /// 6 bits, 8-bit scales for 16 in blocks of 256.
    Q6K,
}

impl Quant {
    /// Its name in GGUF.
    pub fn name(self) -> &'static str {
        match self {
            Self::Q4_0 => "Q4_0",
            Self::Q4_1 => "Q4_1",
            Self::Q5_0 => "Q5_0",
            Self::Q5_1 => "Q5_1",
            Self::Q8_0 => "Q8_0",
            Self::Q2K => "Q2_K",
            Self::Q3K => "Q3_K",
            Self::Q4K => "Q4_K",
            Self::Q5K => "Q5_K",
            Self::Q6K => "Q6_K",
        }
    }

    /// Numbers in a block; a row is made of whole blocks.
    pub(super) fn block_len(self) -> usize {
        match self {
            Self::Q4_0 | Self::Q4_1 | Self::Q5_0 | Self::Q5_1 | Self::Q8_0 => 32,
            Self::Q2K | Self::Q3K | Self::Q4K | Self::Q5K | Self::Q6K => 256,
        }
    }

    /// Bytes of a block.
    pub(super) fn block_bytes(self) -> usize {
        match self {
            Self::Q4_0 => 18,
            Self::Q4_1 => 20,
            Self::Q5_0 => 22,
            Self::Q5_1 => 24,
            Self::Q8_0 => 34,
            Self::Q2K => 84,
            Self::Q3K => 110,
            Self::Q4K => 144,
            Self::Q5K => 176,
            Self::Q6K => 210,
        }
    }

    /// Decodes the numbers from `start` on.
    ///
    /// # Panics
    /// If there are not so many.
    pub(super) fn decode(self, bytes: &[u8], start: usize, out: &mut [f32]) {
        let mut at = start;
        let mut left = out;
        let mut scratch = [0.0; PIECE];
        while !left.is_empty() {
            let (piece, from) = (at / PIECE, at % PIECE);
            let n = (PIECE - from).min(left.len());
            let (now, rest) = std::mem::take(&mut left).split_at_mut(n);
            if let Ok(whole) = <&mut [f32; PIECE]>::try_from(&mut *now) {
                self.piece(bytes, piece, whole);
            } else {
                self.piece(bytes, piece, &mut scratch);
                now.copy_from_slice(&scratch[from..from + n]);
            }
            at += n;
            left = rest;
        }
    }

    /// Decodes a piece, counted from the start of the tensor.
    fn piece(self, bytes: &[u8], piece: usize, out: &mut [f32; PIECE]) {
        let pieces = self.block_len() / PIECE;
        let (block, i) = (piece / pieces, piece % pieces);
        let block = &bytes[block * self.block_bytes()..][..self.block_bytes()];
        match self {
            Self::Q4_0 => q4_0(block, out),
            Self::Q4_1 => q4_1(block, out),
            Self::Q5_0 => q5_0(block, out),
            Self::Q5_1 => q5_1(block, out),
            Self::Q8_0 => q8_0(block, out),
            Self::Q2K => q2_k(block, i, out),
            Self::Q3K => q3_k(block, i, out),
            Self::Q4K => q4_k(block, i, out),
            Self::Q5K => q5_k(block, i, out),
            Self::Q6K => q6_k(block, i, out),
        }
    }
}

fn half(bytes: &[u8]) -> f32 {
    f16::from_le_bytes([bytes[0], bytes[1]]).to_f32()
}

/// Scale; 16 bytes: number `k` in the low halves, number `k + 16` in the high ones.
fn q4_0(block: &[u8], out: &mut [f32; PIECE]) {
    let (d, quants) = (half(block), &block[2..18]);
    for (k, &byte) in quants.iter().enumerate() {
        out[k] = d * f32::from((byte & 15) as i8 - 8);
        out[k + 16] = d * f32::from((byte >> 4) as i8 - 8);
    }
}

/// Scale, minimum; 16 bytes as in [`q4_0`].
fn q4_1(block: &[u8], out: &mut [f32; PIECE]) {
    let (d, min, quants) = (half(block), half(&block[2..]), &block[4..20]);
    for (k, &byte) in quants.iter().enumerate() {
        out[k] = d * f32::from(byte & 15) + min;
        out[k + 16] = d * f32::from(byte >> 4) + min;
    }
}

/// Number `k` of the five-bit formats: 32 fifth bits, then 16 bytes as in [`q4_0`].
fn five_bits(bytes: &[u8], out: &mut [f32; PIECE], value: impl Fn(u8) -> f32) {
    let high = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    for (k, &byte) in bytes[4..20].iter().enumerate() {
        out[k] = value(byte & 15 | ((high >> k & 1) as u8) << 4);
        out[k + 16] = value(byte >> 4 | ((high >> (k + 16) & 1) as u8) << 4);
    }
}

/// Scale; fifth bits and fours.
fn q5_0(block: &[u8], out: &mut [f32; PIECE]) {
    let d = half(block);
    five_bits(&block[2..], out, |q| d * f32::from(q as i8 - 16));
}

/// Scale, minimum; fifth bits and fours.
fn q5_1(block: &[u8], out: &mut [f32; PIECE]) {
    let (d, min) = (half(block), half(&block[2..]));
    five_bits(&block[4..], out, |q| d * f32::from(q) + min);
}

/// Scale; 32 signed bytes.
fn q8_0(block: &[u8], out: &mut [f32; PIECE]) {
    let d = half(block);
    for (out, &byte) in out.iter_mut().zip(&block[2..34]) {
        *out = d * f32::from(byte as i8);
    }
}

/// 16 bytes of scale (low half) and minimum (high half); 64 bytes of two bits; scale of scales, scale of minima.
///
/// Pieces 0 to 3 share bytes 0 to 31 of the quants, two bits each; pieces 4 to 7 the others.
fn q2_k(block: &[u8], piece: usize, out: &mut [f32; PIECE]) {
    let (scales, quants) = (&block[..16], &block[16 + 32 * (piece / 4)..][..32]);
    let (d, min) = (half(&block[80..]), half(&block[82..]));
    let shift = 2 * (piece % 4);
    for (half_idx, out) in out.chunks_exact_mut(16).enumerate() {
        let scale = scales[2 * piece + half_idx];
        let (d, min) = (d * f32::from(scale & 15), min * f32::from(scale >> 4));
        for (out, &byte) in out.iter_mut().zip(&quants[16 * half_idx..]) {
            *out = d * f32::from(byte >> shift & 3) - min;
        }
    }
}

/// 32 bytes of third bits (bit `piece` of each); 64 bytes of two bits as in [`q2_k`]; 12 bytes of scales; scale.
///
/// The 16 scales have their low four bits in bytes 0 to 7 (first eight in the low halves), their high two in bytes
/// 8 to 11. A third bit that is *not* set takes 4 off.
fn q3_k(block: &[u8], piece: usize, out: &mut [f32; PIECE]) {
    let (high, quants) = (&block[..32], &block[32 + 32 * (piece / 4)..][..32]);
    let (scales, d) = (&block[96..108], half(&block[108..]));
    let shift = 2 * (piece % 4);
    for (half_idx, out) in out.chunks_exact_mut(16).enumerate() {
        let i = 2 * piece + half_idx;
        let low = scales[i % 8] >> (4 * (i / 8)) & 15;
        let scale = low | (scales[8 + i % 4] >> (2 * (i / 4)) & 3) << 4;
        let d = d * f32::from(scale as i8 - 32);
        for (k, out) in out.iter_mut().enumerate() {
            let k = 16 * half_idx + k;
            let third = if high[k] >> piece & 1 == 1 { 0 } else { 4 };
            *out = d * f32::from((quants[k] >> shift & 3) as i8 - third);
        }
    }
}

/// The six-bit scale and minimum of a piece of [`q4_k`] and [`q5_k`], from 12 bytes.
fn scale_and_min(bytes: &[u8], piece: usize) -> (f32, f32) {
    let (scale, min) = if piece < 4 {
        (bytes[piece] & 63, bytes[piece + 4] & 63)
    } else {
        let (scale_high, min_high) = (bytes[piece - 4] >> 6, bytes[piece] >> 6);
        (bytes[piece + 4] & 15 | scale_high << 4, bytes[piece + 4] >> 4 | min_high << 4)
    };
    (f32::from(scale), f32::from(min))
}

/// Scale of scales, scale of minima; 12 bytes of scales and minima; 128 bytes: an even piece has the low halves of 32
/// of them, the odd one after it the high halves.
fn q4_k(block: &[u8], piece: usize, out: &mut [f32; PIECE]) {
    let (scale, min) = scale_and_min(&block[4..16], piece);
    let (d, min) = (half(block) * scale, half(&block[2..]) * min);
    let shift = 4 * (piece % 2);
    for (out, &byte) in out.iter_mut().zip(&block[16 + 32 * (piece / 2)..][..32]) {
        *out = d * f32::from(byte >> shift & 15) - min;
    }
}

/// As [`q4_k`], with 32 bytes of fifth bits (bit `piece` of each) before the 128.
fn q5_k(block: &[u8], piece: usize, out: &mut [f32; PIECE]) {
    let (scale, min) = scale_and_min(&block[4..16], piece);
    let (d, min) = (half(block) * scale, half(&block[2..]) * min);
    let shift = 4 * (piece % 2);
    let quants = &block[48 + 32 * (piece / 2)..][..32];
    for (out, (&byte, &high)) in out.iter_mut().zip(quants.iter().zip(&block[16..48])) {
        *out = d * f32::from(byte >> shift & 15 | (high >> piece & 1) << 4) - min;
    }
}

/// 128 bytes of low halves, 64 of high pairs, 16 signed scales, scale. In each half of the block, pieces 0 and 1 have
/// the low halves of 64 bytes, pieces 2 and 3 the high ones, and piece `i` pair `i` of 32 bytes.
fn q6_k(block: &[u8], piece: usize, out: &mut [f32; PIECE]) {
    let (half_idx, i) = (piece / 4, piece % 4);
    let low = &block[64 * half_idx + 32 * (i % 2)..][..32];
    let high = &block[128 + 32 * half_idx..][..32];
    let (scales, d) = (&block[192..208], half(&block[208..]));
    let (low_shift, high_shift) = (4 * (i / 2), 2 * i);
    for (k, out) in out.iter_mut().enumerate() {
        let q = low[k] >> low_shift & 15 | (high[k] >> high_shift & 3) << 4;
        let d = d * f32::from(scales[2 * piece + k / 16] as i8);
        *out = d * f32::from(q as i8 - 32);
    }
}
