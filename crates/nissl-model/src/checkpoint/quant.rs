//! Quantized weights: blocks of small whole numbers that share scales, as GGUF files hold them.
//!
//! A block holds 32 or 256 numbers. Whatever the format, they are read 32 at a time (a *piece*), which is what the
//! formats' own sub-blocks allow; whoever wants other ranges gets them out of whole pieces. A number is
//! `(d · scale) · code - (min · min_scale)`, every product and difference in 32-bit floats in the order in which the
//! reference implementation takes them, so the values are the same to the last bit. All products are exact: d and min
//! have 11 significant bits, scales at most 8, codes at most 8 where the scale is 1 and at most 6 else.

use half::f16;

/// Numbers that are decoded at a time.
pub(crate) const PIECE: usize = 32;

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
    pub(crate) fn block_len(self) -> usize {
        match self {
            Self::Q4_0 | Self::Q4_1 | Self::Q5_0 | Self::Q5_1 | Self::Q8_0 => 32,
            Self::Q2K | Self::Q3K | Self::Q4K | Self::Q5K | Self::Q6K => 256,
        }
    }

    /// Bytes of a block.
    pub(crate) fn block_bytes(self) -> usize {
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
            let stored = self.piece(bytes, piece);
            if let Ok(whole) = <&mut [f32; PIECE]>::try_from(&mut *now) {
                stored.decode(whole);
            } else {
                stored.decode(&mut scratch);
                now.copy_from_slice(&scratch[from..from + n]);
            }
            at += n;
            left = rest;
        }
    }

    /// Reads a piece, counted from the start of the tensor.
    ///
    /// # Panics
    /// If there are not so many.
    pub(crate) fn piece(self, bytes: &[u8], piece: usize) -> Piece {
        let pieces = self.block_len() / PIECE;
        let (block, i) = (piece / pieces, piece % pieces);
        let block = &bytes[block * self.block_bytes()..][..self.block_bytes()];
        match self {
            Self::Q4_0 => q4_0(block),
            Self::Q4_1 => q4_1(block),
            Self::Q5_0 => q5_0(block),
            Self::Q5_1 => q5_1(block),
            Self::Q8_0 => q8_0(block),
            Self::Q2K => q2_k(block, i),
            Self::Q3K => q3_k(block, i),
            Self::Q4K => q4_k(block, i),
            Self::Q5K => q5_k(block, i),
            Self::Q6K => q6_k(block, i),
        }
    }
}

/// 32 quantized numbers: `(d · scale) · code - (min · min_scale)`, with a scale for each half of them.
#[derive(Clone, Debug)]
pub(crate) struct Piece {
    /// The scale of scales.
    pub(crate) d: f16,
    /// The scales of the two halves.
    pub(crate) scales: [i8; 2],
    /// The scale of what is taken off, and its two scales; none if nothing is.
    pub(crate) min: Option<(f16, [u8; 2])>,
    /// The whole numbers.
    pub(crate) codes: [i8; PIECE],
}

impl Piece {
    /// The numbers.
    fn decode(&self, out: &mut [f32; PIECE]) {
        for half in 0..2 {
            let scale = self.d.to_f32() * f32::from(self.scales[half]);
            let min = self.min.map(|(min, scales)| min.to_f32() * f32::from(scales[half]));
            let halves = out[16 * half..].iter_mut().zip(&self.codes[16 * half..]).take(16);
            match min {
                Some(min) => halves.for_each(|(out, &code)| *out = scale * f32::from(code) - min),
                None => halves.for_each(|(out, &code)| *out = scale * f32::from(code)),
            }
        }
    }
}

fn half(bytes: &[u8]) -> f16 {
    f16::from_le_bytes([bytes[0], bytes[1]])
}

/// Code `k` of the four-bit formats: 16 bytes, number `k` in the low halves, number `k + 16` in the high ones.
fn four_bits(bytes: &[u8], code: impl Fn(u8) -> i8) -> [i8; PIECE] {
    std::array::from_fn(|k| code(if k < 16 { bytes[k] & 15 } else { bytes[k - 16] >> 4 }))
}

/// Scale; fours.
fn q4_0(block: &[u8]) -> Piece {
    Piece { d: half(block), scales: [1; 2], min: None, codes: four_bits(&block[2..18], |q| q as i8 - 8) }
}

/// Scale, what is added; fours.
fn q4_1(block: &[u8]) -> Piece {
    let min = Some((-half(&block[2..]), [1; 2]));
    Piece { d: half(block), scales: [1; 2], min, codes: four_bits(&block[4..20], |q| q as i8) }
}

/// Code `k` of the five-bit formats: 32 fifth bits, then fours.
fn five_bits(bytes: &[u8], code: impl Fn(u8) -> i8) -> [i8; PIECE] {
    let high = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    let low = four_bits(&bytes[4..20], |q| q as i8);
    std::array::from_fn(|k| code(low[k] as u8 | ((high >> k & 1) as u8) << 4))
}

/// Scale; fives.
fn q5_0(block: &[u8]) -> Piece {
    Piece { d: half(block), scales: [1; 2], min: None, codes: five_bits(&block[2..], |q| q as i8 - 16) }
}

