//! Activations at some hook points of a store, read a block at a time.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use ndarray::{ArrayViewMut1, ArrayViewMut2, Axis};
use nissl_core::{Activations, ActivationsError, NeuronId, site_columns};
use rayon::prelude::*;

use crate::chunk::decode;
use crate::dtype::Dtype;
use crate::error::StoreError;
use crate::files;
use crate::layout::{Grid, shard_path};
use crate::manifest::{Manifest, SiteWidth};
use crate::shard::{Index, check_crc};
use crate::verify::block_name;

/// A block with less than this many values is read by one thread.
const VALUES_WORTH_THREADS: usize = 1 << 14;

/// The activations of a store at some of its hook points, `[n_rows, n_neurons]`.
///
/// Nothing is kept in memory but the indices of the shards that were read. Every chunk is checked against its checksum
/// whenever it is read.
#[derive(Debug)]
pub struct Selection {
    sites: Vec<Site>,
    neurons: Vec<NeuronId>,
    n_rows: usize,
    dtype: Dtype,
}

#[derive(Debug)]
struct Site {
    name: SiteWidth,
    /// Column of the selection at which the site begins.
    first_column: usize,
    grid: Grid,
    shards: Vec<Shard>,
}

#[derive(Debug)]
struct Shard {
    path: PathBuf,
    n_rows: usize,
    index: OnceLock<Index>,
}

/// Some rows of a shard and some neurons of a column of chunks of it, and where their values go.
struct Task<'a> {
    site: &'a Site,
    shard: &'a Shard,
    shard_idx: usize,
    rows: Range<usize>,
    across: usize,
    /// First neuron within the chunks.
    first: usize,
    out: ArrayViewMut2<'a, f32>,
}

impl Selection {
    pub(crate) fn new(root: &Path, manifest: &Manifest, sites: Vec<SiteWidth>) -> Self {
        let points: Vec<_> = sites.iter().map(|site| (site.point, site.width as usize)).collect();
        let mut first_column = 0;
        let open = |name: SiteWidth| {
            let shard =
                |(idx, n_rows)| Shard { path: shard_path(root, name.point, idx), n_rows, index: OnceLock::new() };
            let site = Site {
                name,
                first_column,
                grid: Grid::new(manifest.layout, name.width as usize, manifest.run.dtype.size()),
                shards: manifest.shards().map(shard).collect(),
            };
            first_column += name.width as usize;
            site
        };
        Self {
            sites: sites.into_iter().map(open).collect(),
            neurons: site_columns(&points),
            n_rows: manifest.n_rows as usize,
            dtype: manifest.run.dtype,
        }
    }

    /// As [`Activations::read`], for a block that has been checked.
    pub(crate) fn read_block(
        &self,
        rows: Range<usize>,
        columns: Range<usize>,
        out: ArrayViewMut2<'_, f32>,
    ) -> Result<(), StoreError> {
        let n_values = out.len();
        let tasks = self.tasks(rows, columns, out);
        let dtype = self.dtype;
        if n_values < VALUES_WORTH_THREADS {
            let mut bytes = Vec::new();
            tasks.into_iter().try_for_each(|task| task.run(dtype, &mut bytes))
        } else {
            tasks.into_par_iter().try_for_each_init(Vec::new, |bytes, task| task.run(dtype, bytes))
        }
    }

    /// Cuts a block into tasks: by shard, by site, by column of chunks.
    fn tasks<'a>(&'a self, rows: Range<usize>, columns: Range<usize>, out: ArrayViewMut2<'a, f32>) -> Vec<Task<'a>> {
        let mut tasks = Vec::new();
        let Some(first) = self.sites.first() else { return tasks };
        let rows_per_shard = first.grid.rows_per_shard;
        let (mut row, mut below) = (rows.start, out);
        while row < rows.end {
            let shard_idx = row / rows_per_shard;
            let shard_row = shard_idx * rows_per_shard;
            let end = rows.end.min(shard_row + rows_per_shard);
            let (here, rest) = below.split_at(Axis(0), end - row);
            below = rest;
            let (mut column, mut right) = (columns.start, here);
            while column < columns.end {
                let site_idx = self.sites.partition_point(|site| site.first_column <= column) - 1;
                let site = &self.sites[site_idx];
                let unit = column - site.first_column;
                let across = unit / site.grid.chunk_columns;
                let site_end = site.first_column + site.name.width as usize;
                let chunk_end = site.first_column + (across + 1) * site.grid.chunk_columns;
                let end_column = columns.end.min(site_end).min(chunk_end);
                let (out, rest) = right.split_at(Axis(1), end_column - column);
                right = rest;
                tasks.push(Task {
                    site,
                    shard: &site.shards[shard_idx],
                    shard_idx,
                    rows: row - shard_row..end - shard_row,
                    across,
                    first: unit - across * site.grid.chunk_columns,
                    out,
                });
                column = end_column;
            }
            row = end;
        }
        tasks
    }
}

