//! Reads NeuroX's HDF5, a dataset at a time. Nothing in the file is trusted: every place is checked to be inside it.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use super::{ENTRY_BYTES, INDEX, SIGNATURE, message};
use crate::dtype::Dtype;
use crate::error::StoreError;
use crate::files;
use crate::neurox::{Sentence, json};

/// The most pieces a header may be in.
const MAX_PIECES: usize = 64;
/// The deepest tree of a group: with the least fan-out of two, more entries than a file can hold.
const MAX_DEPTH: u8 = 40;

/// The sentences of a file, in the order of its index.
#[derive(Debug)]
pub(crate) struct Sentences {
    source: Source,
    datasets: BTreeMap<String, u64>,
    /// `(sentence, name of its dataset)`, last first.
    left: Vec<(String, String)>,
}

impl Sentences {
    pub(crate) fn open(path: &Path) -> Result<Self, StoreError> {
        let source = Source::open(path)?;
        let datasets = source.root()?;
        let index = datasets.get(INDEX);
        let index = *index.ok_or_else(|| StoreError::format(path, "root", format!("a dataset {INDEX}"), "none"))?;
        let text = source.dataset(INDEX, index)?.string(&source)?;
        let mut left = json::sentence_index(path, &text)?;
        left.reverse();
        Ok(Self { source, datasets, left })
    }

    fn read(&self, sentence: &str, name: &str) -> Result<Sentence, StoreError> {
        let path = &self.source.path;
        let address = self.datasets.get(name);
        let address = address.ok_or_else(|| StoreError::format(path, INDEX, format!("a dataset '{name}'"), "none"))?;
        let dataset = self.source.dataset(name, *address)?;
        let values = dataset.floats(&self.source)?;
        let [n_layers, n_words, width] = dataset.dims[..] else {
            return Err(dataset.unfit("three dimensions", dataset.dims.len()));
        };
        let (n_layers, n_words, width) = (n_layers as usize, n_words as usize, width as usize);
        Ok(Sentence { words: words(sentence, n_words), n_words, n_layers, width, values })
    }
}

impl Iterator for Sentences {
    type Item = Result<Sentence, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        let (sentence, name) = self.left.pop()?;
        Some(self.read(&sentence, &name))
    }
}

/// The words of a sentence that NeuroX joined by blanks, and told from its equals by ` (Occurrence 2)`.
fn words(sentence: &str, n_words: usize) -> Option<Vec<String>> {
    let split = |text: &str| -> Vec<String> {
        if text.is_empty() { Vec::new() } else { text.split(' ').map(ToOwned::to_owned).collect() }
    };
    let words = split(sentence);
    if words.len() == n_words {
        return Some(words);
    }
    let (text, number) = sentence.rsplit_once(" (Occurrence ")?;
    number.strip_suffix(')')?.parse::<u64>().ok()?;
    let words = split(text);
    (words.len() == n_words).then_some(words)
}

/// A file of which any part can be read.
#[derive(Debug)]
struct Source {
    file: File,
    path: PathBuf,
    len: u64,
}

/// What a dataset's header says.
struct Dataset<'a> {
    path: &'a Path,
    name: String,
    dims: Vec<u64>,
    datatype: Vec<u8>,
    address: u64,
    n_bytes: u64,
}

impl Source {
    fn open(path: &Path) -> Result<Self, StoreError> {
        let file = files::open(path)?;
        let len = file.metadata().map_err(StoreError::io("read", path))?.len();
        Ok(Self { file, path: path.to_owned(), len })
    }

    #[expect(clippy::needless_pass_by_value, reason = "callers hand over numbers and text as they have them")]
    fn unfit(&self, address: u64, expected: impl ToString, got: impl ToString) -> StoreError {
        StoreError::format(&self.path, format!("byte {address}"), expected.to_string(), got.to_string())
    }

    /// Checks that `len` bytes from `address` on are in the file.
    fn check(&self, address: u64, len: u64) -> Result<(), StoreError> {
        if address.checked_add(len).is_some_and(|end| end <= self.len) {
            return Ok(());
        }
        let expected = format!("{len} bytes, as the file says");
        Err(self.unfit(address, expected, format!("the end of the file, at byte {}", self.len)))
    }

