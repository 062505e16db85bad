//! PyTorch's files, in both forms, without PyTorch and without running anything.
//!
//! Since 2020 a file is a zip file: a pickle `data.pkl` describes the tensors, the entries `data/<key>` are their
//! storages. Before, it was four pickles (a magic number, a version, the system, the tensors), a fifth with the keys
//! of the storages, and then those, one behind the other. A tensor is a view of a storage: tensors that share one
//! share its bytes here too. A tensor whose numbers do not lie row after row is copied.

mod pickle;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use self::pickle::{Fault, Pickle, Storage, Tensor, Value};
use super::cursor::{Cursor, malformed};
use super::zip::{self, Method, ZipEntry};
use super::{Contents, Entry, Format, npz};
use crate::error::LoadError;

pub(super) const FORMAT: Format = Format {
    name: "PyTorch",
    extensions: &["bin", "pt", "pth", "ckpt"],
    is: None,
    single: Some("pytorch_model.bin"),
    index: Some("pytorch_model.bin.index.json"),
    whole: None,
    read,
};

/// The first pickle of the older form: a number of ten bytes, by protocol 2.
const MAGIC: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";
/// The version of the older form.
const VERSION: i64 = 1001;
/// How deep dictionaries may lie in each other.
const MAX_DEPTH: usize = 32;
/// The most values of dictionaries that are looked at, and the most bytes in names: values may be used many times.
const MAX_VISITS: usize = 1 << 22;
const MAX_NAMES: usize = 64 << 20;
/// Where the weights are in a file that holds more of a training run.
const STATES: &[&str] = &["state_dict", "model_state_dict", "model"];

fn read(path: &Path, file: &[u8]) -> Result<Contents, LoadError> {
    if zip::is_zip(file) {
        read_zip(path, file)
    } else if file.starts_with(MAGIC) {
        read_old(path, file)
    } else {
        let starts = &file[..file.len().min(4)];
        let got =
            if file.is_empty() { "an empty file".to_owned() } else { format!("bytes {starts:02x?} at its start") };
        Err(malformed(path, "header", "a file of PyTorch: a zip file, or the older form", got))
    }
}

fn failed(path: &Path, fault: Fault) -> LoadError {
    match fault {
        Fault::Refused(name) => LoadError::Refused { path: path.to_owned(), name },
        Fault::Malformed(expected, got) => malformed(path, "pickle", expected, got),
    }
}

/// Where the numbers of each storage lie.
type Storages<'a> = BTreeMap<&'a str, Range<usize>>;

fn read_zip(path: &Path, file: &[u8]) -> Result<Contents, LoadError> {
    let entries = zip::entries(path, file)?;
    let mut pickles = entries.iter().filter_map(|entry| Some((entry.name.strip_suffix("data.pkl")?, entry)));
    let (Some((prefix, main)), None) = (pickles.next(), pickles.next()) else {
        let arrays = entries.iter().any(|entry| npz::array_name(entry.name).is_some());
        let got = if arrays { "arrays of numpy" } else { "others" };
        return Err(malformed(path, "zip directory", "one entry data.pkl, as PyTorch writes it", got));
    };
    if entries.iter().any(|entry| entry.name == format!("{prefix}constants.pkl")) {
        return Err(LoadError::Refused { path: path.to_owned(), name: "a program (TorchScript)".to_owned() });
    }
    let stored = |entry: &ZipEntry<'_>| {
        if entry.method == Method::Stored {
            Ok(entry.range.clone())
        } else {
            Err(malformed(path, entry.name, "an entry that is stored as it is", "a compressed one"))
        }
    };
    if let Some(order) = entries.iter().find(|entry| entry.name == format!("{prefix}byteorder"))
        && &file[stored(order)?] != b"little"
    {
        return Err(malformed(path, "byteorder", "little", "another"));
    }
    let mut storages = Storages::new();
    for entry in &entries {
        let key = entry.name.strip_prefix(prefix).and_then(|name| name.strip_prefix("data/"));
        if let Some(key) = key {
            storages.insert(key, stored(entry)?);
        }
    }
    let pickle = pickle::read(&file[stored(main)?]).map_err(|fault| failed(path, fault))?;
    contents(path, file, &pickle, &storages)
}

