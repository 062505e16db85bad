//! Panels of weights that stay as they are stored: 16-bit floats, and quantized numbers.
//!
//! A panel of 32 columns is a row of blocks of 1, 32 or 256 inner steps. A quantized block has the 32 columns' scales
//! side by side, then pieces of 32 steps: their scales of 8 bits, then their codes, cut into a plane of the low 2, 4 or
//! 8 bits and one of the 1 or 2 bits above. A plane is rows of 32 words of 32 bits, one a column, each with the codes
//! of the next 32, 16, 8 or 4 steps from the lowest bits on; codes of 8 bits are rows of 32 bytes. So a panel is as
//! large as what it is made of, up to 4% (a scale of 6 bits takes 8).
//!
//! Decoded they are the numbers of [`crate::checkpoint::Piece`], to the last bit: every product is exact in 32 bits.

use half::{bf16, f16};

use super::isa::Isa;
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

/// A row, and panels that it is multiplied with.
#[derive(Clone, Copy)]
pub(crate) struct Row<'a> {
    /// Panels of one kind, one behind the other.
    pub(crate) panels: &'a [u8],
    /// Bytes of a panel.
    pub(crate) panel_bytes: usize,
    /// Number of panels.
    pub(crate) n_panels: usize,
    /// The first inner step.
    pub(crate) from: usize,
    /// The row from there on; with quantized panels whole pieces.
    pub(crate) values: &'a [f32],
    /// Whether the sums start at zero.
    pub(crate) first: bool,
}

/// How the scales of a piece are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scales {
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
    pub(crate) low: u32,
    /// Bits of the upper plane.
    pub(crate) high: u32,
    /// What is added to a code so that none is negative; nothing to those of 8 bits.
    pub(crate) offset: i8,
    /// The scales of a piece.
    pub(crate) scales: Scales,
    /// Whether something is taken off.
    pub(crate) min: bool,
}

/// Where a piece is.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    /// The 16-bit scales of its block.
    pub(crate) header: *const u8,
    /// Its own scales.
    pub(crate) scales: *const u8,
    /// Its lower plane.
    pub(crate) low: *const u8,
    /// Its upper plane.
    pub(crate) high: *const u8,
}

impl Place {
    /// The same place in a panel that many bytes behind.
    #[inline]
    pub(crate) fn after(self, bytes: usize) -> Self {
        Self {
            header: self.header.wrapping_add(bytes),
            scales: self.scales.wrapping_add(bytes),
            low: self.low.wrapping_add(bytes),
            high: self.high.wrapping_add(bytes),
        }
    }
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

    /// Bytes of a piece.
    fn piece_bytes(self) -> usize {
        self.scale_bytes() + Self::plane_bytes(self.low) + Self::plane_bytes(self.high)
    }

    fn block_bytes(self, quant: Quant) -> usize {
        self.header_bytes() + quant.block_len() / PIECE * self.piece_bytes()
    }

    /// Bytes from one piece to the next, on average.
    pub(crate) fn bytes_a_piece(self, quant: Quant) -> usize {
        self.block_bytes(quant) * PIECE / quant.block_len()
    }

