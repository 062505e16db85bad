//! The parts of blocks and layers, written once over the engine.

pub(crate) mod attention;
pub(crate) mod bias;
pub(crate) mod cross;
mod earlier;
pub(crate) mod head;
pub(crate) mod mamba;
pub(crate) mod mlp;
pub(crate) mod moe;
pub(crate) mod recurrence;
pub(crate) mod relative;
pub(crate) mod rotary;
pub(crate) mod rwkv;

use crate::engine::{Engine, Epilogue, Halt, Packing};
use crate::hooks::{Hooks, Stage};
use crate::skeletons::{At, Here, LayerPast};
use nissl_core::HookPoint;

/// What lets the tokens of a text see each other in a block.
pub(crate) enum Mixer<P: Packing> {
    /// Tokens look at others.
    Attention(attention::Attention<P>),
    /// Tokens see earlier ones through a state.
    Recurrence(recurrence::Recurrence<P>),
}

impl<P: Packing> Mixer<P> {
    /// residual + what it makes of x, `[T, d_model]`.
    pub(crate) fn forward<E: Engine<Packing = P>>(
        &self,
        engine: &E,
        x: &E::Tensor,
        residual: &E::Tensor,
        here: &mut Here<'_, E>,
    ) -> Result<E::Tensor, Halt> {
        let recurrence = match self {
            Self::Attention(attention) => return attention.forward(engine, x, residual, here),
            Self::Recurrence(recurrence) => recurrence,
        };
        let layout = recurrence::Layout::new(here.hooks.offsets(), None);
        let past = here.past.as_mut().map(|At { past, grows }| At { past: past.own(), grows: *grows });
        let out = recurrence.forward(engine, x, &layout, (here.stack, here.layer), here.hooks, past)?;
        Ok(engine.add(residual, &out))
    }

    /// The past of sentences that have nothing behind them.
    pub(crate) fn past<E: Engine<Packing = P>>(&self, engine: &E, n_sentences: usize) -> LayerPast<E> {
        match self {
            Self::Attention(_) => LayerPast::Attention(vec![E::Past::default(); n_sentences]),
            Self::Recurrence(recurrence) => recurrence.past(engine, n_sentences),
        }
    }

    /// Its products.
    pub(crate) fn linears(&self) -> Vec<&P::Linear> {
        match self {
            Self::Attention(attention) => vec![&attention.qkv, &attention.out],
            Self::Recurrence(recurrence) => recurrence.linears().collect(),
        }
    }

    /// Whether tokens look at vectors of relative positions.
    pub(crate) fn has_relative_positions(&self) -> bool {
        matches!(self, Self::Attention(attention::Attention { relative: Some(_), .. }))
    }

    /// Its norms: of what it gives, then of queries and keys.
    pub(crate) fn norms(&self) -> Vec<&P::Norm> {
        match self {
            Self::Attention(attention) => {
                let of_heads = attention.qk_norms.iter().flat_map(|(q, k)| [q, k]);
                attention.out_norm.iter().chain(of_heads).collect()
            }
            Self::Recurrence(_) => Vec::new(),
        }
    }
}

/// What comes after the attention in a block.
pub(crate) enum Feed<P: Packing> {
    /// Neurons that every token takes.
    Mlp(mlp::Mlp<P>),
    /// Experts, of which a token takes a few.
    Moe(moe::Moe<P>),
}

impl<P: Packing> Feed<P> {
    /// residual + what it makes of x, `[T, d_model]`.
    pub(crate) fn forward<E: Engine<Packing = P>>(
        &self,
        engine: &E,
        x: &E::Tensor,
        residual: &E::Tensor,
        here: &Here<'_, E>,
    ) -> Result<E::Tensor, Halt> {
        match self {
            Self::Mlp(mlp) => mlp.forward(engine, x, residual, here),
            Self::Moe(moe) => moe.forward(engine, x, residual, here),
        }
    }

    /// Its products.
    pub(crate) fn linears(&self) -> Vec<&P::Linear> {
        match self {
            Self::Mlp(mlp) => vec![&mlp.inner, &mlp.out],
            Self::Moe(moe) => {
                let experts = moe.experts.iter().flat_map(|expert| [&expert.inner, &expert.out]);
                std::iter::once(&moe.router).chain(experts).collect()
            }
        }
    }

    /// The norm of what it gives, where there is one.
    pub(crate) fn out_norm(&self) -> Option<&P::Norm> {
        match self {
            Self::Mlp(mlp) => mlp.out_norm.as_ref(),
            Self::Moe(_) => None,
        }
    }
}

/// What a part of a block ends with.
pub(crate) struct Last<'a, P: Packing> {
    /// The product.
    pub(crate) w: &'a P::Linear,
    /// The norm of what it gives, where there is one.
    pub(crate) norm: Option<&'a P::Norm>,
}

/// x W + b and its norm, shown to hooks at `point`, then added to the residual stream, which has the rows of an earlier
/// stage; one product where nobody looks.
pub(crate) fn add_to_residual<E: Engine>(
    engine: &E,
    x: &E::Tensor,
    Last { w, norm }: Last<'_, E::Packing>,
    (residual, stage): (&E::Tensor, Stage),
    point: HookPoint,
    hooks: &Hooks<'_>,
) -> Result<E::Tensor, Halt> {
    if norm.is_none() && !hooks.wants(point) {
        let now = hooks.since(engine, stage, residual);
        return Ok(engine.linear(x, w, Epilogue::Add(now.as_ref().unwrap_or(residual))));
    }
    let mut out = engine.linear(x, w, Epilogue::None);
    if let Some(norm) = norm {
        out = engine.norm(&out, norm);
    }
    hooks.visit(engine, point, &mut out)?;
    let now = hooks.since(engine, stage, residual);
    Ok(engine.add(now.as_ref().unwrap_or(residual), &out))
}
