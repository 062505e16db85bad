//! The parts of blocks and layers, written once over the engine.

pub(crate) mod attention;
pub(crate) mod bias;
pub(crate) mod head;
pub(crate) mod lstm;
pub(crate) mod mlp;
pub(crate) mod rotary;

use crate::engine::{Engine, Epilogue, Halt, Packing};
use crate::hooks::{Hooks, Stage};
use nissl_core::HookPoint;

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
