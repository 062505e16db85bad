//! Attention of a target over its source, with a hook at every value it computes.

use nissl_core::Site;

use super::{Last, add_to_residual};
use crate::engine::{AttentionShape, Engine, Epilogue, Halt, Packing, Sources, Values};
use crate::skeletons::{At, Here, LayerPast};

/// The weights and sizes of an attention over a source.
pub(crate) struct CrossAttention<P: Packing> {
    /// `[d_model, n_heads d_head]`.
    pub(crate) q: P::Linear,
    /// Keys and values of the source in one product, `[d_model, 2 n_kv_heads d_head]`.
    pub(crate) kv: P::Linear,
    /// `[n_heads d_head, d_model]`.
    pub(crate) out: P::Linear,
    pub(crate) shape: AttentionShape,
}

impl<P: Packing> CrossAttention<P> {
    /// residual + attention(x), `[T, d_model]`. The keys and values of a source that is not in the past go there.
    pub(crate) fn forward<E: Engine<Packing = P>>(
        &self,
        engine: &E,
        x: &E::Tensor,
        residual: &E::Tensor,
        here: &mut Here<'_, E>,
    ) -> Result<E::Tensor, Halt> {
        let hooks = here.hooks;
        let stage = hooks.stage();
        let mut q = engine.linear(x, &self.q, Epilogue::None);
        hooks.visit(engine, here.at(Site::CrossQ), &mut q)?;
        let columns = self.shape.without_queries();
        let sources = hooks.source().expect("hooks of a model with an encoder and a decoder tell the sides apart");
        let (pattern, z_point) = (here.at(Site::CrossPattern), here.at(Site::CrossZ));
        let mut kv = None;
        if let Some(source) = here.source {
            let mut made = engine.linear(source, &self.kv, Epilogue::None);
            for (site, columns) in [(Site::CrossK, columns.k()), (Site::CrossV, columns.v())] {
                sources.visit_columns(engine, here.at(site), &mut made, columns)?;
            }
            kv = Some(made);
        }
        let past = match &mut here.past {
            Some(At { past: LayerPast::Both { source, .. }, grows }) => {
                if let Some(kv) = kv.as_ref().filter(|_| *grows) {
                    engine.keep(kv, columns, sources.offsets(), source);
                }
                source.as_slice()
            }
            _ => &[],
        };
        let keys = kv.as_ref().map_or(Sources::Past(past), |kv| Sources::Rows(kv, sources.offsets()));
        let mut see = |sentence, values: Values<'_>| hooks.visit_pattern(pattern, sentence, values);
        let see = hooks.wants(pattern).then_some(&mut see as _);
        let mut z = engine.attend(&q, keys, self.shape, hooks.offsets(), see)?;
        hooks.stop_after(pattern)?;
        hooks.visit(engine, z_point, &mut z)?;
        let last = Last { w: &self.out, norm: None };
        add_to_residual(engine, &z, last, (residual, stage), here.at(Site::CrossOut), hooks)
    }
}
