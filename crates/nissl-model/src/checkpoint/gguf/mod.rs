//! GGUF: one file with a model's settings, tokenizer and weights, the latter often quantized.
//!
//! A header, settings by name, the table of tensors, their bytes from the next aligned byte on. Versions 1 to 3 differ
//! in how wide counts are. [`model`] makes of such a file what a folder would hold: a config, a tokenizer and weights
//! under the names of their family.

mod llama;
mod qwen;
mod tokenizer;

use std::fmt::Display;
use std::ops::Range;
use std::path::Path;
use std::sync::OnceLock;

use nissl_core::nearest;
use serde_json::Value as Json;

use super::cursor::{Cursor, malformed};
use super::memory::Bytes;
use super::mmap::MappedFile;
use super::{Checkpoint, Contents, Dtype, Entry, Format, Part, Quant, Whole, WholeModel, unique};
use crate::error::LoadError;
use crate::tokenizer::Tokenizer;

pub(super) const FORMAT: Format = Format {
    name: "GGUF",
    extensions: &["gguf"],
    is: None,
    single: None,
    index: None,
    whole: Some(Whole {
        model_types: || FAMILIES.iter().map(|family| family.architecture).collect(),
        open: model,
        vectors: || None,
    }),
    read: |path, file| Ok(Contents::mapped(Gguf::read(path, file)?.entries)),
};

const MAGIC: &[u8; 4] = b"GGUF";
/// What tensors are aligned to if the settings do not say.
const ALIGNMENT: u64 = 32;
/// How deep lists of settings may lie in each other.
const MAX_DEPTH: usize = 3;
/// The most values in lists of settings: a vocabulary has some 100,000 of each kind.
const MAX_ITEMS: usize = 1 << 23;
/// The most dimensions of a tensor.
const MAX_DIMS: u32 = 8;

/// What a file makes of a family of models.
struct Family {
    /// `general.architecture`.
    architecture: &'static str,
    /// The config, as the family's config.json would be.
    config: fn(&Gguf<'_>) -> Result<Json, LoadError>,
    /// The family's name of a tensor, and whether its rows are those of heads in pairs; `None` if it has none.
    rename: fn(&str) -> Option<(String, Rows)>,
}

/// How the rows of a matrix lie in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rows {
    /// As they are.
    Same,
    /// Those of a head in pairs, first half and second half by turns.
    Paired,
}

/// The families that such files are read for.
const FAMILIES: &[Family] = &[llama::FAMILY, qwen::QWEN2, qwen::QWEN3];

/// Opens a file as a model.
///
/// # Errors
/// If it breaks the format, or is of an architecture that is not known.
pub(crate) fn model(path: &Path) -> Result<WholeModel, LoadError> {
    let file = MappedFile::open(path).map_err(|source| LoadError::Io { path: path.to_owned(), source })?;
    let mut gguf = Gguf::read(path, file.bytes())?;
    let architecture = gguf.text("general.architecture")?.unwrap_or_default();
    let known = || FAMILIES.iter().map(|family| family.architecture);
    let Some(family) = FAMILIES.iter().find(|family| family.architecture == architecture) else {
        return Err(LoadError::UnknownArchitecture {
            path: path.to_owned(),
            got: architecture.to_owned(),
            known: known().collect::<Vec<_>>().join(", "),
            nearest: nearest(architecture, known()),
        });
    };
    let config = (family.config)(&gguf)?;
    let width = config["head_dim"].as_u64().unwrap_or_default() as usize;
    for entry in &mut gguf.entries {
        if let Some((name, rows)) = (family.rename)(&entry.name) {
            entry.name = name;
            if rows == Rows::Paired {
                let whole = width > 0 && width.is_multiple_of(2) && entry.shape.len() == 2;
                if !whole || !entry.shape[0].is_multiple_of(width) {
                    let expected = format!("rows of whole heads of {width}");
                    return Err(malformed(path, &entry.name, expected, format!("{:?}", entry.shape)));
                }
                entry.paired = Some(width);
            }
        }
    }
    gguf.entries.sort_by(|a, b| a.name.cmp(&b.name));
    unique(path, &gguf.entries)?;
    let json = tokenizer::json(&gguf).transpose();
    let tokenizer = json.map(|json| Tokenizer::from_bytes(path, json?.to_string().as_bytes())).transpose();
    let tensors = gguf.entries.into_iter().map(|entry| (0, entry)).collect();
    let parts = vec![Part { file: Bytes::Mapped(file), copied: Vec::new() }];
    let checkpoint = Checkpoint { path: path.to_owned(), parts, tensors, fingerprint: OnceLock::new() };
    Ok(WholeModel { config: config.to_string().into_bytes(), checkpoint, tokenizer })
}

