//! Marian's own files: tensors one behind the other, and among them the settings of the model.
//!
//! Version and number of tensors, a line of a table for each (length of its name, type, dimensions, bytes), names,
//! shapes, and from an aligned byte on the numbers. A matrix of 8-bit numbers (`intgemm8`) has behind them the factor
//! that they were multiplied with; but for tables of embeddings it lies transposed. Both are undone on opening, with
//! the numbers as 32-bit floats. How activations were to be rounded (`_QuantMultA`) is read by nobody: they are not.

mod settings;

use std::path::Path;

use serde_json::{Value as Json, json};

use super::cursor::{Cursor, malformed};
use super::mmap::MappedFile;
use super::zip::{self, ZipEntry};
use super::{Checkpoint, Contents, Dtype, Entry, Format, Whole, WholeModel, npz, source, unique};
use crate::error::LoadError;
use crate::tokenizer::Tokenizer;

pub(super) const FORMAT: Format = Format {
    name: "Marian",
    extensions: &["bin"],
    is: Some(|path| source::begins(path, &VERSION.to_le_bytes())),
    single: None,
    index: None,
    whole: Some(Whole { model_types: || vec![MODEL_TYPE], open, vectors: || None }),
    read,
};

/// The same tensors as numpy's archive of arrays, which is what Marian trains.
pub(super) const ARCHIVE: Format =
    Format { name: "Marian npz", extensions: &["npz"], is: Some(has_settings), read: npz::FORMAT.read, ..FORMAT };

/// What the configs of such files have as `model_type`.
pub(crate) const MODEL_TYPE: &str = "marian-nmt";
/// The tensor that is the settings of the model.
const SETTINGS: &str = "special:model.yml";
const VERSION: u64 = 1;
/// Bytes of a line of the table.
const LINE: usize = 32;
/// Places of tensors are multiples of this.
const ALIGNMENT: usize = 256;
/// The most dimensions of a tensor.
const MAX_DIMS: u64 = 8;
/// The type of matrices of 8-bit numbers with a factor.
const INTGEMM8: u64 = 0x4101;
/// The token that ends a text, in every vocabulary of Marian's, and the one for what has none.
const END: u32 = 0;
const UNKNOWN: u32 = 1;

/// Whether an archive has the settings of a model in it.
fn has_settings(path: &Path) -> bool {
    let Ok(file) = MappedFile::open(path) else { return false };
    let is_settings = |entry: &ZipEntry<'_>| npz::array_name(entry.name) == Some(SETTINGS);
    zip::entries(path, file.bytes()).is_ok_and(|entries| entries.iter().any(is_settings))
}

/// Opens a file as a model: its config, as a config.json would be, and its weights, whose names now tell layers from 0,
/// parts of a layer, and matrices from biases: `decoder_l2_context_Wq` is `decoder.1.context.q.weight`.
///
/// # Errors
/// If it breaks the format, or has no settings.
fn open(path: &Path) -> Result<WholeModel, LoadError> {
    let mut checkpoint = Checkpoint::open(path)?;
    let bytes = checkpoint.tensor(SETTINGS)?.bytes;
    let text = Cursor::new(path, "settings", bytes).text(bytes.len())?;
    let mut fields = settings::parse(path, text.trim_end_matches('\0'))?;
    for (name, value) in [
        ("model_type", json!(MODEL_TYPE)),
        ("decoder_start_token_id", json!(END)),
        ("eos_token_id", json!(END)),
        ("suppress_tokens", json!([UNKNOWN])),
    ] {
        fields.insert(name.to_owned(), value);
    }
    for (_, entry) in &mut checkpoint.tensors {
        let Some(name) = name(&entry.name) else { continue };
        let is_vector = name.ends_with("bias") || name.contains(".norm.");
        if is_vector && entry.shape.len() == 2 && entry.shape[0] == 1 {
            entry.shape.remove(0);
        }
        entry.name = name;
    }
    checkpoint.tensors.sort_by(|a, b| a.1.name.cmp(&b.1.name));
    unique(path, checkpoint.tensors.iter().map(|(_, entry)| entry))?;
    let tokenizer = Tokenizer::of_marian(path);
    Ok(WholeModel { config: Json::Object(fields).to_string().into_bytes(), checkpoint, tokenizer })
}

/// What a weight of a layer is called here; none if it is no weight of ours.
fn name(theirs: &str) -> Option<String> {
    let (stack, rest) = theirs.split_once("_l")?;
    let (layer, rest) = rest.split_once('_')?;
    let layer = layer.parse::<u32>().ok()?.checked_sub(1)?;
    let (part, weight) = rest.split_once('_')?;
    let own = |what: &str, of: &str| if of.is_empty() { what.to_owned() } else { format!("{of}.{what}") };
    let weight = if weight.ends_with("_ln_scale") {
        "norm.weight".to_owned()
    } else if weight.ends_with("_ln_bias") {
        "norm.bias".to_owned()
    } else {
        let of = weight.get(1..).filter(|of| !of.contains('_'))?;
        match weight.as_bytes()[0] {
            b'W' => own("weight", of),
            b'b' => own("bias", of),
            _ => return None,
        }
    };
    Some(format!("{stack}.{layer}.{part}.{weight}"))
}

