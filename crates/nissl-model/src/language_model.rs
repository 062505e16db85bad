//! A language model, loaded and ready to run.

mod device;
mod gradients;
mod neurons;
mod predicted;
mod variants;

use std::ops::{ControlFlow, Range};
use std::path::Path;
use std::sync::{Mutex, OnceLock, PoisonError};

use ndarray::{Array2, Array3, ArrayView2, s};
use nissl_core::{
    Batch, CaptureSink, Generated, Generation, Gradients, HookPlan, HookPoint, Model, ModelError, ModelInfo,
    NeuronWeights, NewToken, NoProgress, Objective, Output, Progress, Stack, Trace, VariantSink, Variants,
};
use rayon::prelude::*;
use serde_json::Value;

use crate::arch::{Architecture, Config, Found, HeadInfo, Target};
use crate::blocks::head::Head;
use crate::checkpoint::{Checkpoint, WholeModel, source};
use crate::engine::cpu::{Cpu, Tensor};

use crate::engine::{Engine, Halt};
use crate::error::LoadError;
use crate::hooks::{Hooks, NoCapture, Prepared};
use crate::options::LoadOptions;
use crate::parameters::{self, ParameterGradients, Trained};
use crate::skeletons::{Network, Past};
use crate::tokenizer::{Held, Tokenizer};
use crate::weights::{self, Embeddings};
use crate::{generate, hub};
use device::{Elsewhere, Input};

/// A language model on the CPU: every site can be read and edited.
pub struct LanguageModel {
    info: ModelInfo,
    head_info: Option<HeadInfo>,
    tokenizer: Held,
    end_tokens: Vec<u32>,
    target: Target,
    checkpoint: Checkpoint,
    architecture: Architecture,
    embeddings: Embeddings,
    engine: Cpu,
    network: Network<Cpu>,
    /// Laid out when logits are first asked for.
    head: OnceLock<Head<Cpu>>,
    /// The model on another device, where runs are to be there.
    elsewhere: Option<Box<dyn Elsewhere>>,
}

impl LanguageModel {
    /// Loads a model from a folder as it lies on disk, from a file that is a model by itself (such as GGUF), or by its
    /// Hub name from the Hub's cache or by download.
    ///
    /// # Errors
    /// If it is not there, is no model, is of an unknown family, or its weights do not fit its config.
    pub fn load(source: &str, progress: &dyn Progress) -> Result<Self, LoadError> {
        Self::load_with(source, &LoadOptions::default(), progress)
    }

    /// Loads a model as `options` say.
    ///
    /// # Errors
    /// As [`LanguageModel::load`].
    pub fn load_with(source: &str, options: &LoadOptions, progress: &dyn Progress) -> Result<Self, LoadError> {
        let files = hub::resolve(source, progress)?;
        Self::from_folder_with(&files.folder, &files.name, options)
    }

    /// Loads a model from a folder or a file that is a model by itself; `name` is what reports call it.
    ///
    /// # Errors
    /// As [`LanguageModel::load`].
    pub fn from_folder(folder: &Path, name: &str) -> Result<Self, LoadError> {
        Self::from_folder_with(folder, name, &LoadOptions::default())
    }

    /// A model of weights that are not in a file: a config as config.json has it, and tensors with the checkpoint's own
    /// names, their shapes and values. It has no tokenizer; `name` is what reports and errors call it.
    ///
    /// # Errors
    /// As [`LanguageModel::load`].
    ///
    /// # Panics
    /// If a tensor has not as many values as its shape says.
    pub fn from_tensors(
        config: &Value,
        tensors: Vec<(String, Vec<usize>, Vec<f32>)>,
        name: &str,
    ) -> Result<Self, LoadError> {
        let path = Path::new(name);
        let config = config.to_string().into_bytes();
        let found = Found::by_config(path, &config)?;
        let tokenizer = Held::new(path, Ok(None));
        let parts = Parts { found, config, checkpoint: Checkpoint::in_memory(path, tensors), tokenizer };
        Self::from_parts(parts, name, &LoadOptions::default())
    }

    fn from_folder_with(folder: &Path, name: &str, options: &LoadOptions) -> Result<Self, LoadError> {
        Self::from_parts(Parts::open(folder)?, name, options)
    }