/// Scale, what is added; fives.
fn q5_1(block: &[u8]) -> Piece {
    let min = Some((-half(&block[2..]), [1; 2]));
    Piece { d: half(block), scales: [1; 2], min, codes: five_bits(&block[4..], |q| q as i8) }
}

/// Scale; 32 signed bytes.
fn q8_0(block: &[u8]) -> Piece {
    let codes = std::array::from_fn(|k| block[2 + k] as i8);
    Piece { d: half(block), scales: [1; 2], min: None, codes }
}

/// 16 bytes of scale (low half) and minimum (high half); 64 bytes of two bits; scale of scales, scale of minima.
///
/// Pieces 0 to 3 share bytes 0 to 31 of the quants, two bits each; pieces 4 to 7 the others.
fn q2_k(block: &[u8], piece: usize) -> Piece {
    let (scales, quants) = (&block[2 * piece..], &block[16 + 32 * (piece / 4)..][..32]);
    let shift = 2 * (piece % 4);
    Piece {
        d: half(&block[80..]),
        scales: [scales[0] & 15, scales[1] & 15].map(|scale| scale as i8),
        min: Some((half(&block[82..]), [scales[0] >> 4, scales[1] >> 4])),
        codes: std::array::from_fn(|k| (quants[k] >> shift & 3) as i8),
    }
}

/// 32 bytes of third bits (bit `piece` of each); 64 bytes of two bits as in [`q2_k`]; 12 bytes of scales; scale.
///
/// The 16 scales have their low four bits in bytes 0 to 7 (first eight in the low halves), their high two in bytes
/// 8 to 11. A third bit that is *not* set takes 4 off.
fn q3_k(block: &[u8], piece: usize) -> Piece {
    let (high, quants) = (&block[..32], &block[32 + 32 * (piece / 4)..][..32]);
    let scales = &block[96..108];
    let shift = 2 * (piece % 4);
    let scale = |i: usize| {
        let low = scales[i % 8] >> (4 * (i / 8)) & 15;
        (low | (scales[8 + i % 4] >> (2 * (i / 4)) & 3) << 4) as i8 - 32
    };
    let code = |k: usize| {
        let third = if high[k] >> piece & 1 == 1 { 0 } else { 4 };
        (quants[k] >> shift & 3) as i8 - third
    };
    let scales = [scale(2 * piece), scale(2 * piece + 1)];
    Piece { d: half(&block[108..]), scales, min: None, codes: std::array::from_fn(code) }
}

/// The six-bit scale and minimum of a piece of [`q4_k`] and [`q5_k`], from 12 bytes.
fn scale_and_min(bytes: &[u8], piece: usize) -> (i8, u8) {
    if piece < 4 {
        ((bytes[piece] & 63) as i8, bytes[piece + 4] & 63)
    } else {
        let (scale_high, min_high) = (bytes[piece - 4] >> 6, bytes[piece] >> 6);
        ((bytes[piece + 4] & 15 | scale_high << 4) as i8, bytes[piece + 4] >> 4 | min_high << 4)
    }
}

/// Scale of scales, scale of minima; 12 bytes of scales and minima; 128 bytes: an even piece has the low halves of 32
/// of them, the odd one after it the high halves.
fn q4_k(block: &[u8], piece: usize) -> Piece {
    let (scale, min) = scale_and_min(&block[4..16], piece);
    let (shift, quants) = (4 * (piece % 2), &block[16 + 32 * (piece / 2)..][..32]);
    Piece {
        d: half(block),
        scales: [scale; 2],
        min: Some((half(&block[2..]), [min; 2])),
        codes: std::array::from_fn(|k| (quants[k] >> shift & 15) as i8),
    }
}

/// As [`q4_k`], with 32 bytes of fifth bits (bit `piece` of each) before the 128.
fn q5_k(block: &[u8], piece: usize) -> Piece {
    let (high, quants) = (&block[16..48], &block[48 + 32 * (piece / 2)..][..32]);
    let (scale, min) = scale_and_min(&block[4..16], piece);
    let shift = 4 * (piece % 2);
    Piece {
        d: half(block),
        scales: [scale; 2],
        min: Some((half(&block[2..]), [min; 2])),
        codes: std::array::from_fn(|k| (quants[k] >> shift & 15 | (high[k] >> piece & 1) << 4) as i8),
    }
}

/// 128 bytes of low halves, 64 of high pairs, 16 signed scales, scale. In each half of the block, pieces 0 and 1 have
/// the low halves of 64 bytes, pieces 2 and 3 the high ones, and piece `i` pair `i` of 32 bytes.
fn q6_k(block: &[u8], piece: usize) -> Piece {
    let (half_idx, i) = (piece / 4, piece % 4);
    let low = &block[64 * half_idx + 32 * (i % 2)..][..32];
    let high = &block[128 + 32 * half_idx..][..32];
    let (low_shift, high_shift) = (4 * (i / 2), 2 * i);
    let scales = &block[192 + 2 * piece..];
    let code = |k: usize| (low[k] >> low_shift & 15 | (high[k] >> high_shift & 3) << 4) as i8 - 32;
    let scales = [scales[0] as i8, scales[1] as i8];
    Piece { d: half(&block[208..]), scales, min: None, codes: std::array::from_fn(code) }
}