fn read_old(path: &Path, file: &[u8]) -> Result<Contents, LoadError> {
    let mut at = MAGIC.len();
    let mut next = || {
        let pickle = pickle::read(&file[at..]).map_err(|fault| failed(path, fault))?;
        at += pickle.len;
        Ok::<_, LoadError>(pickle)
    };
    let (version, system, pickle, keys) = (next()?, next()?, next()?, next()?);
    if version.root != Value::Int(VERSION) {
        return Err(malformed(path, "header", format!("version {VERSION}"), version.root.kind()));
    }
    if pairs(&system).any(|pair| pair == (Value::Text("little_endian"), Value::Bool(false))) {
        return Err(malformed(path, "header", "numbers with the least byte first", "the greatest byte first"));
    }
    let Value::List(keys_node) = keys.root else {
        return Err(malformed(path, "storages", "a list of keys", keys.root.kind()));
    };
    // A storage may be used by many tensors, whole or in part: it has one type and one length.
    let mut sizes = BTreeMap::new();
    for storage in &pickle.storages {
        let size = (storage.dtype, storage.len);
        if *sizes.entry(storage.key).or_insert(size) != size {
            return Err(malformed(path, storage.key, "a storage of one type and length", "several"));
        }
    }
    let mut storages = Storages::new();
    let mut reader = Cursor::new(path, "storages", file).seek("storages", at);
    for key in &keys.nodes[keys_node] {
        let Value::Text(key) = *key else {
            return Err(malformed(path, "storages", "a text as key", key.kind()));
        };
        let Some(&(dtype, len)) = sizes.get(key) else {
            return Err(malformed(path, "storages", "keys that tensors use", format!("'{}'", key.escape_debug())));
        };
        let stored = reader.u64()?;
        if stored != len as u64 {
            return Err(malformed(path, key, format!("{len} numbers"), stored));
        }
        let n_bytes = dtype.bits(&[len]).map_or(usize::MAX, |bits| bits / 8);
        let start = reader.at();
        reader.take(n_bytes)?;
        if storages.insert(key, start..reader.at()).is_some() {
            return Err(malformed(path, key, "one storage of this key", "several"));
        }
    }
    contents(path, file, &pickle, &storages)
}

/// The keys and values of a pickle that is a dictionary.
fn pairs<'a>(pickle: &Pickle<'a>) -> impl Iterator<Item = (Value<'a>, Value<'a>)> {
    let parts = if let Value::Dict(node) = pickle.root { &pickle.nodes[node][..] } else { &[] };
    parts.as_chunks().0.iter().map(|&[key, value]| (key, value))
}

/// Finds the tensors that a pickle describes in the file.
fn contents(path: &Path, file: &[u8], pickle: &Pickle<'_>, storages: &Storages<'_>) -> Result<Contents, LoadError> {
    let mut contents = Contents::mapped(Vec::new());
    let mut copies = BTreeMap::new();
    for (name, tensor) in tensors(path, pickle)? {
        let storage = &pickle.storages[tensor.storage];
        let wrong = |(expected, got): (String, String)| malformed(path, &name, expected, got);
        let Some(range) = storages.get(storage.key) else {
            return Err(wrong((format!("storage '{}'", storage.key.escape_debug()), "none of this key".to_owned())));
        };
        let place = place(tensor, storage, range).map_err(wrong)?;
        let mut entry = Entry::new(name.clone(), storage.dtype, tensor.shape.clone(), place.range);
        if !place.rows {
            entry.copied = true;
            let view = (storage.key, storage.view, tensor.offset, &tensor.shape, &tensor.strides);
            entry.range = if let Some(range) = copies.get(&view) {
                Range::clone(range)
            } else {
                // Each view is copied once, and all copies together are no larger than the file.
                let n_bytes = storage.dtype.bits(&tensor.shape).map_or(usize::MAX, |bits| bits / 8);
                if contents.copied.len().saturating_add(n_bytes) > file.len() {
                    let expected = format!("at most {} bytes in tensors that are views of others", file.len());
                    return Err(wrong((expected, "more".to_owned())));
                }
                let range = gather(file, &entry.range, tensor, n_bytes, &mut contents.copied);
                copies.insert(view, range.clone());
                range
            };
        }
        contents.entries.push(entry);
    }
    contents.entries.sort_by(|a, b| a.name.cmp(&b.name));
    if let Some(pair) = contents.entries.windows(2).find(|pair| pair[0].name == pair[1].name) {
        return Err(malformed(path, &pair[0].name, "one tensor of this name", "several"));
    }
    Ok(contents)
}

