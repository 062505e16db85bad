//! The output head: from the residual stream to logits.

use crate::engine::{Activation, Engine, Epilogue, Packing};

/// The weights of a head.
pub(crate) struct Head<P: Packing> {
    /// A dense layer with an activation and a norm, where the head has them.
    pub(crate) transform: Option<(P::Linear, Activation, P::Norm)>,
    /// `[d_model, d_vocab]`.
    pub(crate) decoder: P::Linear,
    /// The value c of logits c · tanh(logit / c).
    pub(crate) cap: Option<f32>,
}

impl<P: Packing> Head<P> {
    /// Logits `[T, d_vocab]` of the last residual stream x `[T, d_model]`, or of some of its rows.
    pub(crate) fn forward<E: Engine<Packing = P>>(
        &self,
        engine: &E,
        x: &E::Tensor,
        rows: Option<&[usize]>,
    ) -> E::Tensor {
        let chosen = rows.map(|rows| engine.rows(x, rows));
        let x = chosen.as_ref().unwrap_or(x);
        let end = || self.cap.map_or(Epilogue::None, |cap| Epilogue::Activate(Activation::Cap(cap)));
        match &self.transform {
            None => engine.linear(x, &self.decoder, end()),
            Some((dense, activation, norm)) => {
                let inner = engine.linear(x, dense, Epilogue::Activate(*activation));
                engine.linear(&engine.norm(&inner, norm), &self.decoder, end())
            }
        }
    }
}
