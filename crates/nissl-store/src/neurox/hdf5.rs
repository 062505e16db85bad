//! NeuroX's HDF5: root datasets `"0"`, `"1"`, ... `[n_layers, n_words, width]` and `sentence_to_index`.
//!
//! The part of HDF5 that h5py writes when nothing is asked of it, and that every version of the library reads:
//! superblock 0, one group with a symbol table, contiguous datasets. It is read and written here, a few hundred lines,
//! rather than through the C library; compressed or chunked datasets and files of `libver="latest"` are refused.

mod read;
mod write;

pub(super) use read::Sentences;
pub(super) use write::Writer;

/// First bytes of a file.
const SIGNATURE: [u8; 8] = *b"\x89HDF\r\n\x1a\n";
/// Where nothing is.
const UNDEFINED: u64 = u64::MAX;
/// Name of the dataset that lists the sentences.
const INDEX: &str = "sentence_to_index";
/// Length of a group's entry for an object.
const ENTRY_BYTES: usize = 40;

/// Types of messages in an object's header.
mod message {
    pub(super) const DATASPACE: u16 = 0x01;
    pub(super) const DATATYPE: u16 = 0x03;
    pub(super) const FILL_VALUE: u16 = 0x05;
    pub(super) const LAYOUT: u16 = 0x08;
    pub(super) const CONTINUATION: u16 = 0x10;
    pub(super) const SYMBOL_TABLE: u16 = 0x11;
}
