//! A pre-norm block: x + attention(norm(x)), then that + mlp(norm(that)); or both of x, where they are parallel. Where
//! there is a source, the attention over it stands between them.

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
    let hooks = here.hooks;
    let stage = hooks.stage();
    let normed = norm(engine, x, block.attn_norm.as_ref());
    let mut mid = block.mixer.forward(engine, normed.as_ref().unwrap_or(x), x, &mut here)?;
    if block.parallel {
        // There may be other rows now than the attention has read.
        let own = block.mlp_norm.as_ref().map(|norm| engine.norm(x, norm));
        let read = own.as_ref().or(normed.as_ref()).unwrap_or(x);
        let now = hooks.since(engine, stage, read);
        return block.mlp.forward(engine, now.as_ref().unwrap_or(read), &mid, &here);
    }
    drop(normed);
    hooks.visit(engine, here.at(Site::ResidMid), &mut mid)?;
    if let Some((cross, cross_norm)) = &block.cross {
        let normed = norm(engine, &mid, cross_norm.as_ref());
        mid = cross.forward(engine, normed.as_ref().unwrap_or(&mid), &mid, &mut here)?;
        hooks.visit(engine, here.at(Site::ResidMidCross), &mut mid)?;
    }
    let normed = norm(engine, &mid, block.mlp_norm.as_ref());
    block.mlp.forward(engine, normed.as_ref().unwrap_or(&mid), &mid, &here)
}

/// The norm, where there is one.
fn norm<E: Engine>(engine: &E, x: &E::Tensor, norm: Option<&<E::Packing as Packing>::Norm>) -> Option<E::Tensor> {
    norm.map(|norm| engine.norm(x, norm))
}
