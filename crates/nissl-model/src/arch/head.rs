//! The heads that checkpoints have: language models over the vocabulary, and classifiers of tokens or sentences.

use serde::{Deserialize, Serialize};

use super::Matrix;
use crate::engine::Activation;

/// What a head says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HeadKind {
    /// The token after each position.
    CausalLm,
    /// The token that stands, or should stand, at each position.
    MaskedLm,
    /// A label of each token.
    TokenClassifier,
    /// A label of the sentence, said at one of its tokens.
    SequenceClassifier,
}

impl HeadKind {
    /// What people call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::CausalLm => "causal-lm",
            Self::MaskedLm => "masked-lm",
            Self::TokenClassifier => "token-classifier",
            Self::SequenceClassifier => "sequence-classifier",
        }
    }
}

/// The token of a sentence at which a head answers for all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AnswersAt {
    /// The first one, as encoders do.
    First,
    /// The last one, as decoders do.
    Last,
}

/// The head of a loaded model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeadInfo {
    /// What it says.
    pub kind: HeadKind,
    /// Number of logits a token.
    pub n_logits: usize,
    /// What the logits of a classifier mean, by the config; empty for language models.
    pub labels: Vec<String>,
    /// The token whose logits [`nissl_core::Output::Last`] gives.
    pub answers_at: AnswersAt,
}

/// The weights of a language-model head; logits are `head(final residual stream)`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head {
    /// A dense layer, an activation and a norm before the decoder, where the head has them.
    pub(crate) transform: Option<(Matrix, &'static str)>,
    /// The decoder's weight `[d_vocab, d_model]`.
    pub(crate) decoder: &'static str,
    /// Whether the token embeddings stand in if the checkpoint has no decoder weight.
    pub(crate) tied: bool,
    /// The decoder's bias `[d_vocab]`, where the checkpoint has one.
    pub(crate) bias: &'static str,
}

/// The weights of a classifier.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Classifier {
    pub(crate) kind: HeadKind,
    /// A dense layer and its activation before the last matrix.
    pub(crate) dense: Option<(Matrix, Activation)>,
    /// A norm after those.
    pub(crate) norm: Option<&'static str>,
    /// `[n_labels, d_model]`.
    pub(crate) out: Matrix,
}

impl Classifier {
    /// Labels of tokens, by one matrix.
    pub(crate) const TOKENS: Self =
        Self { kind: HeadKind::TokenClassifier, dense: None, norm: None, out: Matrix::linear("classifier", true) };

    /// A label of the sentence, by two matrices.
    pub(crate) const fn sequence(dense: &'static str, activation: Activation, out: &'static str) -> Self {
        Self {
            kind: HeadKind::SequenceClassifier,
            dense: Some((Matrix::linear(dense, true), activation)),
            norm: None,
            out: Matrix::linear(out, true),
        }
    }
}

/// The head that a checkpoint has, with full names.
#[derive(Clone, Debug)]
pub(crate) struct Readout {
    pub(crate) kind: HeadKind,
    /// A dense layer `[n_out, d_model]` and its activation.
    pub(crate) dense: Option<Dense>,
    /// The norm after it.
    pub(crate) norm: Option<String>,
    /// The last matrix, `[n_logits, n_in]`.
    pub(crate) weight: String,
    pub(crate) bias: Option<String>,
    pub(crate) n_in: usize,
    pub(crate) n_logits: usize,
}

/// A dense layer of a head.
#[derive(Clone, Debug)]
pub(crate) struct Dense {
    /// `name.weight`, and `name.bias` if it has one.
    pub(crate) name: String,
    pub(crate) bias: bool,
    pub(crate) activation: Activation,
}

/// What a head is called in the `architectures` of a config: the end of the class's name.
pub(super) fn kind_of_class(class: &str) -> Option<HeadKind> {
    let ends = |end: &str| class.ends_with(end);
    if ends("ForTokenClassification") {
        Some(HeadKind::TokenClassifier)
    } else if ends("ForSequenceClassification") || ends("ForNextSentencePrediction") {
        Some(HeadKind::SequenceClassifier)
    } else {
        None
    }
}
