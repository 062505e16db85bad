//! A block of RWKV 5 to 7: a time-mix, whose tokens see earlier ones through a state, and a channel-mix.
//!
//! Letters: T rows of the group, H heads of width D. Both parts read a blend of a token and the one before it.

pub(crate) mod time_mix;

use std::sync::Arc;

use nissl_core::{HookPoint, Site};

use super::earlier::{last, shifted};
use super::{Last, add_to_residual};
use crate::engine::{Activation, Engine, Epilogue, Flow, Halt, Packing, Wkv};
use crate::hooks::Hooks;
use time_mix::TimeMix;

/// A product of a blend of a token and the one before it.
pub(crate) struct Mixed<P: Packing> {
    /// The share of the token itself, `[n_in]`.
    pub(crate) share: Vec<f32>,
    pub(crate) product: P::Linear,
}

impl<P: Packing> Mixed<P> {
    fn blend<E: Engine<Packing = P>>(&self, engine: &E, x: &E::Tensor, earlier: &E::Tensor) -> E::Tensor {
        let share = engine.embed(1, self.share.len(), &|_, values| values.copy_from_slice(&self.share));
        engine.blend(&share, x, earlier)
    }

    fn of<E: Engine<Packing = P>>(&self, engine: &E, x: &E::Tensor, earlier: &E::Tensor) -> E::Tensor {
        engine.linear(&self.blend(engine, x, earlier), &self.product, Epilogue::None)
    }
}

/// Lets hooks see a site of a block.
type Visit<'a, E> = &'a dyn Fn(Site, &mut <E as Engine>::Tensor) -> Flow;

/// The weights of a block.
pub(crate) struct Rwkv<P: Packing> {
    pub(crate) time_norm: P::Norm,
    pub(crate) time: TimeMix<P>,
    pub(crate) wkv: Arc<Wkv>,
    /// Norms of what is read from the state, one a head.
    pub(crate) head_norms: Vec<P::Norm>,
    /// `[H D, d_model]`.
    pub(crate) time_out: P::Linear,
    pub(crate) channel_norm: P::Norm,
    /// `[d_model, d_mlp]`.
    pub(crate) channel_key: Mixed<P>,
    /// `[d_model, d_model]`: the gate of what the block adds, but of RWKV 7.
    pub(crate) channel_receptance: Option<Mixed<P>>,
    /// `[d_mlp, d_model]`.
    pub(crate) channel_value: P::Linear,
}

impl<P: Packing> Rwkv<P> {
    /// The states of texts that have nothing behind them: the last row that each part read, and the time-mix's state.
    pub(crate) fn states<E: Engine<Packing = P>>(&self, zeros: &dyn Fn(usize) -> E::Tensor) -> Vec<E::Tensor> {
        let d_model = self.channel_key.share.len();
        vec![zeros(d_model), zeros(d_model), zeros(self.wkv.d_state())]
    }

    /// Its products.
    pub(crate) fn linears(&self) -> Vec<&P::Linear> {
        let channel = [&self.channel_key].into_iter().chain(&self.channel_receptance).map(|part| &part.product);
        self.time.linears().into_iter().chain([&self.time_out, &self.channel_value]).chain(channel).collect()
    }

    /// x `[T, d_model]` to what leaves the block; `states` are those of the sentences, and are then those after them;
    /// `first` are values of the first layer, for those that need them.
    pub(crate) fn forward<E: Engine<Packing = P>>(
        &self,
        engine: &E,
        x: &E::Tensor,
        layer: u16,
        hooks: &Hooks<'_>,
        mut states: Option<&mut [E::Tensor]>,
        first: &mut Option<E::Tensor>,
    ) -> Result<E::Tensor, Halt> {
        let (offsets, stage) = (hooks.offsets(), hooks.stage());
        let at = |site| HookPoint::new(layer, site);
        let normed = engine.norm(x, &self.time_norm);
        let earlier = step(engine, &normed, offsets, states.as_mut().map(|states| &mut states[0]));
        let visit = |site, x: &mut E::Tensor| hooks.visit(engine, at(site), x);
        let n_rows = offsets.last().copied().unwrap_or(0);
        let made = self.time.make(engine, [&normed, &earlier], n_rows, &visit, first)?;
        let inputs: Vec<&E::Tensor> = made.inputs.iter().collect();
        let mut y = engine.wkv(&inputs, &self.wkv, offsets, states.as_mut().map(|states| &mut states[2]));
        hooks.visit(engine, at(Site::MixerY), &mut y)?;
        for (head, norm) in self.head_norms.iter().enumerate() {
            engine.norm_columns(&mut y, head * self.wkv.d_head..(head + 1) * self.wkv.d_head, norm);
        }
        let read = made.added.as_ref().map(|added| engine.add(&y, added));
        let mut z = engine.multiply(read.as_ref().unwrap_or(&y), &made.gate);
        hooks.visit(engine, at(Site::MixerZ), &mut z)?;
        let product = Last { w: &self.time_out, norm: None };
        let mut mid = add_to_residual(engine, &z, product, (x, stage), at(Site::MixerOut), hooks)?;
        hooks.visit(engine, at(Site::ResidMid), &mut mid)?;

        let normed = engine.norm(&mid, &self.channel_norm);
        let earlier = step(engine, &normed, offsets, states.as_mut().map(|states| &mut states[1]));
        let mut pre = self.channel_key.of(engine, &normed, &earlier);
        hooks.visit(engine, at(Site::MlpPre), &mut pre)?;
        let mut post = engine.activate(&pre, Activation::ReluSquared);
        hooks.visit(engine, at(Site::MlpPost), &mut post)?;
        let mut out = engine.linear(&post, &self.channel_value, Epilogue::None);
        if let Some(receptance) = &self.channel_receptance {
            let receptance = receptance.of(engine, &normed, &earlier);
            out = engine.multiply(&engine.activate(&receptance, Activation::Sigmoid), &out);
        }
        hooks.visit(engine, at(Site::MlpOut), &mut out)?;
        Ok(engine.add(&mid, &out))
    }
}

/// The row before each of x in its text; `state` has those of the sentences' first rows, none are zeros, and then their
/// last ones.
fn step<E: Engine>(engine: &E, x: &E::Tensor, offsets: &[usize], state: Option<&mut E::Tensor>) -> E::Tensor {
    let Some(state) = state else {
        let zeros = engine.embed(offsets.len() - 1, engine.width(x), &|_, _| {});
        return shifted(engine, x, offsets, &zeros);
    };
    let earlier = shifted(engine, x, offsets, state);
    if let Some(now) = last(engine, x, offsets, std::slice::from_ref(&*state)).pop() {
        *state = now;
    }
    earlier
}
