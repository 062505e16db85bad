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
use crate::skeletons::Here;
use nissl_core::HookPoint;

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
