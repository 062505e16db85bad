//! The matrix: rows are positions in text, columns are neurons.

use std::ops::Range;

use ndarray::{Array2, ArrayViewMut2, Axis, s};

use crate::error::ActivationsError;
use crate::neuron::NeuronId;

/// Activations of a run, in memory or on disk, `[n_tokens, n_neurons]`.
///
/// A method asks for blocks, of rows or of columns, so that none needs the whole matrix in memory.
pub trait Activations: Send + Sync {
    /// Number of rows.
    fn n_tokens(&self) -> usize;

    /// The neuron of each column, `[n_neurons]`, in ascending order.
    fn neurons(&self) -> &[NeuronId];

    /// Copies a block into `out`, `[rows.len(), columns.len()]`. Any strides will do; a store is fastest with
    /// columns contiguous (`Array2` with shape `.f()`).
    ///
    /// # Errors
    /// If the block is outside the matrix, `out` has another shape, or the block cannot be read.
    fn read(
        &self,
        rows: Range<usize>,
        columns: Range<usize>,
        out: ArrayViewMut2<'_, f32>,
    ) -> Result<(), ActivationsError>;

    /// Number of columns that are read together at no extra cost.
    fn column_block(&self) -> usize {
        16
    }

    /// Number of rows that are read together at no extra cost.
    fn row_block(&self) -> usize {
        1024
    }

    /// Checks a block and its output against the matrix; implementations call it first.
    ///
    /// # Errors
    /// [`ActivationsError::Shape`] if they do not fit.
    fn check_block(
        &self,
        rows: &Range<usize>,
        columns: &Range<usize>,
        out: (usize, usize),
    ) -> Result<(), ActivationsError> {
        let fits = |range: &Range<usize>, n: usize| range.start <= range.end && range.end <= n;
        let (n_tokens, n_neurons) = (self.n_tokens(), self.neurons().len());
        if !fits(rows, n_tokens) || !fits(columns, n_neurons) {
            return Err(ActivationsError::Shape {
                what: "block of activations",
                expected: format!("within [{n_tokens}, {n_neurons}]"),
                got: format!("rows {rows:?}, columns {columns:?}"),
            });
        }
        if out != (rows.len(), columns.len()) {
            return Err(ActivationsError::Shape {
                what: "output for a block of activations",
                expected: format!("[{}, {}]", rows.len(), columns.len()),
                got: format!("[{}, {}]", out.0, out.1),
            });
        }
        Ok(())
    }
}

/// Rows that a matrix in memory turns over together.
const TILE_ROWS: usize = 64;

/// Activations in memory, `[n_tokens, n_neurons]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Matrix {
    values: Array2<f32>,
    neurons: Vec<NeuronId>,
}

impl Matrix {
    /// Takes `values` `[n_tokens, n_neurons]` and the neuron of each column.
    ///
    /// # Errors
    /// If there are not as many neurons as columns, or they are not in ascending order.
    pub fn new(values: Array2<f32>, neurons: Vec<NeuronId>) -> Result<Self, ActivationsError> {
        if neurons.len() != values.ncols() {
            return Err(ActivationsError::Shape {
                what: "neurons of a matrix",
                expected: values.ncols().to_string(),
                got: neurons.len().to_string(),
            });
        }
        if let Some((one, next)) = neurons.iter().zip(neurons.iter().skip(1)).find(|(one, next)| one >= next) {
            return Err(ActivationsError::Shape {
                what: "neurons of a matrix",
                expected: "ascending order without repeats".to_owned(),
                got: format!("{one} before {next}"),
            });
        }
        Ok(Self { values, neurons })
    }

    /// The values, `[n_tokens, n_neurons]`.
    pub fn values(&self) -> &Array2<f32> {
        &self.values
    }
}

impl Activations for Matrix {
    fn n_tokens(&self) -> usize {
        self.values.nrows()
    }

    fn neurons(&self) -> &[NeuronId] {
        &self.neurons
    }

    fn read(
        &self,
        rows: Range<usize>,
        columns: Range<usize>,
        mut out: ArrayViewMut2<'_, f32>,
    ) -> Result<(), ActivationsError> {
        self.check_block(&rows, &columns, out.dim())?;
        let block = self.values.slice(s![rows, columns]);
        if out.strides()[0].abs() > out.strides()[1].abs() {
            out.assign(&block);
            return Ok(());
        }
        // Turned over by tiles that stay in the innermost cache.
        let tiles = out.axis_chunks_iter_mut(Axis(0), TILE_ROWS).zip(block.axis_chunks_iter(Axis(0), TILE_ROWS));
        for (mut out, block) in tiles {
            out.columns_mut().into_iter().zip(block.columns()).for_each(|(mut to, from)| to.assign(&from));
        }
        Ok(())
    }

    /// Four cache lines of a row: fewer cost as much to fetch.
    fn column_block(&self) -> usize {
        64
    }
}
