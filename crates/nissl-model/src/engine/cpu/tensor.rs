//! Activations of a group, with padded rows.

use std::cell::RefCell;
use std::ops::Range;

use ndarray::{ArrayView2, ArrayViewMut2, ShapeBuilder};

/// Columns of a packed panel; rows are padded to a multiple of it, so that whole tiles can be stored.
pub(crate) const PANEL: usize = 32;

/// Activations `[n_rows, width]` in rows of `stride` floats. The padding behind a row holds anything.
pub(crate) struct Tensor {
    values: Vec<f32>,
    n_rows: usize,
    width: usize,
    stride: usize,
}

thread_local! {
    /// Buffers of dropped tensors, to be used again: fresh memory costs page faults.
    static POOL: RefCell<Vec<Vec<f32>>> = const { RefCell::new(Vec::new()) };
}

/// Buffers kept a thread.
const POOLED: usize = 16;

impl Tensor {
    /// A tensor of this shape, holding anything.
    pub(crate) fn new(n_rows: usize, width: usize) -> Self {
        let stride = stride(width);
        let len = n_rows * stride;
        let mut values = POOL.with_borrow_mut(|pool| {
            // A small tensor that is kept does not take the buffer of a large one.
            let fits = pool.iter().enumerate().filter(|(_, buffer)| (len..=2 * len).contains(&buffer.capacity()));
            let best = fits.min_by_key(|(_, buffer)| buffer.capacity()).map(|(i, _)| i);
            best.map_or_else(Vec::new, |i| pool.swap_remove(i))
        });
        values.resize(len, 0.0);
        Self { values, n_rows, width, stride }
    }

    /// Number of rows.
    pub(crate) fn n_rows(&self) -> usize {
        self.n_rows
    }

    /// Number of columns.
    pub(crate) fn width(&self) -> usize {
        self.width
    }

    /// Distance of two rows.
    pub(crate) fn stride(&self) -> usize {
        self.stride
    }

    /// All rows with their padding.
    pub(crate) fn values(&self) -> &[f32] {
        &self.values
    }

    /// All rows with their padding.
    pub(crate) fn values_mut(&mut self) -> &mut [f32] {
        &mut self.values
    }

    /// A row, `[width]`.
    pub(crate) fn row(&self, row: usize) -> &[f32] {
        &self.values[row * self.stride..][..self.width]
    }

    /// A row, `[width]`.
    pub(crate) fn row_mut(&mut self, row: usize) -> &mut [f32] {
        &mut self.values[row * self.stride..][..self.width]
    }

    /// Some columns of all rows, `[n_rows, columns.len()]`.
    pub(crate) fn columns_mut(&mut self, columns: Range<usize>) -> ArrayViewMut2<'_, f32> {
        assert!(columns.end <= self.width, "columns are within the width");
        if self.n_rows == 0 {
            return ArrayViewMut2::from_shape((0, columns.len()), &mut []).expect("no rows need no values");
        }
        let shape = (self.n_rows, columns.len()).strides((self.stride, 1));
        ArrayViewMut2::from_shape(shape, &mut self.values[columns.start..]).expect("rows of one stride fit the buffer")
    }

    /// Some columns of all rows, `[n_rows, columns.len()]`.
    pub(crate) fn columns(&self, columns: Range<usize>) -> ArrayView2<'_, f32> {
        assert!(columns.end <= self.width, "columns are within the width");
        if self.n_rows == 0 {
            return ArrayView2::from_shape((0, columns.len()), &[]).expect("no rows need no values");
        }
        let shape = (self.n_rows, columns.len()).strides((self.stride, 1));
        ArrayView2::from_shape(shape, &self.values[columns.start..]).expect("rows of one stride fit the buffer")
    }

    /// A tensor of zeros.
    pub(crate) fn zeros(n_rows: usize, width: usize) -> Self {
        let mut zeros = Self::new(n_rows, width);
        zeros.values.fill(0.0);
        zeros
    }

    /// A copy.
    pub(crate) fn copy(&self) -> Self {
        let mut copy = Self::new(self.n_rows, self.width);
        copy.values.copy_from_slice(&self.values);
        copy
    }
}

impl Drop for Tensor {
    fn drop(&mut self) {
        let values = std::mem::take(&mut self.values);
        // While the thread ends there is no pool any more, and the buffer is simply freed.
        let _ = POOL.try_with(|pool| {
            let mut pool = pool.borrow_mut();
            if pool.len() == POOLED {
                let smallest = (0..POOLED).min_by_key(|&i| pool[i].capacity()).unwrap_or(0);
                pool.swap_remove(smallest);
            }
            pool.push(values);
        });
    }
}

/// Floats from row to row: a multiple of [`PANEL`], and an odd multiple of 16 cache lines apart never, since rows at a
/// large power of two would share the sets of the first-level cache.
fn stride(width: usize) -> usize {
    let padded = width.next_multiple_of(PANEL);
    if padded.is_multiple_of(256) { padded + PANEL } else { padded }
}
