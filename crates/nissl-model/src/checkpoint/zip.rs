//! The directory of a zip file, for the formats that are zip files: PyTorch's and numpy's.
//!
//! Only what those write is read: one file, no encryption, entries stored or deflated. No entry may share a byte with
//! another, and no name may occur twice, so that no two readers can disagree on what an entry holds.

use std::ops::Range;
use std::path::Path;

use super::cursor::{Cursor, malformed};
use crate::error::LoadError;

/// The end of the directory, without a comment.
const END: usize = 22;
/// The longest comment.
const COMMENT: usize = u16::MAX as usize;
/// The smallest entry of the directory.
const ENTRY: usize = 46;

const END_MAGIC: u32 = 0x0605_4b50;
const END64_MAGIC: u32 = 0x0606_4b50;
const LOCATOR64_MAGIC: u32 = 0x0706_4b50;
const ENTRY_MAGIC: u32 = 0x0201_4b50;
const FILE_MAGIC: u32 = 0x0403_4b50;

/// How the bytes of an entry are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Stored,
    Deflated,
}

/// An entry; `range` lies in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ZipEntry<'a> {
    pub(super) name: &'a str,
    pub(super) method: Method,
    /// Where its bytes lie.
    pub(super) range: Range<usize>,
    /// How many they are when they are inflated.
    pub(super) size: u64,
}

/// Whether a file begins like a zip file.
pub(super) fn is_zip(file: &[u8]) -> bool {
    file.starts_with(&FILE_MAGIC.to_le_bytes()) || file.starts_with(&END_MAGIC.to_le_bytes())
}

/// Reads the directory of a zip file; the entries come in order of their names.
pub(super) fn entries<'a>(path: &'a Path, file: &'a [u8]) -> Result<Vec<ZipEntry<'a>>, LoadError> {
    let cursor = Cursor::new(path, "zip directory", file);
    let directory = directory(&cursor, file)?;
    let mut reader = cursor.seek("zip directory", directory.start);
    let mut entries = Vec::new();
    let mut spans = Vec::new();
    while reader.at() < directory.end {
        let (entry, span) = entry(&mut reader, file.len())?;
        if !entry.name.ends_with('/') {
            entries.push(entry);
        }
        spans.push(span);
    }
    if reader.at() != directory.end {
        return Err(reader.wrong(format!("its end at byte {}", directory.end), reader.at()));
    }
    spans.push(directory);
    spans.sort_by_key(|span| (span.start, span.end));
    if let Some(pair) = spans.windows(2).find(|pair| pair[0].end > pair[1].start) {
        let got = format!("one up to byte {} and one from byte {} on", pair[0].end, pair[1].start);
        return Err(reader.wrong("entries that do not overlap", got));
    }
    entries.sort_by_key(|entry| entry.name);
    if let Some(pair) = entries.windows(2).find(|pair| pair[0].name == pair[1].name) {
        return Err(malformed(path, pair[0].name, "one entry of this name", "several"));
    }
    Ok(entries)
}

/// Where the directory lies.
fn directory(cursor: &Cursor<'_>, file: &[u8]) -> Result<Range<usize>, LoadError> {
    let from = file.len().saturating_sub(END + COMMENT);
    let last = file.len().checked_sub(END);
    let is_end = |&at: &usize| {
        let comment = u16::from_le_bytes([file[at + 20], file[at + 21]]);
        file[at..].starts_with(&END_MAGIC.to_le_bytes()) && at + END + usize::from(comment) == file.len()
    };
    let end = last.and_then(|last| (from..=last).rev().find(is_end));
    let Some(end) = end else {
        return Err(cursor.wrong("the end of a zip directory at the end of the file", "none: is the file cut off?"));
    };
    let mut reader = cursor.seek("zip directory", end + 8);
    let (_, count) = (reader.u16()?, reader.u16()?);
    let (size, start) = (reader.u32()?, reader.u32()?);
    let (mut count, mut size, mut start) = (u64::from(count), u64::from(size), u64::from(start));
    if let Some(at) = locator64(cursor, end)? {
        let mut reader = cursor.seek("zip directory", usize::try_from(at).unwrap_or(usize::MAX));
        let magic = reader.u32()?;
        if magic != END64_MAGIC {
            return Err(reader.wrong(format!("{END64_MAGIC:#010x} at byte {at}"), format!("{magic:#010x}")));
        }
        reader.take(8 + 2 + 2 + 4 + 4 + 8)?;
        (count, size, start) = (reader.u64()?, reader.u64()?, reader.u64()?);
    }
    let range = start.checked_add(size).filter(|&stop| stop <= end as u64).map(|stop| start as usize..stop as usize);
    let Some(range) = range else {
        let expected = format!("a directory before byte {end}");
        return Err(cursor.wrong(expected, format!("{size} bytes from byte {start} on")));
    };
    if count > size / ENTRY as u64 {
        return Err(cursor.wrong(format!("{ENTRY} bytes or more an entry"), format!("{count} entries in {size} bytes")));
    }
    Ok(range)
}

