//! From the checkpoint's weights to the engine's: names are resolved, shapes are checked, matrices are laid out.

mod embeddings;
mod recurrent;
mod transformer;

use crate::arch::Architecture;
use crate::blocks::head::Head;
use crate::checkpoint::Checkpoint;
use crate::engine::Engine;
use crate::error::LoadError;
use crate::skeletons::Network;
pub(crate) use embeddings::Embeddings;

/// Checks names and shapes of the embedding tables.
pub(crate) fn embeddings(checkpoint: &Checkpoint, architecture: &Architecture) -> Result<Embeddings, LoadError> {
    match architecture {
        Architecture::Transformer(spec) => transformer::embeddings(checkpoint, spec),
        Architecture::Recurrent(model) => recurrent::embeddings(checkpoint, model),
    }
}

/// Lays out everything between the embeddings and the head.
pub(crate) fn network<E: Engine>(
    engine: &E,
    checkpoint: &Checkpoint,
    architecture: &Architecture,
) -> Result<Network<E>, LoadError> {
    match architecture {
        Architecture::Transformer(spec) => transformer::transformer(engine, checkpoint, spec).map(Network::Transformer),
        Architecture::Recurrent(model) => recurrent::recurrent(engine, checkpoint, model).map(Network::Recurrent),
    }
}

/// Whether the checkpoint has a head, whose names and shapes are then checked.
pub(crate) fn has_head(checkpoint: &Checkpoint, architecture: &Architecture) -> Result<bool, LoadError> {
    match architecture {
        Architecture::Transformer(spec) => transformer::has_head(checkpoint, spec),
        Architecture::Recurrent(model) => recurrent::has_head(checkpoint, model),
    }
}

/// Lays out the head.
pub(crate) fn head<E: Engine>(
    engine: &E,
    checkpoint: &Checkpoint,
    architecture: &Architecture,
) -> Result<Head<E>, LoadError> {
    match architecture {
        Architecture::Transformer(spec) => transformer::head(engine, checkpoint, spec),
        Architecture::Recurrent(model) => recurrent::head(engine, checkpoint, model),
    }
}
