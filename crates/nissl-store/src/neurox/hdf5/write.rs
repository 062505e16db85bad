//! Writes NeuroX's HDF5, dataset after dataset; only names and places are kept in memory.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use super::{ENTRY_BYTES, INDEX, SIGNATURE, UNDEFINED, message};
use crate::error::StoreError;
use crate::files;

/// Half the most entries of a leaf of the group's tree, and half the most children of its nodes: HDF5's defaults.
const LEAF_K: u16 = 4;
const NODE_K: u16 = 16;
const SUPERBLOCK_BYTES: usize = 96;
/// The least size of a block of variable-length data.
const MIN_HEAP_BYTES: usize = 4096;

/// Writes a file of sentences. It has no name until [`Writer::finish`].
pub(crate) struct Writer {
    path: PathBuf,
    out: BufWriter<File>,
    at: u64,
    /// Names of the datasets and where their headers are.
    datasets: Vec<(String, u64)>,
}

impl Writer {
    /// Begins the file `path`.
    pub(crate) fn create(path: &Path) -> Result<Self, StoreError> {
        let out = BufWriter::with_capacity(1 << 18, files::create_temporary(path)?);
        let mut writer = Self { path: path.to_owned(), out, at: 0, datasets: Vec::new() };
        writer.put(&[0; SUPERBLOCK_BYTES])?;
        Ok(writer)
    }

    /// Adds a dataset of 32-bit floats, `values` of shape `dims`.
    pub(crate) fn add(&mut self, name: String, dims: [usize; 3], values: &[f32]) -> Result<(), StoreError> {
        let datatype = [
            0x11, 0x20, 0x1f, 0, 4, 0, 0, 0, // version 1, floating-point, little-endian, sign in bit 31; 4 bytes
            0, 0, 32, 0, 23, 8, 0, 23, 127, 0, 0,
            0, // 32 bits, exponent of 8 from bit 23, mantissa of 23, bias 127
        ];
        let bytes: &[u8] = bytemuck::cast_slice(values);
        self.dataset(name, &dims, &datatype, [2, 2, 2, 1], bytes)
    }

    /// Adds the list of sentences, ends the file and gives it its name.
    pub(crate) fn finish(mut self, index: &str) -> Result<(), StoreError> {
        let heap = self.global_heap(index.as_bytes())?;
        let mut reference = (index.len() as u32).to_le_bytes().to_vec();
        reference.extend(heap.to_le_bytes());
        reference.extend(1_u32.to_le_bytes());
        let datatype = [
            0x19, 0x01, 0x01, 0, 16, 0, 0, 0, // version 1, variable-length string in UTF-8; 16 bytes
            0x10, 0, 0, 0, 1, 0, 0, 0, 0, 0, 8, 0, // of bytes
        ];
        self.dataset(INDEX.to_owned(), &[1], &datatype, [2, 2, 0, 1], &reference)?;
        let (tree, heap) = self.group()?;
        let root = self.at;
        self.header(&[(message::SYMBOL_TABLE, 0, [tree.to_le_bytes(), heap.to_le_bytes()].concat())])?;
        let end = self.at;
        let file = self.out.into_inner().map_err(|error| StoreError::io("write", &self.path)(error.into_error()))?;
        files::write_at(&file, &self.path, 0, &superblock(root, tree, heap, end))?;
        files::publish(&file, &self.path)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.out.write_all(bytes).map_err(StoreError::io("write", &self.path))?;
        self.at += bytes.len() as u64;
        Ok(())
    }

    fn pad(&mut self) -> Result<(), StoreError> {
        let n = self.at.next_multiple_of(8) - self.at;
        self.put(&[0; 8][..n as usize])
    }

    /// A header and, behind it, its contiguous data.
    fn dataset(
        &mut self,
        name: String,
        dims: &[usize],
        datatype: &[u8],
        fill: [u8; 4],
        data: &[u8],
    ) -> Result<(), StoreError> {
        self.datasets.push((name, self.at));
        let sizes: Vec<u8> = dims.iter().flat_map(|&dim| (dim as u64).to_le_bytes()).collect();
        // Version 1, with the largest sizes, which are the same.
        let dataspace = [&[1, dims.len() as u8, 1, 0, 0, 0, 0, 0], &sizes[..], &sizes[..]].concat();
        let fill = [&fill[..], &[0; 4]].concat();
        let padded = |bytes: usize| bytes.next_multiple_of(8) + 8;
        let header = 16 + padded(dataspace.len()) + padded(datatype.len()) + padded(fill.len()) + padded(18);
        let address = if data.is_empty() { UNDEFINED } else { self.at + header as u64 };
        // Version 3, contiguous.
        let layout = [&[3, 1][..], &address.to_le_bytes(), &(data.len() as u64).to_le_bytes()].concat();
        self.header(&[
            (message::DATASPACE, 0, dataspace),
            (message::DATATYPE, 1, datatype.to_vec()),
            (message::FILL_VALUE, 1, fill),
            (message::LAYOUT, 0, layout),
        ])?;
        self.put(data)?;
        self.pad()
    }

