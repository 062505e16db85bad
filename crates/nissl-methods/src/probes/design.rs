//! The matrix that probes are fitted on: chosen rows, columns standardized by those that are fitted on.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use ndarray::{ArrayView2, ArrayViewMut2, ShapeBuilder};
use nissl_core::{Activations, Context, MethodError};
use rayon::prelude::*;

use crate::columns::ColumnPass;
use crate::groups::mean_and_deviation;
use crate::random::mix;

/// Columns that are worked on at once. Fixed, since the order of sums must not depend on the memory.
pub(crate) const PIECE: usize = 32;

/// Chosen rows of a matrix with standardized columns, in memory where they fit, else read again at every pass.
pub(crate) struct Design<'a> {
    x: &'a dyn Activations,
    ctx: Context<'a>,
    method: &'static str,
    rows: Vec<usize>,
    n_fit: usize,
    /// Mean and one over the deviation of each column over the rows that are fitted on; (0, 0) if it is constant.
    scales: Vec<(f64, f64)>,
    /// Pieces of [`PIECE`] columns, each `[n_rows, columns]` column by column.
    held: Option<Vec<Vec<f32>>>,
}

/// Mean and one over the deviation; `(mean, 0)` for a constant column.
fn scale(fit: &[f32]) -> (f64, f64) {
    let (mean, deviation) = mean_and_deviation(fit);
    (mean, if deviation > 0.0 { 1.0 / deviation } else { 0.0 })
}

impl<'a> Design<'a> {
    /// Takes rows of `x`; the first `n_fit` of them are those that are fitted on.
    ///
    /// # Errors
    /// If a value is not finite, memory is short of one piece of columns, the matrix cannot be read, or the user stops
    /// it.
    pub(crate) fn new(
        x: &'a dyn Activations,
        ctx: Context<'a>,
        method: &'static str,
        rows: Vec<usize>,
        n_fit: usize,
    ) -> Result<Self, MethodError> {
        let n_neurons = x.neurons().len();
        // The rest is for a working set of neurons.
        let fits = rows.len() * n_neurons * size_of::<f32>() <= ctx.memory / 5 * 3;
        let mut design = Self { x, ctx, method, rows, n_fit, scales: vec![(0.0, 0.0); n_neurons], held: None };
        ctx.progress.stage("standardizing activations", Some(n_neurons as u64), "neurons");
        let done = AtomicU64::new(0);
        let read = design.waves(design.n_pieces(), |piece| {
            let columns = design.columns(piece);
            let mut raw = Vec::new();
            design.read_raw(columns.clone(), &mut raw)?;
            design.check_finite(&columns, &raw)?;
            let mut values = design.gather(columns.len(), &raw);
            let scales: Vec<(f64, f64)> =
                values.chunks_mut(design.rows.len().max(1)).map(|column| scale(&column[..design.n_fit])).collect();
            let before = done.fetch_add(columns.len() as u64, Ordering::Relaxed);
            ctx.progress.step(before + columns.len() as u64);
            if fits {
                standardize(&mut values, design.rows.len(), &scales);
            } else {
                values = Vec::new();
            }
            Ok((scales, values))
        })?;
        let mut held = Vec::new();
        for (piece, (scales, values)) in read.into_iter().enumerate() {
            let columns = design.columns(piece);
            design.scales[columns].copy_from_slice(&scales);
            held.push(values);
        }
        design.held = fits.then_some(held);
        Ok(design)
    }

    /// Number of rows.
    pub(crate) fn n_rows(&self) -> usize {
        self.rows.len()
    }

    /// Number of rows that are fitted on; they are the first.
    pub(crate) fn n_fit(&self) -> usize {
        self.n_fit
    }

    /// Whether the matrix is in memory.
    pub(crate) fn is_held(&self) -> bool {
        self.held.is_some()
    }

    /// Number of columns.
    pub(crate) fn n_columns(&self) -> usize {
        self.scales.len()
    }

    /// Mean and one over the deviation of each column; 0 for a constant one.
    pub(crate) fn scales(&self) -> &[(f64, f64)] {
        &self.scales
    }

    /// The columns with one value in every row that is fitted on.
    pub(crate) fn constant(&self) -> Vec<bool> {
        self.scales.iter().map(|&(_, inverse)| inverse == 0.0).collect()
    }

