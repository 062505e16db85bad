//! Columns side by side in panels, and the sums of their products over all rows.
//!
//! A panel holds 48 columns row by row, so that a product reads memory in order. Sums over rows are of 32-bit products of
//! 256 rows, added in 64 bits: the bits do not depend on the number of threads.

use std::ops::Range;

use ndarray::{ArrayView2, ArrayViewMut2, Axis};
use rayon::prelude::*;

pub(crate) use kernel::PANEL;

mod kernel;

/// Rows whose products are summed in 32 bits.
const ROWS: usize = 256;
/// Columns of either side that a thread multiplies at a time: their sums and some rows of both stay in its cache.
pub(crate) const CELL: usize = 4 * PANEL;

/// Columns of as many rows.
pub(crate) struct Panels {
    n_rows: usize,
    n_columns: usize,
    /// `[n_panels, n_rows, 48]`; zeros behind the last column.
    values: Vec<f32>,
}

impl Panels {
    /// Columns of zeros.
    pub(crate) fn zeros(n_rows: usize, n_columns: usize) -> Self {
        Self { n_rows, n_columns, values: vec![0.0; n_columns.div_ceil(PANEL) * n_rows * PANEL] }
    }

    /// How many rows they have.
    pub(crate) fn n_rows(&self) -> usize {
        self.n_rows
    }

    /// Puts columns, `[n_rows, n]`, each contiguous, where column `first` and those behind it are; `first` begins a panel.
    pub(crate) fn put(&mut self, first: usize, columns: &ArrayView2<'_, f32>) {
        assert!(first.is_multiple_of(PANEL) && first + columns.ncols() <= self.n_columns, "panels that are there");
        if self.n_rows == 0 {
            return;
        }
        let panels = self.values.par_chunks_exact_mut(self.n_rows * PANEL).skip(first / PANEL);
        let columns: Vec<ArrayView2<'_, f32>> = columns.axis_chunks_iter(Axis(1), PANEL).collect();
        panels.zip(columns).for_each(|(panel, columns)| {
            for (block, rows) in panel.chunks_mut(ROWS * PANEL).enumerate() {
                for (place, column) in columns.axis_iter(Axis(1)).enumerate() {
                    let values = column.as_slice().expect("columns are contiguous");
                    let rows = rows.chunks_exact_mut(PANEL);
                    rows.zip(&values[block * ROWS..]).for_each(|(row, &value)| row[place] = value);
                }
            }
        });
    }

    /// Some of the columns, from the beginning of a panel on.
    pub(crate) fn columns(&self, columns: Range<usize>) -> Columns<'_> {
        assert!(columns.start.is_multiple_of(PANEL) && columns.end <= self.n_columns, "panels that are there");
        let panels = columns.start / PANEL..columns.end.div_ceil(PANEL);
        let values = &self.values[panels.start * self.n_rows * PANEL..panels.end * self.n_rows * PANEL];
        Columns { n_rows: self.n_rows, n_columns: columns.len(), values }
    }

    /// All columns.
    pub(crate) fn all(&self) -> Columns<'_> {
        self.columns(0..self.n_columns)
    }
}

/// Some columns in panels.
#[derive(Clone, Copy)]
pub(crate) struct Columns<'a> {
    n_rows: usize,
    n_columns: usize,
    values: &'a [f32],
}

impl<'a> Columns<'a> {
    /// Some rows of a panel; none if there is no such panel.
    fn rows(self, panel: usize, rows: &Range<usize>) -> Option<&'a [f32]> {
        let values = self.values.chunks_exact(self.n_rows * PANEL).nth(panel)?;
        Some(&values[rows.start * PANEL..rows.end * PANEL])
    }
}

/// Fills `out[i, j]`, `[n_columns of a, n_columns of b]`, with `value` of `Σ a[row, i] b[row, j]`.
pub(crate) fn products<T: Send>(
    a: Columns<'_>,
    b: Columns<'_>,
    mut out: ArrayViewMut2<'_, T>,
    value: impl Fn(f64) -> T + Sync,
) {
    assert_eq!(a.n_rows, b.n_rows, "products are of columns of as many rows");
    assert_eq!(out.dim(), (a.n_columns, b.n_columns), "an element for every pair of columns");
    let mut bands: Vec<_> = out.axis_chunks_iter_mut(Axis(0), CELL).enumerate().collect();
    let cells = bands.iter_mut().flat_map(|(idx, band)| {
        let first = *idx * CELL;
        band.axis_chunks_iter_mut(Axis(1), CELL).enumerate().map(move |(idx, cell)| (first, idx * CELL, cell))
    });
    let cells: Vec<_> = cells.collect();
    cells.into_par_iter().for_each(|(i, j, mut out)| {
        let mut sums = vec![0.0; CELL * CELL];
        add_cell(a, i / PANEL, b, j / PANEL, &mut sums);
        for ((i, j), out) in out.indexed_iter_mut() {
            let panels = i / PANEL * (CELL / PANEL) + j / PANEL;
            *out = value(sums[(panels * PANEL + i % PANEL) * PANEL + j % PANEL]);
        }
    });
}

/// Adds the sums of four panels of either side, as far as they are there, from panels `i` and `j` on; `sums` has those of
/// each pair of panels side by side.
fn add_cell(a: Columns<'_>, i: usize, b: Columns<'_>, j: usize, sums: &mut [f64]) {
    for first in (0..a.n_rows).step_by(ROWS) {
        let rows = first..a.n_rows.min(first + ROWS);
        for (pair, sums) in sums.chunks_exact_mut(PANEL * PANEL).enumerate() {
            let (own, other) = (i + pair / (CELL / PANEL), j + pair % (CELL / PANEL));
            if let (Some(own), Some(other)) = (a.rows(own, &rows), b.rows(other, &rows)) {
                kernel::add_products(own, other, sums);
            }
        }
    }
}
