//! Windows of tokens in an order that depends on the seed and the step alone, so that a run can go on anywhere.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use nissl_model::{Examples, Tokenizer};

use super::Config;
use super::text::Tokens;
use crate::error::TaskError;

/// What the model has to say.
pub(super) enum Objective {
    /// The next token.
    Next,
    /// The tokens that were covered.
    Masked {
        mask: u32,
        /// How often a token is covered.
        share: f64,
        /// The tokens around a window.
        prefix: Vec<u32>,
        suffix: Vec<u32>,
        vocabulary: u64,
    },
}

impl Objective {
    /// The objective that fits a model.
    pub(super) fn of(causal: bool, tokenizer: &Tokenizer, config: &Config) -> Result<Self, TaskError> {
        if causal {
            return Ok(Self::Next);
        }
        let mask = ["[MASK]", "<mask>"].into_iter().find_map(|token| tokenizer.token_id(token)).ok_or_else(|| {
            TaskError::config("tokenizer", "one with [MASK] or <mask>, for a masked model", &config.tokenizer)
        })?;
        Ok(Self::Masked {
            mask,
            share: config.mask,
            prefix: tokenizer.special_prefix().to_vec(),
            suffix: tokenizer.special_suffix().to_vec(),
            vocabulary: tokenizer.vocab_size() as u64,
        })
    }

    /// Tokens of a window that come from the text, and tokens behind them that are only predicted.
    fn room(&self, context: usize) -> (usize, usize) {
        match self {
            Self::Next => (context, 1),
            Self::Masked { prefix, suffix, .. } => (context.saturating_sub(prefix.len() + suffix.len()), 0),
        }
    }
}

/// The windows of a text.
pub(super) struct Windows {
    file: File,
    path: PathBuf,
    objective: Objective,
    /// Tokens from a window to the next.
    stride: usize,
    /// Tokens that are read of a window.
    len: usize,
    trained: Vec<u64>,
    held_out: Vec<u64>,
    seed: u64,
    /// The order of the trained windows, and the epoch that it is of.
    order: Option<(u64, Vec<u64>)>,
}

/// Held-out windows that are run at once.
const AT_ONCE: usize = 16;

impl Windows {
    /// Cuts the tokens into windows that follow one another.
    pub(super) fn open(
        tokens: &Tokens,
        out: &Path,
        context: usize,
        objective: Objective,
        config: &Config,
    ) -> Result<Self, TaskError> {
        let (stride, behind) = objective.room(context);
        let n_tokens = tokens.report.n_tokens;
        if stride == 0 || n_tokens < (stride + behind) as u64 {
            let expected = format!("at least {} tokens, for one window", stride + behind);
            return Err(TaskError::Format {
                path: out.join("tokens.u32"),
                expected,
                got: format!("{n_tokens} tokens"),
            });
        }
        let n_windows = (n_tokens - behind as u64) / stride as u64;
        let is_held_out = |window: &u64| config.held_out > 0 && window % config.held_out == config.held_out - 1;
        let (held_out, trained): (Vec<u64>, Vec<u64>) = (0..n_windows).partition(is_held_out);
        let step = held_out.len().div_ceil(config.eval_windows.max(1)).max(1);
        let held_out = if config.eval_windows == 0 { Vec::new() } else { held_out.into_iter().step_by(step).collect() };
        if trained.is_empty() {
            let expected = "2 or more, or 0 for none".to_owned();
            return Err(TaskError::config("held_out", expected, format!("{}: all windows", config.held_out)));
        }
        let file = File::open(&tokens.path).map_err(|err| TaskError::io("read", &tokens.path, err))?;
        let (path, seed) = (tokens.path.clone(), config.seed);
        Ok(Self { file, path, objective, stride, len: stride + behind, trained, held_out, seed, order: None })
    }

    /// Number of windows that are trained on.
    pub(super) fn n_trained(&self) -> u64 {
        self.trained.len() as u64
    }

    /// The batches of a step.
    pub(super) fn of_step(&mut self, step: u64, batch: usize, accumulate: usize) -> Result<Vec<Examples>, TaskError> {
        let n = self.trained.len() as u64;
        let first = step * (batch * accumulate) as u64;
        let mut parts = Vec::with_capacity(accumulate);
        for part in 0..accumulate {
            let mut examples = Examples::default();
            for idx in 0..batch {
                let place = first + (part * batch + idx) as u64;
                let window = self.ordered(place / n)[(place % n) as usize];
                // Covered anew in every epoch.
                self.add(window, mix(self.seed ^ mix(place)), &mut examples)?;
            }
            parts.push(examples);
        }
        Ok(parts)
    }

    /// The held-out windows in batches; the same ones, covered alike, every time.
    pub(super) fn held_out(&mut self) -> impl Iterator<Item = Result<Examples, TaskError>> + '_ {
        let chunks: Vec<Vec<u64>> = self.held_out.chunks(AT_ONCE).map(<[u64]>::to_vec).collect();
        chunks.into_iter().map(|chunk| {
            let mut examples = Examples::default();
            for window in chunk {
                self.add(window, mix(!self.seed ^ mix(window)), &mut examples)?;
            }
            Ok(examples)
        })
    }

    /// The trained windows in the order of an epoch: by a number drawn for each.
    fn ordered(&mut self, epoch: u64) -> &[u64] {
        if self.order.as_ref().is_none_or(|(of, _)| *of != epoch) {
            let mut order = self.trained.clone();
            let seed = mix(self.seed.wrapping_add(mix(epoch)));
            order.sort_by_cached_key(|&window| (mix(seed ^ window), window));
            self.order = Some((epoch, order));
        }
        self.order.as_ref().map_or(&[], |(_, order)| order)
    }

    /// Adds a window to a batch.
    fn add(&mut self, window: u64, mut chance: u64, examples: &mut Examples) -> Result<(), TaskError> {
        let mut bytes = vec![0; 4 * self.len];
        let at = SeekFrom::Start(4 * window * self.stride as u64);
        let read = self.file.seek(at).and_then(|_| self.file.read_exact(&mut bytes));
        read.map_err(|err| TaskError::io("read", &self.path, err))?;
        let tokens: Vec<u32> =
            bytes.chunks_exact(4).map(|b| u32::from_le_bytes(b.try_into().expect("four bytes"))).collect();
        match &self.objective {
            Objective::Next => {
                examples.batch.push(&tokens[..self.stride]);
                examples.targets.extend(tokens[1..].iter().map(|&token| Some(token)));
            }
            Objective::Masked { mask, share, prefix, suffix, vocabulary } => {
                let mut draw = || {
                    chance = mix(chance);
                    chance
                };
                let mut read = prefix.clone();
                examples.targets.extend(prefix.iter().map(|_| None));
                for token in tokens {
                    // As BERT was trained (Devlin et al., 2019): of those to guess, eight in ten are covered, one is
                    // another token, one is left.
                    let guess = unit(draw()) < *share;
                    let how = unit(draw());
                    let other = (draw() % vocabulary) as u32;
                    read.push(match how {
                        _ if !guess => token,
                        how if how < 0.8 => *mask,
                        how if how < 0.9 => other,
                        _ => token,
                    });
                    examples.targets.push(guess.then_some(token));
                }
                read.extend(suffix);
                examples.targets.extend(suffix.iter().map(|_| None));
                examples.batch.push(&read);
            }
        }
        Ok(())
    }
}

/// The next number of the sequence SplitMix64 (Steele, Lea and Flood, 2014).
fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Evenly from 0 to below 1.
fn unit(x: u64) -> f64 {
    (x >> 11) as f64 / (1_u64 << 53) as f64
}
