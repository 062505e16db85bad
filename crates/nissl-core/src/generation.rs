//! How a text is gone on with, and what comes of it.

use serde::{Deserialize, Serialize};

use crate::error::ModelError;
use crate::model::Trace;

/// How tokens are chosen, and when to stop.
///
/// At every step: logits; repetition penalty; before `min_new_tokens` no stop token; then, to sample, temperature,
/// top-k, top-p, in this order, and a draw from what is left. What is generated is the same with any other prompts
/// beside it and on any number of threads.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Generation {
    /// Most tokens to add.
    pub max_new_tokens: usize,
    /// As long as fewer were added, no stop token is chosen.
    pub min_new_tokens: usize,
    /// Logits are divided by it before a draw; 0 takes the most probable token, of equals that with the lowest number.
    pub temperature: f32,
    /// Draw from the most probable tokens, this many and those that equal the last of them; 0 for all.
    pub top_k: usize,
    /// Draw from the fewest most probable tokens whose probabilities exceed this sum, of equals those with the lower
    /// numbers; at least one; 1 for all.
    pub top_p: f32,
    /// Of the draws. Every prompt has a generator of its own.
    pub seed: u64,
    /// Beams that a beam search keeps; 1 for none. It takes no draws.
    pub n_beams: usize,
    /// The score of a finished beam is its log-probability by this power of its number of new tokens.
    pub length_penalty: f32,
    /// Whether a beam search ends as soon as `n_beams` beams are finished, instead of when none can become better.
    pub early_stopping: bool,
    /// Logits of tokens that are in the text are divided by it (multiplied, if negative); 1 for nothing.
    pub repetition_penalty: f32,
    /// Tokens after which a text is at its end; those that the model itself names if `None`.
    pub stop_tokens: Option<Vec<u32>>,
    /// A text is at its end when its new tokens spell one of these.
    pub stop_texts: Vec<String>,
    /// Whether what was computed for earlier tokens is kept; without it every step reads the whole text again. The
    /// results are the same, bit for bit.
    pub cache: bool,
}

impl Default for Generation {
    fn default() -> Self {
        Self {
            max_new_tokens: 20,
            min_new_tokens: 0,
            temperature: 0.0,
            top_k: 0,
            top_p: 1.0,
            seed: 0,
            n_beams: 1,
            length_penalty: 1.0,
            early_stopping: false,
            repetition_penalty: 1.0,
            stop_tokens: None,
            stop_texts: Vec::new(),
            cache: true,
        }
    }
}

impl Generation {
    /// Checks the numbers.
    ///
    /// # Errors
    /// The first that is out of its range.
    pub fn check(&self) -> Result<(), ModelError> {
        let refuse = |name, value: String, expected| Err(ModelError::Generation { name, value, expected });
        let at_least_0 = |value: f32| value.is_finite() && value >= 0.0;
        if !at_least_0(self.temperature) {
            return refuse("temperature", self.temperature.to_string(), "0 or more");
        }
        if !(at_least_0(self.top_p) && self.top_p <= 1.0) {
            return refuse("top_p", self.top_p.to_string(), "0 to 1");
        }
        if !(at_least_0(self.repetition_penalty) && self.repetition_penalty > 0.0) {
            return refuse("repetition_penalty", self.repetition_penalty.to_string(), "more than 0");
        }
        if !self.length_penalty.is_finite() {
            return refuse("length_penalty", self.length_penalty.to_string(), "a finite number");
        }
        if self.n_beams == 0 {
            return refuse("n_beams", "0".to_owned(), "1 or more");
        }
        if self.n_beams > 1 && self.temperature > 0.0 {
            return refuse("n_beams", self.n_beams.to_string(), "1 with a temperature: a beam search takes no draws");
        }
        Ok(())
    }
}

/// A token that was added to a prompt.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NewToken {
    /// The prompt, by its place in the batch.
    pub prompt: usize,
    /// The token.
    pub token: u32,
    /// Its log-probability, in nats.
    pub log_probability: f32,
}

/// What was added to a prompt.
#[derive(Clone, Debug, PartialEq)]
pub struct Generated {
    /// The new tokens; a stop token is the last of them.
    pub tokens: Vec<u32>,
    /// The log-probability of each, in nats, by the model's own (edited) logits: before penalties, temperature and
    /// filters.
    pub log_probabilities: Vec<f32>,
    /// Why there are no more.
    pub end: End,
    /// The score of the best beam, after a beam search.
    pub score: Option<f32>,
    /// What the plan captures, and its logits, for the prompt and all new tokens.
    pub trace: Trace,
}

/// Why nothing more was added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// There are as many new tokens as were asked for.
    MaxNewTokens,
    /// A stop token was chosen.
    StopToken,
    /// The new tokens spell a stop text.
    StopText,
    /// The text is as long as the model reads.
    Context,
    /// The caller stopped it.
    Stopped,
}
