//! The model whose activations a store holds.

use nissl_core::{Model, Progress};
use nissl_model::{LanguageModel, LoadOptions};
use nissl_store::Store;

use crate::error::TaskError;

/// Loads it.
///
/// # Errors
/// If it cannot be loaded, or has other weights than the one that was recorded.
pub(crate) fn load(
    source: &str,
    options: &LoadOptions,
    store: &Store,
    progress: &dyn Progress,
) -> Result<LanguageModel, TaskError> {
    progress.stage("load the model", None, "models");
    let model = LanguageModel::load_with(source, options, progress)?;
    let recorded = &store.manifest().run.model;
    if recorded.fingerprint != model.info().fingerprint {
        let expected = format!("the model whose activations are in the store, {}", recorded.name);
        return Err(TaskError::config("model", expected, format!("{source}, which has other weights")));
    }
    Ok(model)
}
