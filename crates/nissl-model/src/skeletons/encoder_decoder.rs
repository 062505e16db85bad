//! A transformer that reads the source, and one that reads the target and, in every block, what the first made of the
//! source.

use std::sync::Arc;

use super::{Block, LaidOut, LayerPast, Past, Transformer};
use crate::engine::{Engine, Halt, Packing};
use crate::hooks::Hooks;

/// The weights of both.
pub(crate) struct EncoderDecoder<P: Packing> {
    pub(crate) encoder: Transformer<P>,
    /// Its blocks read the source.
    pub(crate) decoder: Transformer<P>,
}

impl<P: Packing> EncoderDecoder<P> {
    /// Adds everything that is laid out.
    pub(super) fn laid_out<'a>(&'a self, all: &mut LaidOut<'a, P>) {
        self.encoder.laid_out(all);
        self.decoder.laid_out(all);
    }

    /// The last residual stream of the targets, of embedded tokens x `[T, d_model]` of sources and targets. Where no rows
    /// are of sources, they were read before, and are in the past.
    pub(crate) fn forward<E: Engine<Packing = P>>(
        &self,
        engine: &E,
        x: &E::Tensor,
        hooks: &Hooks<'_>,
        past: Option<&mut Past<E>>,
    ) -> Result<E::Tensor, Halt> {
        let sources = hooks.source().expect("hooks of a model with an encoder and a decoder tell the sides apart");
        let side = |hooks: &Hooks<'_>| engine.rows(x, hooks.rows().unwrap_or_default());
        let is_read = past.is_some() && sources.positions().is_empty();
        let source = if is_read { None } else { Some(self.encoder.forward(engine, side(sources), sources, None)?) };
        self.decoder.forward_over(engine, side(hooks), hooks, past, source.as_ref())
    }

    /// The past of sentences that have nothing behind them.
    pub(super) fn past<E: Engine<Packing = P>>(&self, engine: &E, n_sentences: usize) -> Vec<LayerPast<E>> {
        let empty = |block: &Arc<Block<P>>| LayerPast::Both {
            own: Box::new(block.mixer.past(engine, n_sentences)),
            source: vec![E::Past::default(); n_sentences],
        };
        self.decoder.blocks.iter().map(empty).collect()
    }
}
