//! Which tokens a direction promotes, and which excite a neuron.

use std::ops::Range;

use ndarray::{Array1, Array2, s};
use nissl_core::{Context, HookPoint, MethodError, ModelError, NeuronId, Site};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::top::largest;
use super::{Fold, Lens};

/// A token and its score.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenScore {
    /// The token.
    pub token: u32,
    /// The change of its logit for an activation of 1, or what its embedding gives to the neuron.
    pub score: f32,
}

/// The tokens at both ends.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenScores {
    /// Those with the highest scores, highest first; of equal scores the smaller token.
    pub highest: Vec<TokenScore>,
    /// Those with the lowest scores, lowest first.
    pub lowest: Vec<TokenScore>,
}

/// Rows of an embedding table that are decoded at a time by a thread.
pub(super) const BLOCK: usize = 1024;

impl Lens<'_> {
    /// The tokens that a direction `[d_model]`, added to the stream at `from`, promotes and suppresses most.
    ///
    /// # Errors
    /// If the model has no head, what is written at `from` does not reach it directly, the direction has another
    /// width, or the user stops it.
    pub fn promoted(
        self,
        direction: &Array1<f32>,
        from: HookPoint,
        top: usize,
        ctx: Context<'_>,
    ) -> Result<TokenScores, MethodError> {
        both_ends(from, &self.token_effects(direction, from, ctx)?, top)
    }

    /// The change of every logit, `[n_logits]`, as [`Lens::promoted`] sorts them.
    ///
    /// # Errors
    /// As [`Lens::promoted`].
    pub fn token_effects(
        self,
        direction: &Array1<f32>,
        from: HookPoint,
        ctx: Context<'_>,
    ) -> Result<Vec<f32>, MethodError> {
        let Some(norms) = self.norms(Some(from), None)? else {
            let what = match self.info.width(from) {
                Some(_) => "the head does not read what is written here, only the last layer's states",
                None => "the model has no such point",
            };
            return Err(ModelError::NoWeights { point: from, what: what.to_owned() }.into());
        };
        if self.weights.n_logits() == 0 {
            return Err(ModelError::NoLogits { model: self.info.name.clone() }.into());
        }
        let mut direction = direction.clone();
        for norm in &norms {
            norm.fold(&mut direction);
        }
        if self.weights.has_transform() && self.fold == Fold::Norms {
            return self.through_head(&direction, norms.last().map(|norm| &norm.gain));
        }
        blocks(self.weights.n_logits(), &direction, ctx, |tokens| Ok(self.weights.unembedding(tokens)?.weights))
    }

    /// The logits of a direction that was folded up to the head, less those of zeros.
    fn through_head(self, direction: &Array1<f32>, gain: Option<&Array1<f32>>) -> Result<Vec<f32>, MethodError> {
        // The size of a normalized stream is that of the last norm's gain.
        let size = |values: &Array1<f32>| values.iter().map(|&v| f64::from(v) * f64::from(v)).sum::<f64>().sqrt();
        let (own, normal) = (size(direction), gain.map_or(1.0, size));
        let factor = if own > 0.0 { (normal / own) as f32 } else { 0.0 };
        let mut rows = Array2::zeros((2, direction.len()));
        rows.slice_mut(s![0, ..]).assign(&(direction * factor));
        let last = HookPoint::new(self.info.n_layers.saturating_sub(1) as u16, Site::ResidPost);
        let logits = self.weights.logits(last, rows.view())?;
        Ok((&logits.row(0) - &logits.row(1)).to_vec())
    }

    /// The tokens whose embeddings excite, and inhibit, a neuron most.
    ///
    /// # Errors
    /// If no matrix makes the neuron, its layer does not read the embeddings directly, or the user stops it.
    pub fn excited(self, neuron: NeuronId, top: usize, ctx: Context<'_>) -> Result<TokenScores, MethodError> {
        both_ends(neuron.point, &self.token_drives(neuron, ctx)?, top)
    }

    /// What the embedding of every token gives to a neuron, `[d_vocab]`.
    ///
    /// # Errors
    /// As [`Lens::excited`].
    pub fn token_drives(self, neuron: NeuronId, ctx: Context<'_>) -> Result<Vec<f32>, MethodError> {
        let reader = self.reader(neuron)?;
        let Some(reader) = self.reaching_back(&reader, None, neuron.point)? else {
            let what = "it does not read the embeddings directly, only the layer before it".to_owned();
            return Err(ModelError::NoWeights { point: neuron.point, what }.into());
        };
        blocks(self.info.d_vocab, &reader, ctx, |tokens| Ok(self.weights.embedding(tokens)?))
    }
}

/// The products of a vector and the rows of a table, block by block.
fn blocks(
    n_rows: usize,
    vector: &Array1<f32>,
    ctx: Context<'_>,
    rows: impl Fn(Range<usize>) -> Result<Array2<f32>, MethodError> + Sync,
) -> Result<Vec<f32>, MethodError> {
    let blocks: Vec<Range<usize>> = (0..n_rows).step_by(BLOCK).map(|first| first..n_rows.min(first + BLOCK)).collect();
    let products: Vec<Result<Vec<f32>, MethodError>> = blocks
        .into_par_iter()
        .map(|block| {
            if ctx.progress.cancelled() {
                return Err(MethodError::Cancelled);
            }
            products(&rows(block)?, vector)
        })
        .collect();
    let mut all = Vec::with_capacity(n_rows);
    for block in products {
        all.extend(block?);
    }
    Ok(all)
}

/// The product of every row with a vector, summed in 64 bits in the order of the columns.
pub(super) fn products(rows: &Array2<f32>, vector: &Array1<f32>) -> Result<Vec<f32>, MethodError> {
    if rows.ncols() != vector.len() {
        return Err(MethodError::Shape { what: "width of a direction", expected: rows.ncols(), got: vector.len() });
    }
    let product = |row: ndarray::ArrayView1<'_, f32>| {
        row.iter().zip(vector).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>() as f32
    };
    Ok(rows.rows().into_iter().map(product).collect())
}

fn both_ends(point: HookPoint, scores: &[f32], top: usize) -> Result<TokenScores, MethodError> {
    if !scores.iter().all(|score| score.is_finite()) {
        let what = "the weights of this neuron, or of a token, are not finite numbers".to_owned();
        return Err(ModelError::NoWeights { point, what }.into());
    }
    let score = |token: usize| TokenScore { token: token as u32, score: scores[token] };
    Ok(TokenScores {
        highest: largest((0..scores.len()).map(score), top, |token| token.score),
        lowest: largest((0..scores.len()).map(score), top, |token| -token.score),
    })
}
