//! numpy's archives of arrays: a zip file with one `.npy` an array, stored or deflated.
//!
//! Arrays that are stored row after row are mapped; others are copied on opening. Arrays of text are no weights and are
//! passed over; arrays of Python objects are pickles of any kind, and refuse the file.

use std::ops::Range;
use std::path::Path;

use miniz_oxide::inflate::decompress_to_vec_with_limit;

use super::cursor::{Cursor, malformed};
use super::zip::{self, Method, ZipEntry};
use super::{Contents, Dtype, Entry, Format};
use crate::error::LoadError;

pub(super) const FORMAT: Format =
    Format { name: "numpy", extensions: &["npz"], is: None, single: None, index: None, whole: None, read };

const MAGIC: &[u8; 6] = b"\x93NUMPY";
/// How much larger all that is copied from a file may be than the file; weights deflate to a half at best.
const MAX_GROWTH: usize = 64;
/// What may be copied from any file, however small: zeros deflate to a thousandth.
const FREE: usize = 16 << 20;
/// What copies are aligned to.
const ALIGN: usize = 8;

fn read(path: &Path, file: &[u8]) -> Result<Contents, LoadError> {
    let mut contents = Contents::mapped(Vec::new());
    let limit = file.len().saturating_mul(MAX_GROWTH).max(FREE);
    for entry in zip::entries(path, file)? {
        let Some(name) = array_name(entry.name) else {
            return Err(malformed(path, entry.name, "arrays alone (.npy)", "another file"));
        };
        array(path, file, name, &entry, limit, &mut contents)?;
    }
    Ok(contents)
}

/// The name of an array, by that of its entry.
pub(super) fn array_name(entry: &str) -> Option<&str> {
    entry.strip_suffix(".npy")
}

/// Reads one array.
fn array(
    path: &Path,
    file: &[u8],
    name: &str,
    entry: &ZipEntry<'_>,
    limit: usize,
    contents: &mut Contents,
) -> Result<(), LoadError> {
    let wrong = |expected: String, got: String| malformed(path, name, expected, got);
    let start = contents.copied.len().next_multiple_of(ALIGN);
    let left = limit.saturating_sub(start);
    let inflated;
    let bytes = match entry.method {
        Method::Stored => &file[entry.range.clone()],
        Method::Deflated => {
            let size = usize::try_from(entry.size).ok().filter(|size| *size <= left);
            let too_large = || format!("at most {limit} bytes in all arrays of a file of {}", file.len());
            let size = size.ok_or_else(|| wrong(too_large(), format!("{} bytes more", entry.size)))?;
            inflated = decompress_to_vec_with_limit(&file[entry.range.clone()], size)
                .map_err(|err| wrong(format!("{size} deflated bytes"), err.to_string()))?;
            if inflated.len() != size {
                return Err(wrong(format!("{size} bytes when inflated"), inflated.len().to_string()));
            }
            &inflated
        }
    };
    let (header, data) = header(path, name, bytes)?;
    let Some(dtype) = header.dtype else {
        return Ok(());
    };
    let n_bytes = dtype.bits(&header.shape).map(|bits| bits / 8);
    if n_bytes != Some(data.len()) {
        let expected = n_bytes.map_or("a shape that can be addressed".to_owned(), |n| format!("{n} bytes"));
        return Err(wrong(expected, format!("{} bytes for {dtype} {:?}", data.len(), header.shape)));
    }
    let rows = !header.columns || header.shape.iter().filter(|dim| **dim > 1).count() < 2 || data.is_empty();
    let mut found = Entry::new(name.to_owned(), dtype, header.shape, 0..0);
    if rows && entry.method == Method::Stored {
        found.range = entry.range.end - data.len()..entry.range.end;
    } else {
        if data.len() > left {
            return Err(wrong(format!("at most {limit} bytes that are copied"), format!("{} more", data.len())));
        }
        contents.copied.resize(start, 0);
        if rows {
            contents.copied.extend_from_slice(data);
        } else {
            transpose(data, &found.shape, &mut contents.copied);
        }
        found.range = start..contents.copied.len();
        found.copied = true;
    }
    contents.entries.push(found);
    Ok(())
}

/// Copies an array whose first dimension runs fastest, row after row.
fn transpose(data: &[u8], shape: &[usize], out: &mut Vec<u8>) {
    let n: usize = shape.iter().product();
    let size = data.len() / n;
    let mut index = vec![0; shape.len()];
    for _ in 0..n {
        let at = index.iter().zip(shape).rev().fold(0, |at, (idx, dim)| at * dim + idx);
        out.extend_from_slice(&data[at * size..][..size]);
        for (idx, dim) in index.iter_mut().zip(shape).rev() {
            *idx += 1;
            if *idx < *dim {
                break;
            }
            *idx = 0;
        }
    }
}

