//! What tokens, and a tagger's labels, are called.

use nissl_core::Model;
use nissl_model::{LanguageModel, Tokenizer};

/// The names of a model's tokens and outputs.
pub(super) struct Names<'a> {
    tokenizer: Option<&'a Tokenizer>,
    /// Whether the outputs are the vocabulary's tokens.
    pub(super) tokens_out: bool,
}

impl<'a> Names<'a> {
    pub(super) fn new(model: &'a LanguageModel, n_logits: usize) -> Self {
        Self { tokenizer: model.tokenizer().ok(), tokens_out: n_logits == model.info().d_vocab }
    }

    /// A token as people read it; its number if it spells nothing or the tokenizer does not know it.
    pub(super) fn token(&self, id: u32) -> String {
        let text = self.tokenizer.and_then(|tokenizer| tokenizer.token_text(id));
        text.filter(|text| !text.is_empty()).unwrap_or_else(|| format!("#{id}"))
    }

    /// An output as people read it: a token, or a tagger's label, which has only a number.
    pub(super) fn output(&self, id: u32) -> String {
        if self.tokens_out { self.token(id) } else { format!("label {id}") }
    }
}
