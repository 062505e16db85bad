//! A file, memory-mapped: the one place of this crate's loading code that needs `unsafe`.

#![expect(unsafe_code, reason = "mapping a file and giving its pages back are foreign calls")]

use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::Path;

use memmap2::Mmap;

/// The bytes of a file, read by the system when they are touched.
#[derive(Debug)]
pub(crate) struct MappedFile {
    map: Mmap,
}

impl MappedFile {
    /// Maps a file for reading.
    ///
    /// # Errors
    /// If it cannot be opened, or is not a regular file.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        // SAFETY: the mapping is private and read-only, so nothing in this process writes to it. Should another
        // process change the file meanwhile, the weights would be those of the changed file, and shrinking it would
        // raise SIGBUS; checkpoints are written once and then read, as every loader of the field assumes.
        let map = unsafe { Mmap::map(&file)? };
        Ok(Self { map })
    }

    /// The whole file.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.map
    }

    /// Lets the system drop the pages that lie wholly in `range` from memory; they are read again when touched.
    pub(crate) fn release(&self, range: Range<usize>) {
        #[cfg(unix)]
        {
            // The ends are kept, for neighbors share them. Where pages are larger than 4 KiB, some of a neighbor's
            // may go too, and are read again.
            const PAGE: usize = 1 << 12;
            let start = range.start.next_multiple_of(PAGE);
            let end = range.end.min(self.map.len()) / PAGE * PAGE;
            if start < end {
                // SAFETY: for a private read-only mapping of a file that was never written, MADV_DONTNEED only
                // drops clean pages; the next read brings the same bytes back, so borrowed slices stay valid.
                let advised =
                    unsafe { self.map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, start, end - start) };
                // It is advice: where the system declines, the pages simply stay.
                drop(advised);
            }
        }
        #[cfg(not(unix))]
        let _ = range;
    }
}
