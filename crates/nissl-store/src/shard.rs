//! The file of one site's shard: chunks, then an index of where each is.

use std::fs::File;
use std::path::Path;

use crate::error::StoreError;
use crate::files;
use crate::layout::{CRC_BYTES, Grid};

/// Offset and length of a chunk that is not in the file: all of it is the fill value.
const MISSING: u64 = u64::MAX;

/// The index of a shard of `n_rows` rows as the writer lays it out.
pub(crate) fn encode_index(grid: &Grid, n_rows: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(grid.index_bytes());
    for down in 0..grid.n_down() {
        for across in 0..grid.n_across {
            let (offset, len) = if down * grid.chunk_rows < n_rows {
                (grid.chunk_offset(down, across, n_rows), grid.chunk_bytes() as u64)
            } else {
                (MISSING, MISSING)
            };
            bytes.extend_from_slice(&offset.to_le_bytes());
            bytes.extend_from_slice(&len.to_le_bytes());
        }
    }
    bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
    bytes
}

/// Where the chunks of a shard are, `[n_down, n_across]`; checked, every offset is inside the file.
#[derive(Debug)]
pub(crate) struct Index {
    offsets: Box<[u64]>,
    n_across: usize,
}

impl Index {
    /// Reads and checks the index of a shard of `n_rows` rows.
    pub(crate) fn read(file: &File, path: &Path, grid: &Grid, n_rows: usize) -> Result<Self, StoreError> {
        let len = file.metadata().map_err(StoreError::io("read", path))?.len();
        let n_chunks = n_rows.div_ceil(grid.chunk_rows) as u64 * grid.n_across as u64;
        let data = n_chunks.saturating_mul(grid.chunk_bytes() as u64);
        let expected = data.saturating_add(grid.index_bytes() as u64);
        if len < expected {
            return Err(StoreError::format(path, "length", format!("{expected} bytes"), len));
        }
        let start = len - grid.index_bytes() as u64;
        let mut bytes = vec![0; grid.index_bytes()];
        files::read_at(file, path, start, &mut bytes)?;
        check_crc(&bytes, path, start, || "the index of chunks".to_owned())?;
        let mut offsets = Vec::with_capacity(n_chunks as usize);
        for (idx, entry) in bytes.chunks_exact(16).take(n_chunks as usize).enumerate() {
            let (offset, size) = entry.split_at(8);
            let offset = u64::from_le_bytes(offset.try_into().expect("eight of sixteen bytes"));
            let size = u64::from_le_bytes(size.try_into().expect("eight of sixteen bytes"));
            if size != grid.chunk_bytes() as u64 || offset.checked_add(size).is_none_or(|end| end > start) {
                let (down, across) = (idx / grid.n_across, idx % grid.n_across);
                let expected = format!("{} bytes before byte {start}", grid.chunk_bytes());
                let what = format!("index entry of chunk ({down}, {across})");
                return Err(StoreError::format(path, what, expected, format!("{size} bytes at {offset}")));
            }
            offsets.push(offset);
        }
        Ok(Self { offsets: offsets.into(), n_across: grid.n_across })
    }

    /// Where chunk `(down, across)` is.
    pub(crate) fn offset(&self, down: usize, across: usize) -> u64 {
        self.offsets[down * self.n_across + across]
    }
}

/// Checks bytes that end with their own CRC-32C, found at `offset` of the file; `what` names them in the error.
pub(crate) fn check_crc(
    bytes: &[u8],
    path: &Path,
    offset: u64,
    what: impl FnOnce() -> String,
) -> Result<(), StoreError> {
    let (values, crc) = bytes.split_at(bytes.len() - CRC_BYTES);
    let expected = u32::from_le_bytes(crc.try_into().expect("four bytes of checksum"));
    let got = crc32c::crc32c(values);
    if got == expected {
        return Ok(());
    }
    Err(StoreError::Corrupt { path: path.to_owned(), what: what(), offset, expected, got })
}