    /// An object's header, version 1: `(type, flags, data)` of each message.
    fn header(&mut self, messages: &[(u16, u8, Vec<u8>)]) -> Result<(), StoreError> {
        let size: usize = messages.iter().map(|(_, _, data)| data.len().next_multiple_of(8) + 8).sum();
        let mut bytes = vec![1, 0];
        bytes.extend((messages.len() as u16).to_le_bytes());
        bytes.extend(1_u32.to_le_bytes());
        bytes.extend((size as u32).to_le_bytes());
        bytes.extend([0; 4]);
        for (kind, flags, data) in messages {
            bytes.extend(kind.to_le_bytes());
            bytes.extend((data.len().next_multiple_of(8) as u16).to_le_bytes());
            bytes.extend([*flags, 0, 0, 0]);
            bytes.extend(data);
            bytes.resize(bytes.len().next_multiple_of(8), 0);
        }
        self.put(&bytes)
    }

    /// A block of variable-length data with one object; returns where it is.
    fn global_heap(&mut self, object: &[u8]) -> Result<u64, StoreError> {
        let address = self.at;
        let used = 32 + object.len().next_multiple_of(8);
        let size = (used + 16).max(MIN_HEAP_BYTES);
        self.put(b"GCOL\x01\0\0\0")?;
        self.put(&(size as u64).to_le_bytes())?;
        self.put(&[1, 0, 0, 0, 0, 0, 0, 0])?;
        self.put(&(object.len() as u64).to_le_bytes())?;
        self.put(object)?;
        self.pad()?;
        // Object 0 is the free space.
        self.put(&[0; 8])?;
        self.put(&((size - used) as u64).to_le_bytes())?;
        self.put(&vec![0; size - used - 16])?;
        Ok(address)
    }

    /// The group of all datasets: returns where its tree and the heap of its names are.
    fn group(&mut self) -> Result<(u64, u64), StoreError> {
        let mut entries = std::mem::take(&mut self.datasets);
        entries.sort_unstable();
        // Place 0 of the heap is the empty name, which comes before all others.
        let mut names = vec![0; 8];
        let mut places = Vec::with_capacity(entries.len());
        for (name, _) in &entries {
            places.push(names.len() as u64);
            names.extend(name.as_bytes());
            names.resize((names.len() + 1).next_multiple_of(8), 0);
        }
        let heap = self.at;
        self.put(b"HEAP\0\0\0\0")?;
        // The first free place 1 means that there is none.
        for field in [names.len() as u64, 1, heap + 32] {
            self.put(&field.to_le_bytes())?;
        }
        self.put(&names)?;
        // Each node: where it is, and the place of the last name in it.
        let mut nodes = Vec::new();
        let per_leaf = 2 * LEAF_K as usize;
        for (entries, places) in entries.chunks(per_leaf).zip(places.chunks(per_leaf)) {
            nodes.push((self.at, places[places.len() - 1]));
            let mut bytes = b"SNOD\x01\0".to_vec();
            bytes.extend((entries.len() as u16).to_le_bytes());
            for ((_, header), place) in entries.iter().zip(places) {
                bytes.extend(place.to_le_bytes());
                bytes.extend(header.to_le_bytes());
                bytes.extend([0; 24]);
            }
            bytes.resize(8 + per_leaf * ENTRY_BYTES, 0);
            self.put(&bytes)?;
        }
        let mut level = 0;
        loop {
            nodes = self.tree_level(level, &nodes)?;
            if nodes.len() == 1 {
                return Ok((nodes[0].0, heap));
            }
            level += 1;
        }
    }

    /// One level of the group's tree, over the nodes of the level below.
    fn tree_level(&mut self, level: u8, below: &[(u64, u64)]) -> Result<Vec<(u64, u64)>, StoreError> {
        let per_node = 2 * NODE_K as usize;
        let node_bytes = 24 + (2 * per_node + 1) * 8;
        let (first, n_nodes) = (self.at, below.len().div_ceil(per_node));
        let place = |idx: usize| first + (idx * node_bytes) as u64;
        let mut nodes = Vec::with_capacity(n_nodes);
        let mut least = 0_u64;
        for (idx, children) in below.chunks(per_node).enumerate() {
            let left = if idx > 0 { place(idx - 1) } else { UNDEFINED };
            let right = if idx + 1 < n_nodes { place(idx + 1) } else { UNDEFINED };
            let mut bytes = b"TREE\0".to_vec();
            bytes.push(level);
            bytes.extend((children.len() as u16).to_le_bytes());
            bytes.extend(left.to_le_bytes());
            bytes.extend(right.to_le_bytes());
            bytes.extend(least.to_le_bytes());
            for (child, last) in children {
                bytes.extend(child.to_le_bytes());
                bytes.extend(last.to_le_bytes());
                least = *last;
            }
            bytes.resize(node_bytes, 0);
            nodes.push((place(idx), least));
            self.put(&bytes)?;
        }
        Ok(nodes)
    }
}

fn superblock(root: u64, tree: u64, heap: u64, end: u64) -> Vec<u8> {
    let mut bytes = SIGNATURE.to_vec();
    // Versions 0; offsets and lengths of 8 bytes.
    bytes.extend([0, 0, 0, 0, 0, 8, 8, 0]);
    bytes.extend(LEAF_K.to_le_bytes());
    bytes.extend(NODE_K.to_le_bytes());
    bytes.extend([0; 4]);
    for field in [0, UNDEFINED, end, UNDEFINED, 0, root] {
        bytes.extend(field.to_le_bytes());
    }
    // The root's entry keeps its tree and heap at hand.
    bytes.extend([1, 0, 0, 0, 0, 0, 0, 0]);
    bytes.extend(tree.to_le_bytes());
    bytes.extend(heap.to_le_bytes());
    bytes
}
