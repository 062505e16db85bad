//! Training of small models, from scratch or on: for domain adaptation, and for studies of seeds and of fine-tuning.
//!
//! Parameters are a checkpoint in memory. A step lays them out for the engine as loading does, takes the gradients of
//! all of them, and moves them by AdamW: the forward pass of a training is that of every other run.

mod adamw;
mod fresh;
mod schedule;
mod state;
mod vocabulary;

use std::collections::BTreeMap;
use std::path::Path;

use ndarray::ArrayView1;
use nissl_core::{Batch, HookPlan, ModelError, ModelInfo, Output, Progress};
use rayon::prelude::*;

pub use self::adamw::AdamW;
use self::adamw::Moments;
pub use self::fresh::Sizes;
pub use self::schedule::{Decay, Schedule};
pub use self::vocabulary::NewTokenizer;
use crate::arch::{Architecture, FAMILIES, Found};
use crate::blocks::head::Head;
use crate::checkpoint::Checkpoint;
use crate::engine::Engine;
use crate::engine::cpu::Cpu;
use crate::error::LoadError;
use crate::generate::log_sum_exp;
use crate::hooks::{Hooks, NoCapture, Prepared};
use crate::hub;
use crate::language_model::{Parts, check_batch, groups};
use crate::options::WeightFormat;
use crate::parameters::{Trained, parameter_gradients};
use crate::skeletons::Network;
use crate::tokenizer::{Held, Tokenizer};
use crate::weights::{self, Embeddings};

/// A model whose parameters can be moved.
pub struct Trainer {
    /// The bytes of config.json.
    config: Vec<u8>,
    tokenizer: Held,
    info: ModelInfo,
    checkpoint: Checkpoint,
    architecture: Architecture,
    laid_out: LaidOut,
    /// How parameters move.
    pub optimizer: AdamW,
    moments: Moments,
}

/// The parameters as the engine reads them.
struct LaidOut {
    engine: Cpu,
    embeddings: Embeddings,
    network: Network<Cpu>,
    head: Head<Cpu>,
}

/// Sentences, and for each of their tokens the one that is to be predicted there, if any; `[n_tokens]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Examples {
    /// What the model reads.
    pub batch: Batch,
    /// What it is to say.
    pub targets: Vec<Option<u32>>,
}

/// What a step saw before it moved anything.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// Mean cross-entropy of the targets, in nats.
    pub loss: f64,
    /// Norm of all gradients together, before it was bounded. If it is not finite, nothing was moved.
    pub gradient_norm: f64,
    /// Number of targets.
    pub n_targets: usize,
}

impl Trainer {
    /// A new model of a family, its weights drawn by chance from `seed`.
    ///
    /// # Errors
    /// If no models of the family are made here, or the sizes do not fit.
    pub fn fresh(family: &str, sizes: &Sizes, tokenizer: Tokenizer, seed: u64) -> Result<Self, LoadError> {
        let path = Path::new("config.json");
        let known = || FAMILIES.iter().filter(|family| family.fresh.is_some()).map(|family| family.name);
        let make = FAMILIES.iter().find(|known| known.name == family).and_then(|family| family.fresh);
        let make = make.ok_or_else(|| LoadError::UnknownArchitecture {
            path: path.to_owned(),
            got: family.to_owned(),
            known: known().collect::<Vec<_>>().join(", "),
            nearest: nissl_core::nearest(family, known()),
        })?;
        let mut config = make(sizes, tokenizer.vocab_size()).to_string().into_bytes();
        config.push(b'\n');
        let found = Found::by_config(path, &config)?;
        let mut empty = Checkpoint::in_memory(path, Vec::new());
        let weights = match found.architecture(&mut empty)? {
            Architecture::Transformer(spec) => fresh::weights(&spec, seed),
            Architecture::Recurrent(_) | Architecture::StateSpace(_) | Architecture::EncoderDecoder(_) => {
                unreachable!("families that make models are transformers")
            }
        };
        let tokenizer = Held::new(path, Ok(Some(tokenizer)));
        Self::new(&found, config, tokenizer, Checkpoint::in_memory(path, weights), family)
    }

