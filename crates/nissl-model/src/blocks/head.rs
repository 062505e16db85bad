//! The output head: from the residual stream to logits.

use crate::engine::{Activation, Engine, Epilogue, Packing};

/// The weights of a head.
pub(crate) struct Head<P: Packing> {
    /// A dense layer with an activation, where the head has them.
    pub(crate) dense: Option<(P::Linear, Activation)>,
    /// A norm after it.
    pub(crate) norm: Option<P::Norm>,
    /// `[d_model, n_logits]`.
    pub(crate) decoder: P::Linear,
    /// The value c of logits c · tanh(logit / c).
    pub(crate) cap: Option<f32>,
    /// Factor of the logits.
    pub(crate) scale: Option<f32>,
}

impl<P: Packing> Head<P> {
    /// Logits `[T, n_logits]` of the last residual stream x `[T, d_model]`, or of some of its rows.
    pub(crate) fn forward<E: Engine<Packing = P>>(
        &self,
        engine: &E,
        x: &E::Tensor,
        rows: Option<&[usize]>,
    ) -> E::Tensor {
        let chosen = rows.map(|rows| engine.rows(x, rows));
        let x = chosen.as_ref().unwrap_or(x);
        let dense =
            self.dense.as_ref().map(|(dense, activation)| engine.linear(x, dense, Epilogue::Activate(*activation)));
        let x = dense.as_ref().unwrap_or(x);
        let normed = self.norm.as_ref().map(|norm| engine.norm(x, norm));
        let end = self.cap.map(Activation::Cap).or(self.scale.map(Activation::Scale));
        let end = end.map_or(Epilogue::None, Epilogue::Activate);
        engine.linear(normed.as_ref().unwrap_or(x), &self.decoder, end)
    }
}
