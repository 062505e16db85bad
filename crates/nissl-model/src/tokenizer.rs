//! Text to tokens and back, as `tokenizer.json` says, or what a tokenizer's older files say.

pub(crate) mod byte_level;
mod bytes;
pub(crate) mod charsmap;
mod check;
mod folder;
mod held;
mod kinds;
mod longest;
mod marian;
mod numbers;
pub(crate) mod sentencepiece;
pub(crate) mod tokens;
pub(crate) mod vocabulary;
mod wordpiece;
mod world;

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use tokenizers as hf;
use tokenizers::Decoder as _;

use crate::error::LoadError;
use kinds::Made;
use longest::Longest;
use numbers::Numbers;

pub(crate) use held::Held;

/// The tokenizer of a model.
///
/// Truncation and padding that the file configures are switched off: a token that the model will not read is for the
/// caller to drop, and to count.
#[derive(Debug)]
pub struct Tokenizer {
    inner: hf::Tokenizer,
    path: PathBuf,
    digest: String,
    prefix: Vec<u32>,
    suffix: Vec<u32>,
    /// The numbers of pieces in the model, where they are others than those of `inner`.
    numbers: Option<Numbers>,
    /// What cuts up texts, where it is not `inner`.
    longest: Option<Longest>,
    /// That of what the model writes, where it is another.
    target: Option<Box<Self>>,
}

/// The tokens of a text. The three vectors are equally long.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Encoding {
    /// The tokens, `[n_tokens]`.
    pub ids: Vec<u32>,
    /// The bytes of the text that each token stands for, `[n_tokens]`, without white space around them (unless there
    /// is nothing else). They lie on character boundaries: tokens that share a character all have the whole of it.
    /// A token that stands for nothing in the text has an empty range.
    pub offsets: Vec<Range<usize>>,
    /// Whether the tokenizer added the token (`[CLS]`, `<s>`), `[n_tokens]`; false for all that the text spells.
    pub special: Vec<bool>,
}

impl Encoding {
    /// Number of tokens.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there are no tokens.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }
}

impl Tokenizer {
    /// Reads `tokenizer.json` of a model folder. Without one, a tokenizer is made from the first of these that is there:
    /// `vocab.txt` (BERT's), two sentencepiece models with `vocab.json` (Marian's), one such model, `vocab.json` with `merges.txt` (GPT-2's), `vocab.json` alone
    /// (bytes, characters or words), the settings of ByT5, `rwkv_vocab_*.txt` (RWKV's World models). `None` if there is nothing. A model whose numbers follow
    /// from a rule alone gets a tokenizer by a `vocab.json` that writes the rule down, such as `{"\n": 1, " ": 2}`.
    ///
    /// # Errors
    /// If a file cannot be read, is no tokenizer, or is of a kind that is not known.
    pub fn from_folder(folder: &Path) -> Result<Option<Self>, LoadError> {
        let path = folder.join("tokenizer.json");
        if path.exists() {
            return Self::from_file(&path).map(Some);
        }
        let made = kinds::find(folder)?;
        made.map(|(path, made)| Self::made(&path, made)).transpose()
    }

    /// That of a file of Marian's own: the only sentencepiece model in its folder, whatever else lies there.
    pub(crate) fn of_marian(file: &Path) -> Result<Option<Self>, LoadError> {
        // A file that is named alone lies in a folder without a name.
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        marian::own(folder)?.map(|(path, made)| Self::made(&path, made)).transpose()
    }

    /// A tokenizer of what was made of older files.
    fn made(path: &Path, Made { json, numbers, longest, target }: Made) -> Result<Self, LoadError> {
        let mut tokenizer = Self::from_bytes(path, json.to_string().as_bytes())?;
        tokenizer.longest = longest;
        if let Some(numbers) = numbers {
            let number = |id: &mut u32| *id = numbers.of(&tokenizer.inner.id_to_token(*id).unwrap_or_default());
            tokenizer.prefix.iter_mut().chain(&mut tokenizer.suffix).for_each(number);
            tokenizer.digest = joined(&tokenizer.digest, &numbers.json());
            tokenizer.numbers = Some(numbers);
        }
        if let Some(target) = target {
            let target = Self::made(path, *target)?;
            tokenizer.digest = joined(&tokenizer.digest, &target.digest);
            tokenizer.target = Some(Box::new(target));
        }
        Ok(tokenizer)
    }