    /// Where a piece of a panel is.
    pub(crate) fn place(self, quant: Quant, panel: *const u8, piece_idx: usize) -> Place {
        let pieces = quant.block_len() / PIECE;
        let header = panel.wrapping_add(piece_idx / pieces * self.block_bytes(quant));
        let scales = header.wrapping_add(self.header_bytes() + piece_idx % pieces * self.piece_bytes());
        let low = scales.wrapping_add(self.scale_bytes());
        Place { header, scales, low, high: low.wrapping_add(Self::plane_bytes(self.low)) }
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

/// One row times panels of `n_in` inner steps: `sums[32 n_panels] += values · panels`, or `=` for the `first` steps. Each
/// sum is one chain over the steps. False, and nothing done, where there is no kernel for it.
#[cfg_attr(target_arch = "x86_64", expect(unsafe_code, reason = "the kernels take raw pointers"))]
pub(crate) fn multiply(isa: Isa, kind: Kind, n_in: usize, row: Row<'_>, sums: &mut [f32]) -> bool {
    let n = row.values.len();
    assert!(row.panel_bytes == kind.panel_bytes(n_in) && row.from + n <= n_in, "a panel has its steps");
    assert!(row.panels.len() >= row.n_panels * row.panel_bytes, "all panels are there");
    assert!(sums.len() >= row.n_panels * PANEL, "there is room for the sums");
    check_pieces(kind, n_in, row.from, n);
    match (isa, kind) {
        #[cfg(target_arch = "x86_64")]
        (Isa::Avx512, Kind::F16 | Kind::Bf16 | Kind::Quant(_)) => {
            // SAFETY: `Isa::detect` saw AVX-512F; steps, panels and sums were counted above.
            unsafe { super::native_x86::multiply_avx512(kind, row, sums) }
        }
        #[cfg(target_arch = "x86_64")]
        (Isa::Avx2, Kind::F16 | Kind::Bf16 | Kind::Quant(_)) => {
            // SAFETY: `Isa::detect` saw AVX2, FMA and F16C; steps, panels and sums were counted above.
            unsafe { super::native_x86::multiply_avx2(kind, row, sums) }
        }
        _ => return false,
    }
    true
}

fn check_pieces(kind: Kind, n_in: usize, from: usize, n: usize) {
    assert!(n_in.is_multiple_of(kind.block_len()), "a panel has whole blocks");
    assert!(
        kind.block_len() == 1 || (from.is_multiple_of(PIECE) && n.is_multiple_of(PIECE)),
        "whole pieces are decoded"
    );
}

/// The numbers of a panel of `n_in` inner steps from `from` on, `[out.len() / 32, 32]`; of quantized ones whole pieces.
#[expect(unsafe_code, reason = "the kernels take raw pointers")]
pub(crate) fn decode(isa: Isa, kind: Kind, panel: &[u8], n_in: usize, from: usize, out: &mut [f32]) {
    let n = out.len() / PANEL;
    assert!(from + n <= n_in && panel.len() >= kind.panel_bytes(n_in), "a panel has its steps");
    check_pieces(kind, n_in, from, n);
    match isa {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `Isa::detect` saw AVX-512F; the panel has the steps.
        Isa::Avx512 => unsafe { super::native_x86::decode_avx512(kind, panel.as_ptr(), from, out.as_mut_ptr(), n) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `Isa::detect` saw AVX2, FMA and F16C; the panel has the steps.
        Isa::Avx2 => unsafe { super::native_x86::decode_avx2(kind, panel.as_ptr(), from, out.as_mut_ptr(), n) },
        Isa::Portable => decode_portable(kind, panel, from, out),
    }
}

fn decode_portable(kind: Kind, panel: &[u8], from: usize, out: &mut [f32]) {
    match kind {
        Kind::F32 => each(&panel[4 * PANEL * from..], out, f32::from_ne_bytes),
        Kind::F16 => each(&panel[2 * PANEL * from..], out, |bytes| f16::from_le_bytes(bytes).to_f32()),
        Kind::Bf16 => each(&panel[2 * PANEL * from..], out, |bytes| bf16::from_le_bytes(bytes).to_f32()),
        Kind::Quant(quant) => pieces(quant, panel, from, out),
    }
}

fn each<const N: usize>(bytes: &[u8], out: &mut [f32], convert: impl Fn([u8; N]) -> f32) {
    out.iter_mut().zip(bytes.as_chunks().0).for_each(|(out, bytes)| *out = convert(*bytes));
}

fn pieces(quant: Quant, panel: &[u8], from: usize, out: &mut [f32]) {
    let layout = Layout::of(quant);
    let per_block = quant.block_len() / PIECE;
    for (i, out) in out.chunks_exact_mut(PIECE * PANEL).enumerate() {
        let piece_idx = from / PIECE + i;
        let block = &panel[piece_idx / per_block * layout.block_bytes(quant)..][..layout.block_bytes(quant)];
        let (header, block) = block.split_at(layout.header_bytes());
        let piece = &block[piece_idx % per_block * layout.piece_bytes()..][..layout.piece_bytes()];
        let (scales, planes) = piece.split_at(layout.scale_bytes());
        let (low, high) = planes.split_at(Layout::plane_bytes(layout.low));
        for (half, out) in out.chunks_exact_mut(16 * PANEL).enumerate() {
            let (scale, min) = scales_of(layout, header, scales, half);
            for (k, out) in out.chunks_exact_mut(PANEL).enumerate() {
                let k = 16 * half + k;
                for (column, ((out, scale), min)) in out.iter_mut().zip(&scale).zip(&min).enumerate() {
                    let mut code = bits(low, layout.low, k, column);
                    if layout.high > 0 {
                        code |= bits(high, layout.high, k, column) << layout.low;
                    }
                    let value = f32::from(code as i8 - layout.offset) * scale;
                    *out = if layout.min { value - min } else { value };
                }
            }
        }
    }
}

/// The code in a plane, the inverse of [`put_bits`].
fn bits(plane: &[u8], bits: u32, k: usize, column: usize) -> u8 {
    if bits == 8 {
        return plane[k * PANEL + column];
    }
    let at = k * bits as usize;
    plane[(at / 32 * PANEL + column) * 4 + at % 32 / 8] >> (at % 8) & ((1 << bits) - 1)
}

/// The scales of the 32 columns in one half of a piece, and what is taken off.
fn scales_of(layout: Layout, header: &[u8], scales: &[u8], half: usize) -> ([f32; PANEL], [f32; PANEL]) {
    let (mut scale, mut min) = ([0.0; PANEL], [0.0; PANEL]);
    each(header, &mut scale, |bytes| f16::from_le_bytes(bytes).to_f32());
    if layout.min {
        each(&header[2 * PANEL..], &mut min, |bytes| f16::from_le_bytes(bytes).to_f32());
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