    /// A model that exists, to be trained on: a folder, a file or a name on the Hub. All its weights become
    /// 32-bit floats.
    ///
    /// # Errors
    /// As [`crate::LanguageModel::load`], and if the model has no head.
    pub fn load(source: &str, progress: &dyn Progress) -> Result<Self, LoadError> {
        let files = hub::resolve(source, progress)?;
        let Parts { found, config, checkpoint, tokenizer } = Parts::open(&files.folder)?;
        let mut tensors = Vec::new();
        for name in checkpoint.names() {
            let tensor = checkpoint.tensor(name)?;
            if tensor.dtype.is_weight() {
                tensors.push((name.to_owned(), tensor.shape.to_vec(), tensor.to_f32()?.into_owned()));
            }
        }
        let mut own = Checkpoint::in_memory(checkpoint.path(), tensors);
        if let Architecture::Transformer(spec) = found.architecture(&mut own)? {
            weights::tie(&mut own, &spec);
        }
        Self::new(&found, state::in_f32(&config), tokenizer, own, &files.name)
    }

    fn new(
        found: &Found,
        config: Vec<u8>,
        tokenizer: Held,
        mut checkpoint: Checkpoint,
        name: &str,
    ) -> Result<Self, LoadError> {
        let architecture = found.architecture(&mut checkpoint)?;
        if !weights::has_head(&checkpoint, &architecture)? {
            let name = found.family.head.to_owned();
            return Err(LoadError::MissingWeight { path: checkpoint.path().to_owned(), name, nearest: None });
        }
        let info = architecture.info(name, found.family, true, "");
        let laid_out = LaidOut::of(&checkpoint, &architecture)?;
        let (optimizer, moments) = (AdamW::default(), Moments::default());
        Ok(Self { config, tokenizer, info, checkpoint, architecture, laid_out, optimizer, moments })
    }

    /// Sizes and sites of the model; its fingerprint is empty, for its weights move.
    pub fn info(&self) -> &ModelInfo {
        &self.info
    }

    /// The tokenizer.
    ///
    /// # Errors
    /// As [`crate::LanguageModel::tokenizer`].
    pub fn tokenizer(&self) -> Result<&Tokenizer, LoadError> {
        self.tokenizer.get()
    }

    /// Steps made, those before a resumption too.
    pub fn steps(&self) -> u64 {
        self.moments.steps
    }

    /// Number of trainable values.
    pub fn n_parameters(&self) -> usize {
        self.checkpoint.n_bytes() / 4
    }

    /// Moves all parameters once, by the gradient of the mean cross-entropy over all targets of `parts`, which are run
    /// one after the other (accumulation: as many as memory does not hold at once).
    ///
    /// # Errors
    /// If a sentence is too long, a token is not in the vocabulary, or the model's parameters have no gradient here.
    pub fn step(&mut self, parts: &[Examples], learning_rate: f64) -> Result<Step, ModelError> {
        let (mut loss, mut n_targets) = (0.0, 0);
        let mut gradients: BTreeMap<String, Vec<f32>> = BTreeMap::new();
        for part in parts {
            let got = parameter_gradients(&self.trained(), &part.batch, &part.targets)?;
            loss += got.loss;
            n_targets += got.n_targets;
            for (name, values) in got.gradients {
                match gradients.get_mut(&name) {
                    Some(sum) => sum.iter_mut().zip(&values).for_each(|(sum, value)| *sum += value),
                    None => drop(gradients.insert(name, values)),
                }
            }
        }
        let share = 1.0 / n_targets.max(1) as f64;
        let norm = adamw::norm(&gradients) * share;
        let step = Step { loss: loss * share, gradient_norm: norm, n_targets };
        if norm.is_finite() && n_targets > 0 {
            self.moments.steps += 1;
            self.move_by(&gradients, (learning_rate, self.optimizer.scale(norm) * share));
        }
        Ok(step)
    }

