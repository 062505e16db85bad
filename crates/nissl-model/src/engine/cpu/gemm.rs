//! Products of activations with packed weights, tile by tile.
//!
//! Letters: T rows of x, K inner width, N outputs. A block of K that fits the cache is taken through all panels of N;
//! bias, activation and residual are applied to a tile as soon as its last block is done. Threads of a team share the
//! panels. However a product is cut, an output is one chain of multiply-adds over K, so its bits are the same.

use std::marker::PhantomData;
use std::ops::Range;

use super::isa::Isa;
use super::math;
use super::pack::Packed;
use super::team::Team;
use super::tensor::{PANEL, Tensor};
use crate::checkpoint::PIECE;
use crate::engine::{Activation, Epilogue};

/// Inner steps a block: a panel of B this deep and the rows of A beside it stay in the second-level cache.
const DEPTH: usize = 512;
/// Rows that are taken through all panels at a time, or somewhat fewer.
const ROWS: usize = 256;
/// Values of A that stay in the first-level cache: with few rows, a block is as deep as that allows.
const NEAR: usize = 65536;
/// Decoded values that stay in the first-level cache beside what they meet.
const DECODED: usize = 4096;
/// Floats of a cache line.
const ALIGN: usize = 16;
/// Multiplications from which on threads share a product: handing over a piece takes as long as some 20,000.
const WORTH_SHARING: usize = 100_000;
/// Panels that a thread takes at a time from a shared product.
const SHARED: usize = 4;

/// Tiles of a product: `c[n_rows, 32] += a[n_rows, depth] · b[depth, 32]` for each panel, or `=` for the `first` block.
pub(crate) struct Tile {
    /// Rows of the left matrix.
    pub(crate) a: *const f32,
    /// Distance of two rows of `a`.
    pub(crate) a_stride: usize,
    /// Panels of the right matrix, 32 floats a step.
    pub(crate) b: *const f32,
    /// Distance of two panels.
    pub(crate) b_stride: usize,
    /// Where the tiles go, side by side.
    pub(crate) c: *mut f32,
    /// Distance of two rows of `c`.
    pub(crate) c_stride: usize,
    /// Rows of the tile.
    pub(crate) n_rows: usize,
    /// Panels, at most as many as [`beside`] says.
    pub(crate) n_panels: usize,
    /// Inner steps.
    pub(crate) depth: usize,
    /// Whether the sums start at zero instead of at `c`.
    pub(crate) first: bool,
    /// What is wanted next of the right matrix, to be fetched meanwhile: any address.
    pub(crate) ahead: *const f32,
    /// Bytes of it a step.
    pub(crate) ahead_bytes: usize,
    /// What is added to every row at the end, as wide as the panels; null if the sums go on.
    pub(crate) bias: *const f32,
    /// What is added to the rows behind that, in rows of `residual_stride`; null if nothing is.
    pub(crate) residual: *const f32,
    /// Distance of two rows of it.
    pub(crate) residual_stride: usize,
}

/// x `[T, K]` times `w` `[K, N]` plus bias, then the epilogue: `[T, N]`; its panels are shared by the team.
pub(crate) fn linear(isa: Isa, team: &Team, x: &Tensor, w: &Packed, epilogue: &Epilogue<'_, Tensor>) -> Tensor {
    assert_eq!(x.width(), w.n_in(), "a product needs as many columns on the left as rows on the right");
    let mut y = Tensor::new(x.n_rows(), w.n_out());
    if x.n_rows() == 0 {
        return y;
    }
    let (activation, residual) = match *epilogue {
        Epilogue::None => (None, None),
        Epilogue::Activate(activation) => (Some(activation), None),
        Epilogue::Add(residual) => (None, Some((residual, 0))),
        Epilogue::AddRows(residual, from) => (None, Some((residual, from))),
    };
    if let Some((residual, from)) = residual {
        assert!(residual.n_rows() >= from + y.n_rows(), "the residual has these rows");
        assert_eq!(residual.stride(), y.stride(), "the residual is as wide");
    }
    let n_panels = w.n_panels();
    let n_pieces = match team.n_threads() {
        n_threads if n_threads > 1 && x.n_rows() * w.n_in() * w.n_out() > WORTH_SHARING => {
            n_panels.div_ceil(SHARED).next_multiple_of(n_threads).min(n_panels)
        }
        _ => 1,
    };
    let product = Product { isa, x, w, activation, residual };
    let (n_rows, stride) = (y.n_rows(), y.stride());
    let columns = Columns::new(y.values_mut(), stride, n_rows, n_panels);
    team.each(n_pieces, &|piece| {
        let panels = piece * n_panels / n_pieces..(piece + 1) * n_panels / n_pieces;
        #[expect(unsafe_code, reason = "threads write to the panels of one tensor, each to its own")]
        // SAFETY: pieces share no panel.
        let mut out = unsafe { columns.part(panels.clone()) };
        product.panels(panels, &mut out);
    });
    y
}