    fn from_parts(parts: Parts, name: &str, options: &LoadOptions) -> Result<Self, LoadError> {
        let Parts { mut found, config, mut checkpoint, tokenizer } = parts;
        found.asked = options.head;
        found.allow_unknown(&options.allow_unknown);
        let architecture = found.architecture(&mut checkpoint)?;
        let engine = Cpu::new(options.weights);
        let embeddings = weights::embeddings(&checkpoint, &architecture)?;
        let network = weights::network(&engine, &checkpoint, &architecture)?;
        // Checked now, so that a wrong head is an error of loading; laid out when it is needed.
        let has_logits = weights::has_head(&checkpoint, &architecture)?;
        let info = architecture.info(name, found.family, has_logits, checkpoint.fingerprint(&config));
        let head_info = architecture.head(&found);
        let (end_tokens, target) = (found.end_tokens(), found.target());
        let elsewhere = device::open(options.device, &checkpoint, &architecture)?;
        Ok(Self {
            info,
            head_info,
            tokenizer,
            end_tokens,
            target,
            checkpoint,
            architecture,
            embeddings,
            engine,
            network,
            head: OnceLock::new(),
            elsewhere,
        })
    }

    /// Loads a model from a folder, quietly.
    ///
    /// # Errors
    /// As [`LanguageModel::load`].
    pub fn open(source: &str) -> Result<Self, LoadError> {
        Self::load(source, &NoProgress)
    }

    /// The tokenizer.
    ///
    /// # Errors
    /// [`LoadError::NoTokenizer`] if the model's folder has none, or one that cannot be read; the rest of the model
    /// does not need it.
    pub fn tokenizer(&self) -> Result<&Tokenizer, LoadError> {
        self.tokenizer.get()
    }

    /// The head that gives the logits; none if the checkpoint has none.
    pub fn head_info(&self) -> Option<&HeadInfo> {
        self.head_info.as_ref()
    }

    /// The tokens that end a text, by the model's config.
    pub fn end_tokens(&self) -> &[u32] {
        &self.end_tokens
    }

    /// The token that the decoder starts a target with, where the model has an encoder and a decoder.
    pub fn decoder_start(&self) -> Option<u32> {
        self.target.start.filter(|_| self.info.encoder.is_some())
    }

    /// Sentences as the model reads them: as they are, or, where it has an encoder and a decoder, each as a source and
    /// behind it itself as the target, begun by the token that starts the decoder and without its last token.
    pub fn batch_of<S: AsRef<[u32]>>(&self, sentences: impl IntoIterator<Item = S>) -> Batch {
        let Some(start) = self.decoder_start() else { return Batch::from_sentences(sentences) };
        let mut batch = Batch::new();
        for sentence in sentences {
            let sentence = sentence.as_ref();
            let read = &sentence[..sentence.len().saturating_sub(1)];
            batch.push_pair(sentence, &[&[start], read].concat());
        }
        batch
    }

    /// How targets begin and end.
    pub(crate) fn target(&self) -> &Target {
        &self.target
    }

    pub(crate) fn engine(&self) -> &Cpu {
        &self.engine
    }

    /// The past of texts that have nothing behind them, if one can be kept.
    pub(crate) fn past(&self, n_texts: usize) -> Option<Past<Cpu>> {
        self.network.past(&self.engine, n_texts)
    }

    /// Whether longer texts than the model reads are read from their end.
    pub(crate) fn slides(&self) -> bool {
        self.network.slides()
    }

    pub(crate) fn n_logits(&self) -> usize {
        self.architecture.n_logits()
    }

    /// Runs a batch and takes the gradient of the sum of the cross-entropies with `targets`, `[n_tokens]`, with respect
    /// to every parameter of the checkpoint that the model reads. A target is what a position should expect, none where
    /// it does not count. The same batch gives the same bits on any number of threads.
    ///
    /// # Errors
    /// If a sentence or a target does not fit the model, if it has no logits, or if its checkpoints hold the weights in
    /// another order than they are used: then their gradients have no names.
    pub fn parameter_gradients(
        &self,
        batch: &Batch,
        targets: &[Option<u32>],
    ) -> Result<ParameterGradients, ModelError> {
        let Self { info, architecture, checkpoint, embeddings, engine, network, .. } = self;
        let head = self.head()?;
        let model = Trained { info, architecture, checkpoint, embeddings, engine, network, head };
        parameters::parameter_gradients(&model, batch, targets)
    }