/// The tokenizer of a file of any architecture, as tokenizer.json would be.
#[cfg(any(test, fuzzing))]
pub(crate) fn tokenizer(path: &Path) -> Result<Option<Vec<u8>>, LoadError> {
    let file = MappedFile::open(path).map_err(|source| LoadError::Io { path: path.to_owned(), source })?;
    let gguf = Gguf::read(path, file.bytes())?;
    Ok(tokenizer::json(&gguf)?.map(|json| json.to_string().into_bytes()))
}

/// A setting.
#[derive(Clone, Debug, PartialEq)]
enum Setting<'a> {
    Bool(bool),
    Int(i64),
    /// Beyond the largest `i64`.
    Large(u64),
    Float(f64),
    Text(&'a str),
    List {
        kind: u32,
        items: Vec<Setting<'a>>,
    },
}

/// A file's settings, in its order, and its tensors, in order of their names.
struct Gguf<'a> {
    path: &'a Path,
    settings: Vec<(&'a str, Setting<'a>)>,
    entries: Vec<Entry>,
}

impl<'a> Gguf<'a> {
    /// Reads and checks everything but the numbers.
    fn read(path: &'a Path, file: &'a [u8]) -> Result<Self, LoadError> {
        let mut reader = Reader { cursor: Cursor::new(path, "header", file), wide: true, n_items: 0 };
        let magic: [u8; 4] = reader.cursor.array()?;
        if &magic != MAGIC {
            return Err(reader.cursor.wrong("the letters GGUF", format!("bytes {magic:02x?}")));
        }
        let version = reader.cursor.u32()?;
        if !(1..=3).contains(&version) {
            let big = (1..=3).contains(&version.swap_bytes());
            let got = if big { "a file with the greatest byte first".to_owned() } else { version.to_string() };
            return Err(reader.cursor.wrong("version 1, 2 or 3", got));
        }
        reader.wide = version > 1;
        // A tensor takes its name's length, its dimensions, its type and its offset; a setting no less.
        let n_tensors = reader.count("tensors", if reader.wide { 24 } else { 20 })?;
        let n_settings = reader.count("settings", if reader.wide { 13 } else { 9 })?;
        let mut settings = Vec::with_capacity(n_settings);
        for _ in 0..n_settings {
            let name = reader.text()?;
            let kind = reader.cursor.u32()?;
            settings.push((name, reader.setting(name, kind, 0)?));
        }
        let mut gguf = Self { path, settings, entries: Vec::new() };
        gguf.check_names()?;
        let alignment = gguf.size("general.alignment")?.map_or(ALIGNMENT, |n| n as u64);
        if !alignment.is_power_of_two() || alignment > 1 << 20 {
            return Err(gguf.wrong("general.alignment", "a power of two", alignment));
        }
        let mut raw = Vec::with_capacity(n_tensors);
        for _ in 0..n_tensors {
            raw.push(reader.tensor()?);
        }
        let start = (reader.cursor.at() as u64).next_multiple_of(alignment);
        for tensor in raw {
            let range = tensor.range(start, alignment, file.len());
            let range = range.map_err(|(expected, got)| malformed(path, tensor.name, expected, got))?;
            gguf.entries.push(Entry::new(tensor.name.to_owned(), tensor.dtype, tensor.shape, range));
        }
        gguf.entries.sort_by_key(|entry| (entry.range.start, entry.range.end));
        if let Some(pair) = gguf.entries.windows(2).find(|pair| pair[0].range.end > pair[1].range.start) {
            let expected = format!("no bytes of {}", pair[0].name);
            return Err(malformed(path, &pair[1].name, expected, "some of them"));
        }
        gguf.entries.sort_by(|a, b| a.name.cmp(&b.name));
        unique(path, &gguf.entries)?;
        Ok(gguf)
    }

