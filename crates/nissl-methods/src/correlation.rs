//! Correlations of columns, tile by tile.
//!
//! Sums over rows are of 32-bit products of 2,048 rows, added in 64 bits: the bits do not depend on the number of
//! threads.

use std::ops::Range;

use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayViewMut2, Axis, ShapeBuilder, s};
use nissl_core::{Activations, Context, MethodError};
use rayon::prelude::*;

use crate::groups::mean_and_deviation;

/// Rows whose products are summed in 32 bits.
const ROWS: usize = 2048;
/// Columns that a thread multiplies at a time.
pub(crate) const COLUMNS: usize = 128;
/// Columns of a tile, at most.
const WIDEST: usize = 4096;

/// Standardized columns.
pub(crate) struct Tile {
    /// Their places among all columns.
    pub(crate) columns: Range<usize>,
    /// `[n_tokens, n_columns]`, column by column; zeros where a column has one value.
    pub(crate) z: Array2<f32>,
    /// Their deviations.
    pub(crate) deviations: Vec<f64>,
}

/// Columns of a tile, so that two take half of the memory.
///
/// # Errors
/// If there is no room for a column.
pub(crate) fn tile_width(method: &'static str, n_tokens: usize, memory: usize) -> Result<usize, MethodError> {
    let width = (memory / 4 / (size_of::<f32>() * n_tokens.max(1))).min(WIDEST);
    if width == 0 {
        return Err(MethodError::Parameter {
            method,
            name: "memory",
            value: format!("{memory} bytes"),
            expected: "room for four neurons' activations at least",
        });
    }
    Ok(width)
}

/// Correlations of all pairs of columns, each pair once: `take(i, j, ρ)` for i < j, tile by tile.
///
/// # Errors
/// If memory is short of the tiles, a value is not finite, or the user stops it.
pub(crate) fn pairs(
    method: &'static str,
    x: &dyn Activations,
    ctx: Context<'_>,
    mut take: impl FnMut(usize, usize, f64),
) -> Result<(), MethodError> {
    let width = tile_width(method, x.n_tokens(), ctx.memory)?;
    let tiles = tiles(&(0..x.neurons().len()), width);
    let n_pairs = tiles.len() * (tiles.len() + 1) / 2;
    ctx.progress.stage("correlations", Some(n_pairs as u64), "pairs of tiles");
    let mut done = 0;
    for (idx, first) in tiles.iter().enumerate() {
        let a = read(x, first.clone())?;
        for second in &tiles[idx..] {
            if ctx.progress.cancelled() {
                return Err(MethodError::Cancelled);
            }
            let other;
            let b = if first == second {
                &a
            } else {
                other = read(x, second.clone())?;
                &other
            };
            let mut block = Array2::zeros((first.len(), second.len()));
            correlations(&a, b, block.view_mut());
            for ((row, column), &value) in block.indexed_iter() {
                let (i, j) = (first.start + row, second.start + column);
                if i < j {
                    take(i, j, value);
                }
            }
            done += 1;
            ctx.progress.step(done);
        }
    }
    Ok(())
}

/// Tiles of at most `width` columns.
pub(crate) fn tiles(columns: &Range<usize>, width: usize) -> Vec<Range<usize>> {
    columns.clone().step_by(width).map(|first| first..columns.end.min(first + width)).collect()
}

/// Reads and standardizes columns.
///
/// # Errors
/// If they cannot be read or a value is not finite.
pub(crate) fn read(x: &dyn Activations, columns: Range<usize>) -> Result<Tile, MethodError> {
    let n_tokens = x.n_tokens();
    let mut z = Array2::zeros((n_tokens, columns.len()).f());
    x.read(0..n_tokens, columns.clone(), z.view_mut())?;
    let standardized: Vec<Result<f64, MethodError>> = z
        .axis_iter_mut(Axis(1))
        .collect::<Vec<_>>()
        .into_par_iter()
        .enumerate()
        .map(|(place, mut column)| {
            let values = column.as_slice_mut().expect("columns are contiguous");
            if let Some(row) = values.iter().position(|value| !value.is_finite()) {
                let neuron = x.neurons()[columns.start + place];
                return Err(MethodError::NotFinite { neuron, row, value: values[row] });
            }
            let (mean, deviation) = mean_and_deviation(values);
            let scale = if deviation > 0.0 { 1.0 / deviation } else { 0.0 };
            for value in values.iter_mut() {
                *value = ((f64::from(*value) - mean) * scale) as f32;
            }
            Ok(deviation)
        })
        .collect();
    let deviations = standardized.into_iter().collect::<Result<Vec<f64>, MethodError>>()?;
    Ok(Tile { columns, z, deviations })
}

/// Puts the correlations of two tiles into `out`, `[n_columns of a, n_columns of b]`, which was zero.
pub(crate) fn correlations(a: &Tile, b: &Tile, mut out: ArrayViewMut2<'_, f64>) {
    let n_tokens = a.z.nrows();
    let chunks: Vec<_> = out.axis_chunks_iter_mut(Axis(0), COLUMNS).collect();
    chunks.into_par_iter().enumerate().for_each(|(chunk, mut out)| {
        let columns = chunk * COLUMNS..chunk * COLUMNS + out.nrows();
        let mut product = Array2::<f32>::zeros(out.dim());
        for first in (0..n_tokens).step_by(ROWS) {
            let rows = first..n_tokens.min(first + ROWS);
            let left = a.z.slice(s![rows.clone(), columns.clone()]);
            general_mat_mul(1.0, &left.t(), &b.z.slice(s![rows, ..]), 0.0, &mut product);
            out.zip_mut_with(&product, |sum, &value| *sum += f64::from(value));
        }
        out /= n_tokens as f64;
    });
}
