//! Blocks whose tokens see earlier ones through a state, with the residual stream between them: RWKV and Mamba.

use nissl_core::{HookPoint, Site};

use super::{At, LaidOut, LayerPast, Past};
use crate::blocks::mamba::Mamba;
use crate::blocks::rwkv::Rwkv;
use crate::engine::{Engine, Halt, Packing};
use crate::hooks::Hooks;

/// The weights of such a model, laid out for an engine.
pub(crate) struct StateSpace<P: Packing> {
    pub(crate) embedding_norm: Option<P::Norm>,
    pub(crate) layers: Vec<Layer<P>>,
    pub(crate) final_norm: P::Norm,
}

/// A block.
pub(crate) enum Layer<P: Packing> {
    Rwkv(Box<Rwkv<P>>),
    Mamba(Box<Mamba<P>>),
}

impl<P: Packing> StateSpace<P> {
    /// Adds everything that is laid out.
    pub(super) fn laid_out<'a>(&'a self, all: &mut LaidOut<'a, P>) {
        all.norms.extend(self.embedding_norm.iter().chain([&self.final_norm]));
        for layer in &self.layers {
            match layer {
                Layer::Rwkv(block) => {
                    all.linears.extend(block.linears());
                    all.norms.extend([&block.time_norm, &block.channel_norm].into_iter().chain(&block.head_norms));
                }
                Layer::Mamba(block) => {
                    all.linears.extend([&block.inner, &block.selection, &block.steps, &block.out]);
                    all.norms.push(&block.norm);
                }
            }
        }
    }

    /// The last residual stream (after the final norm) of embedded tokens x `[T, d_model]`.
    pub(crate) fn forward<E: Engine<Packing = P>>(
        &self,
        engine: &E,
        mut x: E::Tensor,
        hooks: &Hooks<'_>,
        mut past: Option<&mut Past<E>>,
    ) -> Result<E::Tensor, Halt> {
        if let Some(norm) = &self.embedding_norm {
            x = engine.norm(&x, norm);
        }
        hooks.visit(engine, HookPoint::new(0, Site::Embed), &mut x)?;
        let mut first = None;
        for (idx, layer) in self.layers.iter().enumerate() {
            // States are read at every step and go on with it: one that does not grow is a copy.
            let mut copy = Vec::new();
            let states = match past.as_mut().map(|past| past.at(idx)) {
                Some(At { past: LayerPast::States(states), grows: true }) => Some(states),
                Some(At { past: LayerPast::States(states), grows: false }) => {
                    let every: Vec<usize> = (0..hooks.offsets().len() - 1).collect();
                    copy.extend(states.iter().map(|state| engine.rows(state, &every)));
                    Some(&mut copy)
                }
                _ => None,
            };
            let states = states.map(Vec::as_mut_slice);
            let number = idx as u16;
            hooks.visit(engine, HookPoint::new(number, Site::ResidPre), &mut x)?;
            x = match layer {
                Layer::Rwkv(block) => block.forward(engine, &x, number, hooks, states, &mut first)?,
                Layer::Mamba(block) => block.forward(engine, &x, number, hooks, states)?,
            };
            hooks.visit(engine, HookPoint::new(number, Site::ResidPost), &mut x)?;
        }
        x = engine.norm(&x, &self.final_norm);
        hooks.visit(engine, HookPoint::new(0, Site::FinalNorm), &mut x)?;
        Ok(x)
    }

    /// The past of sentences that have nothing behind them.
    pub(super) fn past<E: Engine<Packing = P>>(&self, engine: &E, n_sentences: usize) -> Vec<LayerPast<E>> {
        let zeros = |width| engine.embed(n_sentences, width, &|_, _| {});
        let empty = |layer: &Layer<P>| match layer {
            Layer::Rwkv(block) => block.states::<E>(&zeros),
            Layer::Mamba(block) => block.states::<E>(&zeros),
        };
        self.layers.iter().map(|layer| LayerPast::States(empty(layer))).collect()
    }
}
