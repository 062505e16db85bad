//! A shard that is being written: one file a site, under a temporary name.

use std::fs::File;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::chunk::{RowBuffer, Scratch};
use crate::error::StoreError;
use crate::files;
use crate::layout::{Grid, shard_path};
use crate::manifest::Manifest;
use crate::moments::Moments;
use crate::shard::encode_index;

/// Columns of chunks that one task packs: enough work to be worth a task, few enough for all threads to have some.
const COLUMNS_PER_TASK: usize = 4;

/// The files of a shard that is being written.
#[derive(Debug)]
pub(super) struct OpenShard {
    sites: Vec<OpenSite>,
    n_rows: usize,
}

#[derive(Debug)]
struct OpenSite {
    file: File,
    path: PathBuf,
    width: usize,
    grid: Grid,
    moments: Vec<Moments>,
}

impl OpenShard {
    /// The shard that follows the committed ones.
    pub(super) fn create(root: &Path, manifest: &Manifest, shard_idx: usize) -> Result<Self, StoreError> {
        let open = |site: &crate::SiteWidth| {
            let path = shard_path(root, site.point, shard_idx);
            let width = site.width as usize;
            Ok(OpenSite {
                file: files::create_temporary(&path)?,
                path,
                width,
                grid: Grid::new(manifest.layout, width, manifest.run.dtype.size()),
                moments: vec![Moments::default(); width],
            })
        };
        Ok(Self { sites: manifest.run.sites.iter().map(open).collect::<Result<_, StoreError>>()?, n_rows: 0 })
    }

    /// Adds a group of rows: packs the chunks of all sites, on all threads, and writes each where it belongs.
    pub(super) fn append(&mut self, buffers: &[RowBuffer], n_rows: usize) -> Result<(), StoreError> {
        let first_row = self.n_rows;
        let mut tasks = Vec::new();
        for (site, buffer) in self.sites.iter_mut().zip(buffers) {
            let OpenSite { file, path, width, grid, moments } = site;
            let columns = COLUMNS_PER_TASK * grid.chunk_columns;
            for (task_idx, moments) in moments.chunks_mut(columns).enumerate() {
                let first_across = task_idx * COLUMNS_PER_TASK;
                tasks.push(Task { file, path, width: *width, grid, buffer, first_across, moments });
            }
        }
        tasks.into_par_iter().try_for_each_init(|| None, |scratch, task| task.run(first_row, n_rows, scratch))?;
        self.n_rows += n_rows;
        Ok(())
    }

    /// Ends every file with its index and gives it its name; returns the statistics of all sites, `[n_neurons]`.
    pub(super) fn publish(self, root: &Path, n_rows: usize) -> Result<Vec<Moments>, StoreError> {
        assert_eq!(self.n_rows, n_rows, "every row of the shard has been written to its files");
        let mut moments = Vec::new();
        for site in &self.sites {
            let end = site.grid.group_offset(n_rows.next_multiple_of(site.grid.chunk_rows));
            let bytes = encode_index(&site.grid, n_rows);
            files::write_at(&site.file, &site.path, end, &bytes)?;
            moments.extend_from_slice(&site.moments);
        }
        for site in &self.sites {
            files::publish(&site.file, &site.path)?;
        }
        for site in &self.sites {
            files::sync_dir(site.path.parent().unwrap_or(root))?;
        }
        Ok(moments)
    }

    /// Removes the files, as well as it can be done.
    pub(super) fn discard(self) {
        for site in self.sites {
            drop(site.file);
            let _ = std::fs::remove_file(files::temporary(&site.path));
        }
    }
}

/// Some columns of chunks of a site.
struct Task<'a> {
    file: &'a File,
    path: &'a Path,
    width: usize,
    grid: &'a Grid,
    buffer: &'a RowBuffer,
    first_across: usize,
    moments: &'a mut [Moments],
}

impl Task<'_> {
    fn run(self, first_row: usize, n_rows: usize, scratch: &mut Option<Scratch>) -> Result<(), StoreError> {
        let n_down = n_rows.div_ceil(self.grid.chunk_rows);
        let scratch = scratch.get_or_insert_with(|| Scratch::new(self.grid, n_down));
        let base = self.grid.group_offset(first_row);
        for (idx, moments) in self.moments.chunks_mut(self.grid.chunk_columns).enumerate() {
            let across = self.first_across + idx;
            let bytes = self.buffer.pack(self.grid, self.width, across, moments, scratch);
            let offset = base + (across * n_down * self.grid.chunk_bytes()) as u64;
            files::write_at(self.file, self.path, offset, bytes)?;
        }
        Ok(())
    }
}