/// A line of the table.
struct Line {
    len_name: usize,
    kind: u64,
    n_dims: u64,
    n_bytes: usize,
}

fn read(path: &Path, file: &[u8]) -> Result<Contents, LoadError> {
    let mut cursor = Cursor::new(path, "table", file);
    let version = cursor.u64()?;
    if version != VERSION {
        return Err(cursor.wrong("version 1", version));
    }
    let (n, most) = (size(cursor.u64()?), cursor.left() / LINE);
    if n > most {
        return Err(cursor.wrong(format!("at most {most} tensors in {} bytes", file.len()), n));
    }
    let mut lines = Vec::with_capacity(n);
    for _ in 0..n {
        let [len_name, kind, n_dims, n_bytes] = [cursor.u64()?, cursor.u64()?, cursor.u64()?, cursor.u64()?];
        if n_dims > MAX_DIMS {
            return Err(cursor.wrong(format!("at most {MAX_DIMS} dimensions"), n_dims));
        }
        lines.push(Line { len_name: size(len_name), kind, n_dims, n_bytes: size(n_bytes) });
    }
    let mut names = Vec::with_capacity(n);
    for line in &lines {
        names.push(cursor.text(line.len_name)?.trim_end_matches('\0'));
    }
    let mut shapes = Vec::with_capacity(n);
    for (line, name) in lines.iter().zip(&names) {
        let dim = |_| {
            let dim = cursor.u32()? as i32;
            usize::try_from(dim).map_err(|_| malformed(path, *name, "dimensions of 0 or more", dim))
        };
        shapes.push((0..line.n_dims).map(dim).collect::<Result<Vec<_>, LoadError>>()?);
    }
    let padding = size(cursor.u64()?);
    cursor.take(padding)?;
    let mut contents = Contents::mapped(Vec::with_capacity(n));
    for ((line, name), shape) in lines.iter().zip(names).zip(shapes) {
        let start = cursor.at();
        let bytes = cursor.take(line.n_bytes)?;
        tensor(path, &mut contents, Entry::new(name.to_owned(), Dtype::F32, shape, start..start), line.kind, bytes)?;
    }
    contents.entries.sort_by(|a, b| a.name.cmp(&b.name));
    unique(path, &contents.entries)?;
    Ok(contents)
}

/// Adds a tensor that lies at the start of `bytes`.
fn tensor(path: &Path, contents: &mut Contents, mut entry: Entry, kind: u64, bytes: &[u8]) -> Result<(), LoadError> {
    let wrong = |entry: &Entry, expected: &str, got: String| Err(malformed(path, &entry.name, expected, got));
    let Some(dtype) = dtype(kind) else {
        return wrong(&entry, "a type that is read: int8, intgemm8, float16, float32, float64", format!("{kind:#x}"));
    };
    let behind = if kind == INTGEMM8 { 4 } else { 0 };
    let n_bytes = dtype.bits(&entry.shape).map(|bits| bits / 8);
    let whole = n_bytes.and_then(|n| n.checked_add(behind));
    let fits = |n: usize| bytes.len() == n || n.checked_next_multiple_of(ALIGNMENT) == Some(bytes.len());
    let Some(n_bytes) = n_bytes.filter(|_| whole.is_some_and(fits)) else {
        let expected = whole.map_or("a shape that can be addressed".to_owned(), |n| format!("{n} bytes"));
        return wrong(&entry, &expected, format!("{} for {dtype} {:?}", bytes.len(), entry.shape));
    };
    entry.dtype = dtype;
    entry.range.end += n_bytes;
    if kind == INTGEMM8 {
        let [rows, columns] = entry.shape[..] else {
            return wrong(&entry, "a matrix of 8-bit numbers", format!("{:?}", entry.shape));
        };
        let (codes, factor) = (&bytes[..n_bytes], Cursor::new(path, "factor", &bytes[n_bytes..]).array()?);
        let factor = f32::from_le_bytes(factor);
        if !factor.is_normal() || factor < 0.0 {
            return wrong(&entry, "a factor above 0", factor.to_string());
        }
        let start = contents.copied.len();
        let value = |at: usize| (f32::from(codes[at] as i8) / factor).to_le_bytes();
        if entry.name.ends_with("Wemb") {
            contents.copied.extend((0..n_bytes).flat_map(value));
        } else {
            // As many places as numbers: of no columns there may be billions of rows.
            let place = |at: usize| at % columns * rows + at / columns;
            contents.copied.extend((0..n_bytes).map(place).flat_map(value));
        }
        entry = Entry { dtype: Dtype::F32, range: start..contents.copied.len(), copied: true, ..entry };
    }
    contents.entries.push(entry);
    Ok(())
}

/// A number of bytes or things; one that no memory has is larger than anything that it is compared with.
fn size(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

/// The number format of a type.
fn dtype(kind: u64) -> Option<Dtype> {
    match kind {
        0x101 | INTGEMM8 => Dtype::parse("I8"),
        0x402 => Some(Dtype::F16),
        0x404 => Some(Dtype::F32),
        0x408 => Some(Dtype::F64),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
