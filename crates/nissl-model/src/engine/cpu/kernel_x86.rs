//! The innermost loops on x86-64: a tile of up to `MR` rows and 32 columns of a product, kept in registers.
//!
//! Every element is one chain `c = fma(a[k], b[k], c)` for k ascending, so all kernels give the same bits.

#![expect(unsafe_code, reason = "vector intrinsics on raw pointers; callers check every bound")]

use std::arch::x86_64::{
    __m256, __m512, _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_set1_ps, _mm256_setzero_ps, _mm256_storeu_ps,
    _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_set1_ps, _mm512_setzero_ps, _mm512_storeu_ps,
};

use super::gemm::Tile;

/// Rows of a tile with 512-bit vectors: 28 sums, 2 columns of B and a row of A in 31 of 32 registers.
pub(crate) const ROWS_AVX512: usize = 14;
/// Rows of a tile with 256-bit vectors: 12 sums, 2 columns of B and a row of A in 15 of 16 registers.
pub(crate) const ROWS_AVX2: usize = 6;

/// Computes a tile of `1..=ROWS_AVX512` rows and 32 columns.
///
/// # Safety
/// The processor has AVX-512F; the pointers of `tile` are valid for `n_rows` rows and `depth` steps.
#[target_feature(enable = "avx512f")]
pub(crate) unsafe fn tile_avx512(tile: &Tile) {
    macro_rules! dispatch {
        ($($rows:literal)+) => {
            match tile.n_rows {
                // SAFETY: passed on from the caller.
                $($rows => unsafe { rows_avx512::<$rows>(tile) },)+
                _ => unreachable!("a tile has 1 to 14 rows"),
            }
        };
    }
    dispatch!(1 2 3 4 5 6 7 8 9 10 11 12 13 14);
}

/// Computes a tile of `1..=ROWS_AVX2` rows and 32 columns.
///
/// # Safety
/// The processor has AVX2 and FMA; the pointers of `tile` are valid for `n_rows` rows and `depth` steps.
#[target_feature(enable = "avx2,fma")]
pub(crate) unsafe fn tile_avx2(tile: &Tile) {
    macro_rules! dispatch {
        ($($rows:literal)+) => {
            match tile.n_rows {
                $($rows => {
                    // SAFETY: passed on from the caller.
                    unsafe { rows_avx2::<$rows>(tile, 0) }
                    // SAFETY: passed on from the caller.
                    unsafe { rows_avx2::<$rows>(tile, 16) }
                })+
                _ => unreachable!("a tile has 1 to 6 rows"),
            }
        };
    }
    dispatch!(1 2 3 4 5 6);
}

#[target_feature(enable = "avx512f")]
unsafe fn rows_avx512<const ROWS: usize>(tile: &Tile) {
    let mut sums: [[__m512; 2]; ROWS] = [[_mm512_setzero_ps(); 2]; ROWS];
    // SAFETY: the caller vouches for `ROWS` rows of `a` and `c`, `depth` rows of `b`, and 32 columns.
    unsafe {
        if !tile.first {
            for (row, sums) in sums.iter_mut().enumerate() {
                let c = tile.c.add(row * tile.c_stride);
                *sums = [_mm512_loadu_ps(c), _mm512_loadu_ps(c.add(16))];
            }
        }
        let mut b = tile.b;
        for k in 0..tile.depth {
            let columns = [_mm512_loadu_ps(b), _mm512_loadu_ps(b.add(16))];
            b = b.add(32);
            for (row, sums) in sums.iter_mut().enumerate() {
                let a = _mm512_set1_ps(*tile.a.add(row * tile.a_stride + k));
                sums[0] = _mm512_fmadd_ps(a, columns[0], sums[0]);
                sums[1] = _mm512_fmadd_ps(a, columns[1], sums[1]);
            }
        }
        for (row, sums) in sums.iter().enumerate() {
            let c = tile.c.add(row * tile.c_stride);
            _mm512_storeu_ps(c, sums[0]);
            _mm512_storeu_ps(c.add(16), sums[1]);
        }
    }
}

#[target_feature(enable = "avx2,fma")]
unsafe fn rows_avx2<const ROWS: usize>(tile: &Tile, column: usize) {
    let mut sums: [[__m256; 2]; ROWS] = [[_mm256_setzero_ps(); 2]; ROWS];
    // SAFETY: the caller vouches for `ROWS` rows of `a` and `c`, `depth` rows of `b`, and 32 columns.
    unsafe {
        if !tile.first {
            for (row, sums) in sums.iter_mut().enumerate() {
                let c = tile.c.add(row * tile.c_stride + column);
                *sums = [_mm256_loadu_ps(c), _mm256_loadu_ps(c.add(8))];
            }
        }
        let mut b = tile.b.add(column);
        for k in 0..tile.depth {
            let columns = [_mm256_loadu_ps(b), _mm256_loadu_ps(b.add(8))];
            b = b.add(32);
            for (row, sums) in sums.iter_mut().enumerate() {
                let a = _mm256_set1_ps(*tile.a.add(row * tile.a_stride + k));
                sums[0] = _mm256_fmadd_ps(a, columns[0], sums[0]);
                sums[1] = _mm256_fmadd_ps(a, columns[1], sums[1]);
            }
        }
        for (row, sums) in sums.iter().enumerate() {
            let c = tile.c.add(row * tile.c_stride + column);
            _mm256_storeu_ps(c, sums[0]);
            _mm256_storeu_ps(c.add(8), sums[1]);
        }
    }
}