    /// Reads a tokenizer file.
    ///
    /// # Errors
    /// If it cannot be read, or is no tokenizer.
    pub fn from_file(path: &Path) -> Result<Self, LoadError> {
        let bytes = fs::read(path).map_err(|source| LoadError::Io { path: path.to_owned(), source })?;
        Self::from_bytes(path, &bytes)
    }

    /// A tokenizer from the bytes of a tokenizer.json that is a part of the file at `path`.
    pub(crate) fn from_bytes(path: &Path, bytes: &[u8]) -> Result<Self, LoadError> {
        let failed = |source| LoadError::Tokenizer { path: path.to_owned(), source };
        check::check(path, bytes)?;
        let mut inner = hf::Tokenizer::from_bytes(bytes).map_err(failed)?;
        inner.with_truncation(None).map_err(failed)?;
        inner.with_padding(None);
        let (prefix, suffix) = specials(&inner).map_err(failed)?;
        let digest = blake3::hash(bytes).to_hex().to_string();
        Ok(Self { inner, path: path.to_owned(), digest, prefix, suffix, numbers: None, longest: None, target: None })
    }

    /// Encodes a text, with the special tokens that the file says go around it.
    ///
    /// # Errors
    /// If a word is in no way in the vocabulary.
    pub fn encode(&self, text: &str) -> Result<Encoding, LoadError> {
        self.encode_with(text, true)
    }

    /// Encodes a text without special tokens around it.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`].
    pub fn encode_plain(&self, text: &str) -> Result<Encoding, LoadError> {
        self.encode_with(text, false)
    }

    /// Encodes texts in parallel, with special tokens; the results are in their order.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`], for the first text that fails.
    pub fn encode_batch<S: AsRef<str> + Sync>(&self, texts: &[S]) -> Result<Vec<Encoding>, LoadError> {
        // Collected first: which error is reported must not depend on which thread was faster.
        let all: Vec<Result<Encoding, LoadError>> = texts.par_iter().map(|text| self.encode(text.as_ref())).collect();
        all.into_iter().collect()
    }

    /// The tokenizer of the texts that a model writes: another one where the model was made to translate between two
    /// vocabularies or two ways to cut up a text, else this one.
    pub fn target(&self) -> &Self {
        self.target.as_deref().unwrap_or(self)
    }

    /// The special tokens that [`Tokenizer::encode`] puts before a text.
    pub fn special_prefix(&self) -> &[u32] {
        &self.prefix
    }

    /// The special tokens that [`Tokenizer::encode`] puts after a text.
    pub fn special_suffix(&self) -> &[u32] {
        &self.suffix
    }

    /// The text that tokens spell, special ones left out.
    ///
    /// # Errors
    /// If the tokenizer's decoder refuses. Tokens beyond the vocabulary are passed over.
    pub fn decode(&self, ids: &[u32]) -> Result<String, LoadError> {
        self.spell(ids, true).map_err(|source| self.error(source))
    }

    fn spell(&self, ids: &[u32], without_special: bool) -> Result<String, hf::Error> {
        let Some(numbers) = &self.numbers else { return self.inner.decode(ids, without_special) };
        let added = self.inner.get_added_vocabulary();
        let pieces = ids.iter().filter_map(|&id| numbers.piece(id));
        let pieces = pieces.filter(|piece| !(without_special && added.is_special_token(piece))).map(str::to_owned);
        match self.inner.get_decoder() {
            Some(decoder) => decoder.decode(pieces.collect()),
            None => Ok(pieces.collect()),
        }
    }

    /// A token as the vocabulary spells it: `Ġword`, `##ing`.
    pub fn token(&self, id: u32) -> Option<String> {
        match &self.numbers {
            Some(numbers) => numbers.piece(id).map(str::to_owned),
            None => self.inner.id_to_token(id),
        }
    }

    /// A token as people read it: the text that it spells alone, or the vocabulary's spelling if that is nothing or
    /// a part of a character.
    pub fn token_text(&self, id: u32) -> Option<String> {
        let token = self.token(id)?;
        match self.spell(&[id], false) {
            Ok(text) if !text.is_empty() && !text.contains('\u{fffd}') => Some(text),
            _ => Some(token),
        }
    }