/// What an array says of itself.
#[derive(Debug, PartialEq, Eq)]
struct Header {
    /// None for text.
    dtype: Option<Dtype>,
    /// Whether columns lie one behind the other, not rows.
    columns: bool,
    shape: Vec<usize>,
}

/// Reads the header of an array: version, length, and a dictionary as Python writes it.
fn header<'a>(path: &Path, name: &str, bytes: &'a [u8]) -> Result<(Header, &'a [u8]), LoadError> {
    let named = |err| match err {
        LoadError::Malformed { path, expected, got, .. } => {
            LoadError::Malformed { path, part: name.to_owned(), expected, got }
        }
        other => other,
    };
    let mut cursor = Cursor::new(path, "array", bytes);
    let mut text = || {
        let magic: [u8; 6] = cursor.array()?;
        if &magic != MAGIC {
            return Err(cursor.wrong("an array of numpy", format!("bytes {magic:02x?}")));
        }
        let [version, _] = cursor.array()?;
        let len = match version {
            1 => usize::from(cursor.u16()?),
            2 | 3 => cursor.u32()? as usize,
            _ => return Err(cursor.wrong("version 1, 2 or 3", version)),
        };
        let text = cursor.text(len)?;
        Ok((text, Range { start: cursor.at(), end: bytes.len() }))
    };
    let (text, data) = text().map_err(named)?;
    let expected = "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }";
    let shown = || text.chars().take(80).flat_map(char::escape_debug).collect::<String>();
    let header = parse(text).ok_or_else(|| malformed(path, name, expected, shown()))?;
    let dtype = match dtype(header.0) {
        Ok(dtype) => dtype,
        Err(Kind::Objects) => {
            return Err(LoadError::Refused {
                path: path.to_owned(),
                name: format!("objects of Python (array {name})"),
            });
        }
        Err(Kind::Unknown) => {
            let expected = "numbers of up to 64 bits, the least byte first, or text";
            return Err(malformed(path, name, expected, header.0.escape_debug()));
        }
    };
    Ok((Header { dtype, columns: header.1, shape: header.2 }, &bytes[data]))
}

/// Type, order and shape of a header's dictionary, whose keys may come in any order.
fn parse(text: &str) -> Option<(&str, bool, Vec<usize>)> {
    let mut rest = text.trim().strip_prefix('{')?.strip_suffix('}')?.trim_start();
    let (mut descr, mut columns, mut shape) = (None, None, None);
    while !rest.is_empty() {
        let (key, after) = quoted(rest)?;
        let value = after.trim_start().strip_prefix(':')?.trim_start();
        rest = match key {
            "descr" => {
                let (text, rest) = quoted(value)?;
                descr = Some(text);
                rest
            }
            "fortran_order" => {
                columns = Some(value.starts_with("True"));
                value.strip_prefix("True").or_else(|| value.strip_prefix("False"))?
            }
            "shape" => {
                let (dims, rest) = value.strip_prefix('(')?.split_once(')')?;
                let dims = dims.trim().strip_suffix(',').unwrap_or(dims.trim());
                let dims = if dims.is_empty() { Some(Vec::new()) } else { dims.split(',').map(size).collect() };
                shape = Some(dims?);
                rest
            }
            _ => return None,
        };
        rest = rest.trim_start();
        rest = match rest.strip_prefix(',') {
            Some(rest) => rest.trim_start(),
            None if rest.is_empty() => rest,
            None => return None,
        };
    }
    Some((descr?, columns?, shape?))
}

/// A text in quotation marks, and what comes after it.
fn quoted(text: &str) -> Option<(&str, &str)> {
    let mark = text.chars().next().filter(|mark| ['\'', '"'].contains(mark))?;
    text[1..].split_once(mark)
}

fn size(text: &str) -> Option<usize> {
    text.trim().trim_end_matches('L').parse().ok()
}

/// What no tensor is made of.
enum Kind {
    Objects,
    Unknown,
}

/// The type of a name such as `<f4`; `None` for text.
fn dtype(descr: &str) -> Result<Option<Dtype>, Kind> {
    let name = match descr {
        "<f4" => "F32",
        "<f2" => "F16",
        "<f8" => "F64",
        "|b1" => "BOOL",
        "|u1" => "U8",
        // Marian's own writer says that the least of one byte comes first.
        "|i1" | "<i1" => "I8",
        "<u2" => "U16",
        "<i2" => "I16",
        "<u4" => "U32",
        "<i4" => "I32",
        "<u8" => "U64",
        "<i8" => "I64",
        "<c8" => "C64",
        _ if descr.starts_with("|O") => return Err(Kind::Objects),
        _ if descr.starts_with(['<', '>', '|']) && descr[1..].starts_with(['U', 'S']) => return Ok(None),
        _ => return Err(Kind::Unknown),
    };
    Ok(Dtype::parse(name))
}

#[cfg(test)]
mod tests;