    /// `len` bytes from `address` on.
    fn bytes(&self, address: u64, len: u64) -> Result<Vec<u8>, StoreError> {
        self.check(address, len)?;
        let mut bytes = vec![0; len as usize];
        files::read_at(&self.file, &self.path, address, &mut bytes)?;
        Ok(bytes)
    }

    /// A block that begins with its four-letter name.
    fn block(&self, address: u64, name: [u8; 4], len: u64) -> Result<Vec<u8>, StoreError> {
        let bytes = self.bytes(address, len)?;
        if !bytes.starts_with(&name) {
            return Err(self.unfit(address, String::from_utf8_lossy(&name), "something else"));
        }
        Ok(bytes)
    }

    /// The objects of the root group and where their headers are.
    fn root(&self) -> Result<BTreeMap<String, u64>, StoreError> {
        let head = self.bytes(0, 96)?;
        if head[..8] != SIGNATURE {
            return Err(self.unfit(0, "an HDF5 file", "something else"));
        }
        let version = head[8];
        // Version 1 has two more fields of two bytes before the addresses.
        let addresses = match version {
            0 => 24,
            1 => 28,
            _ => return Err(self.unfit(8, "superblock 0 or 1 (h5py's default)", format!("superblock {version}"))),
        };
        if head[13] != 8 || head[14] != 8 {
            return Err(self.unfit(13, "offsets and lengths of 8 bytes", format!("{} and {}", head[13], head[14])));
        }
        let header = self.bytes(addresses as u64 + 40, 8)?;
        let messages = self.messages(u64_at(&header, 0))?;
        let table = messages.iter().find(|(kind, data)| *kind == message::SYMBOL_TABLE && data.len() >= 16);
        let (_, table) = table.ok_or_else(|| self.unfit(96, "a group with a symbol table", "none"))?;
        let names = self.names(u64_at(table, 8))?;
        let mut objects = BTreeMap::new();
        // A node takes 24 bytes and more, so a file has fewer nodes than this unless they form a circle.
        let mut budget = self.len / 24 + 1;
        self.walk(u64_at(table, 0), MAX_DEPTH, &names, &mut budget, &mut objects)?;
        Ok(objects)
    }

    /// The names of a group, each ended by a zero.
    fn names(&self, address: u64) -> Result<Vec<u8>, StoreError> {
        let heap = self.block(address, *b"HEAP", 32)?;
        self.bytes(u64_at(&heap, 24), u64_at(&heap, 8))
    }

    fn walk(
        &self,
        address: u64,
        max_level: u8,
        names: &[u8],
        budget: &mut u64,
        objects: &mut BTreeMap<String, u64>,
    ) -> Result<(), StoreError> {
        *budget = budget.checked_sub(1).ok_or_else(|| self.unfit(address, "a tree", "a circle"))?;
        let node = self.block(address, *b"TREE", 24)?;
        let (kind, level, n_children) = (node[4], node[5], u16_at(&node, 6));
        if kind != 0 || level > max_level {
            let expected = format!("a node of a group, level {max_level} at most");
            return Err(self.unfit(address, expected, format!("type {kind}, level {level}")));
        }
        // Keys and children by turns, from a key on.
        let entries = self.bytes(address.saturating_add(24), u64::from(n_children) * 16)?;
        for entry in entries.chunks_exact(16) {
            let child = u64_at(entry, 8);
            if level == 0 {
                *budget = budget.checked_sub(1).ok_or_else(|| self.unfit(address, "a tree", "a circle"))?;
                self.leaf(child, names, objects)?;
            } else {
                self.walk(child, level - 1, names, budget, objects)?;
            }
        }
        Ok(())
    }

    fn leaf(&self, address: u64, names: &[u8], objects: &mut BTreeMap<String, u64>) -> Result<(), StoreError> {
        let leaf = self.block(address, *b"SNOD", 8)?;
        let n_entries = u16_at(&leaf, 6);
        let entries = self.bytes(address.saturating_add(8), u64::from(n_entries) * ENTRY_BYTES as u64)?;
        for entry in entries.chunks_exact(ENTRY_BYTES) {
            let place = usize::try_from(u64_at(entry, 0)).unwrap_or(usize::MAX);
            let name = names.get(place..).and_then(|rest| rest.split(|&byte| byte == 0).next());
            let name = name.and_then(|name| std::str::from_utf8(name).ok());
            let name = name.ok_or_else(|| self.unfit(address, "a name in UTF-8", format!("place {place}")))?;
            objects.insert(name.to_owned(), u64_at(entry, 8));
        }
        Ok(())
    }

