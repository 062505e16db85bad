//! Prompts as tokens: where the target stands, and which token it is.

use nissl_core::{Model, Prompt};
use nissl_data::{BLANK, TextPrompt};
use nissl_model::{LanguageModel, LoadError, Tokenizer};

use crate::error::TaskError;

/// Spellings of the token that stands for a word to be predicted.
const MASKS: [&str; 3] = ["[MASK]", "<mask>", "<mask_1>"];

/// Encodes prompts for a model.
pub(crate) struct Coder<'a> {
    tokenizer: &'a Tokenizer,
    /// The token of the blank, of a model that sees both sides of it.
    mask: Option<(&'static str, u32)>,
    n_ctx: usize,
}

/// A side of a prompt: its tokens and the place whose logits predict the target.
struct Encoded {
    tokens: Vec<u32>,
    place: usize,
    /// What stands before the target, where nothing stands behind it.
    before: Option<String>,
}

impl<'a> Coder<'a> {
    /// # Errors
    /// If the model predicts blanks and its vocabulary has no token for one.
    pub(crate) fn new(model: &LanguageModel, tokenizer: &'a Tokenizer) -> Result<Self, TaskError> {
        let mut mask = None;
        if !model.info().causal {
            mask = MASKS.iter().find_map(|&name| Some((name, tokenizer.token_id(name)?)));
            if mask.is_none() {
                let got = format!("{}, whose vocabulary has none of {}", model.info().name, MASKS.join(", "));
                return Err(TaskError::config("model", "a decoder, or an encoder with a mask token", got));
            }
        }
        Ok(Self { tokenizer, mask, n_ctx: model.info().n_ctx })
    }

    /// A prompt as tokens, or why the model cannot take it.
    ///
    /// # Errors
    /// If the tokenizer fails.
    pub(super) fn prompt(&self, prompt: &TextPrompt) -> Result<Result<Prompt, String>, LoadError> {
        let own = match self.encode(&prompt.text)? {
            Ok(own) => own,
            Err(why) => return Ok(Err(why)),
        };
        let Some(target) = self.word(&own, &prompt.target)? else {
            return Ok(Err("the target is not one token".to_owned()));
        };
        let mut foil = None;
        if let Some(word) = &prompt.foil {
            foil = self.word(&own, word)?;
            if foil.is_none() {
                return Ok(Err("the foil is not one token".to_owned()));
            }
        }
        let mut other = None;
        if let Some(text) = &prompt.other {
            match self.encode(text)? {
                Ok(encoded) if encoded.tokens.len() == own.tokens.len() && encoded.place == own.place => {
                    other = Some(encoded.tokens);
                }
                Ok(_) => return Ok(Err("the other text has another number of tokens".to_owned())),
                Err(why) => return Ok(Err(why)),
            }
        }
        let position = Some(own.place as i64);
        Ok(Ok(Prompt { tokens: own.tokens, target, foil, position, other, concept: prompt.concept.clone() }))
    }

    /// The first so many of some prompts that the model can take.
    ///
    /// # Errors
    /// If the tokenizer fails.
    pub(crate) fn first(&self, texts: impl Iterator<Item = TextPrompt>, most: usize) -> Result<Vec<Prompt>, LoadError> {
        texts.filter_map(|text| self.prompt(&text).map(Result::ok).transpose()).take(most).collect()
    }

    fn encode(&self, text: &str) -> Result<Result<Encoded, String>, LoadError> {
        let (before, after) = text.split_once(BLANK).unwrap_or((text, ""));
        let encoded = if let Some((name, mask)) = self.mask {
            let space = if text.contains(BLANK) || before.ends_with(char::is_whitespace) { "" } else { " " };
            let tokens = self.tokenizer.encode(&format!("{before}{space}{name}{after}"))?.ids;
            let Some(place) = tokens.iter().position(|&token| token == mask) else {
                return Ok(Err("the tokenizer has lost the blank".to_owned()));
            };
            Encoded { tokens, place, before: None }
        } else {
            if after.chars().any(char::is_alphanumeric) {
                return Ok(Err("words stand behind the target, which a decoder does not see".to_owned()));
            }
            let before = before.trim_end().to_owned();
            let own = self.tokenizer.encode_plain(&before)?.ids;
            let tokens = [self.tokenizer.special_prefix(), own.as_slice()].concat();
            if tokens.is_empty() {
                return Ok(Err("nothing stands before the target".to_owned()));
            }
            Encoded { place: tokens.len() - 1, tokens, before: Some(before) }
        };
        if encoded.tokens.len() > self.n_ctx {
            return Ok(Err(format!("it is longer than the context of {} tokens", self.n_ctx)));
        }
        Ok(Ok(encoded))
    }

    /// The token of a word at the place of the target; nothing if it is not one token there.
    fn word(&self, at: &Encoded, word: &str) -> Result<Option<u32>, LoadError> {
        let word = word.trim();
        if let Some(before) = &at.before {
            // A word is spelled with the space before it, whatever the tokenizer makes of that.
            let whole = self.tokenizer.encode_plain(&format!("{before} {word}"))?.ids;
            let own = self.tokenizer.encode_plain(before)?.ids;
            return Ok(match whole.strip_prefix(own.as_slice()) {
                Some(&[token]) => Some(token),
                _ => None,
            });
        }
        // In the middle of a text: as it is spelled behind another word.
        let [alone, pair] = ["a", "a "].map(|text| format!("{text}{}", if text.len() > 1 { word } else { "" }));
        let (alone, pair) = (self.tokenizer.encode_plain(&alone)?.ids, self.tokenizer.encode_plain(&pair)?.ids);
        Ok(match pair.strip_prefix(alone.as_slice()) {
            Some(&[token]) => Some(token),
            _ => None,
        })
    }
}
