//! `vocab.json` and `merges.txt`: byte-level BPE, as GPT-2 and RoBERTa have it, and the ways to cut up a text before
//! its bytes are merged.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value as Json, json};

use super::folder::{Convention, Folder};
use super::kinds::{Kind, Made};
use super::tokens::{Around, Role, Tokens, role};
use crate::checkpoint::cursor::malformed;
use crate::error::LoadError;

pub(super) const KIND: Kind = Kind { find, read };

/// How a text is cut up before its bytes are merged.
#[expect(clippy::struct_excessive_bools, reason = "each is a thing of its own")]
pub(crate) struct Cut {
    /// What GGUF files call it.
    pub(crate) names: &'static [&'static str],
    /// What a piece looks like; none for GPT-2's.
    regex: Option<&'static str>,
    /// Whether digits are cut off one by one first.
    digits: bool,
    /// Whether composed characters are put in place of their parts.
    composed: bool,
    /// Whether a piece that is a token is that token, however its parts would be merged.
    pub(crate) at_once: bool,
    /// Whether GGUF files have a token before a text unless they say otherwise.
    pub(crate) before: bool,
}

const GPT2: Cut = Cut {
    names: &["default", "gpt-2", "phi-2", "mpt", "olmo", "jais", "roberta-bpe"],
    regex: None,
    digits: false,
    composed: false,
    at_once: false,
    before: false,
};

const QWEN2: Cut = Cut {
    names: &["qwen2", "deepseek-r1-qwen", "kormo", "f2llmv2", "megrez"],
    regex: Some(
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    ),
    composed: true,
    ..GPT2
};

/// Llama 3's, also OpenAI's cl100k.
const THREE_DIGITS: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// Every way that is known. One more of them is one entry.
pub(crate) const CUTS: &[Cut] = &[
    GPT2,
    Cut { names: &["smollm", "starcoder", "refact", "codeshell"], digits: true, ..GPT2 },
    Cut { names: &["command-r"], digits: true, composed: true, ..GPT2 },
    Cut {
        names: &[
            "llama-bpe",
            "llama3",
            "llama-v3",
            "falcon3",
            "falcon-h1",
            "pixtral",
            "midm-2.0",
            "lfm2",
            "jina-v5-nano",
        ],
        regex: Some(THREE_DIGITS),
        at_once: true,
        before: true,
        ..GPT2
    },
    Cut { names: &["dbrx", "smaug-bpe"], regex: Some(THREE_DIGITS), ..GPT2 },
    QWEN2,
    Cut {
        names: &["qwen35"],
        regex: Some(
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        ),
        ..QWEN2
    },
    Cut {
        names: &["tekken"],
        regex: Some(
            r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        ),
        at_once: true,
        before: true,
        ..GPT2
    },
    Cut {
        names: &["gpt-4o", "llama4", "kanana2", "talkie", "minimax-m2"],
        regex: Some(
            r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        ),
        ..GPT2
    },
];

/// What goes into a byte-level tokenizer beside the way its text is cut.
pub(crate) struct Parts {
    pub(crate) added: Json,
    pub(crate) around: Json,
    pub(crate) vocab: Map<String, Json>,
    pub(crate) merges: Vec<[String; 2]>,
    /// Whether a text that does not begin with a space is read as if it did.
    pub(crate) space_before: bool,
}

impl Cut {
    pub(super) fn pre_tokenizer(&self, space_before: bool) -> Json {
        let bytes = json!({
            "type": "ByteLevel", "add_prefix_space": space_before, "trim_offsets": true,
            "use_regex": self.regex.is_none(),
        });
        let digits = self.digits.then(|| json!({"type": "Digits", "individual_digits": true}));
        let split = |regex: &str| json!({"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": false});
        let all: Vec<Json> = digits.into_iter().chain(self.regex.map(split)).chain([bytes]).collect();
        json!({"type": "Sequence", "pretokenizers": all})
    }

    /// What tokenizer.json would say.
    pub(crate) fn tokenizer(&self, parts: &Parts) -> Json {
        json!({
            "version": "1.0",
            "added_tokens": parts.added,
            "normalizer": self.composed.then(|| json!({"type": "NFC"})),
            "pre_tokenizer": self.pre_tokenizer(parts.space_before),
            "post_processor": parts.around,
            "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
            "model": {
                "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
                "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
                "ignore_merges": self.at_once, "vocab": parts.vocab, "merges": parts.merges,
            },
        })
    }
}

