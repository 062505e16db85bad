//! The forward passes, top to bottom: how blocks are put together and where the values between them can be seen.

mod decoder;
mod encoder;
mod encoder_decoder;
mod past;
mod recurrent;
mod state_space;
mod transformer;

use std::sync::Arc;

use nissl_core::{HookPoint, Site, Stack};

use crate::engine::{DistanceBias, Engine, Halt, Packing, Rotary};
use crate::hooks::Hooks;
pub(crate) use encoder_decoder::EncoderDecoder;
pub(crate) use past::{At, LayerPast, Past};
pub(crate) use recurrent::{Average, Padding, Recurrent};
pub(crate) use state_space::{Layer, StateSpace};
pub(crate) use transformer::{Block, Transformer};

/// Where in the network a pass is, and what it takes there.
pub(crate) struct Here<'a, E: Engine> {
    pub(crate) stack: Stack,
    pub(crate) layer: u16,
    /// The angles of the model's rotations.
    pub(crate) rotary: &'a [Arc<Rotary>],
    /// Tokens of the longest text, with its past.
    pub(crate) n_positions: usize,
    /// What is added to scores by distance.
    pub(crate) bias: Option<&'a DistanceBias>,
    pub(crate) hooks: &'a Hooks<'a>,
    pub(crate) past: Option<At<'a, E>>,
    /// What the encoder made of the sources, `[T_source, d_model]`, where it is not in the past.
    pub(crate) source: Option<&'a E::Tensor>,
}

impl<E: Engine> Here<'_, E> {
    /// A site in the layer.
    pub(crate) fn at(&self, site: Site) -> HookPoint {
        HookPoint::of(self.stack, self.layer, site)
    }
}

/// Products and norms, as they are laid out.
pub(crate) struct LaidOut<'a, P: Packing> {
    pub(crate) linears: Vec<&'a P::Linear>,
    pub(crate) norms: Vec<&'a P::Norm>,
}

/// A model between its embeddings and its head, laid out for an engine.
pub(crate) enum Network<P: Packing> {
    /// Blocks of attention and MLP.
    Transformer(Transformer<P>),
    /// Layers of LSTM or GRU.
    Recurrent(Recurrent<P>),
    /// Blocks with a state.
    StateSpace(StateSpace<P>),
    /// A transformer that reads a source, and one that reads a target and that.
    EncoderDecoder(EncoderDecoder<P>),
}

impl<P: Packing> Network<P> {
    /// Everything that is laid out but the head, in a fixed order.
    pub(crate) fn laid_out(&self) -> LaidOut<'_, P> {
        let mut all = LaidOut { linears: Vec::new(), norms: Vec::new() };
        match self {
            Self::Transformer(transformer) => transformer.laid_out(&mut all),
            Self::Recurrent(recurrent) => recurrent.laid_out(&mut all),
            Self::StateSpace(model) => model.laid_out(&mut all),
            Self::EncoderDecoder(both) => both.laid_out(&mut all),
        }
        all
    }

    /// Tokens that one thread takes through the network at a time.
    pub(crate) fn group(&self) -> usize {
        match self {
            // A step is a product with a row a sentence: with few of them, fetching its weights is most of the work.
            Self::Recurrent(_) => 2048,
            // The activations stay in the thread's cache.
            Self::Transformer(_) | Self::StateSpace(_) | Self::EncoderDecoder(_) => 256,
        }
    }

    /// What the head reads, of embedded tokens x `[T, width]`, after the sentences' past where there is one. Where
    /// sentences are a source and a target, the head reads the rows of the targets alone.
    pub(crate) fn forward<E: Engine<Packing = P>>(
        &self,
        engine: &E,
        x: E::Tensor,
        hooks: &Hooks<'_>,
        past: Option<&mut Past<E>>,
    ) -> Result<E::Tensor, Halt> {
        match self {
            Self::Transformer(transformer) => transformer.forward(engine, x, hooks, past),
            Self::Recurrent(recurrent) => recurrent.forward(engine, x, hooks, past),
            Self::StateSpace(model) => model.forward(engine, x, hooks, past),
            Self::EncoderDecoder(both) => both.forward(engine, &x, hooks, past),
        }
    }

    /// Whether the network reads so many tokens and no more, padding before shorter sentences.
    pub(crate) fn slides(&self) -> bool {
        matches!(self, Self::Recurrent(Recurrent { padding: Some(_), .. }))
    }

    /// The past of `n_sentences` that have nothing behind them; none if what a position gives can depend on what comes
    /// after it, or on how far from the end it is.
    pub(crate) fn past<E: Engine<Packing = P>>(&self, engine: &E, n_sentences: usize) -> Option<Past<E>> {
        let layers = match self {
            Self::Transformer(transformer) => transformer.past(engine, n_sentences)?,
            Self::Recurrent(recurrent) => recurrent.past(engine, n_sentences)?,
            Self::StateSpace(model) => model.past(engine, n_sentences),
            Self::EncoderDecoder(both) => both.past(engine, n_sentences),
        };
        Some(Past { n_sentences, layers, grows: true })
    }

    /// What the head reads of x `[T, d_model]`, were it the last residual stream; none if the head reads more.
    pub(crate) fn finish<E: Engine<Packing = P>>(&self, engine: &E, x: E::Tensor) -> Option<E::Tensor> {
        match self {
            Self::Transformer(transformer) => Some(transformer.finish(engine, x)),
            Self::EncoderDecoder(both) => Some(both.decoder.finish(engine, x)),
            Self::Recurrent(recurrent) => recurrent.average.is_none().then_some(x),
            Self::StateSpace(model) => Some(engine.norm(&x, &model.final_norm)),
        }
    }
}
