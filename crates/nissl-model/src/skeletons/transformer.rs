//! Transformers: blocks one after the other, with the residual stream between them.

use nissl_core::{HookPoint, Site};

use super::{decoder, encoder};
use crate::arch::Skeleton;
use crate::blocks::attention::Attention;
use crate::blocks::mlp::Mlp;
use crate::blocks::rotary::Angles;
use crate::engine::{Engine, Halt, Packing};
use crate::hooks::Hooks;

/// The weights of a transformer, laid out for an engine.
pub(crate) struct Transformer<P: Packing> {
    pub(crate) skeleton: Skeleton,
    pub(crate) embedding_norm: Option<P::Norm>,
    pub(crate) blocks: Vec<Block<P>>,
    pub(crate) final_norm: Option<P::Norm>,
    pub(crate) rotary: Option<Angles>,
}

/// The weights of a block.
pub(crate) struct Block<P: Packing> {
    pub(crate) attention: Attention<P>,
    pub(crate) attn_norm: P::Norm,
    pub(crate) mlp: Mlp<P>,
    pub(crate) mlp_norm: P::Norm,
}

impl<P: Packing> Transformer<P> {
    /// The last residual stream (after the final norm) of embedded tokens x `[T, d_model]`.
    pub(crate) fn forward<E: Engine<Packing = P>>(
        &self,
        engine: &E,
        mut x: E::Tensor,
        hooks: &Hooks<'_>,
    ) -> Result<E::Tensor, Halt> {
        let longest = hooks.offsets().windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0);
        let rotary = self.rotary.as_ref().map(|angles| angles.up_to(longest));
        let rotary = rotary.as_deref();
        if let Some(norm) = &self.embedding_norm {
            x = engine.norm(&x, norm);
        }
        hooks.visit(engine, HookPoint::new(0, Site::Embed), &mut x)?;
        for (layer, block) in self.blocks.iter().enumerate() {
            let layer = layer as u16;
            hooks.visit(engine, HookPoint::new(layer, Site::ResidPre), &mut x)?;
            x = match self.skeleton {
                Skeleton::Encoder => encoder::block(engine, block, &x, layer, rotary, hooks)?,
                Skeleton::Decoder => decoder::block(engine, block, &x, layer, rotary, hooks)?,
            };
            hooks.visit(engine, HookPoint::new(layer, Site::ResidPost), &mut x)?;
        }
        if let Some(norm) = &self.final_norm {
            x = engine.norm(&x, norm);
            hooks.visit(engine, HookPoint::new(0, Site::FinalNorm), &mut x)?;
        }
        Ok(x)
    }
}
