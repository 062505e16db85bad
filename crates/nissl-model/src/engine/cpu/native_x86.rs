//! Decoding of native panels on x86-64, a vector of columns at a time; see [`super::native`] for how they are stored.

#![expect(unsafe_code, reason = "vector intrinsics on raw pointers; the caller checks every bound")]
#![expect(clippy::inline_always, reason = "the bodies are compiled once for each instruction set")]

use std::arch::x86_64::{
    __m256, __m256i, __m512, __m512i, _MM_HINT_T0, _mm_cvtsi32_si128, _mm_loadl_epi64, _mm_loadu_si128, _mm_prefetch,
    _mm256_and_si256, _mm256_castsi256_ps, _mm256_cvtepi8_epi32, _mm256_cvtepi32_ps, _mm256_cvtepu8_epi32,
    _mm256_cvtepu16_epi32, _mm256_cvtph_ps, _mm256_fmsub_ps, _mm256_loadu_si256, _mm256_mul_ps, _mm256_or_si256,
    _mm256_set1_epi32, _mm256_set1_ps, _mm256_sll_epi32, _mm256_srl_epi32, _mm256_storeu_ps, _mm256_sub_epi32,
    _mm512_and_si512, _mm512_castsi512_ps, _mm512_cvtepi8_epi32, _mm512_cvtepi32_ps, _mm512_cvtepu8_epi32,
    _mm512_cvtepu16_epi32, _mm512_cvtph_ps, _mm512_fmsub_ps, _mm512_loadu_si512, _mm512_mul_ps, _mm512_or_si512,
    _mm512_permutexvar_ps, _mm512_set1_epi32, _mm512_set1_ps, _mm512_setr_epi32, _mm512_sll_epi32, _mm512_srl_epi32,
    _mm512_storeu_ps, _mm512_sub_epi32,
};

use super::native::{Kind, Layout, Place, Scales};
use super::tensor::PANEL;
use crate::checkpoint::PIECE;

/// How far behind a piece its panel is fetched meanwhile, in bytes.
const AHEAD: usize = 2048;

/// Decodes `n` inner steps of a panel from `from` on; of quantized ones whole pieces.
///
/// # Safety
/// The processor has AVX-512F; the panel has so many steps, and `out` room for 32 floats of each.
#[target_feature(enable = "avx512f")]
pub(crate) unsafe fn decode_avx512(kind: Kind, panel: *const u8, from: usize, out: *mut f32, n: usize) {
    // SAFETY: passed on from the caller.
    unsafe { decode::<__m512>(kind, panel, from, out, n) }
}

/// Decodes `n` inner steps of a panel from `from` on; of quantized ones whole pieces.
///
/// # Safety
/// The processor has AVX2, FMA and F16C; the panel has so many steps, and `out` room for 32 floats of each.
#[target_feature(enable = "avx2,fma,f16c")]
pub(crate) unsafe fn decode_avx2(kind: Kind, panel: *const u8, from: usize, out: *mut f32, n: usize) {
    // SAFETY: passed on from the caller.
    unsafe { decode::<__m256>(kind, panel, from, out, n) }
}

/// A vector of floats. All functions need its instruction set, and pointers to what they read and write.
trait Vector: Copy {
    /// As many whole numbers of 32 bits.
    type Int: Copy;
    const LANES: usize;
    unsafe fn splat(value: f32) -> Self;
    unsafe fn splat_int(value: i32) -> Self::Int;
    unsafe fn store(self, to: *mut f32);
    unsafe fn mul(self, other: Self) -> Self;
    /// `code * self - min`, rounded once.
    unsafe fn scale(self, code: Self, min: Self) -> Self;
    /// 16-bit floats.
    unsafe fn halves(from: *const u8) -> Self;
    /// Upper halves of floats.
    unsafe fn brains(from: *const u8) -> Self;
    unsafe fn words(from: *const u8) -> Self::Int;
    unsafe fn bytes(from: *const u8) -> Self::Int;
    unsafe fn unsigned_bytes(from: *const u8) -> Self::Int;
    unsafe fn and(a: Self::Int, b: Self::Int) -> Self::Int;
    unsafe fn or(a: Self::Int, b: Self::Int) -> Self::Int;
    unsafe fn sub(a: Self::Int, b: Self::Int) -> Self::Int;
    unsafe fn right(a: Self::Int, bits: u32) -> Self::Int;
    unsafe fn left(a: Self::Int, bits: u32) -> Self::Int;
    unsafe fn float(a: Self::Int) -> Self;
    /// What the lowest four bits, less `offset`, are looked up in, or nothing.
    unsafe fn table(offset: i32) -> Self;
    /// The lowest four bits, less `offset`.
    unsafe fn nibble(word: Self::Int, offset: i32, table: Self) -> Self;
}

