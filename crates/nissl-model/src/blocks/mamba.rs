//! A block of Mamba: a mixer whose columns see earlier tokens through a convolution and a selective state-space model.
//!
//! Letters: T rows of the group, W columns of the mixer, N states of each.

use std::sync::Arc;

use nissl_core::{HookPoint, Site};

use super::earlier::{last, places};
use super::{Last, add_to_residual};
use crate::engine::{Activation, Engine, Epilogue, Halt, Kernel, Packing, Scan};
use crate::hooks::Hooks;

/// The weights of a block.
pub(crate) struct Mamba<P: Packing> {
    pub(crate) norm: P::Norm,
    /// The input branch and the gate side by side, `[d_model, 2 W]`.
    pub(crate) inner: P::Linear,
    pub(crate) kernel: Arc<Kernel>,
    /// What makes step sizes, what enters the states and what reads them, side by side, `[W, rank + 2 N]`.
    pub(crate) selection: P::Linear,
    /// Columns of the first of these.
    pub(crate) rank: usize,
    /// `[rank, W]`.
    pub(crate) steps: P::Linear,
    pub(crate) scan: Arc<Scan>,
    /// `[W, d_model]`.
    pub(crate) out: P::Linear,
    /// Of the convolution and of the gate.
    pub(crate) activation: Activation,
}

impl<P: Packing> Mamba<P> {
    /// The states of texts that have nothing behind them: the rows that the kernel reaches back to, nearest first, and
    /// those of the model.
    pub(crate) fn states<E: Engine<Packing = P>>(&self, zeros: &dyn Fn(usize) -> E::Tensor) -> Vec<E::Tensor> {
        let width = self.scan.skip.len();
        (1..self.kernel.n_taps()).map(|_| zeros(width)).chain([zeros(self.scan.rates.len())]).collect()
    }

    /// x `[T, d_model]` to what leaves the block; `states` are those of the sentences, and are then those after them.
    pub(crate) fn forward<E: Engine<Packing = P>>(
        &self,
        engine: &E,
        x: &E::Tensor,
        layer: u16,
        hooks: &Hooks<'_>,
        states: Option<&mut [E::Tensor]>,
    ) -> Result<E::Tensor, Halt> {
        let (offsets, stage) = (hooks.offsets(), hooks.stage());
        let at = |site| HookPoint::new(layer, site);
        let (width, n_states) = (self.scan.skip.len(), self.scan.n_states());
        let (earlier, state) = match states.and_then(<[_]>::split_last_mut) {
            Some((state, earlier)) => (Some(earlier), Some(state)),
            None => (None, None),
        };
        let mut both = engine.linear(&engine.norm(x, &self.norm), &self.inner, Epilogue::None);
        hooks.visit_columns(engine, at(Site::MixerIn), &mut both, 0..width)?;
        let mut conv = self.convolve(engine, &engine.beside(&[(&both, 0..width)]), offsets, earlier);
        hooks.visit(engine, at(Site::MixerConv), &mut conv)?;
        let selection = engine.linear(&conv, &self.selection, Epilogue::None);
        let low = engine.beside(&[(&selection, 0..self.rank)]);
        let mut dt = engine.linear(&low, &self.steps, Epilogue::Activate(Activation::Softplus));
        hooks.visit(engine, at(Site::MixerDt), &mut dt)?;
        hooks.visit_columns(engine, at(Site::MixerGate), &mut both, width..2 * width)?;
        let bc = engine.beside(&[(&selection, self.rank..self.rank + 2 * n_states)]);
        let mut y = engine.scan([&conv, &dt, &bc], &self.scan, offsets, state);
        hooks.visit(engine, at(Site::MixerY), &mut y)?;
        let gate = engine.activate(&engine.beside(&[(&both, width..2 * width)]), self.activation);
        let mut z = engine.multiply(&y, &gate);
        hooks.visit(engine, at(Site::MixerZ), &mut z)?;
        let product = Last { w: &self.out, norm: None };
        add_to_residual(engine, &z, product, (x, stage), at(Site::MixerOut), hooks)
    }

    /// The activated convolution of x `[T, W]`; `earlier` are the rows before the sentences, and then before what follows.
    fn convolve<E: Engine<Packing = P>>(
        &self,
        engine: &E,
        x: &E::Tensor,
        offsets: &[usize],
        earlier: Option<&mut [E::Tensor]>,
    ) -> E::Tensor {
        let n_taps = self.kernel.n_taps();
        let places = places(offsets, n_taps);
        let zeros = engine.embed(offsets.len() - 1, engine.width(x), &|_, _| {});
        let before: Vec<&E::Tensor> = match &earlier {
            Some(earlier) => earlier.iter().collect(),
            None => vec![&zeros; n_taps - 1],
        };
        let parts: Vec<&E::Tensor> = [x].into_iter().chain(before).collect();
        let conv = engine.activate(&engine.convolve(&parts, &places, &self.kernel), self.activation);
        if let Some(earlier) = earlier {
            let now = last(engine, x, offsets, earlier);
            earlier.iter_mut().zip(now).for_each(|(earlier, now)| *earlier = now);
        }
        conv
    }
}
