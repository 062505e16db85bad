//! How the activations of a site lie in its files: shards of rows, cut into chunks of rows x neurons.
//!
//! R rows a chunk, N neurons a chunk; a chunk holds neuron after neuron, `[N, R]`, then its CRC-32C.

use std::path::{Path, PathBuf};

use nissl_core::HookPoint;
use serde::{Deserialize, Serialize};

use crate::error::StoreError;

/// Rows a shard, unless the memory budget is too small for it.
const ROWS_PER_SHARD: u32 = 8192;
/// Rows a chunk, unless the memory budget is too small for it.
const ROWS_PER_CHUNK: u32 = 1024;
/// Neurons a chunk.
const COLUMNS_PER_CHUNK: u32 = 16;
/// Chunks of rows that the writer gathers before it writes; they lie side by side in the file.
const CHUNKS_PER_GROUP: usize = 2;
/// No chunk is larger than this: readers hold a few of them at a time.
const MAX_CHUNK_VALUES: u64 = 1 << 24;
/// Bytes of a checksum.
pub(crate) const CRC_BYTES: usize = 4;

/// How activations lie in their files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Layout {
    /// Rows of a shard: the rows that are committed at once.
    pub rows_per_shard: u32,
    /// Rows of a chunk; divides `rows_per_shard`.
    pub rows_per_chunk: u32,
    /// Neurons of a chunk.
    pub columns_per_chunk: u32,
}

impl Layout {
    /// The layout for rows of `bytes_per_row` bytes whose writer may buffer `budget` bytes.
    pub(crate) fn for_budget(bytes_per_row: usize, budget: usize) -> Self {
        let mut rows_per_chunk = ROWS_PER_CHUNK;
        while rows_per_chunk > 16 && rows_per_chunk as usize * CHUNKS_PER_GROUP * bytes_per_row > budget {
            rows_per_chunk /= 2;
        }
        Self { rows_per_shard: ROWS_PER_SHARD, rows_per_chunk, columns_per_chunk: COLUMNS_PER_CHUNK }
    }

    pub(crate) fn check(&self, path: &Path) -> Result<(), StoreError> {
        let values = u64::from(self.rows_per_chunk) * u64::from(self.columns_per_chunk);
        let fits = self.rows_per_chunk > 0
            && self.columns_per_chunk > 0
            && self.rows_per_shard > 0
            && self.rows_per_shard.is_multiple_of(self.rows_per_chunk)
            && values <= MAX_CHUNK_VALUES;
        if fits {
            return Ok(());
        }
        let expected = "chunks of 1 to 16777216 values that divide the shard's rows";
        Err(StoreError::format(path, "layout", expected, format!("{self:?}")))
    }

    /// Rows that the writer gathers before it writes.
    pub(crate) fn rows_per_group(&self) -> usize {
        (self.rows_per_chunk as usize * CHUNKS_PER_GROUP).min(self.rows_per_shard as usize)
    }
}

/// Where the chunks of one site are: the layout, for a width and a size of values.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Grid {
    /// Rows of a shard.
    pub(crate) rows_per_shard: usize,
    /// Rows of a chunk.
    pub(crate) chunk_rows: usize,
    /// Columns of a chunk.
    pub(crate) chunk_columns: usize,
    /// Chunks side by side over the width.
    pub(crate) n_across: usize,
    /// Bytes of a value.
    pub(crate) size: usize,
    rows_per_group: usize,
}

impl Grid {
    pub(crate) fn new(layout: Layout, width: usize, size: usize) -> Self {
        Self {
            rows_per_shard: layout.rows_per_shard as usize,
            chunk_rows: layout.rows_per_chunk as usize,
            chunk_columns: layout.columns_per_chunk as usize,
            n_across: width.div_ceil(layout.columns_per_chunk as usize),
            size,
            rows_per_group: layout.rows_per_group(),
        }
    }

    /// Chunks one below the other in a full shard.
    pub(crate) fn n_down(&self) -> usize {
        self.rows_per_shard / self.chunk_rows
    }

    /// Values of a chunk.
    pub(crate) fn chunk_values(&self) -> usize {
        self.chunk_rows * self.chunk_columns
    }

    /// Bytes of a chunk with its checksum.
    pub(crate) fn chunk_bytes(&self) -> usize {
        self.chunk_values() * self.size + CRC_BYTES
    }

    /// Bytes of the index of a shard with its checksum: offset and length of every chunk of a full shard.
    pub(crate) fn index_bytes(&self) -> usize {
        self.n_down() * self.n_across * 16 + CRC_BYTES
    }

    /// Where the writer puts the chunks of a group of rows that starts at `row` of the shard.
    pub(crate) fn group_offset(&self, row: usize) -> u64 {
        (row / self.chunk_rows) as u64 * self.n_across as u64 * self.chunk_bytes() as u64
    }

    /// Where the writer puts chunk `(down, across)` of a shard of `n_rows` rows: group after group of rows, in a
    /// group column after column, so that the chunks of one neuron lie side by side.
    pub(crate) fn chunk_offset(&self, down: usize, across: usize, n_rows: usize) -> u64 {
        let per_group = self.rows_per_group / self.chunk_rows;
        let first = down / per_group * per_group;
        let in_group = per_group.min(n_rows.div_ceil(self.chunk_rows) - first);
        let place = across * in_group + (down - first);
        self.group_offset(first * self.chunk_rows) + place as u64 * self.chunk_bytes() as u64
    }
}

/// Folder of a site's array.
pub(crate) fn site_dir(root: &Path, point: HookPoint) -> PathBuf {
    root.join("acts").join(point.to_string())
}

/// File of a site's shard.
pub(crate) fn shard_path(root: &Path, point: HookPoint, shard_idx: usize) -> PathBuf {
    site_dir(root, point).join(format!("c.{shard_idx}.0"))
}
