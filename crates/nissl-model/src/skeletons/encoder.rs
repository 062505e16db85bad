//! A post-norm block: norm(x + attention(x)), then norm(that + mlp(that)).

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
    let sum = block.attention.forward(engine, x, x, &mut here)?;
    let mut mid = engine.norm(&sum, &block.attn_norm);
    drop(sum);
    here.hooks.visit(engine, HookPoint::new(here.layer, Site::ResidMid), &mut mid)?;
    let sum = block.mlp.forward(engine, &mid, &mid, here.layer, here.hooks)?;
    Ok(engine.norm(&sum, &block.mlp_norm))
}
