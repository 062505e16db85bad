//! Native panels on x86-64, decoded a vector of columns at a time; see [`super::native`] for how they are stored.
//!
//! With one row on the left a number is multiplied as soon as it is decoded, and never stored. The order of the sums is
//! that of the other kernels, so the bits are the same.

#![expect(unsafe_code, reason = "vector intrinsics on raw pointers; the caller checks every bound")]
#![expect(clippy::inline_always, reason = "the bodies are compiled once for each instruction set")]

use std::arch::x86_64::{__m256, __m512, _MM_HINT_T0, _mm_prefetch};

use super::native::{Kind, Layout, Place, Row, Scales};
use super::tensor::PANEL;
use super::vector_x86::Vector;
use crate::checkpoint::{PIECE, Quant};

/// How far behind a piece its panel is fetched meanwhile, in bytes.
const AHEAD: usize = 2048;

/// Decodes `n` inner steps of a panel from `from` on; of quantized ones whole pieces.
///
/// # Safety
/// The processor has AVX-512F; the panel has so many steps, and `out` room for 32 floats of each.
#[target_feature(enable = "avx512f")]
pub(crate) unsafe fn decode_avx512(kind: Kind, panel: *const u8, from: usize, out: *mut f32, n: usize) {
    // SAFETY: passed on from the caller.
    unsafe { decode::<__m512, 2>(kind, panel, from, out, n) }
}

/// Decodes `n` inner steps of a panel from `from` on; of quantized ones whole pieces.
///
/// # Safety
/// The processor has AVX2, FMA and F16C; the panel has so many steps, and `out` room for 32 floats of each.
#[target_feature(enable = "avx2,fma,f16c")]
pub(crate) unsafe fn decode_avx2(kind: Kind, panel: *const u8, from: usize, out: *mut f32, n: usize) {
    // SAFETY: passed on from the caller.
    unsafe { decode::<__m256, 4>(kind, panel, from, out, n) }
}

/// Multiplies one row with panels.
///
/// # Safety
/// The processor has AVX-512F; the panels have the steps of the row, and there are 32 sums of each.
#[target_feature(enable = "avx512f")]
pub(crate) unsafe fn multiply_avx512(kind: Kind, row: Row<'_>, sums: &mut [f32]) {
    // SAFETY: passed on from the caller.
    unsafe { multiply::<__m512, 4, 2>(kind, row, sums.as_mut_ptr()) }
}

/// Multiplies one row with panels.
///
/// # Safety
/// The processor has AVX2, FMA and F16C; the panels have the steps of the row, and there are 32 sums of each.
#[target_feature(enable = "avx2,fma,f16c")]
pub(crate) unsafe fn multiply_avx2(kind: Kind, row: Row<'_>, sums: &mut [f32]) {
    // SAFETY: passed on from the caller.
    unsafe { multiply::<__m256, 4, 4>(kind, row, sums.as_mut_ptr()) }
}

/// What becomes of decoded numbers.
trait Sink<V> {
    /// Takes step `k` of those that are decoded together, of one of the vectors; the steps of each come in order.
    unsafe fn take(&mut self, k: usize, vector: usize, numbers: V);
}

/// They are stored, 32 floats a step.
struct Store(*mut f32);

impl<V: Vector> Sink<V> for Store {
    #[inline(always)]
    unsafe fn take(&mut self, k: usize, vector: usize, numbers: V) {
        // SAFETY: the caller vouches for the instruction set and for the step; so in what follows.
        unsafe { numbers.store(self.0.add(k * PANEL + vector * V::LANES)) }
    }
}

/// They are multiplied with the steps of a row, and added.
struct Add<V, const N: usize> {
    values: *const f32,
    sums: [V; N],
}

impl<V: Vector, const N: usize> Sink<V> for Add<V, N> {
    #[inline(always)]
    unsafe fn take(&mut self, k: usize, vector: usize, numbers: V) {
        // SAFETY: as above.
        unsafe { self.sums[vector] = self.sums[vector].add_product(V::splat(*self.values.add(k)), numbers) }
    }
}

/// Calls a function for the planes that a layout has.
macro_rules! for_planes {
    ($layout:expr, $function:ident::<$vector:ident, $n:ident>($($arg:expr),*)) => {
        match ($layout.low, $layout.high) {
            (2, 0) => $function::<$vector, $n, 2, 0>($($arg),*),
            (2, 1) => $function::<$vector, $n, 2, 1>($($arg),*),
            (4, 0) => $function::<$vector, $n, 4, 0>($($arg),*),
            (4, 1) => $function::<$vector, $n, 4, 1>($($arg),*),
            (4, 2) => $function::<$vector, $n, 4, 2>($($arg),*),
            _ => $function::<$vector, $n, 8, 0>($($arg),*),
        }
    };
}

