//! The tokenizer inside a GGUF file, as a tokenizer.json.
//!
//! Two kinds are known: byte-level BPE with merges (`gpt2`), cut up first in a way that `tokenizer.ggml.pre` names;
//! and sentencepiece's BPE (`llama`), with a score a token in place of merges.

use serde_json::{Value as Json, json};

use super::{Gguf, Setting};
use crate::error::LoadError;
use crate::tokenizer::byte_level::{self, CUTS, Parts};
use crate::tokenizer::sentencepiece::{self, Scored};
use crate::tokenizer::tokens::template;

/// A token that is none of the text's: `<s>`.
const CONTROL: i64 = 3;
/// A token that is found before the text is cut up.
const USER_DEFINED: i64 = 4;

/// The tokens of a file.
struct Tokens<'a> {
    tokens: Vec<&'a str>,
    types: Vec<i64>,
}

/// The tokenizer, if the file has one.
pub(super) fn json(gguf: &Gguf<'_>) -> Result<Option<Json>, LoadError> {
    let Some(model) = gguf.text("tokenizer.ggml.model")? else {
        return Ok(None);
    };
    let Some(tokens) = texts(gguf, "tokenizer.ggml.tokens")? else {
        return Err(gguf.wrong("tokenizer.ggml.tokens", "a list of texts", "nothing"));
    };
    let int = |setting: &Setting<'_>| if let Setting::Int(value) = setting { Some(*value) } else { None };
    let types = gguf.list("tokenizer.ggml.token_type", "a list of whole numbers", int)?;
    let types = types.unwrap_or_else(|| vec![1; tokens.len()]);
    same_length(gguf, "tokenizer.ggml.token_type", tokens.len(), types.len())?;
    let tokens = Tokens { tokens, types };
    match model {
        "gpt2" => byte_level(gguf, &tokens).map(Some),
        "llama" => sentencepiece(gguf, &tokens).map(Some),
        _ => Err(gguf.wrong("tokenizer.ggml.model", "gpt2 or llama (nothing else yet)", model)),
    }
}

fn texts<'a>(gguf: &Gguf<'a>, name: &str) -> Result<Option<Vec<&'a str>>, LoadError> {
    let text = |setting: &Setting<'a>| if let Setting::Text(text) = setting { Some(*text) } else { None };
    gguf.list(name, "a list of texts", text)
}

fn same_length(gguf: &Gguf<'_>, name: &str, expected: usize, got: usize) -> Result<(), LoadError> {
    if expected == got { Ok(()) } else { Err(gguf.wrong(name, format!("{expected} values"), got)) }
}

impl Tokens<'_> {
    fn vocab(&self) -> serde_json::Map<String, Json> {
        self.tokens.iter().enumerate().map(|(id, token)| ((*token).to_owned(), json!(id))).collect()
    }

    /// The tokens that are found in a text as they are.
    fn added(&self) -> Json {
        let all = self.tokens.iter().zip(&self.types).enumerate();
        let added = all.filter(|(_, (_, kind))| [CONTROL, USER_DEFINED].contains(kind));
        let one = |(id, (token, kind)): (usize, (&&str, &i64))| {
            json!({
                "id": id, "content": token, "single_word": false, "lstrip": false, "rstrip": false,
                "normalized": false, "special": *kind == CONTROL,
            })
        };
        added.map(one).collect()
    }

    /// What is put around a text.
    fn around(&self, gguf: &Gguf<'_>, bos: bool) -> Result<Json, LoadError> {
        let token = |flag: &str, id: &str, default: bool| -> Result<Option<(u32, &str)>, LoadError> {
            if !gguf.flag(flag)?.unwrap_or(default) {
                return Ok(None);
            }
            let found = gguf.size(id)?.and_then(|id| Some((id as u32, *self.tokens.get(id)?)));
            found.map(Some).ok_or_else(|| gguf.wrong(id, "a token", "none, and it goes around every text"))
        };
        let before = token("tokenizer.ggml.add_bos_token", "tokenizer.ggml.bos_token_id", bos)?;
        let after = token("tokenizer.ggml.add_eos_token", "tokenizer.ggml.eos_token_id", false)?;
        Ok(template(before.as_slice(), after.as_slice()))
    }
}