macro_rules! vector {
    ($vector:ty, $int:ty, $lanes:literal, $half:ident, $quarter:ident,
     $splat:ident $splat_int:ident $store:ident $mul:ident $fmsub:ident $cvtph:ident $cvtu16:ident $cast:ident
     $load:ident $cvt8:ident $cvtu8:ident $and:ident $or:ident $sub:ident $srl:ident $sll:ident $float:ident,
     |$offset:ident| $table:expr, |$word:ident, $less:ident, $lookup:ident| $nibble:expr) => {
        impl Vector for $vector {
            type Int = $int;
            const LANES: usize = $lanes;
            #[inline(always)]
            unsafe fn splat(value: f32) -> Self {
                // SAFETY: the caller vouches for the instruction set; so in all that follows.
                unsafe { $splat(value) }
            }
            #[inline(always)]
            unsafe fn splat_int(value: i32) -> $int {
                // SAFETY: as above.
                unsafe { $splat_int(value) }
            }
            #[inline(always)]
            unsafe fn store(self, to: *mut f32) {
                // SAFETY: as above, and for the pointers; so in all that follows.
                unsafe { $store(to, self) }
            }
            #[inline(always)]
            unsafe fn mul(self, other: Self) -> Self {
                // SAFETY: as above.
                unsafe { $mul(self, other) }
            }
            #[inline(always)]
            unsafe fn scale(self, code: Self, min: Self) -> Self {
                // SAFETY: as above.
                unsafe { $fmsub(code, self, min) }
            }
            #[inline(always)]
            unsafe fn halves(from: *const u8) -> Self {
                // SAFETY: as above.
                unsafe { $cvtph($half(from.cast())) }
            }
            #[inline(always)]
            unsafe fn brains(from: *const u8) -> Self {
                // SAFETY: as above.
                unsafe { $cast(Self::left($cvtu16($half(from.cast())), 16)) }
            }
            #[inline(always)]
            unsafe fn words(from: *const u8) -> $int {
                // SAFETY: as above.
                unsafe { $load(from.cast()) }
            }
            #[inline(always)]
            unsafe fn bytes(from: *const u8) -> $int {
                // SAFETY: as above.
                unsafe { $cvt8($quarter(from.cast())) }
            }
            #[inline(always)]
            unsafe fn unsigned_bytes(from: *const u8) -> $int {
                // SAFETY: as above.
                unsafe { $cvtu8($quarter(from.cast())) }
            }
            #[inline(always)]
            unsafe fn and(a: $int, b: $int) -> $int {
                // SAFETY: as above.
                unsafe { $and(a, b) }
            }
            #[inline(always)]
            unsafe fn or(a: $int, b: $int) -> $int {
                // SAFETY: as above.
                unsafe { $or(a, b) }
            }
            #[inline(always)]
            unsafe fn sub(a: $int, b: $int) -> $int {
                // SAFETY: as above.
                unsafe { $sub(a, b) }
            }
            #[inline(always)]
            unsafe fn right(a: $int, bits: u32) -> $int {
                // SAFETY: as above.
                unsafe { $srl(a, _mm_cvtsi32_si128(bits as i32)) }
            }
            #[inline(always)]
            unsafe fn left(a: $int, bits: u32) -> $int {
                // SAFETY: as above.
                unsafe { $sll(a, _mm_cvtsi32_si128(bits as i32)) }
            }
            #[inline(always)]
            unsafe fn float(a: $int) -> Self {
                // SAFETY: as above.
                unsafe { $float(a) }
            }
            #[inline(always)]
            unsafe fn table($offset: i32) -> Self {
                // SAFETY: as above.
                unsafe { $table }
            }
            #[inline(always)]
            unsafe fn nibble($word: $int, $less: i32, $lookup: Self) -> Self {
                // SAFETY: as above.
                unsafe { $nibble }
            }
        }
    };
}

vector! {
    __m512, __m512i, 16, _mm256_loadu_si256, _mm_loadu_si128,
    _mm512_set1_ps _mm512_set1_epi32 _mm512_storeu_ps _mm512_mul_ps _mm512_fmsub_ps _mm512_cvtph_ps
    _mm512_cvtepu16_epi32 _mm512_castsi512_ps _mm512_loadu_si512 _mm512_cvtepi8_epi32 _mm512_cvtepu8_epi32
    _mm512_and_si512 _mm512_or_si512 _mm512_sub_epi32 _mm512_srl_epi32 _mm512_sll_epi32 _mm512_cvtepi32_ps,
    |offset| {
        let codes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
        Self::float(Self::sub(codes, Self::splat_int(offset)))
    },
    |word, _offset, table| _mm512_permutexvar_ps(word, table)
}