/// Decodes, as many vectors of columns at a time as a panel has.
#[inline(always)]
unsafe fn decode<V: Vector, const N: usize>(kind: Kind, panel: *const u8, from: usize, out: *mut f32, n: usize) {
    // SAFETY: the caller vouches for the instruction set, and for `n` steps of the panel and of `out`.
    unsafe {
        match kind {
            Kind::F32 => out.cast::<u8>().copy_from_nonoverlapping(panel.add(4 * PANEL * from), 4 * n * PANEL),
            Kind::F16 | Kind::Bf16 => sixteen::<V, N>(kind, panel.add(2 * PANEL * from), 0, n, &mut Store(out)),
            Kind::Quant(quant) => {
                let layout = Layout::of(quant);
                for_planes!(layout, decode_pieces::<V, N>(layout, quant, panel, from / PIECE, out, n / PIECE));
            }
        }
    }
}

#[inline(always)]
unsafe fn decode_pieces<V: Vector, const N: usize, const LOW: u32, const HIGH: u32>(
    layout: Layout,
    quant: Quant,
    panel: *const u8,
    first: usize,
    out: *mut f32,
    n: usize,
) {
    // SAFETY: the caller vouches for the instruction set, and for `n` pieces of the panel and of `out`.
    unsafe {
        for i in 0..n {
            let place = layout.place(quant, panel, first + i);
            fetch(place.scales.wrapping_add(AHEAD), layout.bytes_a_piece(quant));
            piece::<V, N, LOW, HIGH>(layout, place, 0, &mut Store(out.add(i * PIECE * PANEL)));
        }
    }
}

/// Multiplies, `N` vectors of columns at a time and `REST` in the end.
#[inline(always)]
unsafe fn multiply<V: Vector, const N: usize, const REST: usize>(kind: Kind, row: Row<'_>, sums: *mut f32) {
    let together = N * V::LANES / PANEL;
    // SAFETY: the caller vouches for the instruction set, the panels of `row`, and their sums.
    unsafe {
        let mut first = 0;
        while first + together <= row.n_panels {
            multiply_panels::<V, N>(kind, row, first, sums.add(first * PANEL));
            first += together;
        }
        while first < row.n_panels {
            multiply_panels::<V, REST>(kind, row, first, sums.add(first * PANEL));
            first += REST * V::LANES / PANEL;
        }
    }
}

#[inline(always)]
unsafe fn multiply_panels<V: Vector, const N: usize>(kind: Kind, row: Row<'_>, first: usize, to: *mut f32) {
    // SAFETY: the caller vouches for the instruction set, and for the panels from `first` on and their sums.
    unsafe {
        let panels = row.panels.as_ptr().add(first * row.panel_bytes);
        let mut add = Add { values: row.values.as_ptr(), sums: [V::splat(0.0); N] };
        if !row.first {
            for (vector, sum) in add.sums.iter_mut().enumerate() {
                *sum = V::load(to.add(vector * V::LANES));
            }
        }
        match kind {
            Kind::F32 => unreachable!("the tiles take 32-bit floats as they are"),
            Kind::F16 | Kind::Bf16 => {
                let panels = panels.add(2 * PANEL * row.from);
                sixteen::<V, N>(kind, panels, row.panel_bytes, row.values.len(), &mut add);
            }
            Kind::Quant(quant) => {
                let layout = Layout::of(quant);
                for_planes!(layout, multiply_pieces::<V, N>(layout, quant, row, panels, &mut add));
            }
        }
        for (vector, sum) in add.sums.iter().enumerate() {
            sum.store(to.add(vector * V::LANES));
        }
    }
}

#[inline(always)]
unsafe fn multiply_pieces<V: Vector, const N: usize, const LOW: u32, const HIGH: u32>(
    layout: Layout,
    quant: Quant,
    row: Row<'_>,
    panels: *const u8,
    add: &mut Add<V, N>,
) {
    // SAFETY: the caller vouches for the instruction set, and for the steps and panels of `row`.
    unsafe {
        let first = row.from / PIECE;
        for i in 0..row.values.len() / PIECE {
            let place = layout.place(quant, panels, first + i);
            for panel in 0..(N * V::LANES).div_ceil(PANEL) {
                fetch(place.scales.wrapping_add(panel * row.panel_bytes + AHEAD), layout.bytes_a_piece(quant));
            }
            piece::<V, N, LOW, HIGH>(layout, place, row.panel_bytes, add);
            add.values = add.values.add(PIECE);
        }
    }
}

/// Fetches what will be wanted soon: any address.
#[inline(always)]
unsafe fn fetch(from: *const u8, n_bytes: usize) {
    for line in (0..n_bytes).step_by(64) {
        // SAFETY: it is a hint, which never faults.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(from.wrapping_add(line).cast()) }
    }
}