    fn check_names(&self) -> Result<(), LoadError> {
        let mut names: Vec<&str> = self.settings.iter().map(|(name, _)| *name).collect();
        names.sort_unstable();
        match names.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(self.wrong(pair[0], "one setting of this name", "several")),
            None => Ok(()),
        }
    }

    /// The error for a setting.
    fn wrong(&self, name: &str, expected: impl Display, got: impl Display) -> LoadError {
        LoadError::Config {
            path: self.path.to_owned(),
            field: name.to_owned(),
            expected: expected.to_string(),
            got: got.to_string(),
        }
    }

    fn get(&self, name: &str) -> Option<&Setting<'a>> {
        self.settings.iter().find(|(known, _)| *known == name).map(|(_, setting)| setting)
    }

    fn typed<T>(
        &self,
        name: &str,
        expected: &str,
        read: impl Fn(&Setting<'a>) -> Option<T>,
    ) -> Result<Option<T>, LoadError> {
        let wrong = |setting: &Setting<'_>| self.wrong(name, expected, setting.kind());
        self.get(name).map(|setting| read(setting).ok_or_else(|| wrong(setting))).transpose()
    }

    fn text(&self, name: &str) -> Result<Option<&'a str>, LoadError> {
        self.typed(name, "a text", |setting| if let Setting::Text(text) = setting { Some(*text) } else { None })
    }

    fn flag(&self, name: &str) -> Result<Option<bool>, LoadError> {
        self.typed(name, "true or false", |setting| if let Setting::Bool(flag) = setting { Some(*flag) } else { None })
    }

    fn size(&self, name: &str) -> Result<Option<usize>, LoadError> {
        self.typed(name, "a whole number, 0 or more", |setting| match setting {
            Setting::Int(value) => usize::try_from(*value).ok(),
            _ => None,
        })
    }

    fn number(&self, name: &str) -> Result<Option<f64>, LoadError> {
        self.typed(name, "a number", |setting| match setting {
            Setting::Float(value) => Some(*value),
            Setting::Int(value) => Some(*value as f64),
            _ => None,
        })
    }

    /// A list whose items all are what `read` takes.
    fn list<T>(
        &self,
        name: &str,
        expected: &str,
        read: impl Fn(&Setting<'a>) -> Option<T>,
    ) -> Result<Option<Vec<T>>, LoadError> {
        self.typed(name, expected, |setting| match setting {
            Setting::List { items, .. } => items.iter().map(&read).collect(),
            _ => None,
        })
    }
}

impl Setting<'_> {
    /// What it is, for errors.
    fn kind(&self) -> String {
        match self {
            Self::Bool(value) => value.to_string(),
            Self::Int(value) => value.to_string(),
            Self::Large(value) => value.to_string(),
            Self::Float(value) => value.to_string(),
            Self::Text(text) => format!("'{}'", text.chars().take(80).flat_map(char::escape_debug).collect::<String>()),
            Self::List { kind, items } => format!("a list of {} values of type {kind}", items.len()),
        }
    }
}

/// A tensor as the table describes it.
struct RawTensor<'a> {
    name: &'a str,
    dtype: Dtype,
    /// The innermost dimension last.
    shape: Vec<usize>,
    offset: u64,
}

impl RawTensor<'_> {
    /// The tensor's range in the file, or what was expected and got.
    fn range(&self, start: u64, alignment: u64, n_bytes: usize) -> Result<Range<usize>, (String, String)> {
        let described = || format!("{} {:?}", self.dtype, self.shape);
        let Some(bits) = self.dtype.bits(&self.shape) else {
            return Err(("rows of whole blocks that can be addressed".to_owned(), described()));
        };
        if !self.offset.is_multiple_of(alignment) {
            return Err((format!("an offset that is a multiple of {alignment}"), self.offset.to_string()));
        }
        let from = start.checked_add(self.offset);
        let to = from.and_then(|from| from.checked_add((bits / 8) as u64)).filter(|&to| to <= n_bytes as u64);
        if let (Some(from), Some(to)) = (from, to) {
            return Ok(from as usize..to as usize);
        }
        let expected = format!("{} bytes for {} within a file of {n_bytes}", bits / 8, described());
        Err((expected, format!("offset {} behind byte {start}", self.offset)))
    }
}

/// Reads the parts of a file; counts are 4 bytes wide in version 1, 8 in later ones.
struct Reader<'a> {
    cursor: Cursor<'a>,
    wide: bool,
    /// In lists so far.
    n_items: usize,
}

impl<'a> Reader<'a> {
    fn length(&mut self) -> Result<u64, LoadError> {
        if self.wide { self.cursor.u64() } else { self.cursor.u32().map(u64::from) }
    }

    /// How many things follow that take at least `size` bytes each.
    fn count(&mut self, what: &str, size: usize) -> Result<usize, LoadError> {
        let n = self.length()?;
        let most = self.cursor.left() / size;
        if n > most as u64 {
            return Err(self.cursor.wrong(format!("at most {most} {what} in {} bytes", self.cursor.left()), n));
        }
        Ok(n as usize)
    }

