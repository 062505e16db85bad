//! Chunks: from rows of a site to neuron-major chunks with checksums, and back.
//!
//! R rows a chunk, N neurons a chunk, W width of the site; a chunk is `[N, R]`, then its CRC-32C.

use std::ops::Range;

use bytemuck::Pod;

use crate::dtype::Dtype;
use crate::layout::{CRC_BYTES, Grid};
use crate::moments::Moments;

#[cfg(target_endian = "big")]
compile_error!("stores are little-endian, and this machine is not");

/// Rows of one site that are gathered until there are enough to write, row-major `[n_rows, W]`.
#[derive(Debug)]
pub(crate) enum RowBuffer {
    /// Values of a 32-bit type.
    F32(Vec<f32>),
    /// Bits of a 16-bit type.
    Bits16(Vec<u16>, Dtype),
}

impl RowBuffer {
    /// A buffer for `capacity` values; none if there is no memory for it.
    pub(crate) fn new(dtype: Dtype, capacity: usize) -> Option<Self> {
        fn reserve<T>(capacity: usize) -> Option<Vec<T>> {
            let mut values = Vec::new();
            values.try_reserve_exact(capacity).ok()?;
            Some(values)
        }
        Some(match dtype {
            Dtype::Float32 => Self::F32(reserve(capacity)?),
            Dtype::Float16 | Dtype::Bfloat16 => Self::Bits16(reserve(capacity)?, dtype),
        })
    }

    /// Adds values of the model, converting them.
    pub(crate) fn push_f32(&mut self, values: &[f32]) {
        match self {
            Self::F32(rows) => rows.extend_from_slice(values),
            Self::Bits16(rows, dtype) => {
                let start = rows.len();
                rows.resize(start + values.len(), 0);
                dtype.to_bits(values, &mut rows[start..]);
            }
        }
    }

    /// Adds converted values.
    ///
    /// # Panics
    /// If the store's type has 32 bits.
    pub(crate) fn push_bits(&mut self, bits: &[u16]) {
        match self {
            Self::F32(_) => unreachable!("the writer checks which form of values a block has"),
            Self::Bits16(rows, _) => rows.extend_from_slice(bits),
        }
    }

    pub(crate) fn clear(&mut self) {
        match self {
            Self::F32(rows) => rows.clear(),
            Self::Bits16(rows, _) => rows.clear(),
        }
    }

    /// Packs column `across` of chunks of the gathered rows into `scratch`, adds each neuron's values to its
    /// `moments`, and returns the bytes to write: one chunk below the other.
    pub(crate) fn pack<'a>(
        &self,
        grid: &Grid,
        width: usize,
        across: usize,
        moments: &mut [Moments],
        scratch: &'a mut Scratch,
    ) -> &'a [u8] {
        let Scratch { chunks, values } = scratch;
        let first = across * grid.chunk_columns;
        match self {
            Self::F32(rows) => {
                let packed = bytemuck::cast_slice_mut::<u32, f32>(chunks);
                pack(rows, width, grid, first, packed, |idx, column| moments[idx].add(column));
            }
            Self::Bits16(rows, dtype) => {
                let packed = bytemuck::cast_slice_mut::<u32, u16>(chunks);
                pack(rows, width, grid, first, packed, |idx, bits| {
                    dtype.from_bits(bits, &mut values[..bits.len()]);
                    moments[idx].add(&values[..bits.len()]);
                });
            }
        }
        let n_rows = self.len() / width;
        let bytes = bytemuck::cast_slice_mut::<u32, u8>(chunks);
        let bytes = &mut bytes[..n_rows.div_ceil(grid.chunk_rows) * grid.chunk_bytes()];
        for chunk in bytes.chunks_exact_mut(grid.chunk_bytes()) {
            let (values, crc) = chunk.split_at_mut(grid.chunk_bytes() - CRC_BYTES);
            crc.copy_from_slice(&crc32c::crc32c(values).to_le_bytes());
        }
        bytes
    }

    fn len(&self) -> usize {
        match self {
            Self::F32(rows) => rows.len(),
            Self::Bits16(rows, _) => rows.len(),
        }
    }
}