    /// The messages of an object's header, version 1, in however many pieces.
    fn messages(&self, address: u64) -> Result<Vec<(u16, Vec<u8>)>, StoreError> {
        let head = self.bytes(address, 16)?;
        if head[0] != 1 {
            return Err(self.unfit(
                address,
                "an object header of version 1 (h5py's default)",
                format!("byte {}", head[0]),
            ));
        }
        let mut messages = Vec::new();
        let mut pieces = vec![(address.saturating_add(16), u64::from(u32_at(&head, 8)))];
        let mut n_pieces = 0;
        while let Some((start, len)) = pieces.pop() {
            n_pieces += 1;
            if n_pieces > MAX_PIECES {
                return Err(self.unfit(address, format!("a header of at most {MAX_PIECES} pieces"), "more"));
            }
            let piece = self.bytes(start, len)?;
            let mut rest = &piece[..];
            while rest.len() >= 8 {
                let (kind, size) = (u16_at(rest, 0), u16_at(rest, 2) as usize);
                let data = rest.get(8..8 + size);
                let data =
                    data.ok_or_else(|| self.unfit(start, "a message inside its header", format!("{size} bytes")))?;
                if kind == message::CONTINUATION && size >= 16 {
                    pieces.push((u64_at(data, 0), u64_at(data, 8)));
                } else {
                    messages.push((kind, data.to_vec()));
                }
                rest = &rest[8 + size..];
            }
        }
        Ok(messages)
    }

    fn dataset(&self, name: &str, address: u64) -> Result<Dataset<'_>, StoreError> {
        let messages = self.messages(address)?;
        let name = format!("dataset '{name}'");
        let get = |kind: u16, what: &str| {
            let found = messages.iter().find(|(k, _)| *k == kind).map(|(_, data)| &data[..]);
            found.ok_or_else(|| StoreError::format(&self.path, &name, what, "none"))
        };
        let dims = self.dims(&name, get(message::DATASPACE, "a dataspace")?)?;
        let datatype = get(message::DATATYPE, "a datatype")?.to_vec();
        let layout = get(message::LAYOUT, "a layout")?;
        if layout.len() < 18 || layout[..2] != [3, 1] {
            let got = format!("layout version and class {:?}", &layout[..layout.len().min(2)]);
            return Err(StoreError::format(&self.path, &name, "contiguous data, neither chunked nor compressed", got));
        }
        Ok(Dataset { path: &self.path, name, dims, datatype, address: u64_at(layout, 2), n_bytes: u64_at(layout, 10) })
    }

    fn dims(&self, name: &str, dataspace: &[u8]) -> Result<Vec<u64>, StoreError> {
        let (start, rank) = match dataspace {
            [1, rank, _, _, _, _, _, _, ..] => (8, *rank as usize),
            [2, rank, _, _, ..] => (4, *rank as usize),
            _ => return Err(StoreError::format(&self.path, name, "a dataspace of version 1 or 2", "another")),
        };
        let dims = dataspace.get(start..start + rank * 8);
        let dims = dims.ok_or_else(|| StoreError::format(&self.path, name, format!("{rank} dimensions"), "fewer"))?;
        Ok(dims.chunks_exact(8).map(|dim| u64_at(dim, 0)).collect())
    }
}

