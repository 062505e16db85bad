//! Probes: models that predict a concept from activations, what they share, and how they are judged.
//!
//! Rows are split by sentence into those a probe is fitted on, those by which anything is chosen, and those it is
//! reported on ([`Split`]). Activations are standardized with the statistics of the rows that are fitted on.

pub(crate) mod cholesky;
mod chosen;
pub(crate) mod classes;
mod control;
pub(crate) mod design;
mod exact;
pub(crate) mod gaussian;
pub(crate) mod greedy;
pub mod inference;
mod judged;
pub(crate) mod latent;
pub(crate) mod linear;
mod masks;
pub(crate) mod metrics;
pub mod ordering;
pub(crate) mod parts;
mod regression;
mod split;
pub(crate) mod targets;
mod trained;

use nissl_core::{MethodCard, MethodError, Scope};

pub use chosen::{ChosenNeurons, ChosenRows};
pub use control::{ControlSample, control_classes};
pub use exact::{SparseFit, SparseProblem, best_support};
pub use gaussian::{Criterion, Prior, Told};
pub use greedy::Explained;
pub use judged::{AtRandom, First, Judged, judge};
pub use latent::Masks;
pub use linear::{LinearFit, LinearOptions, Loss, fit_classes};
pub use regression::{Regressed, regress};
pub use split::{Leakage, Part, Split, SplitOptions};
pub use trained::{ClassResult, Control, Evaluation, Few, Minimal, PathPoint, Probe, TrainOptions, Trained, train};

/// The attributes that all probes share.
pub(crate) const CARD: MethodCard = MethodCard {
    family: "probing",
    scope: Scope::Global,
    input: "concept",
    output: "neurons",
    scalability: "high",
    human_in_the_loop: false,
    supervision: true,
    causal: false,
};

/// Refuses a count of 0.
pub(crate) fn at_least_1(method: &'static str, name: &'static str, count: usize) -> Result<(), MethodError> {
    let value = "0".to_owned();
    if count == 0 { Err(MethodError::Parameter { method, name, value, expected: "at least 1" }) } else { Ok(()) }
}
