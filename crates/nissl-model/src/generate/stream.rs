//! Text from tokens, as they come.

use crate::error::LoadError;
use crate::tokenizer::Tokenizer;

/// Tokens that are held back at most, while they spell a part of a character.
const HELD_BACK: usize = 8;

/// Spells tokens one after the other as the whole of them would be spelled.
pub struct TextStream<'a> {
    tokenizer: &'a Tokenizer,
    /// What is needed of the tokens: those that were spelled last, and those that were not.
    tokens: Vec<u32>,
    n_spelled: usize,
}

impl<'a> TextStream<'a> {
    /// Goes on behind these tokens.
    pub fn new(tokenizer: &'a Tokenizer, before: &[u32]) -> Self {
        let tokens = before[before.len().saturating_sub(HELD_BACK)..].to_vec();
        Self { tokenizer, n_spelled: tokens.len(), tokens }
    }

    /// The text that another token adds; nothing while a character is not complete.
    ///
    /// # Errors
    /// If the tokenizer's decoder refuses.
    pub fn push(&mut self, token: u32) -> Result<String, LoadError> {
        self.tokens.push(token);
        self.spell(self.tokens.len() - self.n_spelled > HELD_BACK)
    }

    /// What was held back.
    ///
    /// # Errors
    /// As [`TextStream::push`].
    pub fn finish(&mut self) -> Result<String, LoadError> {
        self.spell(true)
    }

    fn spell(&mut self, even_parts: bool) -> Result<String, LoadError> {
        let before = self.tokenizer.decode(&self.tokens[..self.n_spelled])?;
        let all = self.tokenizer.decode(&self.tokens)?;
        // Parts of a character that stood at the end may be a whole one now.
        let ended = || all.strip_prefix(before.trim_end_matches('\u{fffd}'));
        let new = all.strip_prefix(&before).or_else(ended).unwrap_or_default();
        if new.is_empty() || (new.ends_with('\u{fffd}') && !even_parts) {
            return Ok(String::new());
        }
        let new = new.to_owned();
        self.tokens.drain(..self.n_spelled.min(self.tokens.len().saturating_sub(HELD_BACK)));
        self.n_spelled = self.tokens.len();
        Ok(new)
    }
}
