//! A post-norm block: norm(x + attention(x)), then norm(that + mlp(that)).

use nissl_core::{HookPoint, Site};

use super::Block;
use crate::engine::{Engine, Halt, Rotary};
use crate::hooks::Hooks;

/// One block, `[T, d_model]` to `[T, d_model]`.
pub(super) fn block<E: Engine>(
    engine: &E,
    block: &Block<E::Packing>,
    x: &E::Tensor,
    layer: u16,
    rotary: Option<&Rotary>,
    hooks: &Hooks<'_>,
) -> Result<E::Tensor, Halt> {
    let sum = block.attention.forward(engine, x, x, layer, rotary, hooks)?;
    let mut mid = engine.norm(&sum, &block.attn_norm);
    drop(sum);
    hooks.visit(engine, HookPoint::new(layer, Site::ResidMid), &mut mid)?;
    let sum = block.mlp.forward(engine, &mid, &mid, layer, hooks)?;
    Ok(engine.norm(&sum, &block.mlp_norm))
}