vector! {
    __m256, __m256i, 8, _mm_loadu_si128, _mm_loadl_epi64,
    _mm256_set1_ps _mm256_set1_epi32 _mm256_storeu_ps _mm256_mul_ps _mm256_fmsub_ps _mm256_cvtph_ps
    _mm256_cvtepu16_epi32 _mm256_castsi256_ps _mm256_loadu_si256 _mm256_cvtepi8_epi32 _mm256_cvtepu8_epi32
    _mm256_and_si256 _mm256_or_si256 _mm256_sub_epi32 _mm256_srl_epi32 _mm256_sll_epi32 _mm256_cvtepi32_ps,
    |_offset| Self::splat(0.0),
    |word, offset, _table| Self::float(Self::sub(Self::and(word, Self::splat_int(15)), Self::splat_int(offset)))
}

#[inline(always)]
unsafe fn decode<V: Vector>(kind: Kind, panel: *const u8, from: usize, out: *mut f32, n: usize) {
    let numbers = (0..n * PANEL).step_by(V::LANES);
    // SAFETY: the caller vouches for the instruction set, and for `n` steps of the panel and of `out`.
    unsafe {
        let sixteen = panel.add(2 * PANEL * from);
        match kind {
            Kind::F32 => {
                out.cast::<u8>().copy_from_nonoverlapping(panel.add(4 * PANEL * from), 4 * n * PANEL);
            }
            Kind::F16 => numbers.for_each(|i| V::halves(sixteen.add(2 * i)).store(out.add(i))),
            Kind::Bf16 => numbers.for_each(|i| V::brains(sixteen.add(2 * i)).store(out.add(i))),
            Kind::Quant(quant) => {
                let layout = Layout::of(quant);
                for i in 0..n / PIECE {
                    let place = layout.place(quant, panel, from / PIECE + i);
                    for line in (0..layout.piece_bytes()).step_by(64) {
                        _mm_prefetch::<_MM_HINT_T0>(place.scales.wrapping_add(AHEAD + line).cast());
                    }
                    let out = out.add(i * PIECE * PANEL);
                    match (layout.low, layout.high) {
                        (2, 0) => piece::<V, 2, 0>(layout, place, out),
                        (2, 1) => piece::<V, 2, 1>(layout, place, out),
                        (4, 0) => piece::<V, 4, 0>(layout, place, out),
                        (4, 1) => piece::<V, 4, 1>(layout, place, out),
                        (4, 2) => piece::<V, 4, 2>(layout, place, out),
                        _ => piece::<V, 8, 0>(layout, place, out),
                    }
                }
            }
        }
    }
}

#[inline(always)]
unsafe fn piece<V: Vector, const LOW: u32, const HIGH: u32>(layout: Layout, place: Place, out: *mut f32) {
    let offset = i32::from(layout.offset);
    // SAFETY: the caller vouches for the instruction set, for the piece, and for 32 steps of `out`.
    unsafe {
        let table = V::table(offset);
        for half in 0..2 {
            for column in (0..PANEL).step_by(V::LANES) {
                let (scale, min) = scales::<V>(layout, place, half, column);
                let out = out.add(half * 16 * PANEL + column);
                if LOW == 8 {
                    let codes = place.low.add(half * 16 * PANEL + column);
                    for k in 0..16 {
                        let code = V::float(V::bytes(codes.add(k * PANEL)));
                        scale.scale(code, min).store(out.add(k * PANEL));
                    }
                    continue;
                }
                let word = |plane: *const u8, at: usize| V::words(plane.add((at / 32 * PANEL + column) * 4));
                let mut high = V::splat_int(0);
                if HIGH > 0 {
                    let at = half * 16 * HIGH as usize;
                    high = V::right(word(place.high, at), at as u32 % 32);
                }
                for first in (0..16).step_by(32 / LOW as usize) {
                    let mut low = word(place.low, (half * 16 + first) * LOW as usize);
                    for k in first..first + 32 / LOW as usize {
                        let code = if LOW == 4 && HIGH == 0 {
                            V::nibble(low, offset, table)
                        } else {
                            let lower = V::and(low, V::splat_int((1 << LOW) - 1));
                            let upper = V::and(V::left(high, LOW), V::splat_int(((1 << HIGH) - 1) << LOW));
                            V::float(V::sub(V::or(lower, upper), V::splat_int(offset)))
                        };
                        scale.scale(code, min).store(out.add(k * PANEL));
                        low = V::right(low, LOW);
                        high = V::right(high, HIGH);
                    }
                }
            }
        }
    }
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
