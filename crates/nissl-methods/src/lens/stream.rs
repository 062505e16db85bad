//! What rows of the residual stream predict.

use std::cmp::Ordering;

use ndarray::{ArrayView1, ArrayView2, Axis};
use nissl_core::{Context, HookPoint, MethodError, ModelError};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::Lens;
use super::top::largest;

/// What one row of the residual stream predicts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prediction {
    /// The tokens with the highest logits, highest first; of equal logits the smaller token.
    pub top: Vec<Guess>,
    /// The token that was asked for, if one was.
    pub target: Option<Guess>,
    /// Entropy of the probabilities, in bits.
    pub entropy: f64,
}

/// A token as it is predicted.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Guess {
    /// The token.
    pub token: u32,
    /// Its logit.
    pub logit: f32,
    /// Its probability among all tokens.
    pub probability: f64,
    /// How many tokens are predicted before it: 0 for the first.
    pub rank: usize,
}

/// Bytes of logits that are in memory at a time, as far as whole rows allow.
const BLOCK_BYTES: usize = 64 << 20;

impl Lens<'_> {
    /// What each row `[n_rows, d_model]` of a point predicts: the `top` tokens, and how likely its target is.
    ///
    /// `targets` has a token, or none, for each row.
    ///
    /// # Errors
    /// If the model has no head or the head does not read the point's rows, if the numbers of rows and targets differ,
    /// a target is not in the vocabulary, a logit is not finite, or the user stops it.
    pub fn predictions(
        self,
        point: HookPoint,
        rows: &ArrayView2<'_, f32>,
        targets: &[Option<u32>],
        top: usize,
        ctx: Context<'_>,
    ) -> Result<Vec<Prediction>, MethodError> {
        if targets.len() != rows.nrows() {
            return Err(MethodError::Shape { what: "targets", expected: rows.nrows(), got: targets.len() });
        }
        let n_logits = self.weights.n_logits();
        if let Some(token) = targets.iter().flatten().copied().find(|&token| token as usize >= n_logits) {
            let err = ModelError::TokenOutOfRange { token, sentence_idx: 0, d_vocab: n_logits };
            return Err(err.into());
        }
        let block = (BLOCK_BYTES / (4 * n_logits.max(1))).clamp(1, 256);
        let mut predictions = Vec::with_capacity(rows.nrows());
        for (rows, targets) in rows.axis_chunks_iter(Axis(0), block).zip(targets.chunks(block)) {
            if ctx.progress.cancelled() {
                return Err(MethodError::Cancelled);
            }
            let logits = self.weights.logits(point, rows)?;
            let of_block: Vec<Option<Prediction>> =
                (0..targets.len()).into_par_iter().map(|row| prediction(&logits.row(row), targets[row], top)).collect();
            for prediction in of_block {
                let what = "a logit of its rows is not a finite number".to_owned();
                predictions.push(prediction.ok_or(ModelError::NoWeights { point, what })?);
            }
        }
        Ok(predictions)
    }
}

/// What logits predict; none if one is not finite.
fn prediction(logits: &ArrayView1<'_, f32>, target: Option<u32>, top: usize) -> Option<Prediction> {
    let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    if !logits.iter().all(|logit| logit.is_finite()) {
        return None;
    }
    let weight = |logit: f32| (f64::from(logit) - f64::from(highest)).exp();
    let total: f64 = logits.iter().map(|&logit| weight(logit)).sum();
    // -Σ p ln p, for p = w / total and ln p = logit - highest - ln total.
    let mean: f64 = logits.iter().map(|&logit| weight(logit) * (f64::from(logit) - f64::from(highest))).sum();
    let entropy = (total.ln() - mean / total) / std::f64::consts::LN_2;
    let guess = |token: usize, rank: usize| {
        let logit = logits[token];
        Guess { token: token as u32, logit, probability: weight(logit) / total, rank }
    };
    let best = largest(0..logits.len(), top, |&token| logits[token]);
    let target = target.map(|token| {
        let (token, own) = (token as usize, logits[token as usize]);
        let before = |(other, &logit): (usize, &f32)| match logit.partial_cmp(&own) {
            Some(Ordering::Greater) => true,
            Some(Ordering::Equal) => other < token,
            Some(Ordering::Less) | None => false,
        };
        guess(token, logits.iter().enumerate().filter(|at| before(*at)).count())
    });
    let top = best.into_iter().enumerate().map(|(rank, token)| guess(token, rank)).collect();
    Some(Prediction { top, target, entropy: entropy.max(0.0) })
}