/// A product, some panels of which are computed at a time.
struct Product<'a> {
    isa: Isa,
    x: &'a Tensor,
    w: &'a Packed,
    activation: Option<Activation>,
    /// What is added, from which of its rows on.
    residual: Option<(&'a Tensor, usize)>,
}

impl Product<'_> {
    /// Computes all rows of some panels, to be left in `out`.
    fn panels(&self, panels: Range<usize>, out: &mut Columns<'_>) {
        let n_rows = self.x.n_rows();
        // Of equal height too: 2,048 rows are 8 times 256, 300 are 2 times 150.
        let n_blocks = n_rows.div_ceil(ROWS);
        for block in 0..n_blocks {
            self.rows(block * n_rows / n_blocks..(block + 1) * n_rows / n_blocks, panels.clone(), out);
        }
    }

    /// Computes some rows of some panels, to be left in `out`, which has all rows.
    fn rows(&self, rows: Range<usize>, panels: Range<usize>, out: &mut Columns<'_>) {
        let Self { isa, x, w, .. } = *self;
        let most = DEPTH.max(NEAR / rows.len() / PIECE * PIECE);
        // Blocks of equal depth: 768 steps are 2 times 384.
        let depth = w.n_in().div_ceil(w.n_in().div_ceil(most)).next_multiple_of(PIECE);
        let n_groups = panels.len().div_ceil(beside(isa, rows.len()));
        for from in (0..w.n_in()).step_by(depth) {
            let to = w.n_in().min(from + depth);
            let values = &x.values()[rows.start * x.stride() + from..];
            let a = Rows { values, stride: x.stride(), n_rows: rows.len() };
            for group in 0..n_groups {
                // Groups of equal width: 9 panels are 3 times 3 instead of 4, 4 and 1.
                let group = group * panels.len() / n_groups..(group + 1) * panels.len() / n_groups;
                let first_panel = panels.start + group.start;
                let mut out = out.within(rows.clone(), group.clone());
                let bias = &w.bias()[first_panel * PANEL..][..group.len() * PANEL];
                let residual = self.residual.map(|(residual, first_row)| {
                    let from = (first_row + rows.start) * residual.stride() + first_panel * PANEL;
                    Rows { values: &residual.values()[from..], stride: residual.stride(), n_rows: rows.len() }
                });
                let ending = (to == w.n_in()).then_some(Ending { bias, residual });
                let mut finish = |tile: Range<usize>, out: &mut Columns<'_>| {
                    if let Some(activation) = self.activation.filter(|_| ending.is_some()) {
                        tile.for_each(|row| math::activate(isa, activation, out.row(row)));
                    }
                };
                if let Some(b) = w.f32_panels(first_panel, group.len()) {
                    let b = Panels { values: &b[from * PANEL..], stride: w.n_in() * PANEL, depth: to - from };
                    tiles(isa, a, b, &mut out, from == 0, ending, &mut finish);
                } else if rows.len() == 1 && w.multiply(isa, first_panel, from, &a.values[..to - from], out.row(0)) {
                    if let Some(ending) = ending {
                        ending.add_to(isa, out.row(0));
                    }
                    finish(0..1, &mut out);
                } else {
                    self.decoded(first_panel, from..to, a, &mut out, ending, &mut finish);
                }
            }
        }
    }

    /// The inner steps `block` of some panels that are stored otherwise than the kernels take them.
    fn decoded(
        &self,
        first_panel: usize,
        block: Range<usize>,
        a: Rows<'_>,
        out: &mut Columns<'_>,
        ending: Option<Ending<'_>>,
        finish: &mut dyn FnMut(Range<usize>, &mut Columns<'_>),
    ) {
        let n = out.n_panels;
        // One tile takes each number once, soon after it was decoded; several take it from the second-level cache.
        let values = if a.n_rows <= tile_rows(self.isa) { DECODED } else { DEPTH * PANEL };
        let step = (values / PANEL / n / PIECE * PIECE).max(PIECE);
        let mut scratch = Tensor::new(1, n * step * PANEL + ALIGN);
        let start = scratch.values().as_ptr().align_offset(64).min(ALIGN);
        let scratch = &mut scratch.values_mut()[start..];
        for from in block.clone().step_by(step) {
            let to = block.end.min(from + step);
            let len = (to - from) * PANEL;
            for (panel, to) in scratch.chunks_exact_mut(len).take(n).enumerate() {
                self.w.decode(self.isa, first_panel + panel, from, to);
            }
            let a = Rows { values: &a.values[from - block.start..], ..a };
            let b = Panels { values: &scratch[..n * len], stride: len, depth: to - from };
            let last = to == block.end;
            tiles(self.isa, a, b, out, from == 0, ending.filter(|_| last), &mut |rows, out| {
                if last {
                    finish(rows, out);
                }
            });
        }
    }
}

