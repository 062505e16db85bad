//! A language model, as methods see it.

use std::collections::BTreeMap;

use ndarray::{Array2, Array3, ArrayView2};
use serde::{Deserialize, Serialize};

use crate::batch::Batch;
use crate::error::ModelError;
use crate::plan::HookPlan;
use crate::site::{HookPoint, Site};

/// What a model is: its sizes, its sites, and a fingerprint of its weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelInfo {
    /// What the user calls it: folder or Hub name.
    pub name: String,
    /// The architecture family: `gpt2`.
    pub family: String,
    /// Number of blocks.
    pub n_layers: usize,
    /// Width of the residual stream.
    pub d_model: usize,
    /// Attention heads a block.
    pub n_heads: usize,
    /// Key/value heads a block.
    pub n_kv_heads: usize,
    /// Width of a head.
    pub d_head: usize,
    /// MLP neurons a block.
    pub d_mlp: usize,
    /// Size of the vocabulary.
    pub d_vocab: usize,
    /// Longest sentence, in tokens.
    pub n_ctx: usize,
    /// Whether a position sees only those before it.
    pub causal: bool,
    /// Whether logits can be asked for.
    pub has_logits: bool,
    /// The sites and their widths, in order of the forward pass.
    pub sites: Vec<SiteInfo>,
    /// Digest of config and weights.
    pub fingerprint: String,
}

/// A site of a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SiteInfo {
    /// The site.
    pub site: Site,
    /// Number of units.
    pub width: usize,
    /// The checkpoint's own name of the weight that writes it, with `{}` for the layer; empty if none does.
    pub weight: String,
}

impl ModelInfo {
    /// Number of units at a point; `None` if the model has no such point.
    pub fn width(&self, point: HookPoint) -> Option<usize> {
        if point.layer().is_some_and(|layer| layer as usize >= self.n_layers) {
            return None;
        }
        self.sites.iter().find(|info| info.site == point.site()).map(|info| info.width)
    }

    /// Every hook point with its width, in order of the forward pass.
    pub fn points(&self) -> impl Iterator<Item = (HookPoint, usize)> + '_ {
        let outside =
            |site| self.sites.iter().filter(move |i| i.site == site).map(|i| (HookPoint::new(0, i.site), i.width));
        let blocks = (0..self.n_layers as u16).flat_map(|layer| {
            let in_block = self.sites.iter().filter(|info| info.site.in_block());
            in_block.map(move |info| (HookPoint::new(layer, info.site), info.width))
        });
        outside(Site::Embed).chain(blocks).chain(outside(Site::FinalNorm))
    }
}

/// What a run recorded.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trace {
    /// The captured sites, each `[n_tokens, width]`.
    pub sites: BTreeMap<HookPoint, Array2<f32>>,
    /// The captured attention patterns, one a sentence, each `[n_heads, n_queries, n_keys]`.
    pub patterns: BTreeMap<HookPoint, Vec<Array3<f32>>>,
    /// Logits, `[n_tokens, d_vocab]` or `[n_sentences, d_vocab]`, as the plan asked.
    pub logits: Option<Array2<f32>>,
}

/// Receives captured values while they are in cache, from several threads at once.
pub trait CaptureSink: Sync {
    /// The plan's `capture[capture_idx]` for the sentences from `first_sentence` on: `values` is
    /// `[n_rows, width]`, rows of the batch from `first_row` on, whole sentences only.
    ///
    /// # Errors
    /// Whatever it returns stops the run.
    fn capture(
        &self,
        capture_idx: usize,
        first_sentence: usize,
        first_row: usize,
        values: ArrayView2<'_, f32>,
    ) -> Result<(), ModelError>;

    /// The attention pattern of a sentence, `[n_heads, n_queries * n_keys]`; the default refuses.
    ///
    /// # Errors
    /// Whatever it returns stops the run.
    fn pattern(&self, capture_idx: usize, sentence: usize, values: ArrayView2<'_, f32>) -> Result<(), ModelError> {
        let _ = (capture_idx, sentence, values);
        Err(ModelError::Engine {
            what: "attention patterns have no fixed width and cannot be stored as columns".into(),
        })
    }
}

/// A language model that can be read and edited at every site.
pub trait Model: Send + Sync {
    /// Sizes, sites and fingerprint.
    fn info(&self) -> &ModelInfo;

    /// Runs the batch and returns what the plan asks for.
    ///
    /// # Errors
    /// If the plan does not fit, a token is not in the vocabulary or a sentence is too long.
    fn run(&self, batch: &Batch, plan: &HookPlan) -> Result<Trace, ModelError>;

    /// Runs the batch and hands every capture to `sink` as soon as it is computed, instead of collecting it.
    /// Returns the logits, if the plan asks for them.
    ///
    /// # Errors
    /// As [`Model::run`], and whatever the sink returns.
    fn run_into(
        &self,
        batch: &Batch,
        plan: &HookPlan,
        sink: &dyn CaptureSink,
    ) -> Result<Option<Array2<f32>>, ModelError>;
}
