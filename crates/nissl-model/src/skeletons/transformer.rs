//! Transformers: blocks one after the other, with the residual stream between them.

use std::sync::Arc;

use nissl_core::{HookPoint, Site, Stack};

use super::{Here, LaidOut, LayerPast, Past, decoder, encoder};
use crate::arch::Skeleton;
use crate::blocks::bias::Biases;
use crate::blocks::cross::CrossAttention;
use crate::blocks::rotary::Angles;
use crate::blocks::{Feed, Mixer};
use crate::engine::{Engine, Epilogue, Halt, Packing};
use crate::hooks::Hooks;

/// The weights of a transformer, laid out for an engine.
pub(crate) struct Transformer<P: Packing> {
    pub(crate) skeleton: Skeleton,
    pub(crate) stack: Stack,
    pub(crate) embedding_norm: Option<P::Norm>,
    /// From the width of the embeddings to that of the residual stream.
    pub(crate) projection: Option<P::Linear>,
    /// Layers that share their weights are one.
    pub(crate) blocks: Vec<Arc<Block<P>>>,
    pub(crate) final_norm: Option<P::Norm>,
    /// Those that there are; every attention knows which it takes.
    pub(crate) rotary: Vec<Angles>,
    /// What is added to scores by distance: in all layers, or one a layer; none if nothing is.
    pub(crate) biases: Vec<Biases>,
}

/// The weights of a block.
pub(crate) struct Block<P: Packing> {
    pub(crate) mixer: Mixer<P>,
    pub(crate) attn_norm: Option<P::Norm>,
    /// Over the source, where there is one, and its norm.
    pub(crate) cross: Option<(CrossAttention<P>, Option<P::Norm>)>,
    pub(crate) mlp: Feed<P>,
    pub(crate) mlp_norm: Option<P::Norm>,
    /// Whether the MLP reads what the attention reads.
    pub(crate) parallel: bool,
}

impl<P: Packing> Transformer<P> {
    /// Adds everything that is laid out.
    pub(super) fn laid_out<'a>(&'a self, all: &mut LaidOut<'a, P>) {
        all.norms.extend(self.embedding_norm.iter().chain(&self.final_norm));
        all.linears.extend(&self.projection);
        for (layer, block) in self.blocks.iter().enumerate() {
            if layer > 0 && Arc::ptr_eq(block, &self.blocks[layer - 1]) {
                continue;
            }
            let Block { mixer, attn_norm, cross, mlp, mlp_norm, .. } = &**block;
            all.linears.extend(mixer.linears().into_iter().chain(mlp.linears()));
            all.norms.extend(attn_norm.iter().chain(mlp_norm).chain(mixer.norms()).chain(mlp.out_norm()));
            if let Some((cross, norm)) = cross {
                all.linears.extend([&cross.q, &cross.kv, &cross.out]);
                all.norms.extend(norm);
            }
        }
    }

    /// The last residual stream (after the final norm) of embedded tokens x `[T, d_model]`.
    pub(crate) fn forward<E: Engine<Packing = P>>(
        &self,
        engine: &E,
        x: E::Tensor,
        hooks: &Hooks<'_>,
        past: Option<&mut Past<E>>,
    ) -> Result<E::Tensor, Halt> {
        self.forward_over(engine, x, hooks, past, None)
    }

    /// The same, where there is a source: what the encoder made of it `[T_source, d_model]`, if it is not in the past.
    pub(super) fn forward_over<E: Engine<Packing = P>>(
        &self,
        engine: &E,
        mut x: E::Tensor,
        hooks: &Hooks<'_>,
        past: Option<&mut Past<E>>,
        source: Option<&E::Tensor>,
    ) -> Result<E::Tensor, Halt> {
        if let Some(norm) = &self.embedding_norm {
            x = engine.norm(&x, norm);
        }
        if let Some(projection) = &self.projection {
            x = engine.linear(&x, projection, Epilogue::None);
        }
        hooks.visit(engine, HookPoint::of(self.stack, 0, Site::Embed), &mut x)?;
        self.run_from(engine, x, 0, (hooks, past, source))
    }

    /// The same, of what enters block `first`, or the final norm, x `[T, d_model]`.
    pub(crate) fn blocks_from<E: Engine<Packing = P>>(
        &self,
        engine: &E,
        x: E::Tensor,
        first: usize,
        hooks: &Hooks<'_>,
        past: Option<&mut Past<E>>,
    ) -> Result<E::Tensor, Halt> {
        self.run_from(engine, x, first, (hooks, past, None))
    }

    fn run_from<E: Engine<Packing = P>>(
        &self,
        engine: &E,
        mut x: E::Tensor,
        first: usize,
        (hooks, mut past, source): (&Hooks<'_>, Option<&mut Past<E>>, Option<&E::Tensor>),
    ) -> Result<E::Tensor, Halt> {
        let end = hooks.positions().iter().max().map_or(0, |last| last + 1);
        let rotary: Vec<_> = self.rotary.iter().map(|angles| angles.up_to(end)).collect();
        let biases: Vec<_> = self.biases.iter().map(|biases| biases.up_to(end)).collect();
        for (layer, block) in self.blocks.iter().enumerate().skip(first) {
            let past = past.as_mut().map(|past| past.at(layer));
            let bias = biases.get(layer).or(biases.first()).map(|bias| &**bias);
            let layer = layer as u16;
            let at = |site| HookPoint::of(self.stack, layer, site);
            let here = Here { stack: self.stack, layer, rotary: &rotary, n_positions: end, bias, hooks, past, source };
            hooks.visit(engine, at(Site::ResidPre), &mut x)?;
            x = match self.skeleton {
                Skeleton::Encoder | Skeleton::PostNormDecoder => encoder::block(engine, block, &x, here)?,
                Skeleton::PreNormEncoder | Skeleton::Decoder => decoder::block(engine, block, &x, here)?,
            };
            hooks.visit(engine, at(Site::ResidPost), &mut x)?;
        }
        if let Some(norm) = &self.final_norm {
            x = engine.norm(&x, norm);
            hooks.visit(engine, HookPoint::of(self.stack, 0, Site::FinalNorm), &mut x)?;
        }
        Ok(x)
    }

    /// What the head reads of x `[T, d_model]`, were it the last residual stream.
    pub(super) fn finish<E: Engine<Packing = P>>(&self, engine: &E, x: E::Tensor) -> E::Tensor {
        match &self.final_norm {
            Some(norm) => engine.norm(&x, norm),
            None => x,
        }
    }

    /// The past of sentences that have nothing behind them; none if positions see those after them.
    pub(super) fn past<E: Engine<Packing = P>>(&self, engine: &E, n_sentences: usize) -> Option<Vec<LayerPast<E>>> {
        let empty = |block: &Arc<Block<P>>| block.mixer.past(engine, n_sentences);
        matches!(self.skeleton, Skeleton::Decoder | Skeleton::PostNormDecoder)
            .then(|| self.blocks.iter().map(empty).collect())
    }
}
