//! Correlations of columns, tile by tile.

use std::ops::Range;

use ndarray::{Array2, ArrayViewMut2, Axis, ShapeBuilder, s};
use nissl_core::{Activations, MethodError};
use rayon::prelude::*;

use crate::groups::mean_and_deviation;
use crate::panels::{CELL, Panels, products};

#[cfg(test)]
mod tests;

/// Columns that a thread multiplies at a time.
pub(crate) const COLUMNS: usize = 128;

/// Standardized columns.
pub(crate) struct Tile {
    /// `[n_tokens, n_columns]`, column by column; zeros where a column has one value.
    pub(crate) z: Array2<f32>,
    /// Their deviations.
    pub(crate) deviations: Vec<f64>,
}

/// Standardized columns, as products are fastest.
pub(crate) struct Packed {
    /// Their places among all columns.
    pub(crate) columns: Range<usize>,
    /// Zeros where a column has one value.
    pub(crate) panels: Panels,
    /// Their deviations.
    pub(crate) deviations: Vec<f64>,
}

/// Columns of a tile, `n_bytes` each, so that three have room in memory: two, and what is made of them.
///
/// # Errors
/// If there is no room for a column.
pub(crate) fn tile_width(method: &'static str, n_bytes: usize, memory: usize) -> Result<usize, MethodError> {
    let width = memory / 3 / n_bytes.max(1);
    if width == 0 {
        return Err(MethodError::Parameter {
            method,
            name: "memory",
            value: format!("{memory} bytes"),
            expected: "room for three neurons' activations at least",
        });
    }
    Ok(width)
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
    let mut z = Array2::zeros((x.n_tokens(), columns.len()).f());
    let deviations = standardize(x, columns, z.view_mut())?;
    Ok(Tile { z, deviations })
}

/// Reads, standardizes and packs columns.
///
/// # Errors
/// If they cannot be read or a value is not finite.
pub(crate) fn pack(x: &dyn Activations, columns: Range<usize>) -> Result<Packed, MethodError> {
    let n_tokens = x.n_tokens();
    let mut panels = Panels::zeros(n_tokens, columns.len());
    let mut deviations = Vec::with_capacity(columns.len());
    let mut z = Array2::zeros((n_tokens, columns.len().min(CELL)).f());
    for part in tiles(&columns, CELL) {
        let mut z = z.slice_mut(s![.., ..part.len()]);
        let first = part.start - columns.start;
        deviations.extend(standardize(x, part, z.view_mut())?);
        panels.put(first, &z.view());
    }
    Ok(Packed { columns, panels, deviations })
}

/// Reads columns into `z`, `[n_tokens, n_columns]`, column by column, and standardizes them; returns their deviations.
fn standardize(
    x: &dyn Activations,
    columns: Range<usize>,
    mut z: ArrayViewMut2<'_, f32>,
) -> Result<Vec<f64>, MethodError> {
    x.read(0..x.n_tokens(), columns.clone(), z.view_mut())?;
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
    standardized.into_iter().collect()
}

/// Puts the correlations of two tiles into `out`, `[n_columns of a, n_columns of b]`.
pub(crate) fn correlations(a: &Packed, b: &Packed, out: ArrayViewMut2<'_, f64>) {
    let n_tokens = a.panels.n_rows() as f64;
    products(a.panels.all(), b.panels.all(), out, |sum| sum / n_tokens);
}

/// `value` of the correlation of each column with each, `[n_columns, n_columns]`, and the deviations of the columns. Two
/// tiles of `width` columns are in memory at a time; `step` is told how many pairs of columns are done, and may stop it.
///
/// # Errors
/// If a column cannot be read, a value is not finite, or `step` says so.
pub(crate) fn correlation_matrix<T: Copy + Default + Send + Sync>(
    x: &dyn Activations,
    columns: &Range<usize>,
    width: usize,
    value: impl Fn(f64) -> T + Sync,
    step: &mut dyn FnMut(usize) -> Result<(), MethodError>,
) -> Result<(Array2<T>, Vec<f64>), MethodError> {
    let n = columns.len();
    let mut out = Array2::from_elem((n, n), T::default());
    let mut deviations = Vec::with_capacity(n);
    let tiles = tiles(columns, width);
    let n_tokens = x.n_tokens() as f64;
    let value = |sum: f64| value(sum / n_tokens);
    let mut done = 0;
    for (idx, first) in tiles.iter().enumerate() {
        let a = pack(x, first.clone())?;
        for second in &tiles[idx..] {
            let other = if first == second { None } else { Some(pack(x, second.clone())?) };
            let b = other.as_ref().unwrap_or(&a);
            for rows in self::tiles(&(0..first.len()), CELL) {
                // Below the diagonal is what is above it.
                let from = if first == second { rows.start } else { 0 };
                let to = (first.start - columns.start + rows.start, second.start - columns.start);
                let (height, end) = (rows.len(), second.len());
                let block = out.slice_mut(s![to.0..to.0 + height, to.1 + from..to.1 + end]);
                products(a.panels.columns(rows), b.panels.columns(from..end), block, value);
                done += height * (end - from);
                step(done)?;
            }
        }
        deviations.extend(a.deviations);
    }
    mirror(&mut out);
    Ok((out, deviations))
}

/// Copies what is above the diagonal of a square matrix below it.
fn mirror<T: Copy + Send + Sync>(square: &mut Array2<T>) {
    let n = square.nrows();
    for rows in tiles(&(0..n), CELL) {
        let (above, mut below) = square.view_mut().split_at(Axis(0), rows.start);
        let mut band = below.slice_mut(s![..rows.len(), ..rows.start]);
        let blocks: Vec<_> =
            band.axis_chunks_iter_mut(Axis(1), CELL).zip(above.axis_chunks_iter(Axis(0), CELL)).collect();
        blocks.into_par_iter().for_each(|(mut block, above)| block.assign(&above.slice(s![.., rows.clone()]).t()));
        for row in rows.clone() {
            for column in rows.start..row {
                square[[row, column]] = square[[column, row]];
            }
        }
    }
}
