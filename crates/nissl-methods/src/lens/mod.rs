//! What weights say by themselves: which tokens a residual stream, a neuron or a direction stands for, and which
//! neurons are joined.
//!
//! **Logit lens** ([`Lens::predictions`]): rows of the residual stream of any layer are taken as if they were the last
//! ones, through the final norm and the head with all its parts (nostalgebraist 2020, "interpreting GPT: the logit
//! lens"). For the last layer this is what the model predicts, bit for bit. In a masked language model the dense
//! layer and the norm of its head are parts of the lens.
//!
//! **Tokens of a direction** ([`Lens::promoted`]): what a neuron adds to the stream, times the unembedding: the change
//! of every logit when the neuron's activation grows by 1 (Geva et al. 2022, "Transformer Feed-Forward Layers Build
//! Predictions by Promoting Concepts in the Vocabulary Space"; Dar et al. 2023, "Analyzing Transformers in Embedding
//! Space"). Both papers multiply with the bare unembedding ([`Fold::Raw`]). The default here, [`Fold::Norms`], folds
//! the norms on the way into the direction: the part along (1, ..., 1), which a layer norm takes off and no token ever
//! sees, is removed, and each column is taken times the gain, as it always is before the head reads it. Two things
//! are left out, since no single direction has them: the division by the stream's size, one positive factor that
//! leaves the order of the tokens as it is, and the biases of norm and head, which all directions would share and
//! which follow the tokens' frequency (Kobayashi et al. 2023, "Transformer Language Models Handle Word Frequency in
//! Prediction Head").
//!
//! **Tokens that excite** ([`Lens::excited`]): what a neuron reads, times the token embeddings. **Joined neurons**
//! ([`Lens::upstream`], [`Lens::downstream`]): what one reads times what another writes. Norms on the way are folded in
//! both, or left out, in the same way. Paths through other blocks in between are not counted: these are direct weights.
//!
//! In a post-norm model a norm stands behind every addition; all on the way are folded, one after the other. A head
//! with a layer of its own is not linear: there the folded direction, brought to the size that the last norm gives to a
//! stream, goes through the whole head, and what the head gives for zeros is taken off.
//!
//! Everything is computed in blocks of tokens or neurons of fixed size, in parallel, and joined in order: memory does
//! not grow with the vocabulary, and the bits do not depend on the number of threads.

mod neurons;
mod stream;
mod tokens;
mod top;

use ndarray::Array1;
use nissl_core::{HookPoint, MethodError, Model, ModelError, ModelInfo, NeuronId, NeuronWeights, Norm};
use serde::{Deserialize, Serialize};

pub use neurons::Joint;
pub use stream::{Guess, Prediction};
pub use tokens::{TokenScore, TokenScores};

/// Whether norms on the way are folded into a direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fold {
    /// Their gain and their centering are.
    #[default]
    Norms,
    /// Nothing is: weights as they are.
    Raw,
}

/// A model whose weights are looked at.
#[derive(Clone, Copy)]
pub struct Lens<'a> {
    info: &'a ModelInfo,
    weights: &'a dyn NeuronWeights,
    fold: Fold,
}

impl<'a> Lens<'a> {
    /// Looks at a model's weights.
    ///
    /// # Errors
    /// If the model shows none.
    pub fn new(model: &'a dyn Model, fold: Fold) -> Result<Self, MethodError> {
        let info = model.info();
        let none = || ModelError::NoWeights {
            point: HookPoint::new(0, nissl_core::Site::Embed),
            what: format!("{} does not show its weights", info.name),
        };
        Ok(Self { info, weights: model.weights().ok_or_else(none)?, fold })
    }

    /// The model's weights.
    pub fn weights(self) -> &'a dyn NeuronWeights {
        self.weights
    }

    /// What a neuron adds to the residual stream when it is 1, `[d_model]`.
    ///
    /// # Errors
    /// If there is no such neuron, or it reaches the stream only through something that is not linear.
    pub fn direction(self, neuron: NeuronId) -> Result<Array1<f32>, MethodError> {
        let idx = neuron.idx as usize;
        Ok(self.weights.writes(neuron.point, idx..idx.saturating_add(1))?.weights.row(0).to_owned())
    }

    /// What a neuron reads of the residual stream, `[d_model]`.
    ///
    /// # Errors
    /// If there is no such neuron, or no matrix makes it.
    pub fn reader(self, neuron: NeuronId) -> Result<Array1<f32>, MethodError> {
        let idx = neuron.idx as usize;
        Ok(self.weights.reads(neuron.point, idx..idx.saturating_add(1))?.weights.row(0).to_owned())
    }

    /// The norms to fold on the way from one point to another; `None` if there is no way.
    fn norms(self, from: Option<HookPoint>, to: Option<HookPoint>) -> Result<Option<Vec<Norm>>, MethodError> {
        let norms = self.weights.path(from, to)?;
        Ok(if self.fold == Fold::Raw { norms.map(|_| Vec::new()) } else { norms })
    }

    /// A direction of the point `from` as it is read at `to`; `None` if it is not.
    fn arriving(
        self,
        direction: &Array1<f32>,
        from: HookPoint,
        to: Option<HookPoint>,
    ) -> Result<Option<Array1<f32>>, MethodError> {
        let Some(norms) = self.norms(Some(from), to)? else { return Ok(None) };
        let mut direction = direction.clone();
        for norm in &norms {
            norm.fold(&mut direction);
        }
        Ok(Some(direction))
    }

    /// What the unit of a reader at `to` reads of what is written at `from`; `None` if it reads nothing of it.
    fn reaching_back(
        self,
        reader: &Array1<f32>,
        from: Option<HookPoint>,
        to: HookPoint,
    ) -> Result<Option<Array1<f32>>, MethodError> {
        let Some(norms) = self.norms(from, Some(to))? else { return Ok(None) };
        let mut reader = reader.clone();
        for norm in norms.iter().rev() {
            norm.fold_reader(&mut reader);
        }
        Ok(Some(reader))
    }
}

#[cfg(test)]
mod tests;
