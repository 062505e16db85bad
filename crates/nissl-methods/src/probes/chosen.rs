//! Some columns of a matrix.

use std::ops::Range;

use ndarray::{ArrayViewMut2, s};
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
