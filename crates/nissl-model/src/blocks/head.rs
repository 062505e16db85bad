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
    /// Logits `[T, d_vocab]` of the last residual stream x `[T, d_model]`, or of some of its rows.
    pub(crate) fn forward(&self, engine: &E, x: &E::Tensor, rows: Option<&[usize]>) -> E::Tensor {
        let chosen = rows.map(|rows| engine.rows(x, rows));
        let x = chosen.as_ref().unwrap_or(x);
        match &self.transform {
            None => engine.linear(x, &self.decoder, Epilogue::None),
            Some((dense, activation, norm)) => {
                let inner = engine.linear(x, dense, Epilogue::Activate(*activation));
                engine.linear(&engine.norm(&inner, norm), &self.decoder, Epilogue::None)
            }
        }
    }
}