/// Where the large form of the directory's end is, if there is one.
fn locator64(cursor: &Cursor<'_>, end: usize) -> Result<Option<u64>, LoadError> {
    let Some(at) = end.checked_sub(20) else {
        return Ok(None);
    };
    let mut reader = cursor.seek("zip directory", at);
    if reader.u32()? != LOCATOR64_MAGIC {
        return Ok(None);
    }
    reader.u32()?;
    reader.u64().map(Some)
}

/// Reads an entry of the directory, and where it lies in the file with its header.
fn entry<'a>(reader: &mut Cursor<'a>, n_bytes: usize) -> Result<(ZipEntry<'a>, Range<usize>), LoadError> {
    let magic = reader.u32()?;
    if magic != ENTRY_MAGIC {
        return Err(reader.wrong(format!("an entry ({ENTRY_MAGIC:#010x})"), format!("{magic:#010x}")));
    }
    reader.take(4)?;
    let (flags, method) = (reader.u16()?, reader.u16()?);
    reader.take(8)?;
    let (packed, size) = (reader.u32()?, reader.u32()?);
    let (name_len, extra_len, comment_len) = (reader.u16()?, reader.u16()?, reader.u16()?);
    reader.take(8)?;
    let start = reader.u32()?;
    let name = reader.text(name_len.into())?;
    let extra = reader.take(extra_len.into())?;
    reader.take(comment_len.into())?;
    let wrong = |expected: &str, got: String| reader.wrong(format!("{expected} for {name}"), got);
    if flags & 1 != 0 {
        return Err(wrong("no encryption", "an encrypted entry".to_owned()));
    }
    let method = match method {
        0 => Method::Stored,
        8 => Method::Deflated,
        _ => return Err(wrong("an entry that is stored or deflated", format!("method {method}"))),
    };
    let [size, packed, start] = large(extra, [size, packed, start])
        .ok_or_else(|| wrong("sizes in the zip64 field", "a field that is too short".to_owned()))?;
    if method == Method::Stored && size != packed {
        return Err(wrong(&format!("{size} bytes stored"), packed.to_string()));
    }
    let start = usize::try_from(start).unwrap_or(usize::MAX).min(n_bytes);
    let mut header = reader.seek("zip entry", start);
    let magic = header.u32()?;
    if magic != FILE_MAGIC {
        return Err(wrong(&format!("a header at byte {start}"), format!("{magic:#010x}")));
    }
    header.take(22)?;
    let (own_name_len, own_extra_len) = (header.u16()?, header.u16()?);
    if header.take(own_name_len.into())? != name.as_bytes() {
        return Err(wrong("the same name in header and directory", "another".to_owned()));
    }
    header.take(own_extra_len.into())?;
    let data = header.at();
    header.take(usize::try_from(packed).unwrap_or(usize::MAX))?;
    Ok((ZipEntry { name, method, range: data..header.at(), size }, start..header.at()))
}

/// Sizes and offset that do not fit 32 bits stand in a field of their own, in this order, each only if it is needed.
fn large(extra: &[u8], small: [u32; 3]) -> Option<[u64; 3]> {
    let mut fields = extra;
    let mut values: &[u8] = &[];
    while let Some((head, rest)) = fields.split_first_chunk::<4>() {
        let len = usize::from(u16::from_le_bytes([head[2], head[3]]));
        // PyTorch pads with fields that may be cut short: nothing after them counts.
        let Some((value, rest)) = rest.split_at_checked(len) else { break };
        if [head[0], head[1]] == [1, 0] {
            values = value;
        }
        fields = rest;
    }
    let mut sizes = small.map(u64::from);
    for (size, small) in sizes.iter_mut().zip(small) {
        if small == u32::MAX {
            let (value, rest) = values.split_first_chunk::<8>()?;
            (*size, values) = (u64::from_le_bytes(*value), rest);
        }
    }
    Some(sizes)
}
