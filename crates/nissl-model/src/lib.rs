//! The model runtime: a checkpoint becomes a [`LanguageModel`] whose every neuron can be read and edited.
//!
//! - `checkpoint`, `hub`, `tokenizer`: what lies on disk.
//! - `arch`: one small file a family turns its config and weight names into a specification.
//! - `generate`: text that a model goes on with.
//! - `skeletons`, `blocks`: the forward pass, top to bottom; the only places that call a hook.
//! - `engine`: the dozen operations a forward pass is made of, on the CPU.
//!
//! **Invariant:** loading changes no number. **Boundary:** nothing here knows corpora, stores or methods.

mod arch;
mod blocks;
mod checkpoint;
mod engine;
mod error;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod generate;
mod hooks;
mod hub;
mod language_model;
mod objective;
mod options;
mod parameters;
mod sentences;
mod skeletons;
mod tokenizer;
mod training;
mod weights;

pub use arch::{AnswersAt, FAMILIES, Family, FieldUse, HeadInfo, HeadKind, Outline};
pub use checkpoint::{Checkpoint, Dtype, Quant, TensorView};
pub use error::LoadError;
pub use generate::TextStream;
pub use hub::{Hub, ModelFiles, resolve};
pub use language_model::LanguageModel;
pub use options::{Device, LOGITS_TOLERANCE, LoadOptions, SITE_TOLERANCE, WeightFormat};
pub use parameters::ParameterGradients;
pub use sentences::{Pooling, SentenceVectors};
pub use tokenizer::{Encoding, Tokenizer};
pub use training::{AdamW, Decay, Examples, NewTokenizer, Schedule, Sizes, Step, Trainer};
