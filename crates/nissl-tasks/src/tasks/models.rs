//! Which model families nissl can load.

use nissl_core::Progress;
use nissl_model::FAMILIES;
use serde::{Deserialize, Serialize};

use crate::error::TaskError;
use crate::report::{Head, head};

/// One sentence about the task.
pub const SUMMARY: &str = "List the model families that can be loaded";

/// Nothing can be chosen.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {}

/// The families.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Task, version and config.
    #[serde(flatten)]
    pub head: Head<Config>,
    /// One entry a family.
    pub families: Vec<FamilyReport>,
}

/// A family of architectures that load and run alike.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FamilyReport {
    /// Its name.
    pub name: String,
    /// The `model_type`s of config.json that belong to it.
    pub model_types: Vec<String>,
    /// One sentence.
    pub summary: String,
    /// Which head gives the logits.
    pub head: String,
}

/// Lists the families.
///
/// # Errors
/// None today.
pub fn run(config: &Config, _progress: &dyn Progress) -> Result<Report, TaskError> {
    let families = FAMILIES.iter().map(|family| FamilyReport {
        name: family.name.to_owned(),
        model_types: family.model_types.iter().map(ToString::to_string).collect(),
        summary: family.summary.to_owned(),
        head: family.head.to_owned(),
    });
    Ok(Report { head: head("models", config), families: families.collect() })
}