    /// The token of a vocabulary's spelling.
    pub fn token_id(&self, token: &str) -> Option<u32> {
        self.numbers.as_ref().map_or_else(|| self.inner.token_to_id(token), |numbers| numbers.id(token))
    }

    /// Number of tokens in the vocabulary, with added ones.
    pub fn vocab_size(&self) -> usize {
        self.numbers.as_ref().map_or_else(|| self.inner.get_vocab_size(true), Numbers::len)
    }

    /// What tokenizer.json says of it.
    ///
    /// # Errors
    /// If it cannot be written down, as one of two vocabularies.
    pub fn to_json(&self) -> Result<String, LoadError> {
        if self.numbers.is_some() {
            return Err(self.error("numbers that a vocabulary of its own gives have no place in tokenizer.json".into()));
        }
        if self.longest.is_some() {
            return Err(self.error("cutting up texts by the longest token has no place in tokenizer.json".into()));
        }
        self.inner.to_string(true).map_err(|source| self.error(source))
    }

    /// Digest of the file, or of what was made of several, 64 hexadecimal digits.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    fn encode_with(&self, text: &str, add_special: bool) -> Result<Encoding, LoadError> {
        if let Some(longest) = &self.longest {
            let (ids, bytes): (Vec<u32>, Vec<Range<usize>>) = longest.cut(text.as_bytes()).into_iter().unzip();
            let offsets = bytes.into_iter().map(|bytes| trim(text, bytes.start, bytes.end)).collect();
            return Ok(Encoding { special: vec![false; ids.len()], ids, offsets });
        }
        let encoding = self.inner.encode(text, add_special).map_err(|source| self.error(source))?;
        let special: Vec<bool> = encoding.get_special_tokens_mask().iter().map(|&mask| mask != 0).collect();
        let spans = encoding.get_offsets().iter().zip(&special);
        let offsets = spans.map(|(&(start, end), &special)| if special { 0..0 } else { trim(text, start, end) });
        let ids = match &self.numbers {
            Some(numbers) => encoding.get_tokens().iter().map(|piece| numbers.of(piece)).collect(),
            None => encoding.get_ids().to_vec(),
        };
        Ok(Encoding { ids, offsets: offsets.collect(), special })
    }

    fn error(&self, source: hf::Error) -> LoadError {
        LoadError::Tokenizer { path: self.path.clone(), source }
    }
}

/// The digest of what has one and more.
fn joined(digest: &str, more: &str) -> String {
    blake3::hash(format!("{digest} {more}").as_bytes()).to_hex().to_string()
}

/// What the post-processor puts before and after a text, seen on a text of one token.
fn specials(tokenizer: &hf::Tokenizer) -> Result<(Vec<u32>, Vec<u32>), hf::Error> {
    let one = hf::Encoding::from_tokens(vec![hf::Token::new(0, "a".to_owned(), (0, 1))], 0);
    let around = tokenizer.post_process(one, None, true)?;
    let (ids, mask) = (around.get_ids(), around.get_special_tokens_mask());
    let text = mask.iter().position(|&mask| mask == 0).unwrap_or(mask.len());
    Ok((ids[..text].to_vec(), ids.get(text + 1..).unwrap_or_default().to_vec()))
}

/// The range without white space around it, widened to whole characters first; as it is if nothing would be left.
///
/// Files disagree on whether the space before a word belongs to its token's range (`trim_offsets`); here it never
/// does.
fn trim(text: &str, start: usize, end: usize) -> Range<usize> {
    let mut start = start.min(text.len());
    let mut end = end.clamp(start, text.len());
    while !text.is_char_boundary(start) {
        start -= 1;
    }
    while !text.is_char_boundary(end) {
        end += 1;
    }
    let piece = &text[start..end];
    let trimmed = piece.trim();
    if trimmed.is_empty() {
        return start..end;
    }
    let start = start + (piece.len() - piece.trim_start().len());
    start..start + trimmed.len()
}

#[cfg(test)]
mod json_tests;
#[cfg(test)]
mod tests;
