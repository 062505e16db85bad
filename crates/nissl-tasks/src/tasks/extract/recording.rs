//! A model and a corpus, ready to be run: which sites, which labels, how words become rows.

use std::path::Path;

use nissl_core::{HookPlan, HookPoint, Model, Progress, Stack};
use nissl_data::{ColumnSummary, ConceptSource, CorpusSummary, LabelLevel, WindowOptions, survey};
use nissl_model::{LanguageModel, Tokenizer};
use nissl_store::{CorpusRef, ModelRef, Run, SiteWidth};
use serde_json::json;

use super::pipeline::Pipeline;
use super::prepare::Preparer;
use super::{Column, Config};
use crate::concepts::{self, is_column};
use crate::error::TaskError;
use crate::select::select;

/// Loads the model of a config.
///
/// # Errors
/// If it cannot be loaded.
pub(crate) fn load(config: &Config, progress: &dyn Progress) -> Result<LanguageModel, TaskError> {
    progress.stage("load the model", None, "models");
    Ok(LanguageModel::load_with(&config.model, &config.load, progress)?)
}

/// Checks that a config names a model and a text.
///
/// # Errors
/// If it does not.
pub(crate) fn check_source(config: &Config) -> Result<(), TaskError> {
    given("model", "a folder or a Hub name", !config.model.is_empty())?;
    given("text", "a file", !config.text.as_os_str().is_empty())?;
    given("batch_tokens", "at least 1", config.batch_tokens > 0)
}

pub(super) fn given(field: &str, expected: &str, there: bool) -> Result<(), TaskError> {
    if there { Ok(()) } else { Err(TaskError::config(field, expected, "nothing")) }
}

/// A model and a corpus, ready to be run.
pub(crate) struct Recording<'a> {
    config: &'a Config,
    model: &'a dyn Model,
    tokenizer: &'a Tokenizer,
    window: WindowOptions,
    /// Concepts that become label columns of their own.
    own: Vec<ConceptSource>,
    /// The columns that these may ask for.
    corpus_columns: Vec<String>,
    /// The corpus, as it was surveyed.
    pub(crate) corpus: CorpusSummary,
    /// The label columns: those of the corpus, then one for each concept.
    pub(crate) columns: Vec<Column>,
    /// What is recorded, as a store names it.
    pub(crate) run: Run,
}

impl<'a> Recording<'a> {
    /// Surveys the corpus and chooses the sites.
    ///
    /// # Errors
    /// If the corpus cannot be read, or a site or concept is unknown.
    pub(crate) fn new(
        config: &'a Config,
        model: &'a dyn Model,
        tokenizer: &'a Tokenizer,
        progress: &dyn Progress,
    ) -> Result<Self, TaskError> {
        progress.stage("read the text", None, "sentences");
        let corpus = survey(&config.text, &config.read)?;
        progress.step(corpus.counts.sentences as u64);
        let info = model.info();
        // The texts are what an encoder reads; a decoder would need targets too.
        let reads = |point: &HookPoint| point.stack() != Stack::Decoder;
        let all: Vec<HookPoint> = info.points().map(|(point, _)| point).filter(reads).collect();
        let points = select(&info.name, &all, &config.sites)?;
        let site = |point| Some(SiteWidth { point, width: info.width(point)? as u32 });

        let sources = concepts::read(&config.concepts, config.concepts_file.as_deref())?;
        let own: Vec<ConceptSource> = sources.into_iter().filter(|source| !is_column(source)).collect();
        let columns = columns(&corpus.columns, &own);
        let of_level = |level| columns.iter().filter(move |c| c.level == level).map(|c| c.name.clone()).collect();

        let mut window = WindowOptions::new(info.n_ctx, info.causal && info.encoder.is_none());
        window.overlap = config.overlap.unwrap_or(window.overlap);
        let name = |path: &Path| path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        let run = Run {
            model: ModelRef { name: info.name.clone(), fingerprint: info.fingerprint.clone() },
            tokenizer: tokenizer.digest().to_owned(),
            corpus: CorpusRef { name: name(&config.text), digest: corpus.digest.clone() },
            aggregation: config.aggregate.name().to_owned(),
            dtype: config.dtype,
            sites: points.into_iter().filter_map(site).collect(),
            word_columns: of_level(LabelLevel::Word),
            sentence_columns: of_level(LabelLevel::Sentence),
            extra: json!({ "read": config.read, "concepts": own, "overlap": window.overlap }),
        };
        let corpus_columns = corpus.column_names();
        Ok(Self { config, model, tokenizer, window, own, corpus_columns, corpus, columns, run })
    }

    /// The pipeline that reads the corpus and runs the model.
    pub(crate) fn pipeline<'s>(&'s self, progress: &'s dyn Progress) -> Pipeline<'s> {
        let preparer = Preparer {
            tokenizer: self.tokenizer,
            window: self.window,
            d_vocab: self.model.info().d_vocab,
            aggregate: self.config.aggregate,
            word_columns: &self.run.word_columns,
            sentence_columns: &self.run.sentence_columns,
            concepts: &self.own,
            corpus_columns: &self.corpus_columns,
        };
        Pipeline {
            model: self.model,
            preparer,
            plan: HookPlan::capture(self.run.sites.iter().map(|site| site.point)),
            widths: self.run.sites.iter().map(|site| site.width as usize).collect(),
            dtype: self.config.dtype,
            how: self.config.aggregate.aggregation(),
            batch_tokens: self.batch_tokens(),
            n_words: self.corpus.counts.words as u64,
            progress,
        }
    }

    /// Tokens of a batch whose activations, three times over, take a quarter of the memory.
    fn batch_tokens(&self) -> usize {
        let bytes_per_row = self.run.bytes_per_row();
        self.config.batch_tokens.min(self.config.memory / 12 / bytes_per_row.max(1)).max(1)
    }
}

/// Label columns: those of the corpus, then one for each concept.
fn columns(corpus: &[ColumnSummary], concepts: &[ConceptSource]) -> Vec<Column> {
    let of_corpus = corpus.iter().map(|column| Column {
        name: column.name.clone(),
        level: column.level,
        labeled: Some(column.n_labeled),
        labels: column.labels.len(),
    });
    let of_concepts = concepts.iter().map(|concept| Column {
        name: concepts::name(concept).to_owned(),
        level: LabelLevel::Word,
        labeled: None,
        labels: 1,
    });
    of_corpus.chain(of_concepts).collect()
}