/// Memory of a thread that packs chunks, used again and again.
#[derive(Debug)]
pub(crate) struct Scratch {
    /// Chunks below each other; words, so that values of either size are aligned in it.
    chunks: Vec<u32>,
    /// One neuron's values in a chunk.
    values: Vec<f32>,
}

impl Scratch {
    pub(crate) fn new(grid: &Grid, n_down: usize) -> Self {
        Self { chunks: vec![0; (n_down * grid.chunk_bytes()).div_ceil(4)], values: vec![0.0; grid.chunk_rows] }
    }
}

/// Transposes columns `first..` of `rows` `[n_rows, W]` into chunks below each other, each `[N, R]` and space for
/// its checksum; what is outside the rows or the width is 0. `column(idx, values)` is called for each neuron.
fn pack<T: Pod>(
    rows: &[T],
    width: usize,
    grid: &Grid,
    first: usize,
    out: &mut [T],
    mut column: impl FnMut(usize, &[T]),
) {
    let n_columns = grid.chunk_columns.min(width - first);
    let stride = grid.chunk_bytes() / size_of::<T>();
    let chunk_rows = rows.chunks(grid.chunk_rows * width);
    for (rows, chunk) in chunk_rows.zip(out.chunks_exact_mut(stride)) {
        let n_rows = rows.len() / width;
        if n_rows < grid.chunk_rows || n_columns < grid.chunk_columns {
            chunk.fill(T::zeroed());
        }
        transpose(rows, width, first..first + n_columns, chunk, grid.chunk_rows);
        for idx in 0..n_columns {
            column(idx, &chunk[idx * grid.chunk_rows..][..n_rows]);
        }
    }
}

/// `out[j * R + r] = rows[r * W + columns.start + j]`.
fn transpose<T: Pod>(rows: &[T], width: usize, columns: Range<usize>, out: &mut [T], chunk_rows: usize) {
    /// Neurons of a chunk, and rows that go through the small square at a time: a cache line of 16-bit values.
    const N: usize = 16;
    const TILE: usize = 32;
    let mut square = [[T::zeroed(); TILE]; N];
    for (tile_idx, tile) in rows.chunks(TILE * width).enumerate() {
        let row = tile_idx * TILE;
        if columns.len() == N && tile.len() == TILE * width {
            for (r, values) in tile.chunks_exact(width).enumerate() {
                let values: &[T; N] = values[columns.clone()].try_into().expect("as many columns as a chunk has");
                for j in 0..N {
                    square[j][r] = values[j];
                }
            }
            for (j, values) in square.iter().enumerate() {
                out[j * chunk_rows + row..][..TILE].copy_from_slice(values);
            }
        } else {
            for (r, values) in tile.chunks_exact(width).enumerate() {
                for (j, value) in values[columns.clone()].iter().enumerate() {
                    out[j * chunk_rows + row + r] = *value;
                }
            }
        }
    }
}

/// Converts the values of one neuron in a chunk, `bytes` of it from its first wanted row on.
pub(crate) fn decode(bytes: &[u8], dtype: Dtype, out: &mut [f32]) {
    match dtype {
        Dtype::Float32 => {
            for (value, bytes) in out.iter_mut().zip(bytes.chunks_exact(4)) {
                *value = f32::from_le_bytes(bytes.try_into().expect("chunks of four bytes"));
            }
        }
        Dtype::Float16 | Dtype::Bfloat16 => match bytemuck::try_cast_slice::<u8, u16>(bytes) {
            Ok(bits) => dtype.from_bits(bits, out),
            Err(_) => {
                for (value, bytes) in out.iter_mut().zip(bytes.chunks_exact(2)) {
                    let bits = [u16::from_le_bytes(bytes.try_into().expect("chunks of two bytes"))];
                    dtype.from_bits(&bits, std::slice::from_mut(value));
                }
            }
        },
    }
}
