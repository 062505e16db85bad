//! The embedding tables.

use std::ops::Range;

use ndarray::Array2;

use crate::checkpoint::{Checkpoint, Weight};
use crate::engine::Engine;

/// The embedding tables; their rows are read from the file as tokens come.
pub(crate) struct Embeddings {
    pub(super) tokens: String,
    pub(super) positions: Option<String>,
    pub(super) token_type: Option<String>,
    pub(super) width: usize,
}

impl Embeddings {
    /// The sum of the embeddings of every token, `[T, d_model]`: token, then type, then that of its position.
    pub(crate) fn embed<E: Engine>(
        &self,
        engine: &E,
        checkpoint: &Checkpoint,
        tokens: &[u32],
        positions: &[usize],
    ) -> E::Tensor {
        let table = |name: &String| self.table(checkpoint, name);
        let token_table = table(&self.tokens);
        let position_table = self.positions.as_ref().map(table);
        let type_row = self.token_type.as_ref().map(|name| {
            let mut row = vec![0.0; self.width];
            table(name).decode(0, &mut row);
            row
        });
        engine.embed(tokens.len(), self.width, &|row, values| {
            token_table.decode(tokens[row] as usize * self.width, values);
            if let Some(type_row) = &type_row {
                values.iter_mut().zip(type_row).for_each(|(value, add)| *value += add);
            }
            if let Some(table) = &position_table {
                table.add_to(positions[row] * self.width, values);
            }
        })
    }

    /// The token embeddings of some tokens, `[n_tokens, width]`.
    pub(crate) fn rows(&self, checkpoint: &Checkpoint, tokens: Range<usize>) -> Array2<f32> {
        let table = self.table(checkpoint, &self.tokens);
        let mut rows = Array2::zeros((tokens.len(), self.width));
        if let Some(values) = rows.as_slice_mut() {
            table.decode(tokens.start * self.width, values);
        }
        rows
    }

    fn table<'a>(&self, checkpoint: &'a Checkpoint, name: &str) -> Weight<'a> {
        let tensor = checkpoint.tensor(name).expect("checked when the model was loaded");
        Weight::new(tensor, &[None, Some(self.width)]).expect("checked when the model was loaded")
    }
}
