//! From the checkpoint's weights to the engine's: names are resolved, shapes are checked, matrices are laid out.

mod embeddings;
mod neurons;
mod recurrent;
mod state_space;
mod stored;
mod transformer;

use crate::arch::{Architecture, HeadKind, Readout, Spec};
use crate::blocks::head::Head;
use crate::checkpoint::Checkpoint;
use crate::engine::{Packing, Vector};
use crate::error::LoadError;
use crate::skeletons::{EncoderDecoder, Network};
pub(crate) use embeddings::Embeddings;
pub(crate) use neurons::Units;

/// Checks names and shapes of the embedding tables.
pub(crate) fn embeddings(checkpoint: &Checkpoint, architecture: &Architecture) -> Result<Embeddings, LoadError> {
    match architecture {
        Architecture::Transformer(spec) => transformer::embeddings(checkpoint, spec),
        Architecture::Recurrent(model) => recurrent::embeddings(checkpoint, model),
        Architecture::StateSpace(model) => state_space::embeddings(checkpoint, model),
        Architecture::EncoderDecoder(both) => {
            let source = transformer::embeddings(checkpoint, &both.encoder)?;
            Ok(Embeddings { source: Some(Box::new(source)), ..transformer::embeddings(checkpoint, &both.decoder)? })
        }
    }
}

/// Lays out everything between the embeddings and the head.
pub(crate) fn network<P: Packing>(
    packing: &P,
    checkpoint: &Checkpoint,
    architecture: &Architecture,
) -> Result<Network<P>, LoadError> {
    match architecture {
        Architecture::Transformer(spec) => {
            transformer::transformer(packing, checkpoint, spec).map(Network::Transformer)
        }
        Architecture::Recurrent(model) => recurrent::recurrent(packing, checkpoint, model).map(Network::Recurrent),
        Architecture::StateSpace(model) => state_space::network(packing, checkpoint, model).map(Network::StateSpace),
        Architecture::EncoderDecoder(both) => Ok(Network::EncoderDecoder(EncoderDecoder {
            encoder: transformer::transformer(packing, checkpoint, &both.encoder)?,
            decoder: transformer::transformer(packing, checkpoint, &both.decoder)?,
        })),
    }
}

/// Whether the checkpoint has a head; its names and shapes were checked.
pub(crate) fn has_head(checkpoint: &Checkpoint, architecture: &Architecture) -> Result<bool, LoadError> {
    match architecture {
        Architecture::Transformer(spec) => Ok(spec.readout.is_some()),
        Architecture::Recurrent(model) => recurrent::has_head(checkpoint, model),
        Architecture::StateSpace(model) => state_space::has_head(checkpoint, model),
        Architecture::EncoderDecoder(both) => Ok(both.decoder.readout.is_some()),
    }
}

/// Which head a checkpoint has.
pub(crate) fn readout(
    checkpoint: &Checkpoint,
    spec: &Spec,
    named: Option<HeadKind>,
    asked: Option<HeadKind>,
) -> Result<Option<Readout>, LoadError> {
    transformer::readout(checkpoint, spec, named, asked)
}

/// Drops a decoder that is a copy of the token embeddings, where the config says that they are one.
pub(crate) fn tie(checkpoint: &mut Checkpoint, spec: &Spec) {
    transformer::tie(checkpoint, spec);
}

/// Lays out the head.
pub(crate) fn head<P: Packing>(
    packing: &P,
    checkpoint: &Checkpoint,
    architecture: &Architecture,
) -> Result<Head<P>, LoadError> {
    let spec = match architecture {
        Architecture::Transformer(spec) => spec,
        Architecture::EncoderDecoder(both) => &both.decoder,
        Architecture::Recurrent(model) => return recurrent::head(packing, checkpoint, model),
        Architecture::StateSpace(model) => return state_space::head(packing, checkpoint, model),
    };
    match &spec.readout {
        Some(readout) => readout.lay_out(packing, checkpoint, spec),
        None => Err(LoadError::MissingWeight {
            path: checkpoint.path().to_owned(),
            name: spec.head.decoder.to_owned(),
            nearest: None,
        }),
    }
}

/// A matrix of the checkpoint that is used value by value, row after row.
fn matrix(checkpoint: &Checkpoint, name: &str, shape: [usize; 2]) -> Result<Vec<f32>, LoadError> {
    Ok(checkpoint.f32(name, &shape)?.into_owned())
}

/// A vector of the checkpoint.
fn vector(checkpoint: &Checkpoint, name: &str, width: usize) -> Result<Vector, LoadError> {
    Ok(Vector { name: name.to_owned(), values: checkpoint.f32(name, &[width])?.into_owned() })
}
