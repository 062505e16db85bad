//! The innermost loops on x86-64: tiles of a few rows and 32 columns of a product, kept in registers.
//!
//! Every element is one chain `c = fma(a[k], b[k], c)` for k ascending, then + bias, then + residual,
//! so all kernels give the same bits.

#![expect(unsafe_code, reason = "vector intrinsics on raw pointers; callers check every bound")]

use std::arch::x86_64::{
    __m256, __m512, _MM_HINT_T0, _MM_HINT_T1, _mm_prefetch, _mm256_add_ps, _mm256_fmadd_ps, _mm256_loadu_ps,
    _mm256_set1_ps, _mm256_setzero_ps, _mm256_storeu_ps, _mm512_add_ps, _mm512_fmadd_ps, _mm512_loadu_ps,
    _mm512_set1_ps, _mm512_setzero_ps, _mm512_storeu_ps,
};

use super::gemm::Tile;

/// Rows of a tile with 512-bit vectors: 28 sums, 2 columns of B and a row of A in 31 of 32 registers.
pub(crate) const ROWS_AVX512: usize = 14;
/// Rows of a tile with 256-bit vectors: 12 sums, 2 columns of B and a row of A in 15 of 16 registers.
pub(crate) const ROWS_AVX2: usize = 6;

/// Computes tiles of `1..=ROWS_AVX512` rows: 1 to 4 panels of one row, 1 or 2 of two or three rows, else 1.
///
/// # Safety
/// The processor has AVX-512F; the pointers of `tile` are valid for its rows, panels and `depth` steps.
#[target_feature(enable = "avx512f")]
pub(crate) unsafe fn tile_avx512(tile: &Tile) {
    macro_rules! dispatch {
        ($($rows:literal x $panels:literal),+) => {
            match (tile.n_rows, tile.n_panels) {
                // SAFETY: passed on from the caller.
                $(($rows, $panels) => unsafe { rows_avx512::<$rows, { 2 * $panels }>(tile) },)+
                _ => unreachable!("a tile has 1 to 14 rows, and few panels"),
            }
        };
    }
    dispatch!(
        1 x 1, 1 x 2, 1 x 3, 1 x 4, 2 x 1, 2 x 2, 3 x 1, 3 x 2, 4 x 1, 5 x 1, 6 x 1, 7 x 1, 8 x 1, 9 x 1, 10 x 1,
        11 x 1, 12 x 1, 13 x 1, 14 x 1
    );
}

/// Computes tiles of `1..=ROWS_AVX2` rows: 1 to 4 panels of one row, 1 or 2 of two or three rows, else 1.
///
/// # Safety
/// The processor has AVX2 and FMA; the pointers of `tile` are valid for its rows, panels and `depth` steps.
#[target_feature(enable = "avx2,fma")]
pub(crate) unsafe fn tile_avx2(tile: &Tile) {
    macro_rules! dispatch {
        ($($rows:literal x $panels:literal),+) => {
            match (tile.n_rows, tile.n_panels) {
                $(($rows, $panels) => {
                    // SAFETY: passed on from the caller.
                    unsafe { rows_avx2::<$rows, { 2 * $panels }>(tile, 0) }
                    // SAFETY: passed on from the caller.
                    unsafe { rows_avx2::<$rows, { 2 * $panels }>(tile, 16) }
                })+
                _ => unreachable!("a tile has 1 to 6 rows, and few panels"),
            }
        };
    }
    dispatch!(1 x 1, 1 x 2, 1 x 3, 1 x 4, 2 x 1, 2 x 2, 3 x 1, 3 x 2, 4 x 1, 5 x 1, 6 x 1);
}

/// Asks for the 128 bytes of a panel's row.
fn fetch(row: *const f32) {
    // SAFETY: fetching ahead is harmless at any address, and every x86-64 has it.
    unsafe {
        _mm_prefetch::<_MM_HINT_T0>(row.cast());
        _mm_prefetch::<_MM_HINT_T0>(row.wrapping_add(16).cast());
    }
}