    fn head(&self) -> Result<&Head<Cpu>, ModelError> {
        if let Some(head) = self.head.get() {
            return Ok(head);
        }
        if !self.info.has_logits {
            return Err(ModelError::NoLogits { model: self.info.name.clone() });
        }
        let made = weights::head(&self.engine, &self.checkpoint, &self.architecture);
        let made = made.map_err(|err| ModelError::Engine { what: err.to_string() })?;
        Ok(self.head.get_or_init(|| made))
    }

    fn check(&self, batch: &Batch, plan: &HookPlan) -> Result<(), ModelError> {
        plan.check(&self.info, batch)?;
        if plan.output != Output::None && !self.info.has_logits {
            return Err(ModelError::NoLogits { model: self.info.name.clone() });
        }
        check_batch(&self.info, batch)?;
        self.check_pairs(batch, plan)?;
        let empty = (0..batch.n_sentences()).find(|&sentence| batch.sentence(sentence).is_empty());
        if let (Some(sentence_idx), Output::Last) = (empty, plan.output) {
            let what = format!("sentence {sentence_idx} is empty: it has no last token to give logits for");
            return Err(ModelError::Engine { what });
        }
        Ok(())
    }

    /// Whether the sentences have the targets that the plan asks something of, and no others.
    fn check_pairs(&self, batch: &Batch, plan: &HookPlan) -> Result<(), ModelError> {
        let refuse = |what: String| Err(ModelError::Engine { what });
        if self.info.encoder.is_none() {
            return if batch.has_targets() {
                refuse(format!("{} has no encoder: sentences of a source and a target are not for it", self.info.name))
            } else {
                Ok(())
            };
        }
        let asks = plan.output != Output::None || plan.capture.iter().any(|point| point.stack() == Stack::Decoder);
        for idx in 0..batch.n_sentences() {
            let (n_source, n_tokens) = (batch.n_source(idx), batch.sentence(idx).len());
            if n_source == n_tokens && asks {
                return refuse(format!("sentence {idx} has no target: the decoder has nothing to read"));
            }
            if n_source == 0 && n_tokens > 0 {
                return refuse(format!("sentence {idx} has a target and no source"));
            }
        }
        Ok(())
    }

    /// The logits of all groups, if they are asked for.
    fn joined(&self, output: Output, parts: &[Option<Array2<f32>>]) -> Option<Array2<f32>> {
        if output == Output::None {
            return None;
        }
        let views: Vec<ArrayView2<'_, f32>> = parts.iter().flatten().map(|logits| logits.view()).collect();
        if views.is_empty() {
            return Some(Array2::zeros((0, self.architecture.n_logits())));
        }
        Some(ndarray::concatenate(ndarray::Axis(0), &views).expect("logits of one vocabulary"))
    }

    /// The tokens of a group through the model, each sentence after its past; the logits, if they are asked for.
    pub(crate) fn run_group(
        &self,
        engine: &Cpu,
        tokens: &[u32],
        hooks: &Hooks<'_>,
        past: Option<&mut Past<Cpu>>,
        output: Output,
    ) -> Result<Option<Array2<f32>>, Halt> {
        let x = self.embeddings.embed_group(engine, &self.checkpoint, tokens, hooks);
        let x = self.network.forward(engine, x, hooks, past)?;
        self.logits(engine, &x, hooks, output)
    }

    /// The logits of what the head reads, if they are asked for.
    fn logits(&self, engine: &Cpu, x: &Tensor, hooks: &Hooks<'_>, output: Output) -> Result<Option<Array2<f32>>, Halt> {
        if output == Output::None {
            return Ok(None);
        }
        let logits =
            self.head()?.forward(engine, x, hooks.output_rows(output, self.architecture.answers_at()).as_deref());
        Ok(Some(hooks.all_rows(output, engine.read(&logits))))
    }
}

impl Model for LanguageModel {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn weights(&self) -> Option<&dyn NeuronWeights> {
        Some(self)
    }

    fn run(&self, batch: &Batch, plan: &HookPlan) -> Result<Trace, ModelError> {
        plan.check(&self.info, batch)?;
        let collect = Collect::new(&self.info, batch, plan);
        let logits = self.run_into(batch, plan, &collect)?;
        Ok(Trace { logits, ..collect.finish(plan) })
    }