    fn move_by(&mut self, gradients: &BTreeMap<String, Vec<f32>>, (learning_rate, scale): (f64, f64)) {
        for (name, gradient) in gradients {
            let decays = self.checkpoint.tensor(name).is_ok_and(|tensor| tensor.shape.len() > 1);
            let values = self.checkpoint.values_mut(name).expect("a gradient is one of a parameter");
            let zeros = || (vec![0.0; values.len()], vec![0.0; values.len()]);
            let (mean, square) = self.moments.of.entry(name.clone()).or_insert_with(zeros);
            let at = (learning_rate, scale, self.moments.steps);
            self.optimizer.update(values, gradient, (mean, square), decays, at);
        }
        let laid_out = LaidOut::of(&self.checkpoint, &self.architecture);
        self.laid_out = laid_out.expect("the weights have the names and shapes that they had");
    }

    /// The sum of the cross-entropies of the targets, in nats, and their number.
    ///
    /// # Errors
    /// As [`Trainer::step`].
    pub fn loss(&self, examples: &Examples) -> Result<(f64, usize), ModelError> {
        let (batch, targets) = (&examples.batch, &examples.targets);
        if self.info.encoder.is_some() {
            return Err(ModelError::NotTrainable { model: self.info.name.clone(), family: self.info.family.clone() });
        }
        check_batch(&self.info, batch)?;
        assert_eq!(targets.len(), batch.n_tokens(), "there is a target, or none, a token");
        let d_vocab = self.architecture.n_logits();
        if let Some(&token) = targets.iter().flatten().find(|&&token| token as usize >= d_vocab) {
            return Err(ModelError::TokenOutOfRange { token, sentence_idx: 0, d_vocab });
        }
        let plan = HookPlan { output: Output::All, ..HookPlan::default() };
        let prepared = Prepared::new(&plan, self.info.n_ctx);
        let groups = groups(batch, self.laid_out.network.group(), rayon::current_num_threads());
        let one = |sentences: &std::ops::Range<usize>| {
            let hooks = Hooks::new(&prepared, &NoCapture, batch, sentences.clone());
            let rows = batch.offsets()[sentences.start]..batch.offsets()[sentences.end];
            let LaidOut { engine, embeddings, network, head } = &self.laid_out;
            let x = embeddings.embed(engine, &self.checkpoint, &batch.tokens()[rows.clone()], hooks.positions());
            let Ok(x) = network.forward(engine, x, &hooks, None) else {
                unreachable!("nobody captures, so nobody stops the pass");
            };
            let logits = engine.read(&head.forward(engine, &x, None));
            let losses = logits.rows().into_iter().zip(&targets[rows]);
            let loss = |(logits, target): (ArrayView1<'_, f32>, &Option<u32>)| {
                let logits = logits.to_slice().expect("rows of a fresh array are contiguous");
                target.map(|target| log_sum_exp(logits) - f64::from(logits[target as usize]))
            };
            losses.filter_map(loss).sum::<f64>()
        };
        let sums: Vec<f64> = groups.par_iter().with_max_len(1).map(one).collect();
        Ok((sums.iter().sum(), targets.iter().flatten().count()))
    }

    fn trained(&self) -> Trained<'_> {
        let Self { info, architecture, checkpoint, laid_out, .. } = self;
        let LaidOut { engine, embeddings, network, head } = laid_out;
        Trained { info, architecture, checkpoint, embeddings, engine, network, head }
    }
}

impl LaidOut {
    fn of(checkpoint: &Checkpoint, architecture: &Architecture) -> Result<Self, LoadError> {
        let engine = Cpu::new(WeightFormat::F32);
        Ok(Self {
            embeddings: weights::embeddings(checkpoint, architecture)?,
            network: weights::network(&engine, checkpoint, architecture)?,
            head: weights::head(&engine, checkpoint, architecture)?,
            engine,
        })
    }
}

#[cfg(test)]
mod tests;
