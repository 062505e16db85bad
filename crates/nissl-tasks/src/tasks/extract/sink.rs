//! Where captured values go while they are in cache: aggregated to rows, converted, written to their place.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use ndarray::{ArrayView2, s};
use nissl_core::{CaptureSink, ModelError};
use nissl_data::{Aggregation, aggregate};
use nissl_store::{Dtype, Values};

use super::prepare::Input;

/// The values of one site for the rows of a batch, `[n_rows, width]`, as the store keeps them.
pub(crate) enum Buffer {
    Bits16(Vec<u16>),
    F32(Vec<f32>),
}

impl Buffer {
    pub(crate) fn new(dtype: Dtype) -> Self {
        if dtype.size() == 4 { Self::F32(Vec::new()) } else { Self::Bits16(Vec::new()) }
    }

    fn resize(&mut self, n_values: usize) {
        match self {
            Self::Bits16(bits) => bits.resize(n_values, 0),
            Self::F32(values) => values.resize(n_values, 0.0),
        }
    }

    pub(crate) fn values(&self) -> Values<'_> {
        match self {
            Self::Bits16(bits) => Values::Bits16(bits),
            Self::F32(values) => Values::F32(values),
        }
    }
}

/// A row of a buffer.
enum RowOut<'a> {
    Bits16(&'a mut [u16]),
    F32(&'a mut [f32]),
}

/// What becomes of the values of a batch.
#[derive(Clone, Copy)]
pub(crate) struct Target<'a> {
    /// Rows of the batch.
    pub(crate) n_rows: usize,
    /// Width of each captured site.
    pub(crate) widths: &'a [usize],
    /// How the tokens of a row become one.
    pub(crate) how: Aggregation,
    /// How values are kept.
    pub(crate) dtype: Dtype,
}

/// Receives the captures of one batch.
pub(crate) struct Sink<'a> {
    inputs: &'a [Input],
    how: Aggregation,
    dtype: Dtype,
    /// The rows of each input, `[n_captures * n_inputs]`. Every input of a capture comes once, so no lock is ever
    /// waited for; they hand the rows out without unsafe code.
    rows: Vec<Mutex<Vec<RowOut<'a>>>>,
}

impl<'a> Sink<'a> {
    /// A sink for the inputs of a batch. Row `r` of an input is row `first_row + r` of the batch.
    ///
    /// # Panics
    /// If two inputs claim one row.
    pub(crate) fn new(inputs: &'a [Input], first_row: &[usize], target: Target<'_>, buffers: &'a mut [Buffer]) -> Self {
        let Target { n_rows, widths, how, dtype } = target;
        let mut rows = Vec::with_capacity(buffers.len() * inputs.len());
        for (buffer, &width) in buffers.iter_mut().zip(widths) {
            buffer.resize(n_rows * width);
            let mut all: Vec<Option<RowOut<'a>>> = match buffer {
                Buffer::Bits16(bits) => bits.chunks_exact_mut(width).map(|row| Some(RowOut::Bits16(row))).collect(),
                Buffer::F32(values) => values.chunks_exact_mut(width).map(|row| Some(RowOut::F32(row))).collect(),
            };
            for (input, first) in inputs.iter().zip(first_row) {
                let mut take =
                    |(row, _): &(usize, Range<usize>)| all[first + row].take().expect("each row is taken once");
                rows.push(Mutex::new(input.rows.iter().map(&mut take).collect()));
            }
        }
        Self { inputs, how, dtype, rows }
    }
}

impl CaptureSink for Sink<'_> {
    fn capture(
        &self,
        capture_idx: usize,
        first_sentence: usize,
        _first_row: usize,
        values: ArrayView2<'_, f32>,
    ) -> Result<(), ModelError> {
        let mut scratch = vec![0.0; values.ncols()];
        let mut start = 0;
        for (idx, input) in self.inputs.iter().enumerate().skip(first_sentence) {
            if start == values.nrows() {
                break;
            }
            let tokens = values.slice(s![start..start + input.ids.len(), ..]);
            start += input.ids.len();
            let slot = &self.rows[capture_idx * self.inputs.len() + idx];
            let mut rows = slot.lock().unwrap_or_else(PoisonError::into_inner);
            for (row, (_, range)) in rows.iter_mut().zip(&input.rows) {
                let single = tokens.row(range.start);
                let value = match single.to_slice() {
                    Some(value) if range.len() == 1 => value,
                    _ => {
                        aggregate(&tokens, std::slice::from_ref(range), self.how, &mut scratch);
                        &scratch
                    }
                };
                match row {
                    RowOut::Bits16(out) => self.dtype.to_bits(value, out),
                    RowOut::F32(out) => out.copy_from_slice(value),
                }
            }
        }
        Ok(())
    }
}
