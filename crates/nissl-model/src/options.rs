//! How a model is loaded.

use serde::{Deserialize, Serialize};

/// How a model is loaded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LoadOptions {
    /// What its matrices are in memory.
    pub weights: WeightFormat,
}

/// What the matrices of a model are in memory. Every number of a run is the same, to the last bit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WeightFormat {
    /// 32-bit floats: fastest where many tokens are read at a time.
    #[default]
    F32,
    /// As the checkpoint stores them (16-bit floats, quantized): as small, and fastest where tokens are read one by one.
    Native,
}
