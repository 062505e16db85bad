//! How a model is loaded.

use serde::{Deserialize, Serialize};

use crate::arch::HeadKind;

/// How far a site may be from a reference in 64-bit floats, as a share of the reference's largest value there: what every
/// family is tested with.
pub const SITE_TOLERANCE: f32 = 1e-5;

/// The same of logits, in which the errors of all layers come together.
pub const LOGITS_TOLERANCE: f32 = 5e-5;

/// How a model is loaded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LoadOptions {
    /// What its matrices are in memory.
    pub weights: WeightFormat,
    /// Where captures, edits and logits are computed.
    pub device: Device,
    /// The head that gives the logits, where the checkpoint has several; none: the one that its config names, or a
    /// language model before a classifier.
    pub head: Option<HeadKind>,
    /// Fields of the config that the family does not know and that are passed over all the same: without them it may
    /// compute something else than the model is.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allow_unknown: Vec<String>,
}

/// Where forward passes run. Generation, gradients and many variants of a sentence always run on the CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Device {
    /// Our engine.
    #[default]
    Cpu,
    /// Candle's engine on the CPU: slower, for comparison. Needs the feature `candle`.
    Candle,
    /// An NVIDIA graphics processor. Needs the feature `cuda`.
    Cuda,
    /// An Apple graphics processor. Needs the feature `metal`.
    Metal,
}

impl Device {
    /// What people call it, which is the feature that a build needs for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Candle => "candle",
            Self::Cuda => "cuda",
            Self::Metal => "metal",
        }
    }

    /// What the tests compare our engine with: the graphics processor that the build is for, else candle on the CPU.
    #[cfg(test)]
    pub(crate) fn compared() -> Self {
        match (cfg!(feature = "cuda"), cfg!(feature = "metal")) {
            (true, _) => Self::Cuda,
            (_, true) => Self::Metal,
            _ => Self::Candle,
        }
    }
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