fn byte_level(gguf: &Gguf<'_>, tokens: &Tokens<'_>) -> Result<Json, LoadError> {
    let (name, got) = ("tokenizer.ggml.pre", gguf.text("tokenizer.ggml.pre")?.unwrap_or("default"));
    let Some(cut) = CUTS.iter().find(|cut| cut.names.contains(&got)) else {
        let known: Vec<&str> = CUTS.iter().flat_map(|cut| cut.names).copied().collect();
        return Err(gguf.wrong(name, format!("{} (nothing else yet)", known.join(", ")), got.escape_debug()));
    };
    let vocab = tokens.vocab();
    let lines = texts(gguf, "tokenizer.ggml.merges")?.unwrap_or_default();
    let merges = byte_level::merges(&vocab, lines.into_iter());
    let merges = merges
        .map_err(|(i, expected, got)| gguf.wrong("tokenizer.ggml.merges", expected, format!("'{got}' (merge {i})")))?;
    let around = tokens.around(gguf, cut.before)?;
    Ok(cut.tokenizer(&Parts { added: tokens.added(), around, vocab, merges, space_before: false }))
}

fn sentencepiece(gguf: &Gguf<'_>, tokens: &Tokens<'_>) -> Result<Json, LoadError> {
    let name = "tokenizer.ggml.scores";
    let number = |setting: &Setting<'_>| if let Setting::Float(value) = setting { Some(*value) } else { None };
    let Some(scores) = gguf.list(name, "a list of numbers", number)? else {
        return Err(gguf.wrong(name, "a list of numbers", "nothing"));
    };
    same_length(gguf, name, tokens.tokens.len(), scores.len())?;
    let unknown = gguf.size("tokenizer.ggml.unknown_token_id")?.and_then(|id| tokens.tokens.get(id).copied());
    let mut normalizers = vec![json!({"type": "Replace", "pattern": {"String": " "}, "content": "▁"})];
    let mut decoders = vec![
        json!({"type": "Replace", "pattern": {"String": "▁"}, "content": " "}),
        json!({"type": "ByteFallback"}),
        json!({"type": "Fuse"}),
    ];
    if gguf.flag("tokenizer.ggml.add_space_prefix")?.unwrap_or(true) {
        normalizers.insert(0, json!({"type": "Prepend", "prepend": "▁"}));
        decoders.push(json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}));
    }
    Ok(json!({
        "version": "1.0",
        "added_tokens": tokens.added(),
        "normalizer": {"type": "Sequence", "normalizers": normalizers},
        "pre_tokenizer": null,
        "post_processor": tokens.around(gguf, true)?,
        "decoder": {"type": "Sequence", "decoders": decoders},
        "model": {
            "type": "BPE", "dropout": null, "unk_token": unknown, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": true, "byte_fallback": true, "ignore_merges": false,
            "vocab": tokens.vocab(), "merges": merges(gguf, tokens, &scores)?,
        },
    }))
}

fn merges(gguf: &Gguf<'_>, tokens: &Tokens<'_>, scores: &[f64]) -> Result<Vec<[String; 2]>, LoadError> {
    let all = tokens.tokens.iter().enumerate().filter(|(id, _)| tokens.types[*id] == 1);
    let scored: Vec<Scored<'_>> = all.map(|(id, text)| Scored { id, text, score: scores[id] }).collect();
    let wrong = || gguf.wrong("tokenizer.ggml.tokens", "tokens made of few others", "of many");
    sentencepiece::merges(&scored).ok_or_else(wrong)
}