/// What is added to the sums of some panels when they are done.
#[derive(Clone, Copy)]
struct Ending<'a> {
    /// As wide as the panels.
    bias: &'a [f32],
    /// From the first row and panel on.
    residual: Option<Rows<'a>>,
}

impl Ending<'_> {
    /// Adds it to the first row.
    fn add_to(&self, isa: Isa, row: &mut [f32]) {
        math::add(isa, row, self.bias);
        if let Some(residual) = self.residual {
            math::add(isa, row, &residual.values[..row.len()]);
        }
    }
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

/// Panels of a matrix, each `[depth, 32]`, `stride` floats apart.
#[derive(Clone, Copy)]
struct Panels<'a> {
    values: &'a [f32],
    stride: usize,
    depth: usize,
}

/// Rows of a matrix that can be written, `stride` floats apart; 32 floats of each are written.
pub(crate) struct RowsMut<'a> {
    /// From the first value on.
    pub(crate) values: &'a mut [f32],
    /// Distance of two rows.
    pub(crate) stride: usize,
}

/// All rows of some panels of a matrix that can be written, while others write to its other panels.
struct Columns<'a> {
    start: *mut f32,
    stride: usize,
    n_rows: usize,
    n_panels: usize,
    of: PhantomData<&'a mut [f32]>,
}

#[expect(unsafe_code, reason = "threads write to the panels of one tensor, each to its own")]
// SAFETY: through a shared reference nothing but `part` is to be had, whose callers vouch for what they do.
unsafe impl Sync for Columns<'_> {}

#[expect(unsafe_code, reason = "threads write to the panels of one tensor, each to its own")]
impl<'a> Columns<'a> {
    fn new(values: &'a mut [f32], stride: usize, n_rows: usize, n_panels: usize) -> Self {
        assert!(n_rows == 0 || values.len() >= (n_rows - 1) * stride + n_panels * PANEL, "all rows are there");
        Self { start: values.as_mut_ptr(), stride, n_rows, n_panels, of: PhantomData }
    }

    /// Some of the panels.
    ///
    /// # Safety
    /// No two parts that are used at the same time share a panel.
    unsafe fn part(&self, panels: Range<usize>) -> Columns<'_> {
        assert!(panels.start <= panels.end && panels.end <= self.n_panels, "a part of the panels");
        // SAFETY: the panel is within the rows, as `new` has checked.
        let start = unsafe { self.start.add(panels.start * PANEL) };
        Columns { start, n_panels: panels.len(), of: PhantomData, ..*self }
    }

    /// Some rows of some of the panels, for as long as the others are not touched.
    fn within(&mut self, rows: Range<usize>, panels: Range<usize>) -> Columns<'_> {
        assert!(rows.start < rows.end && rows.end <= self.n_rows, "a part of the rows");
        // SAFETY: the exclusive borrow lasts as long as the part.
        let part = unsafe { self.part(panels) };
        // SAFETY: the row is there, as `new` has checked.
        let start = unsafe { part.start.add(rows.start * part.stride) };
        Columns { start, n_rows: rows.len(), ..part }
    }

    /// A row of all panels.
    fn row(&mut self, row: usize) -> &mut [f32] {
        assert!(row < self.n_rows, "a row that is there");
        // SAFETY: `new` has checked that the row is there; nobody else has these panels.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(row * self.stride), self.n_panels * PANEL) }
    }
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
    assert!(b.len() == depth * PANEL, "a panel has 32 floats a step");
    let b = Panels { values: b, stride: 0, depth };
    tiles(isa, a, b, &mut Columns::new(c.values, c.stride, a.n_rows, 1), first, None, &mut |_, _| {});
    done(0, a.n_rows, c);
}

