//! The methods: which neurons carry a concept ([`rankers`]), what a neuron fires on ([`profilers`]), on which neurons a
//! prediction depends ([`attributors`]).
//!
//! Every method is a plain struct that is its own configuration. [`METHODS`] is the one list of them, from which
//! command line, forms and documents are derived; [`find`] looks a method up by name.
//!
//! ```
//! use nissl_core::{Context, HookPoint, LabeledActivations, Labels, Matrix, Ranker, Site, site_columns};
//! use nissl_methods::rankers::AveragePrecision;
//!
//! let neurons = site_columns(&[(HookPoint::new(0, Site::MlpPost), 2)]);
//! let x = Matrix::new(ndarray::array![[0.9, 1.0], [0.8, 3.0], [0.7, 1.0], [0.1, 2.0]], neurons)?;
//! let labels = Labels::from_names(&[Some("noun"), None, Some("noun"), None]);
//! let scores = AveragePrecision::default().score(LabeledActivations::new(&x, &labels)?, Context::default())?;
//! assert_eq!(scores.ranking(0).scores[0], 5.0 / 6.0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! **Boundary:** no file is opened here, no clock is read, nothing is printed, no model is known but
//! [`nissl_core::Model`].

pub mod ablating;
pub mod alignment;
pub mod attributors;
pub mod catalog;
pub mod clustering;
pub mod comparison;
pub mod evaluation;
pub mod factorization;
pub mod input_generation;
pub mod kmeans;
pub mod lens;
pub mod patching;
pub mod probes;
pub mod profilers;
pub mod rankers;
pub mod saliency;
pub mod search;
pub mod similarity;
pub mod truth;

mod accumulate;
mod adam;
mod class_sums;
mod column_scores;
mod columns;
mod completeness;
mod concepts;
mod correlation;
mod eigen;
mod features;
mod groups;
mod kept;
mod label_sets;
mod panels;
mod quantile;
mod random;
mod replacement;
mod study;

pub use catalog::{CatalogError, METHODS, Method, MethodEntry, MethodKind, find};