/// The tensors with their names: keys on the way to them, with dots.
fn tensors<'p>(path: &Path, pickle: &'p Pickle<'_>) -> Result<Vec<(String, &'p Tensor)>, LoadError> {
    let wrong = |expected: String, got: &str| malformed(path, "pickle", expected, got);
    let mut root = pickle.root;
    if !pairs(pickle).any(|(_, value)| matches!(value, Value::Tensor(_))) {
        let state = |name: &&str| pairs(pickle).find(|(key, _)| *key == Value::Text(name)).map(|(_, value)| value);
        let states = STATES.iter().filter_map(state);
        root = states.into_iter().find(|value| matches!(value, Value::Dict(_))).unwrap_or(root);
    }
    if !matches!(root, Value::Dict(_) | Value::List(_)) {
        return Err(wrong("a dictionary of weights".to_owned(), root.kind()));
    }
    let mut found = Vec::new();
    let mut left = vec![(root, String::new(), 0)];
    let (mut n_visits, mut n_names) = (0, 0);
    while let Some((value, name, depth)) = left.pop() {
        let children: Vec<(Value<'_>, Value<'_>)> = match value {
            Value::Tensor(tensor) => {
                found.push((name, &pickle.tensors[tensor]));
                continue;
            }
            Value::Dict(node) => pickle.nodes[node].as_chunks().0.iter().map(|&[key, value]| (key, value)).collect(),
            Value::List(node) | Value::Tuple(node) => {
                let items = pickle.nodes[node].iter().enumerate();
                items.map(|(i, value)| (Value::Int(i as i64), *value)).collect()
            }
            _ => continue,
        };
        n_visits += children.len() + 1;
        if depth == MAX_DEPTH || n_visits > MAX_VISITS {
            let expected = format!("at most {MAX_VISITS} values, at most {MAX_DEPTH} deep");
            return Err(wrong(expected, "more, or a dictionary in itself"));
        }
        for (key, value) in children {
            if !matches!(value, Value::Tensor(_) | Value::Dict(_) | Value::List(_) | Value::Tuple(_)) {
                continue;
            }
            let key = match key {
                Value::Text(key) => key.to_owned(),
                Value::Int(key) => key.to_string(),
                other => return Err(wrong("a text or whole number as key".to_owned(), other.kind())),
            };
            n_names += name.len() + key.len() + 1;
            if n_names > MAX_NAMES {
                return Err(wrong(format!("names of at most {MAX_NAMES} bytes together"), "more"));
            }
            let name = if name.is_empty() { key } else { format!("{name}.{key}") };
            left.push((value, name, depth + 1));
        }
    }
    Ok(found)
}

/// Where a tensor lies in the file.
struct Place {
    /// The bytes of the tensor if it lies row after row, else from its first number to the end of its storage.
    range: Range<usize>,
    rows: bool,
}

/// Checks a tensor against its storage, or says what was expected and got.
fn place(tensor: &Tensor, storage: &Storage<'_>, bytes: &Range<usize>) -> Result<Place, (String, String)> {
    let (first, len) = storage.view;
    let whole = storage.dtype.bits(&[storage.len]).filter(|bits| bits / 8 <= bytes.len());
    if whole.is_none() {
        let expected =
            format!("{} numbers of {} in storage '{}'", storage.len, storage.dtype, storage.key.escape_debug());
        return Err((expected, format!("{} bytes", bytes.len())));
    }
    let size = storage.dtype.bits(&[1]).unwrap_or(8) / 8;
    let dims = || tensor.shape.iter().zip(&tensor.strides);
    let n = tensor.shape.iter().try_fold(1usize, |product, &dim| product.checked_mul(dim));
    let steps = |sum: usize, (&dim, &stride): (&usize, &usize)| sum.checked_add((dim - 1).checked_mul(stride)?);
    let described = || format!("{:?} with strides {:?} from {} on", tensor.shape, tensor.strides, tensor.offset);
    let outside = || (format!("a tensor within {len} numbers"), described());
    let at = |number: usize| bytes.start + (first + number) * size;
    if n == Some(0) {
        return Ok(Place { range: bytes.start..bytes.start, rows: true });
    }
    let (Some(n), Some(last)) = (n, dims().try_fold(tensor.offset, steps)) else {
        return Err(outside());
    };
    if last >= len {
        return Err(outside());
    }
    if n > len - tensor.offset {
        return Err(("a tensor of no more numbers than its storage has".to_owned(), described()));
    }
    let mut stride = 1;
    let rows = dims().rev().all(|(&dim, &got)| {
        let fits = dim == 1 || got == stride;
        stride *= dim;
        fits
    });
    let end = if rows { tensor.offset + n } else { len };
    Ok(Place { range: at(tensor.offset)..at(end), rows })
}

/// Copies the numbers of a tensor, checked by [`place`], row after row.
fn gather(file: &[u8], range: &Range<usize>, tensor: &Tensor, n_bytes: usize, copied: &mut Vec<u8>) -> Range<usize> {
    /// What any number is aligned to.
    const ALIGN: usize = 8;
    copied.resize(copied.len().next_multiple_of(ALIGN), 0);
    let (start, n) = (copied.len(), tensor.shape.iter().product::<usize>());
    let size = n_bytes / n;
    let bytes = &file[range.clone()];
    copied.reserve(n_bytes);
    let mut index = vec![0; tensor.shape.len()];
    let mut at = 0;
    for _ in 0..n {
        copied.extend_from_slice(&bytes[at * size..][..size]);
        for (dim, idx) in index.iter_mut().enumerate().rev() {
            *idx += 1;
            at += tensor.strides[dim];
            if *idx < tensor.shape[dim] {
                break;
            }
            at -= *idx * tensor.strides[dim];
            *idx = 0;
        }
    }
    start..copied.len()
}

#[cfg(test)]
mod tests;
