//! Reads a whole store and checks every checksum.

use std::path::Path;

use nissl_core::Progress;
use rayon::prelude::*;

use crate::error::StoreError;
use crate::files;
use crate::layout::{Grid, shard_path, site_dir};
use crate::manifest::{Manifest, SiteWidth};
use crate::shard::{Index, check_crc};
use crate::store::Store;
use crate::zarr;

/// What was checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Files of activations.
    pub n_shards: usize,
    /// Blocks of activations, each with its checksum.
    pub n_blocks: usize,
    /// Bytes of activations.
    pub n_bytes: u64,
}

impl Store {
    /// Reads everything and checks it: every block of activations, every table, the metadata for other readers.
    ///
    /// # Errors
    /// The first corrupt block, in order of the sites and rows: its file, rows, neurons and offset.
    /// [`StoreError::Cancelled`] if `progress` says so.
    pub fn verify(&self, progress: &dyn Progress) -> Result<Verified, StoreError> {
        let manifest = self.manifest();
        self.text()?;
        self.sentences()?;
        self.moments()?;
        let mut shards = Vec::new();
        for &site in &manifest.run.sites {
            check_metadata(self.path(), manifest, site)?;
            shards.extend(manifest.shards().map(|(shard_idx, n_rows)| (site, shard_idx, n_rows)));
        }
        progress.stage("verify", Some(shards.len() as u64), "files");
        let mut all = Verified::default();
        // A few files at a time, so that the first corrupt one is the one that is reported.
        for some in shards.chunks(rayon::current_num_threads() * 4) {
            if progress.cancelled() {
                return Err(StoreError::Cancelled);
            }
            let check = |&(site, shard_idx, n_rows)| verify_shard(self.path(), manifest, site, shard_idx, n_rows);
            for verified in some.par_iter().map(check).collect::<Vec<_>>() {
                let verified = verified?;
                all.n_shards += verified.n_shards;
                all.n_blocks += verified.n_blocks;
                all.n_bytes += verified.n_bytes;
            }
            progress.step(all.n_shards as u64);
        }
        Ok(all)
    }
}

/// Checks that other readers are told the same as the manifest says. While the store is written they may be told of
/// one part more or less.
fn check_metadata(root: &Path, manifest: &Manifest, site: SiteWidth) -> Result<(), StoreError> {
    let path = site_dir(root, site.point).join(zarr::FILE);
    let got = files::read_all(&path, 1 << 20)?;
    let expected = zarr::array(manifest, site, manifest.n_rows);
    if manifest.complete && got != expected.as_bytes() {
        let got = String::from_utf8_lossy(&got).into_owned();
        let differs = expected.lines().zip(got.lines()).find(|(expected, got)| expected != got);
        let (expected, got) = differs.unwrap_or((&expected, &got));
        return Err(StoreError::format(&path, "array metadata", expected.trim(), got.trim()));
    }
    Ok(())
}

fn verify_shard(
    root: &Path,
    manifest: &Manifest,
    site: SiteWidth,
    shard_idx: usize,
    n_rows: usize,
) -> Result<Verified, StoreError> {
    let grid = Grid::new(manifest.layout, site.width as usize, manifest.run.dtype.size());
    let path = shard_path(root, site.point, shard_idx);
    let file = files::open(&path)?;
    let index = Index::read(&file, &path, &grid, n_rows)?;
    let mut bytes = vec![0; grid.chunk_bytes()];
    let mut verified = Verified { n_shards: 1, ..Verified::default() };
    for down in 0..n_rows.div_ceil(grid.chunk_rows) {
        for across in 0..grid.n_across {
            let offset = index.offset(down, across);
            files::read_at(&file, &path, offset, &mut bytes)?;
            check_crc(&bytes, &path, offset, || block_name(&grid, site, shard_idx, n_rows, (down, across)))?;
            verified.n_blocks += 1;
            verified.n_bytes += bytes.len() as u64;
        }
    }
    Ok(verified)
}

/// The rows and neurons of a chunk, for errors.
pub(crate) fn block_name(
    grid: &Grid,
    site: SiteWidth,
    shard_idx: usize,
    n_rows: usize,
    (down, across): (usize, usize),
) -> String {
    let first_row = shard_idx * grid.rows_per_shard;
    let rows = first_row + down * grid.chunk_rows..first_row + ((down + 1) * grid.chunk_rows).min(n_rows);
    let first = across * grid.chunk_columns;
    let last = (first + grid.chunk_columns).min(site.width as usize);
    format!("block of rows {rows:?} and neurons {}[{first}..{last}]", site.point)
}
