//! Products of activations with packed weights, tile by tile.
//!
//! Letters: T rows of x, K inner width, N outputs. A block of K that fits the cache is taken through all panels of N;
//! bias, activation and residual are applied to a tile as soon as its last block is done.

use super::isa::Isa;
use super::math;
use super::pack::Packed;
use super::tensor::{PANEL, Tensor};
use crate::engine::Epilogue;

/// Inner steps a block: a panel of B this deep and the rows of A beside it stay in the second-level cache.
const DEPTH: usize = 384;

/// A tile of a product: `c[n_rows, 32] += a[n_rows, depth] · b[depth, 32]`, or `=` for the `first` block.
pub(crate) struct Tile {
    /// Rows of the left matrix.
    pub(crate) a: *const f32,
    /// Distance of two rows of `a`.
    pub(crate) a_stride: usize,
    /// A panel of the right matrix, 32 floats a step.
    pub(crate) b: *const f32,
    /// Where the tile goes.
    pub(crate) c: *mut f32,
    /// Distance of two rows of `c`.
    pub(crate) c_stride: usize,
    /// Rows of the tile.
    pub(crate) n_rows: usize,
    /// Inner steps.
    pub(crate) depth: usize,
    /// Whether the sums start at zero instead of at `c`.
    pub(crate) first: bool,
}

/// x `[T, K]` times `w` `[K, N]` plus bias, then the epilogue: `[T, N]`.
pub(crate) fn linear(isa: Isa, x: &Tensor, w: &Packed, epilogue: &Epilogue<'_, Tensor>) -> Tensor {
    assert_eq!(x.width(), w.n_in(), "a product needs as many columns on the left as rows on the right");
    let mut y = Tensor::new(x.n_rows(), w.n_out());
    if x.n_rows() == 0 {
        return y;
    }
    let y_stride = y.stride();
    if let Epilogue::Add(residual) = epilogue {
        assert_eq!((residual.n_rows(), residual.stride()), (y.n_rows(), y_stride), "the residual has the same shape");
    }
    let blocks = w.n_in().div_ceil(DEPTH);
    for block in 0..blocks {
        let from = block * DEPTH;
        let to = w.n_in().min(from + DEPTH);
        for panel in 0..w.n_panels() {
            let b = &w.panel(panel)[from * PANEL..to * PANEL];
            let left = Rows { values: &x.values()[from..], stride: x.stride(), n_rows: x.n_rows() };
            let column = panel * PANEL;
            let mut out = RowsMut { values: &mut y.values_mut()[column..], stride: y_stride };
            product(isa, left, b, &mut out, block == 0, &mut |first_row, n_rows, out| {
                if block + 1 == blocks {
                    let bias = &w.bias()[column..][..PANEL];
                    for row in first_row..first_row + n_rows {
                        let values = &mut out.values[row * y_stride..][..PANEL];
                        match epilogue {
                            Epilogue::None => math::add(isa, values, bias),
                            Epilogue::Activate(activation) => {
                                math::add(isa, values, bias);
                                math::activate(isa, *activation, values);
                            }
                            Epilogue::Add(residual) => {
                                let residual = &residual.values()[row * y_stride + column..][..PANEL];
                                math::add_both(isa, values, bias, residual);
                            }
                        }
                    }
                }
            });
        }
    }
    y
}

/// Rows of a matrix, `stride` floats apart.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'a> {
    /// From the first value on.
    pub(crate) values: &'a [f32],
    /// Distance of two rows.
    pub(crate) stride: usize,
    /// Number of rows.
    pub(crate) n_rows: usize,
}

/// Rows of a matrix that can be written, `stride` floats apart; 32 floats of each are written.
pub(crate) struct RowsMut<'a> {
    /// From the first value on.
    pub(crate) values: &'a mut [f32],
    /// Distance of two rows.
    pub(crate) stride: usize,
}

/// One panel of a product: c `[T, 32]` (+)= a `[T, depth]` · b `[depth, 32]`; `done` sees each tile's rows.
pub(crate) fn product(
    isa: Isa,
    a: Rows<'_>,
    b: &[f32],
    c: &mut RowsMut<'_>,
    first: bool,
    done: &mut dyn FnMut(usize, usize, &mut RowsMut<'_>),
) {
    let depth = b.len() / PANEL;
    if a.n_rows == 0 {
        return;
    }
    assert!(b.len() == depth * PANEL, "a panel has 32 floats a step");
    assert!(a.values.len() >= (a.n_rows - 1) * a.stride + depth, "all rows of the left matrix are there");
    assert!(c.values.len() >= (a.n_rows - 1) * c.stride + PANEL, "all rows of the product are there");
    let most = tile_rows(isa);
    // Tiles of equal height: 256 rows are 18 tiles of 14 or 13 rows instead of 18 of 14 and one of 4.
    let n_tiles = a.n_rows.div_ceil(most);
    let mut row = 0;
    for tile_idx in 0..n_tiles {
        let n_rows = (a.n_rows - row).div_ceil(n_tiles - tile_idx);
        let tile = Tile {
            a: a.values[row * a.stride..].as_ptr(),
            a_stride: a.stride,
            b: b.as_ptr(),
            c: c.values[row * c.stride..].as_mut_ptr(),
            c_stride: c.stride,
            n_rows,
            depth,
            first,
        };
        run(isa, &tile);
        done(row, n_rows, c);
        row += n_rows;
    }
}

fn tile_rows(isa: Isa) -> usize {
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => super::kernel_x86::ROWS_AVX512,
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => super::kernel_x86::ROWS_AVX2,
        Isa::Portable => 4,
    }
}

#[expect(unsafe_code, reason = "the kernels take raw pointers; `product` has checked their bounds")]
fn run(isa: Isa, tile: &Tile) {
    match isa {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `Isa::detect` saw AVX-512F; `product` asserted that all rows and steps are within their slices.
        Isa::Avx512 => unsafe { super::kernel_x86::tile_avx512(tile) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `Isa::detect` saw AVX2 and FMA; the bounds as above.
        Isa::Avx2 => unsafe { super::kernel_x86::tile_avx2(tile) },
        // SAFETY: the bounds as above.
        Isa::Portable => unsafe { tile_portable(tile) },
    }
}

/// A tile in plain Rust, row by row.
///
/// # Safety
/// The pointers of `tile` are valid for its rows, 32 columns and `depth` steps.
#[expect(unsafe_code, reason = "the same raw tile as the vector kernels")]
unsafe fn tile_portable(tile: &Tile) {
    for row in 0..tile.n_rows {
        // SAFETY: the caller vouches for every row and step.
        let (a, b, c) = unsafe {
            (
                std::slice::from_raw_parts(tile.a.add(row * tile.a_stride), tile.depth),
                std::slice::from_raw_parts(tile.b, tile.depth * PANEL),
                std::slice::from_raw_parts_mut(tile.c.add(row * tile.c_stride), PANEL),
            )
        };
        let mut sums = [0.0f32; PANEL];
        if !tile.first {
            sums.copy_from_slice(c);
        }
        for (a, b) in a.iter().zip(b.chunks_exact(PANEL)) {
            for (sum, b) in sums.iter_mut().zip(b) {
                *sum = a.mul_add(*b, *sum);
            }
        }
        c.copy_from_slice(&sums);
    }
}

#[cfg(test)]
pub(crate) mod tests;