    fn run_into(
        &self,
        batch: &Batch,
        plan: &HookPlan,
        sink: &dyn CaptureSink,
    ) -> Result<Option<Array2<f32>>, ModelError> {
        self.check(batch, plan)?;
        let prepared = Prepared::new(plan, self.info.n_ctx).of_model(&self.info);
        if prepared.is_empty() {
            return Ok(None);
        }
        let sink = if plan.capture.is_empty() { &NoCapture } else { sink };
        if let Some(elsewhere) = &self.elsewhere {
            let parts = groups_of(batch, device::GROUP).into_iter().map(|sentences| {
                let hooks = Hooks::new(&prepared, sink, batch, sentences.clone());
                let tokens = &batch.tokens()[batch.offsets()[sentences.start]..batch.offsets()[sentences.end]];
                let input = Input { embeddings: &self.embeddings, checkpoint: &self.checkpoint, tokens };
                ended(elsewhere.run_group(&input, &hooks, plan.output))
            });
            return Ok(self.joined(plan.output, &parts.collect::<Result<Vec<_>, ModelError>>()?));
        }
        let n_threads = rayon::current_num_threads();
        let groups = groups(batch, self.network.group(), n_threads);
        // Threads that have no group of their own help with the others' products.
        let n_helpers = (n_threads / groups.len().max(1)).saturating_sub(1);
        let run = |sentences: &Range<usize>| {
            let hooks = Hooks::new(&prepared, sink, batch, sentences.clone());
            let tokens = &batch.tokens()[batch.offsets()[sentences.start]..batch.offsets()[sentences.end]];
            let run = |engine: &Cpu| self.run_group(engine, tokens, &hooks, None, plan.output);
            ended(self.engine.with_helpers(n_helpers, run))
        };
        let parts: Vec<Option<Array2<f32>>> =
            groups.par_iter().with_max_len(1).map(run).collect::<Result<_, ModelError>>()?;
        Ok(self.joined(plan.output, &parts))
    }

    fn gradients(
        &self,
        batch: &Batch,
        plan: &HookPlan,
        objectives: &[Objective],
        wrt: &[HookPoint],
    ) -> Result<Gradients, ModelError> {
        gradients::gradients(self, batch, plan, objectives, wrt)
    }

    fn run_variants(&self, asked: &Variants<'_>, sink: &dyn VariantSink) -> Result<(), ModelError> {
        variants::run(self, asked, sink)
    }

    fn generate(
        &self,
        prompts: &Batch,
        options: &Generation,
        plan: &HookPlan,
        on_token: &mut dyn FnMut(NewToken) -> ControlFlow<()>,
    ) -> Result<Vec<Generated>, ModelError> {
        generate::generate(self, prompts, options, plan, on_token)
    }
}

/// The logits of a pass; none if it ended where nothing deeper was needed.
fn ended(pass: Result<Option<Array2<f32>>, Halt>) -> Result<Option<Array2<f32>>, ModelError> {
    match pass {
        Ok(logits) => Ok(logits),
        Err(Halt::Done) => Ok(None),
        Err(Halt::Failed(err)) => Err(err),
    }
}

/// What a model is loaded from.
pub(crate) struct Parts {
    pub(crate) found: Found,
    /// The bytes of the config; none where the weights speak for themselves.
    pub(crate) config: Vec<u8>,
    pub(crate) checkpoint: Checkpoint,
    pub(crate) tokenizer: Held,
}

impl Parts {
    /// Opens the files of a folder, or the one file that has them all in it.
    pub(crate) fn open(path: &Path) -> Result<Self, LoadError> {
        if let Some((whole, file)) = source::whole(path) {
            let WholeModel { config, checkpoint, tokenizer } = (whole.open)(&file)?;
            let found = Found::by_config(&file, &config)?;
            return Ok(Self { found, config, checkpoint, tokenizer: Held::new(&file, tokenizer) });
        }
        let config_path = path.join("config.json");
        let (config, checkpoint, mut found) = match std::fs::read(&config_path) {
            Ok(config) => {
                // A config that no family takes is the first thing to say, before the weights are opened.
                let found = Found::by_config(&config_path, &config)?;
                (config, Checkpoint::open(path)?, found)
            }
            Err(source) => {
                let checkpoint = Checkpoint::open(path).ok();
                let found = checkpoint.and_then(|weights| Found::by_weights(&weights).map(|found| (weights, found)));
                let (checkpoint, found) = found.ok_or(LoadError::Io { path: config_path, source })?;
                (Vec::new(), checkpoint, found)
            }
        };
        let generation = path.join("generation_config.json");
        if let Ok(bytes) = std::fs::read(&generation) {
            found.generation = Some(Config::parse(&generation, &bytes)?);
        }
        Ok(Self { found, config, checkpoint, tokenizer: Held::new(path, Tokenizer::from_folder(path)) })
    }
}