    fn text(&mut self) -> Result<&'a str, LoadError> {
        let n = self.length()?;
        self.cursor.text(usize::try_from(n).unwrap_or(usize::MAX))
    }

    fn setting(&mut self, name: &str, kind: u32, depth: usize) -> Result<Setting<'a>, LoadError> {
        let cursor = &mut self.cursor;
        Ok(match kind {
            0 => Setting::Int(cursor.u8()?.into()),
            1 => Setting::Int(i8::from_le_bytes(cursor.array()?).into()),
            2 => Setting::Int(cursor.u16()?.into()),
            3 => Setting::Int(i16::from_le_bytes(cursor.array()?).into()),
            4 => Setting::Int(cursor.u32()?.into()),
            5 => Setting::Int(i32::from_le_bytes(cursor.array()?).into()),
            6 => Setting::Float(f32::from_le_bytes(cursor.array()?).into()),
            7 => match cursor.u8()? {
                flag @ 0..=1 => Setting::Bool(flag == 1),
                other => return Err(cursor.wrong(format!("true or false (0 or 1) for {name}"), other)),
            },
            8 => Setting::Text(self.text()?),
            9 => {
                let kind = self.cursor.u32()?;
                let size = match kind {
                    0 | 1 | 7 => 1,
                    2 | 3 => 2,
                    4..=6 => 4,
                    8 if !self.wide => 4,
                    _ => 8,
                };
                if depth == MAX_DEPTH {
                    return Err(self.cursor.wrong(format!("lists at most {MAX_DEPTH} deep for {name}"), "deeper ones"));
                }
                let n = self.count("items", size)?;
                self.n_items += n;
                if self.n_items > MAX_ITEMS {
                    return Err(self.cursor.wrong(format!("at most {MAX_ITEMS} values in lists"), self.n_items));
                }
                // Not reserved: an item is larger here than in the file.
                let mut items = Vec::new();
                for _ in 0..n {
                    items.push(self.setting(name, kind, depth + 1)?);
                }
                Setting::List { kind, items }
            }
            10 => {
                let value = cursor.u64()?;
                i64::try_from(value).map_or(Setting::Large(value), Setting::Int)
            }
            11 => Setting::Int(i64::from_le_bytes(cursor.array()?)),
            12 => Setting::Float(f64::from_le_bytes(cursor.array()?)),
            _ => return Err(cursor.wrong(format!("a type from 0 to 12 for {name}"), kind)),
        })
    }

    fn tensor(&mut self) -> Result<RawTensor<'a>, LoadError> {
        let name = self.text()?;
        let n_dims = self.cursor.u32()?;
        if n_dims > MAX_DIMS {
            return Err(self.cursor.wrong(format!("at most {MAX_DIMS} dimensions for {name}"), n_dims));
        }
        let mut shape = Vec::with_capacity(n_dims as usize);
        for _ in 0..n_dims {
            shape.push(usize::try_from(self.length()?).unwrap_or(usize::MAX));
        }
        shape.reverse();
        let kind = self.cursor.u32()?;
        let Some(dtype) = dtype(kind) else {
            return Err(self.cursor.wrong(format!("a number format that is read for {name}"), format!("type {kind}")));
        };
        Ok(RawTensor { name, dtype, shape, offset: self.cursor.u64()? })
    }
}

/// The number format of a type.
fn dtype(kind: u32) -> Option<Dtype> {
    Some(match kind {
        0 => Dtype::F32,
        1 => Dtype::F16,
        2 => Dtype::Quantized(Quant::Q4_0),
        3 => Dtype::Quantized(Quant::Q4_1),
        6 => Dtype::Quantized(Quant::Q5_0),
        7 => Dtype::Quantized(Quant::Q5_1),
        8 => Dtype::Quantized(Quant::Q8_0),
        10 => Dtype::Quantized(Quant::Q2K),
        11 => Dtype::Quantized(Quant::Q3K),
        12 => Dtype::Quantized(Quant::Q4K),
        13 => Dtype::Quantized(Quant::Q5K),
        14 => Dtype::Quantized(Quant::Q6K),
        24 => return Dtype::parse("I8"),
        25 => return Dtype::parse("I16"),
        26 => return Dtype::parse("I32"),
        27 => return Dtype::parse("I64"),
        28 => Dtype::F64,
        30 => Dtype::Bf16,
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
