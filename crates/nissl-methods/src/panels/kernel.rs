//! The innermost loop of products of columns: sums over some rows of the products of two panels, in registers.

#![expect(unsafe_code, reason = "vector intrinsics on raw pointers, whose bounds are checked first")]

/// Columns of a panel.
pub(crate) const PANEL: usize = 48;

/// Adds `Σ a[row, i] b[row, j]` to `sums[i, j]`, `[48, 48]`: the products of two panels `[n_rows, 48]`, summed over their
/// rows in 32 bits.
pub(super) fn add_products(a: &[f32], b: &[f32], sums: &mut [f64]) {
    assert!(a.len() == b.len() && a.len().is_multiple_of(PANEL), "two panels have as many rows, each of 48 columns");
    assert_eq!(sums.len(), PANEL * PANEL, "a sum for every pair of columns");
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx512f") {
        // SAFETY: the processor has the instructions, and the panels are as long as each other.
        return unsafe { avx512(a, b, sums) };
    } else if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        // SAFETY: as above.
        return unsafe { avx2(a, b, sums) };
    }
    portable(a, b, sums);
}

/// A kernel whose tiles are `$rows` columns of a by three vectors of `$lanes` columns of b.
#[cfg(target_arch = "x86_64")]
macro_rules! kernel {
    ($name:ident, $features:literal, $rows:literal, $lanes:literal, $zero:ident $load:ident $splat:ident $fma:ident $store:ident) => {
        /// # Safety
        /// The processor has the instructions; the panels have as many rows as each other.
        #[target_feature(enable = $features)]
        unsafe fn $name(a: &[f32], b: &[f32], sums: &mut [f64]) {
            use std::arch::x86_64::{$fma, $load, $splat, $store, $zero};
            const VECTORS: usize = 3;
            const WIDTH: usize = VECTORS * $lanes;
            for (i, j) in (0..PANEL).step_by(WIDTH).flat_map(|j| (0..PANEL).step_by($rows).map(move |i| (i, j))) {
                let mut tile = [[$zero(); VECTORS]; $rows];
                let (mut left, mut right) = (a.as_ptr().wrapping_add(i), b.as_ptr().wrapping_add(j));
                for _ in 0..a.len() / PANEL {
                    // SAFETY: both stand in a row of their panel, `i` and `j` columns from its first, and `$rows` and
                    // `WIDTH` divide the panel's 48.
                    unsafe {
                        let columns = [$load(right), $load(right.add($lanes)), $load(right.add(2 * $lanes))];
                        for (row, tile) in tile.iter_mut().enumerate() {
                            let value = $splat(*left.add(row));
                            for vector in 0..VECTORS {
                                tile[vector] = $fma(value, columns[vector], tile[vector]);
                            }
                        }
                    }
                    (left, right) = (left.wrapping_add(PANEL), right.wrapping_add(PANEL));
                }
                for (row, tile) in tile.iter().enumerate() {
                    let mut values = [[0.0_f32; $lanes]; VECTORS];
                    for (values, &vector) in values.iter_mut().zip(tile) {
                        // SAFETY: as many values as a vector has.
                        unsafe { $store(values.as_mut_ptr(), vector) };
                    }
                    let sums = &mut sums[(i + row) * PANEL + j..][..WIDTH];
                    sums.iter_mut().zip(values.as_flattened()).for_each(|(sum, &value)| *sum += f64::from(value));
                }
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
kernel!(avx512, "avx512f", 8, 16, _mm512_setzero_ps _mm512_loadu_ps _mm512_set1_ps _mm512_fmadd_ps _mm512_storeu_ps);
#[cfg(target_arch = "x86_64")]
kernel!(avx2, "avx2,fma", 4, 8, _mm256_setzero_ps _mm256_loadu_ps _mm256_set1_ps _mm256_fmadd_ps _mm256_storeu_ps);

/// Four columns of a by eight of b at a time.
fn portable(a: &[f32], b: &[f32], sums: &mut [f64]) {
    for (i, j) in (0..PANEL).step_by(4).flat_map(|i| (0..PANEL).step_by(8).map(move |j| (i, j))) {
        let mut tile = [[0.0_f32; 8]; 4];
        for (a, b) in a.chunks_exact(PANEL).zip(b.chunks_exact(PANEL)) {
            let others: &[f32; 8] = b[j..].first_chunk().expect("8 divides the panel's 48");
            for (sums, value) in tile.iter_mut().zip(&a[i..]) {
                sums.iter_mut().zip(others).for_each(|(sum, other)| *sum += value * other);
            }
        }
        for (row, values) in tile.iter().enumerate() {
            let sums = &mut sums[(i + row) * PANEL + j..][..8];
            sums.iter_mut().zip(values).for_each(|(sum, &value)| *sum += f64::from(value));
        }
    }
}

#[cfg(test)]
mod tests;
