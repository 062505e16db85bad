//! The safetensors format: eight bytes of header length, a JSON header, the tensors' bytes.
//!
//! A file is hostile until checked. The header length is compared with the file before anything is read; every
//! tensor's range must have the size that its type and shape demand; the ranges must fill the rest of the file
//! without holes or overlaps; no name occurs twice. What passes can be sliced without a further check.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::path::Path;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};

use super::cursor::malformed;
use super::{Contents, Dtype, Entry, Format};
use crate::error::LoadError;

pub(super) const FORMAT: Format = Format {
    name: "safetensors",
    extensions: &["safetensors"],
    is: None,
    single: Some("model.safetensors"),
    index: Some("model.safetensors.index.json"),
    whole: None,
    read: |path, file| entries(path, file).map(Contents::mapped),
};

/// The longest header that is read; that of a model with 100,000 tensors takes about 15 MB.
const MAX_HEADER: u64 = 100 << 20;

/// Reads and checks the header of a file; the entries come in order of their names.
///
/// # Errors
/// [`LoadError::Malformed`] naming the file, the header or tensor, what was expected and what was got.
fn entries(path: &Path, file: &[u8]) -> Result<Vec<Entry>, LoadError> {
    let malformed = |part: &str, expected: String, got: String| malformed(path, part, expected, got);
    let (header, data) = split(path, file)?;
    let header: Header =
        serde_json::from_slice(header).map_err(|err| malformed("header", "JSON".into(), err.to_string()))?;

    let start = file.len() - data.len();
    let mut entries = Vec::with_capacity(header.0.len());
    for (name, raw) in header.0 {
        let range = check(&raw, data.len()).map_err(|(expected, got)| malformed(&name, expected, got))?;
        let range = start + range.start..start + range.end;
        let dtype = Dtype::parse(&raw.dtype).expect("`check` has parsed it");
        entries.push(Entry::new(name, dtype, raw.shape, range));
    }

    entries.sort_by_key(|entry| (entry.range.start, entry.range.end));
    let mut at = start;
    for entry in &entries {
        if entry.range.start != at {
            let (expected, got) = (at - start, entry.range.start - start);
            return Err(malformed(&entry.name, format!("data from byte {expected} on"), format!("from {got} on")));
        }
        at = entry.range.end;
    }
    if at != file.len() {
        return Err(malformed("data", format!("{} bytes", at - start), format!("{} bytes", data.len())));
    }
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    if let Some(pair) = entries.windows(2).find(|pair| pair[0].name == pair[1].name) {
        return Err(malformed(&pair[0].name, "one tensor of this name".into(), "several".into()));
    }
    Ok(entries)
}

/// What the file's header says of it under `__metadata__`; nothing if it says nothing.
///
/// # Errors
/// [`LoadError::Malformed`] if the header is none, or holds anything but texts there.
pub(super) fn metadata(path: &Path, file: &[u8]) -> Result<BTreeMap<String, String>, LoadError> {
    #[derive(Deserialize)]
    struct About {
        #[serde(default, rename = "__metadata__")]
        metadata: BTreeMap<String, String>,
    }
    let (header, _) = split(path, file)?;
    let about: About = serde_json::from_slice(header)
        .map_err(|err| malformed(path, "__metadata__", "an object of texts", err.to_string()))?;
    Ok(about.metadata)
}

/// The header, which begins as an object does, and the data behind it.
fn split<'a>(path: &Path, file: &'a [u8]) -> Result<(&'a [u8], &'a [u8]), LoadError> {
    let malformed = |part: &str, expected: String, got: String| malformed(path, part, expected, got);
    let Some((length, rest)) = file.split_first_chunk::<8>() else {
        return Err(malformed("header", "at least 8 bytes".into(), format!("a file of {} bytes", file.len())));
    };
    let length = u64::from_le_bytes(*length);
    let limit = MAX_HEADER.min(rest.len() as u64);
    if length > limit {
        return Err(malformed("header", format!("a length of at most {limit} bytes"), length.to_string()));
    }
    let (header, data) = rest.split_at(length as usize);
    if header.first() != Some(&b'{') {
        let got = header.first().map_or("nothing".to_owned(), |byte| format!("byte {byte:#04x}"));
        return Err(malformed("header", "a JSON object".into(), got));
    }
    Ok((header, data))
}

/// The tensor's range in the data, or what was expected and got.
fn check(raw: &RawEntry, n_bytes: usize) -> Result<Range<usize>, (String, String)> {
    let Some(dtype) = Dtype::parse(&raw.dtype) else {
        return Err(("a number format of safetensors".into(), format!("'{}'", raw.dtype)));
    };
    let Some(n_bits) = dtype.bits(&raw.shape) else {
        return Err(("a shape that can be addressed".into(), format!("{:?}", raw.shape)));
    };
    let (start, end) = raw.data_offsets;
    if start > end || end > n_bytes {
        return Err((format!("offsets in order, at most {n_bytes}"), format!("[{start}, {end}]")));
    }
    if n_bits % 8 != 0 || n_bits / 8 != end - start {
        let expected = format!("{} bytes for {dtype} {:?}", n_bits.div_ceil(8), raw.shape);
        return Err((expected, format!("{} bytes", end - start)));
    }
    Ok(start..end)
}

/// A tensor as the header spells it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawEntry {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: (usize, usize),
}

/// The header with its entries in the file's order, so that a name that occurs twice is not lost.
struct Header(Vec<(String, RawEntry)>);

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Header;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with one entry a tensor")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
                let mut entries = Vec::new();
                while let Some(name) = map.next_key::<String>()? {
                    if name == "__metadata__" {
                        map.next_value::<IgnoredAny>()?;
                    } else {
                        let entry = map.next_value().map_err(|err| A::Error::custom(format!("{name}: {err}")))?;
                        entries.push((name, entry));
                    }
                }
                Ok(Header(entries))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}
