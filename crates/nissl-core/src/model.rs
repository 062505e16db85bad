//! A language model, as methods see it.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use ndarray::{Array2, Array3, ArrayView2};
use serde::{Deserialize, Serialize};

use crate::batch::Batch;
use crate::error::ModelError;
use crate::generation::{Generated, Generation, NewToken};
use crate::objective::Objective;
use crate::plan::HookPlan;
use crate::site::{HookPoint, Site, Stack};
use crate::variants::{VariantSink, Variants};
use crate::weights::NeuronWeights;

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
    /// The encoder, where the model has a decoder too: then the numbers and the sites above are the decoder's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoder: Option<EncoderInfo>,
}

/// The encoder of a model that has a decoder too.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EncoderInfo {
    /// Number of blocks.
    pub n_layers: usize,
    /// Attention heads a block.
    pub n_heads: usize,
    /// MLP neurons a block.
    pub d_mlp: usize,
    /// The sites and their widths, in order of the forward pass.
    pub sites: Vec<SiteInfo>,
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
        let (_, n_layers, sites) = self.stacks().find(|(stack, ..)| *stack == point.stack())?;
        if point.layer().is_some_and(|layer| layer as usize >= n_layers) {
            return None;
        }
        sites.iter().find(|info| info.site == point.site()).map(|info| info.width)
    }

    /// The blocks that it has, in order of the forward pass, each with their number and their sites.
    pub fn stacks(&self) -> impl Iterator<Item = (Stack, usize, &[SiteInfo])> {
        let own = if self.encoder.is_some() { Stack::Decoder } else { Stack::Only };
        let encoder = self.encoder.iter().map(|e| (Stack::Encoder, e.n_layers, e.sites.as_slice()));
        encoder.chain([(own, self.n_layers, self.sites.as_slice())])
    }

    /// The shape of the attention pattern of a sentence at a point, `[n_heads, n_queries, n_keys]`.
    ///
    /// # Panics
    /// If the batch has no such sentence.
    pub fn pattern_shape(&self, point: HookPoint, batch: &Batch, sentence_idx: usize) -> [usize; 3] {
        let n_tokens = batch.sentence(sentence_idx).len();
        let Some(encoder) = &self.encoder else { return [self.n_heads, n_tokens, n_tokens] };
        let n_source = batch.n_source(sentence_idx);
        match (point.stack(), point.site()) {
            (Stack::Encoder, _) => [encoder.n_heads, n_source, n_source],
            (_, Site::CrossPattern) => [self.n_heads, n_tokens - n_source, n_source],
            _ => [self.n_heads, n_tokens - n_source, n_tokens - n_source],
        }
    }

    /// Every hook point with its width, in order of the forward pass.
    pub fn points(&self) -> impl Iterator<Item = (HookPoint, usize)> + '_ {
        self.stacks().flat_map(|(stack, n_layers, sites)| {
            let outside = move |site| {
                let there = sites.iter().filter(move |info| info.site == site);
                there.map(move |info| (HookPoint::of(stack, 0, info.site), info.width))
            };
            let blocks = (0..n_layers as u16).flat_map(move |layer| {
                let in_block = sites.iter().filter(|info| info.site.in_block());
                in_block.map(move |info| (HookPoint::of(stack, layer, info.site), info.width))
            });
            outside(Site::Embed).chain(blocks).chain(outside(Site::FinalNorm))
        })
    }
}

/// What a run recorded.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trace {
    /// The captured sites, each `[n_tokens, width]`; of an encoder-decoder zeros for the tokens that the site's side does
    /// not read: those of the target for the encoder and for keys and values of the source, and those of the source for
    /// the rest of the decoder.
    pub sites: BTreeMap<HookPoint, Array2<f32>>,
    /// The captured attention patterns, one a sentence, each `[n_heads, n_queries, n_keys]`.
    pub patterns: BTreeMap<HookPoint, Vec<Array3<f32>>>,
    /// Logits, `[n_tokens, d_vocab]` or `[n_sentences, d_vocab]`, as the plan asked; zeros for tokens of a source.
    pub logits: Option<Array2<f32>>,
}

/// How an objective of each sentence changes with its activations.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Gradients {
    /// The objective of each sentence, `[n_sentences]`.
    pub values: Vec<f64>,
    /// Its gradient with respect to each wanted site, `[n_tokens, width]`; zeros where nothing leads to the objective.
    pub sites: BTreeMap<HookPoint, Array2<f32>>,
    /// The same of attention patterns, one a sentence, each `[n_heads, n_queries, n_keys]`.
    pub patterns: BTreeMap<HookPoint, Vec<Array3<f32>>>,
    /// What the plan captured in the same run, and the logits that it asked for.
    pub trace: Trace,
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

    /// Runs the batch and takes the gradient of an objective of every sentence with respect to the values at the
    /// points `wrt`, as they are after the plan's edits. `objectives` has one for all sentences, or one a sentence.
    ///
    /// A gradient passes through an edited value by as much as the edit passes on of the value
    /// ([`Edit::slope`](crate::Edit::slope)); attention patterns are taken as free, not as summing to one. What the
    /// gradient at `hook_embed` says of a token's embedding: there the position's and the type's embeddings are added
    /// already, so it is the gradient with respect to each of the three; where the model has a norm after its
    /// embeddings, it is with respect to the norm's output.
    ///
    /// # Errors
    /// As [`Model::run`]; if an objective does not fit its sentence; if the model has no logits. The default refuses:
    /// not every model can be differentiated.
    fn gradients(
        &self,
        batch: &Batch,
        plan: &HookPlan,
        objectives: &[Objective],
        wrt: &[HookPoint],
    ) -> Result<Gradients, ModelError> {
        let _ = (batch, plan, objectives, wrt);
        Err(ModelError::NoGradients { model: self.info().name.clone() })
    }

    /// The weights, for methods that read them; `None` if the model shows none.
    fn weights(&self) -> Option<&dyn NeuronWeights> {
        None
    }

    /// Runs many variants of one sentence, and hands what each gave to `sink`. The results are those of [`Model::run`]
    /// for each, bit for bit; a model may compute what they share once. The default runs them one by one.
    ///
    /// # Errors
    /// As [`Model::run`], for the first variant that fails, and whatever the sink returns.
    fn run_variants(&self, variants: &Variants<'_>, sink: &dyn VariantSink) -> Result<(), ModelError> {
        (0..variants.edits.len()).try_for_each(|idx| sink.variant(idx, variants.alone(self, idx)?))
    }

    /// Goes on with every prompt. The plan's edits act on the prompts and on what is added (see [`Positions`]), its
    /// captures and logits are those of the finished texts. `on_token` gets every token as soon as it is chosen (after
    /// a beam search at the end), prompt by prompt at each step, and may stop it all. Edits of attention patterns give
    /// nothing to keys that come after their query: while a text grows they are not there yet.
    ///
    /// [`Positions`]: crate::Positions
    ///
    /// # Errors
    /// If the model cannot generate, the plan or the options do not fit, or a prompt is empty, too long or has tokens
    /// beyond the vocabulary. The default refuses.
    fn generate(
        &self,
        prompts: &Batch,
        options: &Generation,
        plan: &HookPlan,
        on_token: &mut dyn FnMut(NewToken) -> ControlFlow<()>,
    ) -> Result<Vec<Generated>, ModelError> {
        let _ = (prompts, options, plan, on_token);
        Err(ModelError::CannotGenerate { model: self.info().name.clone(), why: "it only runs".to_owned() })
    }
}