impl Activations for Selection {
    fn n_tokens(&self) -> usize {
        self.n_rows
    }

    fn neurons(&self) -> &[NeuronId] {
        &self.neurons
    }

    fn column_block(&self) -> usize {
        self.sites.first().map_or(16, |site| site.grid.chunk_columns)
    }

    fn row_block(&self) -> usize {
        self.sites.first().map_or(1024, |site| site.grid.chunk_rows)
    }

    fn read(
        &self,
        rows: Range<usize>,
        columns: Range<usize>,
        out: ArrayViewMut2<'_, f32>,
    ) -> Result<(), ActivationsError> {
        self.check_block(&rows, &columns, out.dim())?;
        Ok(self.read_block(rows, columns, out)?)
    }
}

impl Task<'_> {
    fn run(self, dtype: Dtype, bytes: &mut Vec<u8>) -> Result<(), StoreError> {
        let Task { site, shard, shard_idx, rows, across, first, mut out } = self;
        let grid = &site.grid;
        let file = files::open(&shard.path)?;
        let index = if let Some(index) = shard.index.get() {
            index
        } else {
            let index = Index::read(&file, &shard.path, grid, shard.n_rows)?;
            shard.index.get_or_init(|| index)
        };
        let (mut down, last) = (rows.start / grid.chunk_rows, (rows.end - 1) / grid.chunk_rows);
        while down <= last {
            let offset = index.offset(down, across);
            // Chunks that lie side by side are read at once.
            let beside = |n: &usize| index.offset(down + n, across) == offset + (n * grid.chunk_bytes()) as u64;
            let n_chunks = 1 + (1..=last - down).take_while(beside).count();
            bytes.resize(n_chunks * grid.chunk_bytes(), 0);
            files::read_at(&file, &shard.path, offset, bytes)?;
            for (idx, chunk) in bytes.chunks_exact(grid.chunk_bytes()).enumerate() {
                let chunk_row = (down + idx) * grid.chunk_rows;
                check_crc(chunk, &shard.path, offset + (idx * grid.chunk_bytes()) as u64, || {
                    block_name(grid, site.name, shard_idx, shard.n_rows, (down + idx, across))
                })?;
                let wanted = rows.start.max(chunk_row)..rows.end.min(chunk_row + grid.chunk_rows);
                let mut out = out
                    .slice_axis_mut(Axis(0), ndarray::Slice::from(wanted.start - rows.start..wanted.end - rows.start));
                for (j, column) in out.columns_mut().into_iter().enumerate() {
                    let start = ((first + j) * grid.chunk_rows + wanted.start - chunk_row) * grid.size;
                    decode_column(&chunk[start..start + wanted.len() * grid.size], dtype, column);
                }
            }
            down += n_chunks;
        }
        Ok(())
    }
}

/// Decodes into any strides, through a small buffer where they are not contiguous.
fn decode_column(bytes: &[u8], dtype: Dtype, mut out: ArrayViewMut1<'_, f32>) {
    if let Some(out) = out.as_slice_mut() {
        decode(bytes, dtype, out);
        return;
    }
    let mut buffer = [0.0_f32; 256];
    let pieces = out.axis_chunks_iter_mut(Axis(0), buffer.len());
    for (bytes, mut out) in bytes.chunks(buffer.len() * dtype.size()).zip(pieces) {
        let values = &mut buffer[..out.len()];
        decode(bytes, dtype, values);
        out.iter_mut().zip(values).for_each(|(out, value)| *out = *value);
    }
}
