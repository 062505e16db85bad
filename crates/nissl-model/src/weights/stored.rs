//! Rows and columns of a matrix as it lies in the checkpoint.

use std::ops::Range;

use ndarray::{Array1, Array2};
use nissl_core::Linear;

use crate::checkpoint::Weight;

/// Some outputs of a matrix `[n_out, n_in]`, however it is stored.
pub(super) struct Stored<'a> {
    pub(super) weight: Weight<'a>,
    /// Whether it is stored `[n_in, n_out]`.
    pub(super) transposed: bool,
    /// The output that is the first one here, where several matrices are stored as one.
    pub(super) first: usize,
    /// The outputs of the matrix in the order in which they are used, where it is another.
    pub(super) order: &'a [usize],
    /// The biases of all outputs that are stored.
    pub(super) bias: Option<Vec<f32>>,
}

impl Stored<'_> {
    /// The weights of some outputs, `[n_units, n_in]`, and their biases.
    pub(super) fn outputs(&self, units: Range<usize>) -> Linear {
        let units = units.start + self.first..units.end + self.first;
        if !self.order.is_empty() {
            return self.chosen(&self.order[units]);
        }
        let bias = self.bias.as_ref().map(|bias| Array1::from(bias[units.clone()].to_vec()));
        Linear { weights: self.side(units, self.transposed), bias }
    }

    /// The weights of outputs anywhere in the matrix, and their biases.
    fn chosen(&self, outputs: &[usize]) -> Linear {
        let bias = self.bias.as_ref().map(|bias| outputs.iter().map(|&output| bias[output]).collect());
        let n_in = self.weight.shape()[usize::from(!self.transposed)];
        let mut weights = Array2::zeros((outputs.len(), n_in));
        for (&output, mut row) in outputs.iter().zip(weights.rows_mut()) {
            row.assign(&self.side(output..output + 1, self.transposed).row(0));
        }
        Linear { weights, bias }
    }

    /// The weights of some inputs, `[n_units, n_out]`, and the biases of all outputs.
    pub(super) fn inputs(&self, units: Range<usize>) -> Linear {
        Linear { weights: self.side(units, !self.transposed), bias: self.bias.clone().map(Array1::from) }
    }

    /// Rows of the matrix as it is stored, or columns of it as rows.
    fn side(&self, units: Range<usize>, as_columns: bool) -> Array2<f32> {
        let (n_rows, n_columns) = (self.weight.shape()[0], self.weight.shape()[1]);
        if as_columns {
            let mut turned = Array2::zeros((n_rows, units.len()));
            for (row, mut values) in turned.rows_mut().into_iter().enumerate() {
                let values = values.as_slice_mut().expect("rows of a fresh array are contiguous");
                self.weight.decode(row * n_columns + units.start, values);
            }
            return turned.reversed_axes().as_standard_layout().into_owned();
        }
        let mut values = Array2::zeros((units.len(), n_columns));
        if let Some(values) = values.as_slice_mut() {
            self.weight.decode(units.start * n_columns, values);
        }
        values
    }
}
