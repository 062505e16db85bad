//! Methods that take the rows as they come, and keep none of them.

use ndarray::ArrayView2;

use crate::error::MethodError;

/// Rows that are handed on at once; only the last block of a text may have fewer.
///
/// Long sums are cut at these rows, so that a result has the same bits whether the rows come from a store or from a
/// model that is running.
pub const BLOCK_ROWS: usize = 1024;

/// Takes all rows of a text in their order, block by block, and answers when there are no more.
pub trait RowSink<T>: Send {
    /// Takes the next rows, `[n_rows, n_neurons]`, columns contiguous where it should be fast.
    ///
    /// # Errors
    /// If a value is not finite, or there are more rows than the sink was made for, or a block that is not the last
    /// one has not [`BLOCK_ROWS`] rows.
    fn update(&mut self, block: ArrayView2<'_, f32>) -> Result<(), MethodError>;

    /// The answer.
    ///
    /// # Errors
    /// If rows are missing, or the answer cannot be given.
    fn finish(self: Box<Self>) -> Result<T, MethodError>;
}
