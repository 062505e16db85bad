//! Self-attention of packed sentences, with a hook at every value it computes.

use std::sync::Arc;

use nissl_core::{HookPoint, Site};

use super::relative::RelativePositions;
use super::{Last, add_to_residual};
use crate::engine::{Added, AttentionShape, Engine, Epilogue, Halt, Packing, Values};
use crate::skeletons::{At, Here, LayerPast};

/// The weights and sizes of an attention.
pub(crate) struct Attention<P: Packing> {
    /// Queries, keys and values in one product, `[d_model, (n_heads + 2 n_kv_heads) d_head]`.
    pub(crate) qkv: P::Linear,
    /// Norms of queries and of keys, of heads by themselves or of all together.
    pub(crate) qk_norms: Option<(P::Norm, P::Norm)>,
    /// The rotations of positions, among those of the model.
    pub(crate) rotation: Option<usize>,
    /// Vectors of relative positions, where it looks at them.
    pub(crate) relative: Option<RelativePositions<P>>,
    /// Of every head the score of a key that is nothing, where there is one.
    pub(crate) sinks: Option<Arc<[f32]>>,
    /// `[n_heads d_head, d_model]`.
    pub(crate) out: P::Linear,
    /// Of what is added to the residual stream.
    pub(crate) out_norm: Option<P::Norm>,
    pub(crate) shape: AttentionShape,
}

impl<P: Packing> Attention<P> {
    /// residual + attention(x), `[T, d_model]`.
    pub(crate) fn forward<E: Engine<Packing = P>>(
        &self,
        engine: &E,
        x: &E::Tensor,
        residual: &E::Tensor,
        here: &mut Here<'_, E>,
    ) -> Result<E::Tensor, Halt> {
        let (layer, hooks) = (here.layer, here.hooks);
        let stack = here.stack;
        let at = |site| HookPoint::of(stack, layer, site);
        let shape = self.shape;
        let stage = hooks.stage();
        let mut qkv = engine.linear(x, &self.qkv, Epilogue::None);
        for (site, columns) in [(Site::AttnQ, shape.q()), (Site::AttnK, shape.k()), (Site::AttnV, shape.v())] {
            hooks.visit_columns(engine, at(site), &mut qkv, columns)?;
        }
        let pattern = at(Site::AttnPattern);
        hooks.arrive(engine, pattern, &mut qkv);
        if let Some((q, k)) = &self.qk_norms {
            engine.norm_columns(&mut qkv, shape.q(), q);
            engine.norm_columns(&mut qkv, shape.k(), k);
        }
        if let Some(rotary) = self.rotation.map(|idx| &*here.rotary[idx]) {
            engine.rotate(&mut qkv, shape.q(), shape.d_head, hooks.positions(), rotary);
            engine.rotate(&mut qkv, shape.k(), shape.d_head, hooks.positions(), rotary);
        }
        let (own, grows) = match here.past.as_mut().map(|At { past, grows }| (past.own(), *grows)) {
            Some((LayerPast::Attention(past), grows)) => (past.as_mut_slice(), grows),
            _ => (<&mut [E::Past]>::default(), false),
        };
        // One a sentence that there is now; those of variants are alike.
        let n_past = own.len().min(hooks.offsets().len() - 1);
        let own = &mut own[..n_past];
        let products = self.relative.as_ref().map(|relative| relative.products(engine, &qkv, shape, here.n_positions));
        let relative = products.as_ref().map(|products| products.relative());
        let added = Added { bias: here.bias, relative, sinks: self.sinks.as_ref() };
        let mut z = if hooks.wants(pattern) {
            let mut see = |sentence, values: Values<'_>| hooks.visit_pattern(pattern, sentence, values);
            engine.attention(&qkv, shape, hooks.offsets(), own, &added, Some(&mut see))?
        } else {
            engine.attention(&qkv, shape, hooks.offsets(), own, &added, None)?
        };
        if grows {
            engine.keep(&qkv, shape, hooks.offsets(), own);
        }
        hooks.stop_after(pattern)?;
        drop(qkv);
        hooks.visit(engine, at(Site::AttnZ), &mut z)?;
        hooks.narrow(engine, layer, &mut z);
        let last = Last { w: &self.out, norm: self.out_norm.as_ref() };
        add_to_residual(engine, &z, last, (residual, stage), at(Site::AttnOut), hooks)
    }
}
