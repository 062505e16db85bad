//! What a model is made of: its sizes and its sites.

use nissl_core::{HookPoint, Model, ModelInfo, Progress, SiteInfo, Stack};
use nissl_model::{LanguageModel, LoadOptions};
use serde::{Deserialize, Serialize};

use crate::error::TaskError;
use crate::report::{Head, head};
use crate::select::groups_of;

/// One sentence about the task.
pub const SUMMARY: &str = "List a model's sites with their widths and the checkpoint's own weight names";

/// Which model.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Folder or Hub name.
    pub model: String,
    /// How the model is loaded.
    pub load: LoadOptions,
}

/// The model and its sites.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Task, version and config.
    #[serde(flatten)]
    pub head: Head<Config>,
    /// Sizes and fingerprint.
    pub model: ModelSummary,
    /// One entry a site, in order of the forward pass.
    pub sites: Vec<SiteReport>,
}

/// A model without its sites.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the sizes bear the field's own names, see nissl_core::ModelInfo")]
pub struct ModelSummary {
    pub name: String,
    pub family: String,
    pub n_layers: usize,
    pub d_model: usize,
    pub n_heads: usize,
    pub n_kv_heads: usize,
    pub d_head: usize,
    pub d_mlp: usize,
    pub d_vocab: usize,
    pub n_ctx: usize,
    pub causal: bool,
    pub has_logits: bool,
    pub fingerprint: String,
}

impl ModelSummary {
    /// The sizes of a model.
    pub fn of(info: &ModelInfo) -> Self {
        Self {
            name: info.name.clone(),
            family: info.family.clone(),
            n_layers: info.n_layers,
            d_model: info.d_model,
            n_heads: info.n_heads,
            n_kv_heads: info.n_kv_heads,
            d_head: info.d_head,
            d_mlp: info.d_mlp,
            d_vocab: info.d_vocab,
            n_ctx: info.n_ctx,
            causal: info.causal,
            has_logits: info.has_logits,
            fingerprint: info.fingerprint.clone(),
        }
    }
}

/// A site.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SiteReport {
    /// Its short name: `mlp_post`.
    pub name: String,
    /// Its TransformerLens name in the first layer: `blocks.0.mlp.hook_post`.
    pub point: String,
    /// The name of newer TransformerLens releases, where it differs.
    pub alias: Option<String>,
    /// In how many layers it is; 0 for a site outside the blocks.
    pub layers: usize,
    /// Units in each.
    pub width: usize,
    /// The checkpoint's own name of the weight that writes it, with `{}` for the layer; empty if none does.
    pub weight: String,
    /// The groups that contain it: `resid`, `mlp`, ...
    pub groups: Vec<String>,
}

/// Loads the model and lists its sites.
///
/// # Errors
/// If the model cannot be loaded.
pub fn run(config: &Config, progress: &dyn Progress) -> Result<Report, TaskError> {
    if config.model.is_empty() {
        return Err(TaskError::config("model", "a folder or a Hub name", "nothing"));
    }
    let model = LanguageModel::load_with(&config.model, &config.load, progress)?;
    let info = model.info();
    let site = |stack: Stack, n_layers: usize, site: &SiteInfo| SiteReport {
        name: format!("{}{}", stack.prefix(), site.site.short()),
        point: HookPoint::of(stack, 0, site.site).to_string(),
        alias: site.site.alias().map(ToOwned::to_owned),
        layers: if site.site.in_block() { n_layers } else { 0 },
        width: site.width,
        weight: site.weight.clone(),
        groups: groups_of(site.site).map(ToOwned::to_owned).collect(),
    };
    let sites = info.stacks().flat_map(|(stack, n, sites)| sites.iter().map(move |info| site(stack, n, info)));
    Ok(Report { head: head("sites", config), model: ModelSummary::of(info), sites: sites.collect() })
}
