//! A post-norm block: norm(x + attention(x)), then norm(that + mlp(that)). Where there is a source, the attention over
//! it stands between them.

use nissl_core::Site;

use super::{Block, Here};
use crate::engine::{Engine, Halt, Packing};

/// One block, `[T, d_model]` to `[T, d_model]`.
pub(super) fn block<E: Engine>(
    engine: &E,
    block: &Block<E::Packing>,
    x: &E::Tensor,
    mut here: Here<'_, E>,
) -> Result<E::Tensor, Halt> {
    let sum = block.mixer.forward(engine, x, x, &mut here)?;
    let mut mid = normed(engine, sum, block.attn_norm.as_ref());
    here.hooks.visit(engine, here.at(Site::ResidMid), &mut mid)?;
    if let Some((cross, cross_norm)) = &block.cross {
        let sum = cross.forward(engine, &mid, &mid, &mut here)?;
        mid = normed(engine, sum, cross_norm.as_ref());
        here.hooks.visit(engine, here.at(Site::ResidMidCross), &mut mid)?;
    }
    let sum = block.mlp.forward(engine, &mid, &mid, &here)?;
    Ok(normed(engine, sum, block.mlp_norm.as_ref()))
}

/// The norm of x, where there is one.
fn normed<E: Engine>(engine: &E, x: E::Tensor, norm: Option<&<E::Packing as Packing>::Norm>) -> E::Tensor {
    match norm {
        Some(norm) => engine.norm(&x, norm),
        None => x,
    }
}
