//! The tokenizer inside a GGUF file, as a tokenizer.json.
//!
//! Two kinds are known: byte-level BPE with merges (`gpt2`), cut up first in a way that `tokenizer.ggml.pre` names;
//! and sentencepiece's BPE (`llama`), with a score a token in place of merges.

use std::collections::HashMap;

use serde_json::{Value as Json, json};

use super::{Gguf, Setting};
use crate::error::LoadError;

/// A token that is none of the text's: `<s>`.
const CONTROL: i64 = 3;
/// A token that is found before the text is cut up.
const USER_DEFINED: i64 = 4;
/// The longest token for which merges are sought.
const MAX_MERGED: usize = 256;

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
        let token = |flag: &str, id: &str, default: bool| -> Result<Option<(usize, &str)>, LoadError> {
            if !gguf.flag(flag)?.unwrap_or(default) {
                return Ok(None);
            }
            let found = gguf.size(id)?.and_then(|id| Some((id, *self.tokens.get(id)?)));
            found.map(Some).ok_or_else(|| gguf.wrong(id, "a token", "none, and it goes around every text"))
        };
        let before = token("tokenizer.ggml.add_bos_token", "tokenizer.ggml.bos_token_id", bos)?;
        let after = token("tokenizer.ggml.add_eos_token", "tokenizer.ggml.eos_token_id", false)?;
        if before.is_none() && after.is_none() {
            return Ok(Json::Null);
        }
        let special = |(_, token): (usize, &str)| json!({"SpecialToken": {"id": token, "type_id": 0}});
        let sequence = |id: &str| json!({"Sequence": {"id": id, "type_id": 0}});
        let single: Vec<Json> =
            before.map(special).into_iter().chain([sequence("A")]).chain(after.map(special)).collect();
        let pair: Vec<Json> =
            before.map(special).into_iter().chain([sequence("A"), sequence("B")]).chain(after.map(special)).collect();
        let known: serde_json::Map<String, Json> = [before, after]
            .into_iter()
            .flatten()
            .map(|(id, token)| (token.to_owned(), json!({"id": token, "ids": [id], "tokens": [token]})))
            .collect();
        Ok(json!({"type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": known}))
    }
}

/// How a text is cut up before its bytes are merged, and whether a piece that is a token is taken at once.
fn cut(gguf: &Gguf<'_>) -> Result<(Json, bool), LoadError> {
    let bytes =
        |own: bool| json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": own});
    let after = |first: Json| json!({"type": "Sequence", "pretokenizers": [first, bytes(false)]});
    let split =
        |regex: &str| json!({"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": false});
    let name = "tokenizer.ggml.pre";
    Ok(match gguf.text(name)?.unwrap_or("default") {
        "default" | "gpt-2" => (bytes(true), false),
        "smollm" => {
            let digits = json!({"type": "Digits", "individual_digits": true});
            (json!({"type": "Sequence", "pretokenizers": [digits, bytes(true)]}), false)
        }
        "llama-bpe" | "llama3" | "llama-v3" => {
            let regex = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
            (after(split(regex)), true)
        }
        other => {
            return Err(gguf.wrong(name, "default, gpt-2, smollm or llama-bpe (nothing else yet)", other));
        }
    })
}

fn byte_level(gguf: &Gguf<'_>, tokens: &Tokens<'_>) -> Result<Json, LoadError> {
    let (cut, at_once) = cut(gguf)?;
    let mut merges = Vec::new();
    for merge in texts(gguf, "tokenizer.ggml.merges")?.unwrap_or_default() {
        let Some((left, right)) = merge.split_once(' ') else {
            return Err(gguf.wrong(
                "tokenizer.ggml.merges",
                "two tokens with a space between them",
                merge.escape_debug(),
            ));
        };
        merges.push(json!([left, right]));
    }
    Ok(json!({
        "version": "1.0",
        "added_tokens": tokens.added(),
        "normalizer": null,
        "pre_tokenizer": cut,
        "post_processor": tokens.around(gguf, false)?,
        "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
        "model": {
            "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": at_once,
            "vocab": tokens.vocab(), "merges": merges,
        },
    }))
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
            "vocab": tokens.vocab(), "merges": merges(tokens, &scores),
        },
    }))
}

/// Sentencepiece merges the neighbors that make the token of the highest score; so any two tokens that make a third are
/// a merge, in order of its score. Of equal ones the token that comes first in the file is first.
fn merges(tokens: &Tokens<'_>, scores: &[f64]) -> Vec<Json> {
    let ids: HashMap<&str, usize> = tokens
        .tokens
        .iter()
        .enumerate()
        .filter(|(id, _)| tokens.types[*id] == 1)
        .map(|(id, token)| (*token, id))
        .collect();
    let mut found = Vec::new();
    for (id, token) in tokens.tokens.iter().enumerate() {
        if tokens.types[id] != 1 || token.len() > MAX_MERGED {
            continue;
        }
        for (at, _) in token.char_indices().skip(1) {
            let (left, right) = token.split_at(at);
            if let (Some(&left_id), Some(&right_id)) = (ids.get(left), ids.get(right)) {
                found.push((id, left_id, right_id, left, right));
            }
        }
    }
    found.sort_by(|a, b| scores[b.0].total_cmp(&scores[a.0]).then((a.0, a.1, a.2).cmp(&(b.0, b.1, b.2))));
    found.into_iter().map(|(.., left, right)| json!([left, right])).collect()
}
