//! The next token, from logits.

use nissl_core::Generation;
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::Run;
use crate::arch::Target;

/// Chooses the tokens of one text.
pub(super) struct Chooser(ChaCha12Rng);

impl Chooser {
    /// The same draws for every text with this seed.
    pub(super) fn new(options: &Generation) -> Self {
        Self(ChaCha12Rng::seed_from_u64(options.seed))
    }

    /// The next token of a text and its log-probability by `logits`, `[d_vocab]`.
    pub(super) fn next(&mut self, run: &Run<'_>, mut logits: Vec<f32>, text: (&[u32], usize)) -> (u32, f32) {
        let total = log_sum_exp(&logits);
        let original = if run.is_plain() { None } else { Some(logits.clone()) };
        run.process(&mut logits, text);
        let token = if run.options.temperature > 0.0 {
            let drawn = (self.0.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
            draw(&filtered(&logits, run.options), drawn)
        } else {
            best(&logits)
        };
        let logit = original.as_ref().unwrap_or(&logits)[token];
        (token as u32, (f64::from(logit) - total) as f32)
    }
}

/// ln Σ e^x, in f64.
pub(crate) fn log_sum_exp(logits: &[f32]) -> f64 {
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|&x| f64::from(x - most).exp()).sum();
    f64::from(most) + sum.ln()
}

impl Run<'_> {
    /// Whether logits are taken as they are.
    fn is_plain(&self) -> bool {
        let options = self.options;
        let free = self
            .target()
            .is_none_or(|Target { first, last, never, .. }| first.is_none() && last.is_none() && never.is_empty());
        options.repetition_penalty.to_bits() == 1f32.to_bits() && options.min_new_tokens == 0 && free
    }

    /// What penalties and the model's own rules for targets leave of logits.
    pub(super) fn process(&self, scores: &mut [f32], text: (&[u32], usize)) {
        process(scores, self.options, self.stop_tokens, text);
        let Some(Target { first, last, never, .. }) = self.target() else { return };
        for &token in never {
            if let Some(score) = scores.get_mut(token as usize) {
                *score = f32::NEG_INFINITY;
            }
        }
        let (tokens, n_given) = text;
        let is_last = tokens.len() - n_given + 1 == self.options.max_new_tokens;
        for token in first.filter(|_| tokens.len() == 1).into_iter().chain(last.filter(|_| is_last)) {
            scores.fill(f32::NEG_INFINITY);
            if let Some(score) = scores.get_mut(token as usize) {
                *score = 0.0;
            }
        }
    }
}

/// The penalty for tokens that are there, and no stop token before there are enough new ones. A text is all its tokens
/// and how many of them are the prompt's.
pub(super) fn process(scores: &mut [f32], options: &Generation, stop_tokens: &[u32], text: (&[u32], usize)) {
    let (tokens, n_prompt) = text;
    if options.repetition_penalty.to_bits() != 1f32.to_bits() {
        let mut there: Vec<u32> = tokens.to_vec();
        there.sort_unstable();
        there.dedup();
        for token in there {
            let score = &mut scores[token as usize];
            *score =
                if *score < 0.0 { *score * options.repetition_penalty } else { *score / options.repetition_penalty };
        }
    }
    if tokens.len() - n_prompt < options.min_new_tokens {
        for &token in stop_tokens {
            if let Some(score) = scores.get_mut(token as usize) {
                *score = f32::NEG_INFINITY;
            }
        }
    }
}

/// The place of the highest score, of equals the first.
fn best(scores: &[f32]) -> usize {
    let better = |best: usize, (idx, score): (usize, &f32)| if *score > scores[best] { idx } else { best };
    scores.iter().enumerate().fold(0, better)
}

/// What can be drawn, in the order of the tokens, each with its share: after temperature, top-k and top-p.
pub(super) fn filtered(scores: &[f32], options: &Generation) -> Vec<(usize, f64)> {
    let mut left: Vec<(usize, f32)> =
        scores.iter().map(|score| score / options.temperature).enumerate().filter(|(_, s)| *s > f32::MIN).collect();
    if options.top_k > 0 && options.top_k < left.len() {
        let mut sorted: Vec<f32> = left.iter().map(|(_, score)| *score).collect();
        let (_, least, _) = sorted.select_nth_unstable_by(options.top_k - 1, |a, b| b.total_cmp(a));
        let least = *least;
        left.retain(|(_, score)| *score >= least);
    }
    let most = left.iter().map(|(_, score)| *score).fold(f32::NEG_INFINITY, f32::max);
    let mut shares: Vec<(usize, f64)> =
        left.into_iter().map(|(token, score)| (token, f64::from(score - most).exp())).collect();
    if options.top_p < 1.0 {
        let total: f64 = shares.iter().map(|(_, share)| share).sum();
        shares.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        // What comes behind a token must be more than the rest of the probability for it to stay.
        let mut behind = total;
        let kept = shares.iter().take_while(|(_, share)| {
            let stays = behind > (1.0 - f64::from(options.top_p)) * total;
            behind -= share;
            stays
        });
        let kept = kept.count().max(1);
        shares.truncate(kept);
        shares.sort_by_key(|(token, _)| *token);
    }
    shares
}

/// The token at a share of 0 to 1 of the whole.
fn draw(shares: &[(usize, f64)], at: f64) -> usize {
    let total: f64 = shares.iter().map(|(_, share)| share).sum();
    let mut left = at * total;
    for &(token, share) in shares {
        if left < share {
            return token;
        }
        left -= share;
    }
    // Rounding can leave a little; logits that are all NaN leave nothing to draw from.
    shares.last().map_or(0, |(token, _)| *token)
}

#[cfg(test)]
mod tests;
