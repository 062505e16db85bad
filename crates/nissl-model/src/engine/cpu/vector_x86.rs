//! Vectors of floats, one trait over AVX-512 and AVX2, for kernels that are written once.

#![expect(unsafe_code, reason = "vector intrinsics on raw pointers; the caller checks every bound")]

use std::arch::x86_64::{
    __m256, __m256i, __m512, __m512i, _mm_cvtsi32_si128, _mm_loadl_epi64, _mm_loadu_si128, _mm256_and_si256,
    _mm256_castsi256_ps, _mm256_cvtepi8_epi32, _mm256_cvtepi32_ps, _mm256_cvtepu8_epi32, _mm256_cvtepu16_epi32,
    _mm256_cvtph_ps, _mm256_fmadd_ps, _mm256_fmsub_ps, _mm256_loadu_ps, _mm256_loadu_si256, _mm256_mul_ps,
    _mm256_or_si256, _mm256_set1_epi32, _mm256_set1_ps, _mm256_sll_epi32, _mm256_srl_epi32, _mm256_storeu_ps,
    _mm256_sub_epi32, _mm512_and_si512, _mm512_castsi512_ps, _mm512_cvtepi8_epi32, _mm512_cvtepi32_ps,
    _mm512_cvtepu8_epi32, _mm512_cvtepu16_epi32, _mm512_cvtph_ps, _mm512_fmadd_ps, _mm512_fmsub_ps, _mm512_loadu_ps,
    _mm512_loadu_si512, _mm512_mul_ps, _mm512_or_si512, _mm512_permutexvar_ps, _mm512_set1_epi32, _mm512_set1_ps,
    _mm512_setr_epi32, _mm512_sll_epi32, _mm512_srl_epi32, _mm512_storeu_ps, _mm512_sub_epi32,
};

/// A vector of floats. All functions need its instruction set, and pointers to what they read and write.
pub(crate) trait Vector: Copy {
    /// As many whole numbers of 32 bits.
    type Int: Copy;
    const LANES: usize;
    unsafe fn splat(value: f32) -> Self;
    unsafe fn splat_int(value: i32) -> Self::Int;
    unsafe fn store(self, to: *mut f32);
    unsafe fn mul(self, other: Self) -> Self;
    /// `code * self - min`, rounded once.
    unsafe fn scale(self, code: Self, min: Self) -> Self;
    /// `self + a * b`, rounded once.
    unsafe fn add_product(self, a: Self, b: Self) -> Self;
    unsafe fn load(from: *const f32) -> Self;
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
     $splat:ident $splat_int:ident $read:ident $store:ident $mul:ident $fmsub:ident $fmadd:ident $cvtph:ident $cvtu16:ident $cast:ident
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
            unsafe fn add_product(self, a: Self, b: Self) -> Self {
                // SAFETY: as above.
                unsafe { $fmadd(a, b, self) }
            }
            #[inline(always)]
            unsafe fn load(from: *const f32) -> Self {
                // SAFETY: as above.
                unsafe { $read(from) }
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
    _mm512_set1_ps _mm512_set1_epi32 _mm512_loadu_ps _mm512_storeu_ps _mm512_mul_ps _mm512_fmsub_ps _mm512_fmadd_ps _mm512_cvtph_ps
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
    _mm256_set1_ps _mm256_set1_epi32 _mm256_loadu_ps _mm256_storeu_ps _mm256_mul_ps _mm256_fmsub_ps _mm256_fmadd_ps _mm256_cvtph_ps
    _mm256_cvtepu16_epi32 _mm256_castsi256_ps _mm256_loadu_si256 _mm256_cvtepi8_epi32 _mm256_cvtepu8_epi32
    _mm256_and_si256 _mm256_or_si256 _mm256_sub_epi32 _mm256_srl_epi32 _mm256_sll_epi32 _mm256_cvtepi32_ps,
    |_offset| Self::splat(0.0),
    |word, offset, _table| Self::float(Self::sub(Self::and(word, Self::splat_int(15)), Self::splat_int(offset)))
}