/// Whether the model can read every sentence.
pub(crate) fn check_batch(info: &ModelInfo, batch: &Batch) -> Result<(), ModelError> {
    let (n_ctx, d_vocab) = (info.n_ctx, info.d_vocab);
    for sentence_idx in 0..batch.n_sentences() {
        let tokens = batch.sentence(sentence_idx);
        let n_source = if info.encoder.is_some() { batch.n_source(sentence_idx) } else { 0 };
        let n_tokens = n_source.max(tokens.len() - n_source);
        if n_tokens > n_ctx {
            return Err(ModelError::TooLong { sentence_idx, n_tokens, n_ctx });
        }
        if let Some(&token) = tokens.iter().find(|&&token| token as usize >= d_vocab) {
            return Err(ModelError::TokenOutOfRange { token, sentence_idx, d_vocab });
        }
    }
    Ok(())
}

/// Whole sentences in groups of about `most` tokens, fewer where threads would stand idle.
pub(crate) fn groups(batch: &Batch, most: usize, n_threads: usize) -> Vec<Range<usize>> {
    groups_of(batch, most.min(batch.n_tokens().div_ceil(n_threads.max(1))).max(1))
}

/// Whole sentences in groups of `target` tokens or few more.
pub(crate) fn groups_of(batch: &Batch, target: usize) -> Vec<Range<usize>> {
    let mut groups = Vec::new();
    let mut start = 0;
    for sentence in 0..batch.n_sentences() {
        if batch.offsets()[sentence + 1] - batch.offsets()[start] >= target {
            groups.push(start..sentence + 1);
            start = sentence + 1;
        }
    }
    if start < batch.n_sentences() {
        groups.push(start..batch.n_sentences());
    }
    groups
}

/// Collects captures into whole arrays.
pub(crate) struct Collect {
    sites: Vec<Mutex<Array2<f32>>>,
    patterns: Vec<Mutex<Vec<Array3<f32>>>>,
}

impl Collect {
    pub(crate) fn new(info: &ModelInfo, batch: &Batch, plan: &HookPlan) -> Self {
        let site = |point: &nissl_core::HookPoint| {
            let ragged = point.site().is_ragged();
            let width = if ragged { 0 } else { info.width(*point).expect("the plan was checked") };
            Mutex::new(Array2::zeros((batch.n_tokens(), width)))
        };
        let pattern = |point: &nissl_core::HookPoint| {
            let n = if point.site().is_ragged() { batch.n_sentences() } else { 0 };
            let zeros = |sentence| Array3::zeros(info.pattern_shape(*point, batch, sentence));
            Mutex::new((0..n).map(zeros).collect())
        };
        Self { sites: plan.capture.iter().map(site).collect(), patterns: plan.capture.iter().map(pattern).collect() }
    }

    pub(crate) fn finish(self, plan: &HookPlan) -> Trace {
        let mut trace = Trace::default();
        for ((point, site), pattern) in plan.capture.iter().zip(self.sites).zip(self.patterns) {
            if point.site().is_ragged() {
                trace.patterns.insert(*point, pattern.into_inner().unwrap_or_else(PoisonError::into_inner));
            } else {
                trace.sites.insert(*point, site.into_inner().unwrap_or_else(PoisonError::into_inner));
            }
        }
        trace
    }
}

impl CaptureSink for Collect {
    fn capture(
        &self,
        capture_idx: usize,
        _first_sentence: usize,
        first_row: usize,
        values: ArrayView2<'_, f32>,
    ) -> Result<(), ModelError> {
        let mut site = self.sites[capture_idx].lock().unwrap_or_else(PoisonError::into_inner);
        site.slice_mut(s![first_row..first_row + values.nrows(), ..]).assign(&values);
        Ok(())
    }

    fn pattern(&self, capture_idx: usize, sentence: usize, values: ArrayView2<'_, f32>) -> Result<(), ModelError> {
        let mut patterns = self.patterns[capture_idx].lock().unwrap_or_else(PoisonError::into_inner);
        let shape = patterns[sentence].dim();
        let values = Array3::from_shape_vec(shape, values.iter().copied().collect());
        patterns[sentence] = values.expect("a pattern has a row a query and a column a key");
        Ok(())
    }
}