impl Dataset<'_> {
    #[expect(clippy::needless_pass_by_value, reason = "callers hand over numbers and text as they have them")]
    fn unfit(&self, expected: impl ToString, got: impl ToString) -> StoreError {
        StoreError::format(self.path, &self.name, expected.to_string(), got.to_string())
    }

    /// All values, in a type of the size that the datatype says.
    fn values<T: bytemuck::Pod>(&self, source: &Source) -> Result<Vec<T>, StoreError> {
        let size = size_of::<T>() as u64;
        let n_values = self.dims.iter().try_fold(1_u64, |n, &dim| n.checked_mul(dim));
        if n_values == Some(0) {
            return Ok(Vec::new());
        }
        if n_values.and_then(|n| n.checked_mul(size)) != Some(self.n_bytes) {
            let expected = format!("shape {:?} of {size} bytes each", self.dims);
            return Err(self.unfit(expected, format!("{} bytes", self.n_bytes)));
        }
        source.check(self.address, self.n_bytes)?;
        let mut values = vec![T::zeroed(); (self.n_bytes / size) as usize];
        files::read_at(&source.file, &source.path, self.address, bytemuck::cast_slice_mut(&mut values))?;
        Ok(values)
    }

    /// The values of a dataset of 16-, 32- or 64-bit little-endian floats.
    fn floats(&self, source: &Source) -> Result<Vec<f32>, StoreError> {
        let expected = "little-endian floats of 2, 4 or 8 bytes";
        let Some([class, order, _, _, size @ ..]) = self.datatype.get(..8) else {
            return Err(self.unfit(expected, "an unknown type"));
        };
        let size = u32_at(size, 0);
        if class & 0x0f != 1 || order & 0x41 != 0 {
            return Err(self.unfit(expected, format!("type class {}, {size} bytes", class & 0x0f)));
        }
        match size {
            2 => {
                let bits: Vec<u16> = self.values(source)?;
                let mut values = vec![0.0; bits.len()];
                Dtype::Float16.from_bits(&bits, &mut values);
                Ok(values)
            }
            4 => self.values(source),
            8 => {
                let values: Vec<f64> = self.values(source)?;
                Ok(values.into_iter().map(|value| value as f32).collect())
            }
            _ => Err(self.unfit(expected, format!("{size} bytes"))),
        }
    }

    /// The one string of a dataset of variable-length strings.
    fn string(&self, source: &Source) -> Result<String, StoreError> {
        let expected = "one variable-length string";
        let is_string = self.datatype.first().is_some_and(|class| class & 0x0f == 9);
        if !is_string || self.dims.iter().any(|&dim| dim != 1) {
            return Err(self.unfit(expected, format!("shape {:?}", self.dims)));
        }
        let reference: Vec<[u8; 16]> = self.values(source)?;
        let reference = &reference[0];
        let (len, address, idx) = (u32_at(reference, 0), u64_at(reference, 4), u32_at(reference, 12));
        let heap = source.block(address, *b"GCOL", 16)?;
        let heap = source.bytes(address, u64_at(&heap, 8))?;
        let mut rest = heap.get(16..).unwrap_or_default();
        while rest.len() >= 16 {
            let (object, size) = (u32::from(u16_at(rest, 0)), u64_at(rest, 8));
            let end = usize::try_from(size).ok().and_then(|size| size.checked_add(16)).unwrap_or(usize::MAX);
            if object == idx && object != 0 {
                let bytes = rest.get(16..end).and_then(|bytes| bytes.get(..len as usize));
                let bytes = bytes.ok_or_else(|| self.unfit(format!("{len} bytes of text"), "fewer"))?;
                return String::from_utf8(bytes.to_vec()).map_err(|error| self.unfit("UTF-8", error));
            }
            if object == 0 {
                break;
            }
            rest = end.checked_next_multiple_of(8).and_then(|end| rest.get(end..)).unwrap_or_default();
        }
        Err(self.unfit(expected, format!("no object {idx} in the heap at byte {address}")))
    }
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(bytes[at..at + 2].try_into().expect("two bytes"))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

#[cfg(test)]
mod tests {
    use super::words;

    #[test]
    fn words_are_told_from_the_mark_of_a_repeated_sentence() {
        let split = |sentence, n_words| words(sentence, n_words).map(|words| words.join("|"));
        assert_eq!(split("a b", 2).as_deref(), Some("a|b"));
        assert_eq!(split("a b (Occurrence 2)", 2).as_deref(), Some("a|b"));
        assert_eq!(split("a (Occurrence 2)", 3).as_deref(), Some("a|(Occurrence|2)"));
        assert_eq!(split(" (Occurrence 2)", 0).as_deref(), Some(""));
        assert_eq!(split("", 0).as_deref(), Some(""));
        assert_eq!(split("a b", 3), None);
        assert_eq!(split("a b (Occurrence two)", 2), None);
    }
}