/// `n` steps of 16-bit floats, of `N` vectors of columns in panels that lie `panel_bytes` apart.
#[inline(always)]
unsafe fn sixteen<V: Vector, const N: usize>(
    kind: Kind,
    panels: *const u8,
    panel_bytes: usize,
    n: usize,
    sink: &mut impl Sink<V>,
) {
    // SAFETY: the caller vouches for the instruction set and the steps.
    unsafe {
        for k in 0..n {
            for vector in 0..N {
                let (panel, column) = (vector * V::LANES / PANEL, vector * V::LANES % PANEL);
                let numbers = panels.add(panel * panel_bytes + 2 * (k * PANEL + column));
                if column == 0 {
                    fetch(numbers.wrapping_add(AHEAD), 2 * PANEL);
                }
                sink.take(k, vector, if kind == Kind::F16 { V::halves(numbers) } else { V::brains(numbers) });
            }
        }
    }
}

/// The 32 steps of a piece, of `N` vectors of columns in panels that lie `panel_bytes` apart.
#[inline(always)]
unsafe fn piece<V: Vector, const N: usize, const LOW: u32, const HIGH: u32>(
    layout: Layout,
    place: Place,
    panel_bytes: usize,
    sink: &mut impl Sink<V>,
) {
    let offset = i32::from(layout.offset);
    let at = |vector: usize| (place.after(vector * V::LANES / PANEL * panel_bytes), vector * V::LANES % PANEL);
    // SAFETY: the caller vouches for the instruction set, for the piece, and for what the sink does.
    unsafe {
        let table = V::table(offset);
        for half in 0..2 {
            let mut scale = [V::splat(0.0); N];
            let mut min = [V::splat(0.0); N];
            let mut high = [V::splat_int(0); N];
            for vector in 0..N {
                let (place, column) = at(vector);
                (scale[vector], min[vector]) = scales::<V>(layout, place, half, column);
                if HIGH > 0 {
                    let from = half * 16 * HIGH as usize;
                    high[vector] = V::right(word::<V>(place.high, from, column), from as u32 % 32);
                }
            }
            // Steps of which a word has the codes; codes of 8 bits come one by one.
            let together = if LOW == 8 { 16 } else { 32 / LOW as usize };
            for first in (half * 16..half * 16 + 16).step_by(together) {
                let mut low = [V::splat_int(0); N];
                for (vector, low) in low.iter_mut().enumerate() {
                    let (place, column) = at(vector);
                    if LOW < 8 {
                        *low = word::<V>(place.low, first * LOW as usize, column);
                    }
                }
                for k in first..first + together {
                    for vector in 0..N {
                        let (place, column) = at(vector);
                        let code = if LOW == 8 {
                            V::float(V::bytes(place.low.add(k * PANEL + column)))
                        } else if LOW == 4 && HIGH == 0 {
                            V::nibble(low[vector], offset, table)
                        } else {
                            let lower = V::and(low[vector], V::splat_int((1 << LOW) - 1));
                            let upper = V::and(V::left(high[vector], LOW), V::splat_int(((1 << HIGH) - 1) << LOW));
                            V::float(V::sub(V::or(lower, upper), V::splat_int(offset)))
                        };
                        sink.take(k, vector, scale[vector].scale(code, min[vector]));
                        low[vector] = V::right(low[vector], LOW);
                        high[vector] = V::right(high[vector], HIGH);
                    }
                }
            }
        }
    }
}

/// The word of each column that has bit `at` of a plane.
#[inline(always)]
unsafe fn word<V: Vector>(plane: *const u8, at: usize, column: usize) -> V::Int {
    // SAFETY: the caller vouches for the instruction set and the plane.
    unsafe { V::words(plane.add((at / 32 * PANEL + column) * 4)) }
}

/// The scales of some columns in one half of a piece, and what is taken off.
#[inline(always)]
unsafe fn scales<V: Vector>(layout: Layout, place: Place, half: usize, column: usize) -> (V, V) {
    // SAFETY: the caller vouches for the instruction set and the piece.
    unsafe {
        let d = V::halves(place.header.add(2 * column));
        let min = if layout.min { V::halves(place.header.add(2 * (PANEL + column))) } else { V::splat(0.0) };
        match layout.scales {
            Scales::One => (d, min),
            Scales::Whole => {
                let scale = V::float(V::bytes(place.scales.add(column)));
                (d.mul(scale), min.mul(V::float(V::unsigned_bytes(place.scales.add(PANEL + column)))))
            }
            Scales::Halves => (d.mul(V::float(V::bytes(place.scales.add(half * PANEL + column)))), min),
            Scales::Shared => {
                let both = V::unsigned_bytes(place.scales.add(half * PANEL + column));
                let scale = V::float(V::and(both, V::splat_int(15)));
                (d.mul(scale), min.mul(V::float(V::right(both, 4))))
            }
        }
    }
}
