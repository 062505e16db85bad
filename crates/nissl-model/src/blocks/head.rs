//! The output head: from the residual stream to logits.

use crate::engine::{Activation, Engine, Epilogue};

/// The weights of a head.
pub(crate) struct Head<E: Engine> {
    /// A dense layer with an activation and a norm, where the head has them.
    pub(crate) transform: Option<(E::Linear, Activation, E::Norm)>,
    /// `[d_model, d_vocab]`.
    pub(crate) decoder: E::Linear,
}

impl<E: Engine> Head<E> {
    /// Logits `[T, d_vocab]` of x `[T, d_model]`.
    pub(crate) fn forward(&self, engine: &E, x: &E::Tensor) -> E::Tensor {
        match &self.transform {
            None => engine.linear(x, &self.decoder, Epilogue::None),
            Some((dense, activation, norm)) => {
                let inner = engine.linear(x, dense, Epilogue::Activate(*activation));
                engine.linear(&engine.norm(&inner, norm), &self.decoder, Epilogue::None)
            }
        }
    }
}
