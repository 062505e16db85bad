//! Runs a function over every column of a matrix: in blocks, in parallel, within a memory budget.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use ndarray::{ArrayViewMut2, ShapeBuilder};
use nissl_core::{Activations, Context, MethodError};
use rayon::prelude::*;

use crate::accumulate::{Accumulator, first_not_finite, of_column};

/// What a thread reads at once, at most: it should stay in cache until every column of it is done.
const BLOCK_BYTES: usize = 2 << 20;

/// A method's pass over all columns.
pub(crate) struct ColumnPass<'a> {
    /// The matrix.
    pub(crate) x: &'a dyn Activations,
    /// Memory and progress.
    pub(crate) ctx: Context<'a>,
    /// The method, for errors.
    pub(crate) method: &'static str,
    /// What the user is told that is going on.
    pub(crate) stage: &'static str,
    /// Bytes a row that each thread needs beside the block it reads.
    pub(crate) scratch_per_row: usize,
}

impl ColumnPass<'_> {
    /// Calls `map` with the index and the values `[n_tokens]` of every column and returns its answers in order.
    ///
    /// Each thread has a scratch of its own, made by `init`. A column's answer depends on nothing but the column, so
    /// the result has the same bits whatever the number of threads and the memory.
    ///
    /// # Errors
    /// Of the first column, in order, that has one: a value that is not finite, or what `map` returns. Or if memory
    /// is short of one column, the matrix cannot be read, or the user stops it.
    pub(crate) fn map<T: Send, S>(
        &self,
        init: impl Fn() -> S + Send + Sync,
        map: impl Fn(&mut S, usize, &[f32]) -> Result<T, MethodError> + Send + Sync,
    ) -> Result<Vec<T>, MethodError> {
        let (n_tokens, n_neurons) = (self.x.n_tokens(), self.x.neurons().len());
        let layout = self.layout(rayon::current_num_threads())?;
        let blocks: Vec<Range<usize>> =
            (0..n_neurons).step_by(layout.width).map(|first| first..n_neurons.min(first + layout.width)).collect();
        self.ctx.progress.stage(self.stage, Some(n_neurons as u64), "neurons");
        let done = AtomicU64::new(0);
        let block = |(scratch, buffer): &mut (S, Vec<f32>), columns: &Range<usize>| {
            if self.ctx.progress.cancelled() {
                return Err(MethodError::Cancelled);
            }
            buffer.resize(n_tokens * columns.len(), 0.0);
            let view = ArrayViewMut2::from_shape((n_tokens, columns.len()).f(), buffer)
                .expect("the buffer was just given this size");
            self.x.read(0..n_tokens, columns.clone(), view)?;
            let answers = columns.clone().enumerate().map(|(place, column)| {
                let values = &buffer[place * n_tokens..(place + 1) * n_tokens];
                self.check_finite(column, values)?;
                map(scratch, column, values)
            });
            let answers = answers.collect::<Result<Vec<T>, MethodError>>()?;
            let before = done.fetch_add(columns.len() as u64, Ordering::Relaxed);
            self.ctx.progress.step(before + columns.len() as u64);
            Ok(answers)
        };
        let mut answers = Vec::with_capacity(n_neurons);
        for wave in blocks.chunks(layout.blocks_at_once) {
            let of_wave: Vec<Result<Vec<T>, MethodError>> =
                wave.par_iter().map_init(|| (init(), Vec::new()), block).collect();
            for of_block in of_wave {
                answers.extend(of_block?);
            }
        }
        Ok(answers)
    }

    /// The answers of an accumulator for every column, in order; as [`ColumnPass::map`].
    pub(crate) fn accumulate<A: Accumulator>(&self, accumulator: &A) -> Result<Vec<A::Answer>, MethodError> {
        self.map(|| (), |(), column_idx, column| Ok(of_column(accumulator, column_idx, column)))
    }

    fn check_finite(&self, column: usize, values: &[f32]) -> Result<(), MethodError> {
        match first_not_finite(values) {
            Some(row) => Err(MethodError::NotFinite { neuron: self.x.neurons()[column], row, value: values[row] }),
            None => Ok(()),
        }
    }

    fn layout(&self, n_threads: usize) -> Result<Layout, MethodError> {
        let n_tokens = self.x.n_tokens().max(1);
        let column = n_tokens * size_of::<f32>();
        let scratch = n_tokens * self.scratch_per_row;
        let n_workers = n_threads.min(self.ctx.memory / (column + scratch));
        if n_workers == 0 {
            return Err(MethodError::Parameter {
                method: self.method,
                name: "memory",
                value: format!("{} bytes", self.ctx.memory),
                expected: "room for at least one neuron's activations and scratch space",
            });
        }
        let fits = (self.ctx.memory / n_workers - scratch) / column;
        let natural = self.x.column_block().max(1);
        // Whole blocks of the matrix, as many as stay in cache; several blocks a thread, so that none waits long.
        let in_cache = (BLOCK_BYTES / column / natural * natural).max(natural);
        let share = (self.x.neurons().len() / (4 * n_threads) / natural * natural).max(natural);
        Ok(Layout {
            width: fits.min(in_cache).min(share),
            // Rayon may run all tasks of a wave at once: where memory allows fewer, the wave is shorter.
            blocks_at_once: if n_workers < n_threads { n_workers } else { usize::MAX },
        })
    }
}

struct Layout {
    /// Columns a block.
    width: usize,
    /// Blocks that may be in memory together.
    blocks_at_once: usize,
}

#[cfg(test)]
mod tests;
