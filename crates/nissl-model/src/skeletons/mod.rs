//! The forward passes, top to bottom: how blocks are put together and where the values between them can be seen.

mod decoder;
mod encoder;
mod recurrent;
mod transformer;

use crate::engine::{Engine, Halt, Packing};
use crate::hooks::Hooks;
pub(crate) use recurrent::{Average, Padding, Recurrent};
pub(crate) use transformer::{Block, Transformer};

/// A model between its embeddings and its head, laid out for an engine.
pub(crate) enum Network<P: Packing> {
    /// Blocks of attention and MLP.
    Transformer(Transformer<P>),
    /// Layers of LSTM.
    Recurrent(Recurrent<P>),
}

impl<P: Packing> Network<P> {
    /// What the head reads, of embedded tokens x `[T, width]`.
    pub(crate) fn forward<E: Engine<Packing = P>>(
        &self,
        engine: &E,
        x: E::Tensor,
        hooks: &Hooks<'_>,
    ) -> Result<E::Tensor, Halt> {
        match self {
            Self::Transformer(transformer) => transformer.forward(engine, x, hooks),
            Self::Recurrent(recurrent) => recurrent.forward(engine, x, hooks),
        }
    }
}
