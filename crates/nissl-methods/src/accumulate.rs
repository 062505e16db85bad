//! Statistics of a neuron that need one look at each row, in pieces that can be joined.

use ndarray::ArrayView2;
use nissl_core::{BLOCK_ROWS, Context, MethodError, NeuronId, RowSink};
use rayon::prelude::*;

/// Rows whose state is kept apart and then joined: long columns are accumulated in parallel.
const SEGMENT_ROWS: usize = 64 * BLOCK_ROWS;

/// A statistic of one neuron. Its state takes blocks of rows in their order, and joins the state of the rows that
/// follow; what is answered does not depend on where it was joined, beyond rounding.
///
/// All that has to do with the rows and not with a neuron (labels, words) is in the accumulator itself.
pub(crate) trait Accumulator: Send + Sync {
    /// What is known of a neuron so far.
    type State: Send;
    /// What comes of it.
    type Answer: Send;

    /// The state before the first row.
    fn start(&self) -> Self::State;

    /// Takes the next rows, at most [`BLOCK_ROWS`]; they begin at a multiple of it.
    fn update(&self, state: &mut Self::State, first_row: usize, values: &[f32]);

    /// Joins the state of the rows that follow.
    fn merge(&self, state: &mut Self::State, next: Self::State);

    /// The answer for the neuron in this column.
    fn finish(&self, column_idx: usize, state: Self::State) -> Self::Answer;

    /// Bytes that a state takes, beside its own size.
    fn state_bytes(&self) -> usize;
}

/// The answer for a column that is in memory as a whole.
pub(crate) fn of_column<A: Accumulator>(accumulator: &A, column_idx: usize, column: &[f32]) -> A::Answer {
    let segment = |(idx, values): (usize, &[f32])| {
        let mut state = accumulator.start();
        for (block, values) in values.chunks(BLOCK_ROWS).enumerate() {
            accumulator.update(&mut state, idx * SEGMENT_ROWS + block * BLOCK_ROWS, values);
        }
        state
    };
    let join = |mut state, next| {
        accumulator.merge(&mut state, next);
        state
    };
    let segments: Vec<A::State> = if column.len() > SEGMENT_ROWS {
        column.par_chunks(SEGMENT_ROWS).enumerate().map(segment).collect()
    } else {
        vec![segment((0, column))]
    };
    let state = segments.into_iter().reduce(join).unwrap_or_else(|| accumulator.start());
    accumulator.finish(column_idx, state)
}

/// Accumulates the rows of all neurons as they come.
pub(crate) struct Stream<'a, A: Accumulator, F> {
    accumulator: A,
    neurons: &'a [NeuronId],
    ctx: Context<'a>,
    n_tokens: usize,
    n_done: usize,
    /// Of each neuron the state of the segment that is being read, and that of all before it.
    states: Vec<(A::State, Option<A::State>)>,
    answer: F,
}

impl<'a, A: Accumulator, F> Stream<'a, A, F> {
    /// A stream of `n_tokens` rows; `answer` makes the result of the answers for all neurons, in their order.
    ///
    /// # Errors
    /// If the states of all neurons do not fit into the memory.
    pub(crate) fn new(
        method: &'static str,
        accumulator: A,
        (n_tokens, neurons): (usize, &'a [NeuronId]),
        ctx: Context<'a>,
        answer: F,
    ) -> Result<Self, MethodError> {
        let bytes = 2 * (size_of::<A::State>() + accumulator.state_bytes()) * neurons.len();
        if bytes > ctx.memory {
            return Err(MethodError::Parameter {
                method,
                name: "memory",
                value: format!("{} bytes", ctx.memory),
                expected: "room for the sums of all neurons: more memory, fewer neurons or fewer concepts",
            });
        }
        let states = neurons.iter().map(|_| (accumulator.start(), None)).collect();
        Ok(Self { accumulator, neurons, ctx, n_tokens, n_done: 0, states, answer })
    }
}

impl<A, F, T> RowSink<T> for Stream<'_, A, F>
where
    A: Accumulator,
    F: FnOnce(Vec<A::Answer>) -> Result<T, MethodError> + Send,
{
    fn update(&mut self, block: ArrayView2<'_, f32>) -> Result<(), MethodError> {
        let shape = |what, expected, got| {
            if expected == got { Ok(()) } else { Err(MethodError::Shape { what, expected, got }) }
        };
        if self.ctx.progress.cancelled() {
            return Err(MethodError::Cancelled);
        }
        shape("neurons of a block", self.neurons.len(), block.ncols())?;
        shape("rows of a block", BLOCK_ROWS.min(self.n_tokens - self.n_done), block.nrows())?;
        let (accumulator, first_row) = (&self.accumulator, self.n_done);
        self.n_done += block.nrows();
        let ends_segment = self.n_done.is_multiple_of(SEGMENT_ROWS);
        let columns = self.states.par_iter_mut().enumerate();
        let bad = columns.map_init(Vec::new, |copy: &mut Vec<f32>, (idx, (state, before))| {
            let column = block.column(idx);
            let values = column.to_slice().unwrap_or_else(|| {
                copy.clear();
                copy.extend(column);
                copy
            });
            if let Some(row) = first_not_finite(values) {
                return Some((idx, row, values[row]));
            }
            accumulator.update(state, first_row, values);
            if ends_segment {
                let whole = std::mem::replace(state, accumulator.start());
                match before {
                    Some(before) => accumulator.merge(before, whole),
                    None => *before = Some(whole),
                }
            }
            None
        });
        match bad.find_first(Option::is_some).flatten() {
            Some((idx, row, value)) => {
                Err(MethodError::NotFinite { neuron: self.neurons[idx], row: first_row + row, value })
            }
            None => Ok(()),
        }
    }

    fn finish(self: Box<Self>) -> Result<T, MethodError> {
        if self.n_done != self.n_tokens {
            return Err(MethodError::Shape { what: "rows", expected: self.n_tokens, got: self.n_done });
        }
        let ends_segment = self.n_done.is_multiple_of(SEGMENT_ROWS);
        let accumulator = &self.accumulator;
        let answer = |(idx, (state, before)): (usize, (A::State, Option<A::State>))| {
            let state = match before {
                Some(mut before) => {
                    // After the last row of a segment the state is that of no rows.
                    if !ends_segment {
                        accumulator.merge(&mut before, state);
                    }
                    before
                }
                None => state,
            };
            accumulator.finish(idx, state)
        };
        (self.answer)(self.states.into_par_iter().enumerate().map(answer).collect())
    }
}

/// The first value that is infinite or not a number.
pub(crate) fn first_not_finite(values: &[f32]) -> Option<usize> {
    let infinite = |value: &f32| !value.is_finite();
    let any = |chunk: &[f32]| chunk.iter().fold(false, |any, value| any | infinite(value));
    if values.chunks(64).any(any) { values.iter().position(infinite) } else { None }
}

#[cfg(test)]
mod tests;