#[target_feature(enable = "avx512f")]
unsafe fn rows_avx512<const ROWS: usize, const VECTORS: usize>(tile: &Tile) {
    let mut sums: [[__m512; VECTORS]; ROWS] = [[_mm512_setzero_ps(); VECTORS]; ROWS];
    // SAFETY: the caller vouches for `ROWS` rows of `a` and `c`, `depth` steps of all panels, and their columns.
    unsafe {
        let column = |vector: usize| vector / 2 * 32 + vector % 2 * 16;
        if !tile.first {
            for (row, sums) in sums.iter_mut().enumerate() {
                for (vector, sum) in sums.iter_mut().enumerate() {
                    *sum = _mm512_loadu_ps(tile.c.add(row * tile.c_stride + column(vector)));
                }
            }
        }
        if !tile.residual.is_null() {
            (0..ROWS).for_each(|row| fetch(tile.residual.wrapping_add(row * tile.residual_stride)));
        }
        let mut columns = [_mm512_setzero_ps(); VECTORS];
        let mut b = tile.b;
        for k in 0..tile.depth {
            for (vector, columns) in columns.iter_mut().enumerate() {
                *columns = _mm512_loadu_ps(b.add(vector / 2 * tile.b_stride + column(vector % 2)));
            }
            b = b.add(32);
            if ROWS > 3 {
                let ahead = tile.ahead.cast::<i8>().wrapping_add(k * tile.ahead_bytes);
                _mm_prefetch::<_MM_HINT_T1>(ahead);
                _mm_prefetch::<_MM_HINT_T1>(ahead.wrapping_add(64));
            }
            for (row, sums) in sums.iter_mut().enumerate() {
                let a = _mm512_set1_ps(*tile.a.add(row * tile.a_stride + k));
                for vector in 0..VECTORS {
                    sums[vector] = _mm512_fmadd_ps(a, columns[vector], sums[vector]);
                }
            }
        }
        if !tile.bias.is_null() {
            for vector in 0..VECTORS {
                let bias = _mm512_loadu_ps(tile.bias.add(column(vector)));
                for sums in &mut sums {
                    sums[vector] = _mm512_add_ps(sums[vector], bias);
                }
            }
        }
        if !tile.residual.is_null() {
            for (row, sums) in sums.iter_mut().enumerate() {
                for (vector, sum) in sums.iter_mut().enumerate() {
                    let residual = tile.residual.add(row * tile.residual_stride + column(vector));
                    *sum = _mm512_add_ps(*sum, _mm512_loadu_ps(residual));
                }
            }
        }
        for (row, sums) in sums.iter().enumerate() {
            for (vector, sum) in sums.iter().enumerate() {
                _mm512_storeu_ps(tile.c.add(row * tile.c_stride + column(vector)), *sum);
            }
        }
    }
}

#[target_feature(enable = "avx2,fma")]
unsafe fn rows_avx2<const ROWS: usize, const VECTORS: usize>(tile: &Tile, first_column: usize) {
    let mut sums: [[__m256; VECTORS]; ROWS] = [[_mm256_setzero_ps(); VECTORS]; ROWS];
    // SAFETY: the caller vouches for `ROWS` rows of `a` and `c`, `depth` steps of all panels, and their columns.
    unsafe {
        let column = |vector: usize| vector / 2 * 32 + vector % 2 * 8 + first_column;
        if !tile.first {
            for (row, sums) in sums.iter_mut().enumerate() {
                for (vector, sum) in sums.iter_mut().enumerate() {
                    *sum = _mm256_loadu_ps(tile.c.add(row * tile.c_stride + column(vector)));
                }
            }
        }
        if !tile.residual.is_null() {
            (0..ROWS).for_each(|row| fetch(tile.residual.wrapping_add(row * tile.residual_stride)));
        }
        let mut columns = [_mm256_setzero_ps(); VECTORS];
        let mut b = tile.b;
        for k in 0..tile.depth {
            for (vector, columns) in columns.iter_mut().enumerate() {
                *columns = _mm256_loadu_ps(b.add(vector / 2 * tile.b_stride + column(vector % 2)));
            }
            b = b.add(32);
            if ROWS > 3 {
                let ahead = tile.ahead.cast::<i8>().wrapping_add(k * tile.ahead_bytes);
                _mm_prefetch::<_MM_HINT_T1>(ahead);
                _mm_prefetch::<_MM_HINT_T1>(ahead.wrapping_add(64));
            }
            for (row, sums) in sums.iter_mut().enumerate() {
                let a = _mm256_set1_ps(*tile.a.add(row * tile.a_stride + k));
                for vector in 0..VECTORS {
                    sums[vector] = _mm256_fmadd_ps(a, columns[vector], sums[vector]);
                }
            }
        }
        if !tile.bias.is_null() {
            for vector in 0..VECTORS {
                let bias = _mm256_loadu_ps(tile.bias.add(column(vector)));
                for sums in &mut sums {
                    sums[vector] = _mm256_add_ps(sums[vector], bias);
                }
            }
        }
        if !tile.residual.is_null() {
            for (row, sums) in sums.iter_mut().enumerate() {
                for (vector, sum) in sums.iter_mut().enumerate() {
                    let residual = tile.residual.add(row * tile.residual_stride + column(vector));
                    *sum = _mm256_add_ps(*sum, _mm256_loadu_ps(residual));
                }
            }
        }
        for (row, sums) in sums.iter().enumerate() {
            for (vector, sum) in sums.iter().enumerate() {
                _mm256_storeu_ps(tile.c.add(row * tile.c_stride + column(vector)), *sum);
            }
        }
    }
}
