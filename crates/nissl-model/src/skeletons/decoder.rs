//! A pre-norm block: x + attention(norm(x)), then that + mlp(norm(that)).

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
    let normed = engine.norm(x, &block.attn_norm);
    let mut mid = block.attention.forward(engine, &normed, x, layer, rotary, hooks)?;
    drop(normed);
    hooks.visit(engine, HookPoint::new(layer, Site::ResidMid), &mut mid)?;
    let normed = engine.norm(&mid, &block.mlp_norm);
    block.mlp.forward(engine, &normed, &mid, layer, hooks)
}
