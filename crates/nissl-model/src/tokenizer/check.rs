//! Checks in a tokenizer.json what the library that reads it takes for granted: it would panic, or
//! overflow its stack.

use std::borrow::Cow;
use std::fmt;
use std::path::Path;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::charsmap;
use crate::checkpoint::cursor::malformed;
use crate::error::LoadError;

/// The longest piece of a unigram model, in bytes: it is kept as a chain. Those of real files have some dozens.
pub(super) const MAX_PIECE: usize = 2048;

/// Checks the bytes of a file; what the library notices itself is left to it.
pub(super) fn check(path: &Path, bytes: &[u8]) -> Result<(), LoadError> {
    let file: File<'_> = serde_json::from_slice(bytes)
        .map_err(|source| LoadError::Tokenizer { path: path.to_owned(), source: source.into() })?;
    let Model { vocab, merges } = file.model;
    let wrong = |part: &str, expected: String, got: usize| malformed(path, part, expected, format!("one of {got}"));
    if let Some(longest) = merges.iter().map(|merge| merge.0).max().filter(|longest| *longest > vocab.longest) {
        let expected = format!("tokens that make one of at most {} bytes", vocab.longest);
        return Err(wrong("model.merges", expected, longest));
    }
    if vocab.is_list && vocab.longest > MAX_PIECE {
        return Err(wrong("model.vocab", format!("pieces of at most {MAX_PIECE} bytes"), vocab.longest));
    }
    let mut left: Vec<Normalizer<'_>> = file.normalizer.into_iter().collect();
    while let Some(normalizer) = left.pop() {
        let rules = normalizer.precompiled_charsmap.and_then(|text| charsmap::from_base64(&text));
        rules.map_or(Ok(()), |rules| charsmap::check(path, &rules))?;
        left.extend(normalizer.normalizers);
    }
    Ok(())
}

/// The parts of a file that are looked at.
#[derive(Deserialize)]
struct File<'a> {
    #[serde(default)]
    model: Model,
    #[serde(borrow, default)]
    normalizer: Option<Normalizer<'a>>,
}

#[derive(Default, Deserialize)]
struct Model {
    #[serde(default)]
    vocab: Lengths,
    #[serde(default)]
    merges: Vec<Merge>,
}

#[derive(Deserialize)]
struct Normalizer<'a> {
    #[serde(borrow, default)]
    precompiled_charsmap: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    normalizers: Vec<Self>,
}

/// How long the tokens of a vocabulary are: of an object, or of a list of pieces with scores.
#[derive(Default)]
struct Lengths {
    is_list: bool,
    longest: usize,
}

impl Lengths {
    fn of(is_list: bool) -> Self {
        Self { is_list, longest: 0 }
    }

    fn add(&mut self, token: &str) {
        self.longest = self.longest.max(token.len());
    }
}

impl<'de> Deserialize<'de> for Lengths {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Tokens;
        impl<'de> Visitor<'de> for Tokens {
            type Value = Lengths;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("tokens with numbers or scores")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Lengths, A::Error> {
                let mut lengths = Lengths::of(false);
                while let Some((token, _)) = map.next_entry::<Cow<'_, str>, IgnoredAny>()? {
                    lengths.add(&token);
                }
                Ok(lengths)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Lengths, A::Error> {
                let mut lengths = Lengths::of(true);
                while let Some((token, _)) = seq.next_element::<(Cow<'_, str>, IgnoredAny)>()? {
                    lengths.add(&token);
                }
                Ok(lengths)
            }
        }
        deserializer.deserialize_any(Tokens)
    }
}

/// How long the token is that a merge makes: of a text with a space in it, or of two texts.
struct Merge(usize);

impl<'de> Deserialize<'de> for Merge {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Parts;
        impl<'de> Visitor<'de> for Parts {
            type Value = usize;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("two tokens")
            }

            fn visit_str<E>(self, text: &str) -> Result<usize, E> {
                Ok(text.len().saturating_sub(1))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<usize, A::Error> {
                let mut length = 0;
                while let Some(token) = seq.next_element::<Cow<'_, str>>()? {
                    length += token.len();
                }
                Ok(length)
            }
        }
        deserializer.deserialize_any(Parts).map(Self)
    }
}
