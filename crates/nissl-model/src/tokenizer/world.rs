//! `rwkv_vocab_*.txt`: the tokens of RWKV's World models, one a line: its number, its bytes as Python writes them down,
//! how many they are. A text is cut up by the longest token, from its beginning.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::folder::Folder;
use super::kinds::{Kind, Made};
use super::longest::Longest;
use crate::checkpoint::cursor::malformed;
use crate::error::LoadError;

pub(super) const KIND: Kind = Kind { find: |folder| Ok(find(folder)), read };

/// What ends a text: the number that the file leaves out.
const END: (u32, &str) = (0, "<|endoftext|>");

/// Numbers are below this.
const MAX_TOKENS: u32 = 1 << 24;

fn find(folder: &Folder<'_>) -> Option<PathBuf> {
    let is_vocabulary = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.starts_with("rwkv_vocab") && Path::new(name).extension().is_some_and(|kind| kind == "txt")
    };
    let files = fs::read_dir(folder.path()).into_iter().flatten().flatten().map(|entry| entry.path());
    // By name: which comes first must not depend on the file system.
    files.filter(is_vocabulary).min()
}

fn read(_: &Folder<'_>, path: &Path) -> Result<Made, LoadError> {
    let text = fs::read_to_string(path).map_err(|source| LoadError::Io { path: path.to_owned(), source })?;
    let mut tokens: BTreeMap<u32, Vec<u8>> = BTreeMap::new();
    for (idx, line) in text.lines().enumerate() {
        let wrong = |expected: &str| malformed(path, format!("line {}", idx + 1), expected, line);
        let (id, bytes) = token(line).ok_or_else(|| wrong("a number, a Python literal and its length in bytes"))?;
        if id == END.0 || id >= MAX_TOKENS {
            return Err(wrong(&format!("a number from {} to {}", END.0 + 1, MAX_TOKENS - 1)));
        }
        if tokens.insert(id, bytes).is_some() {
            return Err(wrong("a number that no line before has"));
        }
    }
    let longest = Longest::new(tokens.iter().map(|(id, bytes)| (*id, bytes.as_slice())))
        .map_err(|byte| malformed(path, "tokens", "one for every byte", format!("none for {byte:#04x}")))?;
    let spelled = tokens.iter().map(|(id, bytes)| (bytes.iter().map(|byte| letter(*byte)).collect::<String>(), *id));
    let mut vocab: BTreeMap<String, u32> = spelled.collect();
    vocab.insert(END.1.to_owned(), END.0);
    let json = json!({
        "version": "1.0",
        "added_tokens": [{
            "id": END.0, "content": END.1, "special": true,
            "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
        }],
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false},
        "decoder": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false},
        "model": {"type": "BPE", "vocab": vocab, "merges": []},
    });
    Ok(Made { longest: Some(longest), ..Made::from(json) })
}

/// The number and the bytes of a line.
fn token(line: &str) -> Option<(u32, Vec<u8>)> {
    let (id, rest) = line.split_once(' ')?;
    let (literal, length) = rest.rsplit_once(' ')?;
    let bytes = literal_bytes(literal)?;
    let (id, length): (u32, usize) = (id.parse().ok()?, length.parse().ok()?);
    (bytes.len() == length && length > 0).then_some((id, bytes))
}

/// The bytes of a Python literal: of a text in UTF-8, or, behind a `b`, as they are.
fn literal_bytes(literal: &str) -> Option<Vec<u8>> {
    let (is_bytes, quoted) = literal.strip_prefix('b').map_or((false, literal), |rest| (true, rest));
    let quote = quoted.chars().next().filter(|quote| ['\'', '"'].contains(quote))?;
    let mut inner = quoted.strip_prefix(quote)?.strip_suffix(quote)?.chars();
    let mut bytes = Vec::new();
    while let Some(character) = inner.next() {
        let value = match character {
            '\\' => match inner.next()? {
                't' => u32::from('\t'),
                'n' => u32::from('\n'),
                'r' => u32::from('\r'),
                escaped @ ('\\' | '\'' | '"') => u32::from(escaped),
                'x' => hexadecimal(&mut inner, 2)?,
                'u' if !is_bytes => hexadecimal(&mut inner, 4)?,
                'U' if !is_bytes => hexadecimal(&mut inner, 8)?,
                _ => return None,
            },
            end if end == quote => return None,
            plain => u32::from(plain),
        };
        if is_bytes {
            bytes.push(u8::try_from(value).ok()?);
        } else {
            bytes.extend_from_slice(char::from_u32(value)?.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }
    Some(bytes)
}

fn hexadecimal(characters: &mut std::str::Chars<'_>, n_digits: usize) -> Option<u32> {
    (0..n_digits).try_fold(0, |value, _| Some(16 * value + characters.next()?.to_digit(16)?))
}

/// The letter that stands for a byte in byte-level vocabularies: itself where it is visible, else one from U+0100 on.
fn letter(byte: u8) -> char {
    let visible = |byte: u8| matches!(byte, 33..=126 | 161..=172 | 174..=255);
    if visible(byte) {
        return char::from(byte);
    }
    let hidden = (0..byte).filter(|byte| !visible(*byte)).count() as u32;
    char::from_u32(256 + hidden).unwrap_or(char::REPLACEMENT_CHARACTER)
}