/// Reads merges, two tokens with a space between them each; says which is none, what was expected and what was got.
pub(crate) fn merges<'a>(
    vocab: &Map<String, Json>,
    lines: impl Iterator<Item = &'a str>,
) -> Result<Vec<[String; 2]>, (usize, &'static str, String)> {
    let mut merges = Vec::new();
    for (i, line) in lines.enumerate() {
        let wrong = |expected| (i, expected, line.chars().take(80).flat_map(char::escape_debug).collect());
        let Some((left, right)) = line.split_once(' ') else {
            return Err(wrong("two tokens with a space between them"));
        };
        let known = |token: &str| vocab.contains_key(token);
        if !known(left) || !known(right) || !known(&format!("{left}{right}")) {
            return Err(wrong("tokens of the vocabulary that make another one"));
        }
        merges.push([left.to_owned(), right.to_owned()]);
    }
    Ok(merges)
}

/// What sets the tokenizers of a class apart.
struct Rules {
    cut: &'static Cut,
    special: &'static [Role],
    /// Whether RoBERTa's tokens go around a text, and a token that is a space alone stands for nothing of the text.
    trimmed: bool,
}

const CONVENTIONS: &[Convention<Rules>] = &[
    Convention {
        classes: &["GPT2Tokenizer", "CodeGenTokenizer"],
        model_types: &["gpt2", "gpt_neo", "gptj", "codegen"],
        rules: Rules {
            cut: &GPT2,
            special: &[
                role("unk_token", "<|endoftext|>"),
                role("bos_token", "<|endoftext|>"),
                role("eos_token", "<|endoftext|>"),
            ],
            trimmed: false,
        },
    },
    Convention {
        classes: &["RobertaTokenizer", "LongformerTokenizer", "BartTokenizer", "LEDTokenizer"],
        model_types: &["roberta", "longformer", "bart", "led"],
        rules: Rules {
            cut: &GPT2,
            special: &[
                role("bos_token", "<s>"),
                role("eos_token", "</s>"),
                role("sep_token", "</s>"),
                role("cls_token", "<s>"),
                role("unk_token", "<unk>"),
                role("pad_token", "<pad>"),
                Role { role: "mask_token", content: "<mask>", spaces: (true, false) },
            ],
            trimmed: true,
        },
    },
    Convention {
        classes: &["Qwen2Tokenizer"],
        model_types: &["qwen2", "qwen3"],
        rules: Rules {
            cut: &QWEN2,
            special: &[
                role("unk_token", "<|endoftext|>"),
                role("eos_token", "<|endoftext|>"),
                role("pad_token", "<|endoftext|>"),
            ],
            trimmed: false,
        },
    },
];

#[expect(clippy::unnecessary_wraps, reason = "another kind's search may fail")]
fn find(folder: &Folder<'_>) -> Result<Option<PathBuf>, LoadError> {
    Ok(folder.file("merges.txt").and_then(|_| folder.file("vocab.json")))
}

fn read(folder: &Folder<'_>, path: &Path) -> Result<Made, LoadError> {
    let rules = folder.choose(CONVENTIONS)?;
    let mut tokens = Tokens::default();
    for (token, id) in vocabulary(path)? {
        tokens.set(id, token);
    }
    tokens.add_special(folder, rules.special)?;
    let path = folder.path().join("merges.txt");
    let text = fs::read_to_string(&path).map_err(|source| LoadError::Io { path: path.clone(), source })?;
    let lines: Vec<(usize, &str)> = text.lines().enumerate().filter(|(_, line)| is_merge(line)).collect();
    let vocab = tokens.vocab();
    let merges = merges(&vocab, lines.iter().map(|(_, line)| *line));
    let merges = merges.map_err(|(i, expected, got)| {
        malformed(&path, format!("line {}", lines[i].0 + 1), expected, format!("'{got}'"))
    })?;
    let space_before = folder.flag("add_prefix_space")?.unwrap_or(false);
    let around = if rules.trimmed {
        let ends = |role| tokens.of_role(folder, role).map(|(id, token)| json!([token, id]));
        json!({
            "type": "RobertaProcessing", "sep": ends("sep_token")?, "cls": ends("cls_token")?,
            "trim_offsets": true, "add_prefix_space": space_before,
        })
    } else {
        tokens.around(folder, Around::flags(false, false))?
    };
    Ok(rules.cut.tokenizer(&Parts { added: tokens.added(), around, vocab, merges, space_before }).into())
}

/// Whether a line of merges.txt is a merge, not the version of the file or nothing.
fn is_merge(line: &str) -> bool {
    !line.is_empty() && !line.starts_with("#version")
}

/// Reads a file of tokens and their numbers.
pub(super) fn vocabulary(path: &Path) -> Result<BTreeMap<String, u32>, LoadError> {
    let bytes = fs::read(path).map_err(|source| LoadError::Io { path: path.to_owned(), source })?;
    serde_json::from_slice(&bytes).map_err(|source| LoadError::Json { path: path.to_owned(), source })
}