    /// Memory and progress.
    pub(crate) fn ctx(&self) -> Context<'a> {
        self.ctx
    }

    /// Whether to stop.
    ///
    /// # Errors
    /// [`MethodError::Cancelled`] if so.
    pub(crate) fn go_on(&self) -> Result<(), MethodError> {
        if self.ctx.progress.cancelled() { Err(MethodError::Cancelled) } else { Ok(()) }
    }

    /// Number of pieces.
    pub(crate) fn n_pieces(&self) -> usize {
        self.n_columns().div_ceil(PIECE)
    }

    /// The columns of a piece.
    pub(crate) fn columns(&self, piece: usize) -> Range<usize> {
        piece * PIECE..self.n_columns().min((piece + 1) * PIECE)
    }

    /// Calls `map` with the values of every piece, `[n_rows, columns]` column by column; answers in order.
    ///
    /// # Errors
    /// If the matrix cannot be read or the user stops it.
    pub(crate) fn map_pieces<T: Send>(
        &self,
        map: impl Fn(Range<usize>, &[f32]) -> T + Send + Sync,
    ) -> Result<Vec<T>, MethodError> {
        self.waves(self.n_pieces(), |piece| Ok(map(self.columns(piece), &self.piece(piece)?)))
    }

    /// The values of a piece, `[n_rows, columns]` column by column.
    pub(crate) fn piece(&self, piece: usize) -> Result<Cow<'_, [f32]>, MethodError> {
        if let Some(held) = &self.held {
            return Ok(Cow::Borrowed(&held[piece]));
        }
        let columns = self.columns(piece);
        let mut raw = Vec::new();
        self.read_raw(columns.clone(), &mut raw)?;
        let mut values = self.gather(columns.len(), &raw);
        standardize(&mut values, self.rows.len(), &self.scales[columns]);
        Ok(Cow::Owned(values))
    }

    /// The values of some columns, `[n_rows, columns]` column by column.
    pub(crate) fn gathered(&self, columns: &[usize]) -> Result<Cow<'_, [f32]>, MethodError> {
        if let (&[column], Some(held)) = (columns, &self.held) {
            let n = self.rows.len();
            return Ok(Cow::Borrowed(&held[column / PIECE][column % PIECE * n..(column % PIECE + 1) * n]));
        }
        let is_piece = |piece: usize| self.columns(piece).eq(columns.iter().copied());
        if let Some(piece) = columns.first().map(|first| first / PIECE).filter(|&piece| is_piece(piece)) {
            return self.piece(piece);
        }
        let n = self.rows.len();
        let mut values = Vec::with_capacity(n * columns.len());
        let mut raw = Vec::new();
        for &column in columns {
            if let Some(held) = &self.held {
                let place = (column % PIECE) * n;
                values.extend_from_slice(&held[column / PIECE][place..place + n]);
            } else {
                self.read_raw(column..column + 1, &mut raw)?;
                let mut one = self.gather(1, &raw);
                standardize(&mut one, n, &self.scales[column..=column]);
                values.extend(one);
            }
        }
        Ok(Cow::Owned(values))
    }

    /// Runs `task` for every number below `n`, as many at once as memory allows; answers in order.
    fn waves<T: Send>(
        &self,
        n: usize,
        task: impl Fn(usize) -> Result<T, MethodError> + Send + Sync,
    ) -> Result<Vec<T>, MethodError> {
        let at_once = if self.held.is_some() {
            usize::MAX
        } else {
            let bytes = self.x.n_tokens().max(1) * PIECE.min(self.n_columns().max(1)) * size_of::<f32>();
            if bytes > self.ctx.memory {
                return Err(MethodError::Parameter {
                    method: self.method,
                    name: "memory",
                    value: format!("{} bytes", self.ctx.memory),
                    expected: "room for 32 neurons' activations at least",
                });
            }
            (self.ctx.memory / (2 * bytes)).clamp(1, rayon::current_num_threads())
        };
        let mut answers = Vec::with_capacity(n);
        let all: Vec<usize> = (0..n).collect();
        for wave in all.chunks(at_once.min(n).max(1)) {
            self.go_on()?;
            let of_wave: Vec<Result<T, MethodError>> = wave.par_iter().map(|&idx| task(idx)).collect();
            for answer in of_wave {
                answers.push(answer?);
            }
        }
        Ok(answers)
    }

    fn read_raw(&self, columns: Range<usize>, raw: &mut Vec<f32>) -> Result<(), MethodError> {
        let n = self.x.n_tokens();
        raw.resize(n * columns.len(), 0.0);
        let view = ArrayViewMut2::from_shape((n, columns.len()).f(), raw).expect("the buffer was just given this size");
        Ok(self.x.read(0..n, columns, view)?)
    }

    fn gather(&self, n_columns: usize, raw: &[f32]) -> Vec<f32> {
        let n = self.x.n_tokens();
        let column = |column: usize| self.rows.iter().map(move |&row| raw[column * n + row]);
        (0..n_columns).flat_map(column).collect()
    }

    fn check_finite(&self, columns: &Range<usize>, raw: &[f32]) -> Result<(), MethodError> {
        let Some(place) = raw.iter().position(|value| !value.is_finite()) else { return Ok(()) };
        let n = self.x.n_tokens();
        let neuron = self.x.neurons()[columns.start + place / n];
        Err(MethodError::NotFinite { neuron, row: place % n, value: raw[place] })
    }
}

fn standardize(values: &mut [f32], n_rows: usize, scales: &[(f64, f64)]) {
    for (column, &(mean, inverse)) in values.chunks_mut(n_rows.max(1)).zip(scales) {
        for value in column {
            *value = ((*value as f64 - mean) * inverse) as f32;
        }
    }
}

/// A matrix `[n_rows, columns]` whose columns lie one behind the other.
pub(crate) fn view(values: &[f32], n_rows: usize) -> ArrayView2<'_, f32> {
    let columns = values.len().checked_div(n_rows).unwrap_or(0);
    ArrayView2::from_shape((n_rows, columns).f(), values).expect("whole columns")
}

/// A number for each row that depends on its values alone, not on the order of rows or columns.
///
/// # Errors
/// As [`ColumnPass::map`].
pub(crate) fn row_keys(x: &dyn Activations, ctx: Context<'_>, method: &'static str) -> Result<Vec<u64>, MethodError> {
    let keys: Vec<AtomicU64> = (0..x.n_tokens()).map(|_| AtomicU64::new(0)).collect();
    let pass = ColumnPass { x, ctx, method, stage: "telling rows apart", scratch_per_row: 0 };
    pass.map(
        || (),
        |(), _, column| {
            for (key, value) in keys.iter().zip(column) {
                // Adding 0 makes -0 the same as 0.
                key.fetch_add(mix(u64::from((value + 0.0).to_bits())), Ordering::Relaxed);
            }
            Ok(())
        },
    )?;
    if x.neurons().is_empty() {
        return Ok((0..keys.len() as u64).collect());
    }
    Ok(keys.into_iter().map(AtomicU64::into_inner).collect())
}
