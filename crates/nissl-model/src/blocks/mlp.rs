//! The MLP of a block, plain or gated.

use nissl_core::Site;

use super::{Last, add_to_residual};
use crate::engine::{Activation, Engine, Epilogue, Halt, Packing};
use crate::skeletons::Here;

/// The weights of an MLP.
pub(crate) struct Mlp<P: Packing> {
    /// `[d_model, d_mlp]`; of a gated one the gate and the linear branch side by side, `[d_model, 2 d_mlp]`.
    pub(crate) inner: P::Linear,
    /// `[d_mlp, d_model]`.
    pub(crate) out: P::Linear,
    /// Of what is added to the residual stream.
    pub(crate) out_norm: Option<P::Norm>,
    pub(crate) activation: Activation,
    pub(crate) gated: bool,
    pub(crate) d_mlp: usize,
}

impl<P: Packing> Mlp<P> {
    /// residual + mlp(x), `[T, d_model]`.
    pub(crate) fn forward<E: Engine<Packing = P>>(
        &self,
        engine: &E,
        x: &E::Tensor,
        residual: &E::Tensor,
        here: &Here<'_, E>,
    ) -> Result<E::Tensor, Halt> {
        let hooks = here.hooks;
        let at = |site| here.at(site);
        let stage = hooks.stage();
        let mut post = if self.gated {
            let mut pre = engine.linear(x, &self.inner, Epilogue::None);
            hooks.visit_columns(engine, at(Site::MlpPre), &mut pre, 0..self.d_mlp)?;
            hooks.visit_columns(engine, at(Site::MlpPreLinear), &mut pre, self.d_mlp..2 * self.d_mlp)?;
            engine.gate(&pre, self.activation)
        } else if hooks.wants(at(Site::MlpPre)) {
            let mut pre = engine.linear(x, &self.inner, Epilogue::None);
            hooks.visit(engine, at(Site::MlpPre), &mut pre)?;
            engine.activate(&pre, self.activation)
        } else {
            engine.linear(x, &self.inner, Epilogue::Activate(self.activation))
        };
        hooks.visit(engine, at(Site::MlpPost), &mut post)?;
        let last = Last { w: &self.out, norm: self.out_norm.as_ref() };
        add_to_residual(engine, &post, last, (residual, stage), at(Site::MlpOut), hooks)
    }
}
