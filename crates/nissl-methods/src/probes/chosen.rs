//! Some columns or rows of a matrix.

use std::ops::Range;

use ndarray::{Array2, ArrayViewMut2, s};
use nissl_core::{Activations, ActivationsError, NeuronId};

/// Some neurons of a matrix, in ascending order.
pub struct ChosenNeurons<'a> {
    x: &'a dyn Activations,
    columns: Vec<usize>,
    neurons: Vec<NeuronId>,
}

impl<'a> ChosenNeurons<'a> {
    /// The neurons in these columns, each once.
    ///
    /// # Panics
    /// If there is no such column.
    pub fn new(x: &'a dyn Activations, columns: &[usize]) -> Self {
        let mut columns = columns.to_vec();
        columns.sort_unstable();
        columns.dedup();
        let neurons = columns.iter().map(|&column| x.neurons()[column]).collect();
        Self { x, columns, neurons }
    }
}

impl Activations for ChosenNeurons<'_> {
    fn n_tokens(&self) -> usize {
        self.x.n_tokens()
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
        for (place, column) in columns.enumerate() {
            let column = self.columns[column];
            self.x.read(rows.clone(), column..column + 1, out.slice_mut(s![.., place..=place]))?;
        }
        Ok(())
    }
}

/// Rows between the first and the last that are read at a time.
const SPAN: usize = 4096;

/// Some rows of a matrix, in ascending order.
pub struct ChosenRows<'a> {
    x: &'a dyn Activations,
    rows: Vec<usize>,
}

impl<'a> ChosenRows<'a> {
    /// These rows, each once.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn new(x: &'a dyn Activations, rows: &[usize]) -> Self {
        let mut rows = rows.to_vec();
        rows.sort_unstable();
        rows.dedup();
        assert!(rows.last().is_none_or(|&last| last < x.n_tokens()), "rows of the matrix");
        Self { x, rows }
    }
}

impl Activations for ChosenRows<'_> {
    fn n_tokens(&self) -> usize {
        self.rows.len()
    }

    fn neurons(&self) -> &[NeuronId] {
        self.x.neurons()
    }

    fn read(
        &self,
        rows: Range<usize>,
        columns: Range<usize>,
        mut out: ArrayViewMut2<'_, f32>,
    ) -> Result<(), ActivationsError> {
        self.check_block(&rows, &columns, out.dim())?;
        let (mut wanted, mut place) = (&self.rows[rows], 0);
        while let Some(&first) = wanted.first() {
            let (now, later) = wanted.split_at(wanted.partition_point(|&row| row < first + SPAN));
            let span = first..now[now.len() - 1] + 1;
            let mut block = Array2::zeros((span.len(), columns.len()));
            self.x.read(span, columns.clone(), block.view_mut())?;
            for &row in now {
                out.row_mut(place).assign(&block.row(row - first));
                place += 1;
            }
            wanted = later;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use nissl_core::{HookPoint, Matrix, Site, site_columns};

    use super::*;

    #[test]
    fn chosen_rows_are_those_of_the_matrix_however_far_apart() {
        let n = 3 * SPAN;
        let values = Array2::from_shape_fn((n, 3), |(row, column)| (10 * row + column) as f32);
        let x = Matrix::new(values, site_columns(&[(HookPoint::new(0, Site::MlpPost), 3)])).expect("columns of a site");
        let rows = [n - 1, 0, 5, 6, SPAN, SPAN + 5, 2 * SPAN + 7, 5];
        let few = ChosenRows::new(&x, &rows);
        assert_eq!((few.n_tokens(), few.neurons()), (7, x.neurons()));
        let mut out = Array2::zeros((5, 2));
        few.read(1..6, 1..3, out.view_mut()).expect("a block of it");
        let expected = [5, 6, SPAN, SPAN + 5, 2 * SPAN + 7];
        for (read, row) in out.outer_iter().zip(expected) {
            assert_eq!(read.to_vec(), [(10 * row + 1) as f32, (10 * row + 2) as f32]);
        }
        assert!(few.read(6..8, 0..1, Array2::zeros((2, 1)).view_mut()).is_err());
    }
}
