//! The nouns and the traits of nissl.
//!
//! Everything in nissl is one matrix: **rows are positions in text, columns are neurons**. This crate names the
//! columns ([`NeuronId`], [`HookPoint`], [`Site`]), the rows ([`Batch`], [`TextRows`], [`Labels`]), the matrix
//! ([`Activations`]), what is asked of a model ([`HookPlan`], [`Model`], [`NeuronWeights`]) and what a method answers
//! ([`Scores`], [`Ranking`], [`Profile`]).
//!
//! **Boundary:** no file is opened here, no thread pool is made, no tensor library is known.

mod activations;
mod batch;
mod error;
mod generation;
mod labels;
mod method;
mod model;
mod neuron;
mod objective;
mod plan;
mod profile;
mod progress;
mod provenance;
mod ranking;
mod rows;
mod scores;
mod site;
mod suggest;
mod text;
mod variants;
mod weights;

pub use activations::{Activations, Matrix};
pub use batch::Batch;
pub use error::{ActivationsError, MethodError, ModelError, NameError, PlanError};
pub use generation::{End, Generated, Generation, NewToken};
pub use labels::{Concept, Labels};
pub use method::{
    Attributor, Context, Describe, LabeledActivations, MethodCard, Profiler, Prompt, Ranker, Scope, TextActivations,
};
pub use model::{CaptureSink, EncoderInfo, Gradients, Model, ModelInfo, SiteInfo, Trace};
pub use neuron::{NeuronId, site_columns};
pub use objective::{Objective, Weighted};
pub use plan::{Condition, Edit, EditSpec, HookPlan, Output, Positions, Units};
pub use profile::{Excerpt, Explanation, Number, Profile, WordScore};
pub use progress::{NoProgress, Progress};
pub use provenance::Provenance;
pub use ranking::Ranking;
pub use rows::{BLOCK_ROWS, RowSink};
pub use scores::{Pool, Scores, Significance};
pub use site::{HookPoint, Site, Stack};
pub use suggest::nearest;
pub use text::TextRows;
pub use variants::{VariantSink, Variants};
pub use weights::{Linear, NeuronWeights, Norm};
