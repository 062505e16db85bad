//! Where a result comes from: enough to make it again.

use serde::{Deserialize, Serialize};

/// What made a result: method, all parameters, fingerprints of what went in, seed, version.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provenance {
    /// Name of the method in the catalogue.
    pub method: String,
    /// All its parameters, defaults included.
    pub params: serde_json::Value,
    /// Fingerprint of the model whose activations these are; empty if unknown.
    #[serde(default)]
    pub model: String,
    /// Fingerprint of the activations and the text they belong to; empty if unknown.
    #[serde(default)]
    pub data: String,
    /// Fingerprint of the labels; empty if there are none.
    #[serde(default)]
    pub labels: String,
    /// Seed of the random generator, for methods that draw.
    #[serde(default)]
    pub seed: Option<u64>,
    /// Version of nissl.
    pub version: String,
}

impl Provenance {
    /// Provenance of a method's result, with this crate's version; fingerprints are filled in by the task.
    pub fn of_method(method: &str, params: serde_json::Value) -> Self {
        Self { method: method.to_owned(), params, version: env!("CARGO_PKG_VERSION").to_owned(), ..Self::default() }
    }
}
