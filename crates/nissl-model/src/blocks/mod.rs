//! The parts of blocks and layers, written once over the engine.

pub(crate) mod attention;
pub(crate) mod head;
pub(crate) mod lstm;
pub(crate) mod mlp;
pub(crate) mod rotary;

use crate::engine::{Engine, Epilogue, Halt, LinearOf};
use crate::hooks::{Hooks, Stage};
use nissl_core::HookPoint;

/// x W + b, shown to hooks at `point`, then added to the residual stream, which has the rows of an earlier stage; one
/// product where nobody looks.
pub(crate) fn add_to_residual<E: Engine>(
    engine: &E,
    x: &E::Tensor,
    w: &LinearOf<E>,
    (residual, stage): (&E::Tensor, Stage),
    point: HookPoint,
    hooks: &Hooks<'_>,
) -> Result<E::Tensor, Halt> {
    if !hooks.wants(point) {
        let now = hooks.since(engine, stage, residual);
        return Ok(engine.linear(x, w, Epilogue::Add(now.as_ref().unwrap_or(residual))));
    }
    let mut out = engine.linear(x, w, Epilogue::None);
    hooks.visit(engine, point, &mut out)?;
    let now = hooks.since(engine, stage, residual);
    Ok(engine.add(now.as_ref().unwrap_or(residual), &out))
}
