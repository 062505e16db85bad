//! Memory for weights.

use memmap2::MmapMut;

/// Zeroed bytes that begin at the start of a page. Large pages are asked for: weights are read from end to end at every
/// step, and small pages would cost a look-up every few lines, as well as time to be given out.
pub(crate) struct Buffer {
    map: MmapMut,
}

impl Buffer {
    /// So many bytes.
    pub(crate) fn new(len: usize) -> Self {
        // Where an allocation would end the program for want of memory, so does this.
        let map = MmapMut::map_anon(len.max(1)).unwrap_or_else(|err| panic!("{len} bytes of memory: {err}"));
        #[cfg(target_os = "linux")]
        // It is advice: where the system declines, pages stay small.
        let _ = map.advise(memmap2::Advice::HugePage);
        Self { map }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.map
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.map
    }
}