/// Panels of a product: c `[T, 32 n]` (+)= a `[T, depth]` · b, n panels `[depth, 32]`; with the `ending`, if
/// they are done; `done` sees each tile's rows.
fn tiles(
    isa: Isa,
    a: Rows<'_>,
    b: Panels<'_>,
    c: &mut Columns<'_>,
    first: bool,
    ending: Option<Ending<'_>>,
    done: &mut dyn FnMut(Range<usize>, &mut Columns<'_>),
) {
    if a.n_rows == 0 || c.n_panels == 0 {
        return;
    }
    assert!(a.values.len() >= (a.n_rows - 1) * a.stride + b.depth, "all rows of the left matrix are there");
    assert!(b.values.len() >= (c.n_panels - 1) * b.stride + b.depth * PANEL, "all panels are there");
    assert!(c.n_rows >= a.n_rows, "all rows of the product are there");
    let residual = ending.and_then(|ending| ending.residual);
    assert!(ending.is_none_or(|ending| ending.bias.len() >= c.n_panels * PANEL), "the bias is as wide");
    assert!(
        residual.is_none_or(|rows| rows.values.len() >= (a.n_rows - 1) * rows.stride + c.n_panels * PANEL),
        "all rows of the residual are there"
    );
    let most = tile_rows(isa);
    // Tiles of equal height: 256 rows are 18 tiles of 14 or 13 rows instead of 18 of 14 and one of 4.
    let n_tiles = a.n_rows.div_ceil(most);
    let mut row = 0;
    for tile_idx in 0..n_tiles {
        let n_rows = (a.n_rows - row).div_ceil(n_tiles - tile_idx);
        let tile = Tile {
            a: a.values[row * a.stride..].as_ptr(),
            a_stride: a.stride,
            b: b.values.as_ptr(),
            b_stride: b.stride,
            c: c.row(row).as_mut_ptr(),
            c_stride: c.stride,
            n_rows,
            n_panels: c.n_panels,
            depth: b.depth,
            first,
            // The next panel, a part of it with each tile.
            ahead: b.values.as_ptr().wrapping_add(c.n_panels * b.stride + tile_idx * b.depth * PANEL / n_tiles),
            ahead_bytes: (PANEL * size_of::<f32>()).div_ceil(n_tiles),
            bias: ending.map_or(std::ptr::null(), |ending| ending.bias.as_ptr()),
            residual: residual.map_or(std::ptr::null(), |residual| residual.values[row * residual.stride..].as_ptr()),
            residual_stride: residual.map_or(0, |residual| residual.stride),
        };
        run(isa, &tile);
        done(row..row + n_rows, c);
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

/// Panels that are taken together: as many as keep the multipliers busy, which few rows alone do not.
fn beside(isa: Isa, n_rows: usize) -> usize {
    match (isa, n_rows) {
        (Isa::Portable, _) => 1,
        (_, 1) => 4,
        (_, 2 | 3) => 2,
        _ => 1,
    }
}

#[expect(unsafe_code, reason = "the kernels take raw pointers; `tiles` has checked their bounds")]
fn run(isa: Isa, tile: &Tile) {
    match isa {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `Isa::detect` saw AVX-512F; `tiles` asserted that all rows, panels and steps are within their slices.
        Isa::Avx512 => unsafe { super::kernel_x86::tile_avx512(tile) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `Isa::detect` saw AVX2 and FMA; the bounds as above.
        Isa::Avx2 => unsafe { super::kernel_x86::tile_avx2(tile) },
        // SAFETY: the bounds as above.
        Isa::Portable => unsafe { tile_portable(tile) },
    }
}

/// Tiles in plain Rust, row by row.
///
/// # Safety
/// The pointers of `tile` are valid for its rows, panels and `depth` steps.
#[expect(unsafe_code, reason = "the same raw tile as the vector kernels")]
unsafe fn tile_portable(tile: &Tile) {
    for (row, panel) in (0..tile.n_rows).flat_map(|row| (0..tile.n_panels).map(move |panel| (row, panel))) {
        // SAFETY: the caller vouches for every row, panel and step.
        let (a, b, c) = unsafe {
            (
                std::slice::from_raw_parts(tile.a.add(row * tile.a_stride), tile.depth),
                std::slice::from_raw_parts(tile.b.add(panel * tile.b_stride), tile.depth * PANEL),
                std::slice::from_raw_parts_mut(tile.c.add(row * tile.c_stride + panel * PANEL), PANEL),
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
        if !tile.bias.is_null() {
            // SAFETY: as above.
            let bias = unsafe { std::slice::from_raw_parts(tile.bias.add(panel * PANEL), PANEL) };
            sums.iter_mut().zip(bias).for_each(|(sum, bias)| *sum += bias);
        }
        if !tile.residual.is_null() {
            let start = row * tile.residual_stride + panel * PANEL;
            // SAFETY: as above.
            let residual = unsafe { std::slice::from_raw_parts(tile.residual.add(start), PANEL) };
            sums.iter_mut().zip(residual).for_each(|(sum, residual)| *sum += residual);
        }
        c.copy_from_slice(&sums);
    }
}

#[cfg(test)]
pub(crate) mod tests;
