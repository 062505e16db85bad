//! The architecture families: what each config and its weight names mean. One file and one line in [`FAMILIES`] each.

mod bert;
mod config;
mod gpt2;
mod llama;
mod transformer;

use std::path::Path;

use nissl_core::{ModelInfo, nearest};

use crate::error::LoadError;
pub(crate) use config::Config;
pub(crate) use transformer::{Head, Matrix, Positions, Skeleton, Spec};

/// A family of architectures that load and run alike.
pub struct Family {
    /// Its name, as reports show it.
    pub name: &'static str,
    /// The `model_type`s in config.json that belong to it.
    pub model_types: &'static [&'static str],
    /// One sentence.
    pub summary: &'static str,
    /// Which head gives the logits.
    pub head: &'static str,
    pub(crate) read: fn(&Config) -> Result<Architecture, LoadError>,
}

/// Every family, in the order in which they are listed.
pub const FAMILIES: &[Family] = &[bert::FAMILY, gpt2::FAMILY, llama::FAMILY];

/// What a family makes of a config: everything that the skeletons need to know of a model.
#[derive(Clone, Debug)]
pub(crate) enum Architecture {
    /// Blocks of attention and MLP.
    Transformer(Spec),
}

/// Reads a model's config.json: its family and what the family makes of it.
pub(crate) fn read(path: &Path, bytes: &[u8]) -> Result<(&'static Family, Architecture), LoadError> {
    let config = Config::parse(path, bytes)?;
    let model_type = config.text("model_type")?;
    let known = || FAMILIES.iter().flat_map(|family| family.model_types.iter().copied());
    let family = FAMILIES.iter().find(|family| family.model_types.contains(&model_type.as_str()));
    let family = family.ok_or_else(|| LoadError::UnknownArchitecture {
        path: path.to_owned(),
        got: model_type.clone(),
        known: known().collect::<Vec<_>>().join(", "),
        nearest: nearest(&model_type, known()),
    })?;
    let architecture = (family.read)(&config)?;
    match &architecture {
        Architecture::Transformer(spec) => spec.check(&config)?,
    }
    Ok((family, architecture))
}

impl Architecture {
    /// Sizes and sites, as methods see them.
    pub(crate) fn info(&self, name: &str, family: &Family, has_logits: bool, fingerprint: &str) -> ModelInfo {
        match self {
            Self::Transformer(spec) => ModelInfo {
                name: name.to_owned(),
                family: family.name.to_owned(),
                n_layers: spec.n_layers,
                d_model: spec.d_model,
                n_heads: spec.n_heads,
                n_kv_heads: spec.n_kv_heads,
                d_head: spec.d_head,
                d_mlp: spec.d_mlp,
                d_vocab: spec.d_vocab,
                n_ctx: spec.n_ctx,
                causal: spec.skeleton == Skeleton::Decoder,
                has_logits,
                sites: spec.sites(),
                fingerprint: fingerprint.to_owned(),
            },
        }
    }
}
