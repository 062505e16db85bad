//! A pre-norm block: x + attention(norm(x)), then that + mlp(norm(that)).

use nissl_core::{HookPoint, Site};

use super::{Block, Here};
use crate::engine::{Engine, Halt};

/// One block, `[T, d_model]` to `[T, d_model]`.
pub(super) fn block<E: Engine>(
    engine: &E,
    block: &Block<E::Packing>,
    x: &E::Tensor,
    mut here: Here<'_, E>,
) -> Result<E::Tensor, Halt> {
    let normed = engine.norm(x, &block.attn_norm);
    let mut mid = block.attention.forward(engine, &normed, x, &mut here)?;
    drop(normed);
    here.hooks.visit(engine, HookPoint::new(here.layer, Site::ResidMid), &mut mid)?;
    let normed = engine.norm(&mid, &block.mlp_norm);
    block.mlp.forward(engine, &normed, &mid, here.layer, here.hooks)
}
