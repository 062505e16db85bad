//! Ranking right behind the model: the text is read twice, the model runs once, nothing is written.

use std::path::PathBuf;

use ndarray::{Array2, ArrayView2, ShapeBuilder, s};
use nissl_core::{
    BLOCK_ROWS, Context, HookPoint, LabeledActivations, Labels, Matrix, MethodError, Progress, RowSink, Scores,
    TextRows, site_columns,
};
use nissl_data::{LabelsBuilder, open};
use nissl_store::{Dtype, Row, Run, SentenceRows, Values};
use rayon::prelude::*;

use super::chance::{add_chances, permutations_for, shuffled};
use super::{Chosen, Config, Failure, Stamp, join_parts, one_vs_rest_labels};
use crate::concepts;
use crate::error::TaskError;
use crate::labels::digest;
use crate::progress::Quiet;
use crate::tasks::extract::{self, Done, Recording, StoreSummary, Taker, check_source, load};

/// What came of a stream.
pub(super) struct Streamed {
    pub(super) labels: Labels,
    pub(super) stamp: Stamp,
    pub(super) summary: StoreSummary,
    /// The scores by each method, in their order.
    pub(super) scores: Vec<Result<Scores, MethodError>>,
}

/// Runs the model on the text and all methods behind it.
pub(super) fn run(
    config: &Config,
    source: &extract::Config,
    methods: &[Chosen],
    (ctx, failed): (Context<'_>, &mut Vec<Failure>),
) -> Result<Streamed, TaskError> {
    let mut source = extract::Config { memory: config.memory, ..source.clone() };
    if !config.sites.is_empty() {
        source.sites.clone_from(&config.sites);
    }
    check_source(&source)?;
    if !source.out.as_os_str().is_empty() {
        let got = source.out.display().to_string();
        return Err(TaskError::config("stream.out", "nothing, since nothing is written", got));
    }
    let model = load(&source, ctx.progress)?;
    let recording = Recording::new(&source, &model, model.tokenizer()?, ctx.progress)?;
    let rows = Rows::read(config, &source, &recording, ctx.progress)?;
    let columns: Vec<(HookPoint, usize)> =
        recording.run.sites.iter().map(|site| (site.point, site.width as usize)).collect();
    let neurons = site_columns(&columns);
    // The labels, then those of each permutation; each method is fed with all of them at once.
    let permutations = config.permutations.unwrap_or_else(|| permutations_for(neurons.len()));
    let shuffled = |permutation| shuffled(&rows.text, &rows.labels, config.seed, permutation);
    let all_labels: Vec<Labels> = (0..permutations).map(shuffled).collect();
    let all_labels: Vec<&Labels> = std::iter::once(&rows.labels).chain(&all_labels).collect();
    let variants: Vec<Vec<Variant<'_>>> = methods
        .iter()
        .map(|(entry, _)| all_labels.iter().map(|labels| Variant::new(labels, config.is_alone(entry.name))).collect())
        .collect();
    let quiet = Quiet(ctx.progress);
    let mut feed = Feed::new(source.dtype, &columns, rows.labels.n_tokens());
    let mut slots = Vec::new();
    for ((entry, ranker), variants) in methods.iter().zip(&variants) {
        let mut of_method: Vec<Vec<Slot>> = Vec::new();
        for (permutation, variant) in variants.iter().enumerate() {
            // What labels leave out is told once.
            let ctx = if permutation > 0 { Context { progress: &quiet, ..ctx } } else { ctx };
            let mut of_variant = Vec::new();
            for labels in variant.labels() {
                of_variant.push(match ranker.stream(labels, &neurons, ctx) {
                    Ok(Some(sink)) => Slot::Sink(feed.push(sink)),
                    Ok(None) => feed.keep(entry.name, config.memory).map_or_else(Slot::Failed, |()| Slot::Kept),
                    Err(err) => Slot::Failed(err),
                });
            }
            of_method.push(of_variant);
        }
        slots.push(of_method);
    }
    let pipeline = recording.pipeline(ctx.progress);
    let Done { made, .. } = pipeline.run(open(&source.text, &source.read)?, feed)?;
    let Fed { mut scores, kept } = made.ok_or_else(nothing_kept)?;
    let kept = kept.map(|values| Matrix::new(values, neurons.clone())).transpose()?;
    let mut all = Vec::new();
    for (((entry, ranker), variants), slots) in methods.iter().zip(&variants).zip(slots) {
        let mut slots = slots.into_iter();
        let mut score = |variant: usize, failed: &mut Vec<Failure>| {
            let slots = slots.next().expect("each variant is asked once, in order");
            let ctx = if variant > 0 { Context { progress: &quiet, ..ctx } } else { ctx };
            let scored = slots.into_iter().zip(variants[variant].labels()).map(|(slot, labels)| match slot {
                Slot::Failed(err) => Err(err),
                Slot::Sink(idx) => scores[idx].take().expect("each sink is asked once"),
                Slot::Kept => {
                    let x = kept.as_ref().expect("the rows are kept if a method asked for it");
                    ranker.score(LabeledActivations::new(x, labels)?.with_text(&rows.text)?, ctx)
                }
            });
            let mut scored: Vec<Result<Scores, MethodError>> = scored.collect();
            match &variants[variant] {
                Variant::Whole(_) => scored.pop().expect("one result for all concepts together"),
                Variant::Alone(labels, _) => join_parts(entry.name, labels, scored, failed),
            }
        };
        let scored = score(0, &mut *failed);
        let with_chances = |scores| {
            let null = |permutation| score(permutation + 1, &mut Vec::new());
            add_chances(scores, (entry.name, permutations), null, ctx)
        };
        all.push(scored.and_then(with_chances));
    }
    let data = fingerprint(&recording.run, rows.labels.n_tokens());
    let summary = StoreSummary {
        path: PathBuf::new(),
        fingerprint: data.clone(),
        rows: rows.labels.n_tokens() as u64,
        sentences: rows.n_sentences,
        neurons: neurons.len(),
        bytes: 0,
    };
    let stamp = Stamp { model: recording.run.model.fingerprint.clone(), data, labels: digest(&rows.labels) };
    Ok(Streamed { labels: rows.labels, stamp, summary, scores: all })
}

fn nothing_kept() -> TaskError {
    TaskError::Cancelled { resume: "nothing was written".to_owned() }
}

/// Fingerprint of what a store of the same run would record.
fn fingerprint(run: &Run, n_rows: usize) -> String {
    let text = serde_json::to_vec(&(run, n_rows)).expect("a run is plain fields with text keys");
    blake3::hash(&text).to_hex()[..16].to_owned()
}

/// Labels, and how a method is given them.
enum Variant<'a> {
    /// All concepts at once.
    Whole(&'a Labels),
    /// Each concept by itself.
    Alone(&'a Labels, Vec<Labels>),
}

impl<'a> Variant<'a> {
    fn new(labels: &'a Labels, alone: bool) -> Self {
        if alone { Self::Alone(labels, one_vs_rest_labels(labels)) } else { Self::Whole(labels) }
    }

    fn labels(&self) -> &[Labels] {
        match self {
            Self::Whole(labels) => std::slice::from_ref(labels),
            Self::Alone(_, parts) => parts,
        }
    }
}

/// Where the scores of a method, or of one of its concepts, will come from.
enum Slot {
    /// A sink, by its number.
    Sink(usize),
    /// All rows in memory.
    Kept,
    /// Nowhere.
    Failed(MethodError),
}

/// What is known of the rows before the model runs.
struct Rows {
    labels: Labels,
    text: TextRows,
    n_sentences: u64,
}

/// A row as a concept sees it: its own labels, then those of its sentence.
struct SourceRow<'a> {
    run: &'a Run,
    sentence: &'a SentenceRows,
    row: &'a Row,
}

impl nissl_data::Row for SourceRow<'_> {
    fn form(&self) -> &str {
        &self.row.word
    }

    fn label(&self, column: &str) -> Option<&str> {
        let place = |names: &[String]| names.iter().position(|name| name == column);
        if let Some(idx) = place(&self.run.word_columns) {
            return self.row.labels[idx].as_deref();
        }
        self.sentence.labels[place(&self.run.sentence_columns)?].as_deref()
    }
}

impl Rows {
    /// Reads the text without running the model.
    fn read(
        config: &Config,
        source: &extract::Config,
        recording: &Recording<'_>,
        progress: &dyn Progress,
    ) -> Result<Self, TaskError> {
        let sources = concepts::read(&config.concepts, config.concepts_file.as_deref())?;
        let run = &recording.run;
        let columns: Vec<&str> = run.word_columns.iter().chain(&run.sentence_columns).map(String::as_str).collect();
        if sources.is_empty() {
            return Err(super::no_concepts("label columns of this text", &columns));
        }
        let mut builder = LabelsBuilder::new(&sources, &columns)?;
        let (mut n_sentences, mut words) = (0, Vec::new());
        progress.stage("label the words", Some(recording.corpus.counts.sentences as u64), "sentences");
        recording.pipeline(progress).rows(open(&source.text, &source.read)?, |sentence| {
            n_sentences += 1;
            for row in &sentence.rows {
                builder.push(&SourceRow { run, sentence, row });
                words.push((n_sentences as u32, row.word.clone()));
            }
        })?;
        if progress.cancelled() {
            return Err(nothing_kept());
        }
        Ok(Self { labels: builder.finish(), text: TextRows::from_words(words), n_sentences })
    }
}

/// Gathers rows to blocks and hands them to all sinks.
struct Feed<'a> {
    dtype: Dtype,
    widths: Vec<usize>,
    n_rows: usize,
    n_done: usize,
    /// Rows of the block that is being filled, `[n_neurons, BLOCK_ROWS]`.
    block: Vec<f32>,
    n_filled: usize,
    sinks: Vec<Result<Box<dyn RowSink<Scores> + 'a>, MethodError>>,
    /// All rows, `[n_rows, n_neurons]`, where a method needs them.
    kept: Option<Array2<f32>>,
}

/// The scores of each sink, and all rows if they were kept.
struct Fed {
    scores: Vec<Option<Result<Scores, MethodError>>>,
    kept: Option<Array2<f32>>,
}

impl<'a> Feed<'a> {
    fn new(dtype: Dtype, columns: &[(HookPoint, usize)], n_rows: usize) -> Self {
        let widths: Vec<usize> = columns.iter().map(|(_, width)| *width).collect();
        let block = vec![0.0; widths.iter().sum::<usize>() * BLOCK_ROWS];
        Self { dtype, widths, n_rows, n_done: 0, block, n_filled: 0, sinks: Vec::new(), kept: None }
    }

    fn n_neurons(&self) -> usize {
        self.widths.iter().sum()
    }

    /// Adds a sink; its number.
    fn push(&mut self, sink: Box<dyn RowSink<Scores> + 'a>) -> usize {
        self.sinks.push(Ok(sink));
        self.sinks.len() - 1
    }

    /// Keeps all rows, for a method that needs them more than once.
    fn keep(&mut self, method: &'static str, memory: usize) -> Result<(), MethodError> {
        let n_bytes = self.n_rows * self.n_neurons() * size_of::<f32>();
        if n_bytes > memory {
            return Err(MethodError::Parameter {
                method,
                name: "memory",
                value: format!("{memory} bytes, and {n_bytes} are needed"),
                expected: "room for all activations, which this method looks at more than once: more memory, fewer \
                           sites, or a store",
            });
        }
        if self.kept.is_none() {
            self.kept = Some(Array2::zeros((self.n_rows, self.n_neurons()).f()));
        }
        Ok(())
    }

    /// Copies rows `from..from + n` of a batch of `n_rows` behind those of the block.
    fn fill(&mut self, values: &[Values<'_>], n_rows: usize, from: usize, n: usize) {
        /// Rows that are turned over together, so that whole cache lines are written.
        const TILE: usize = 16;
        let (dtype, n_filled) = (self.dtype, self.n_filled);
        let mut sites = Vec::new();
        let mut rest = &mut self.block[..];
        for (&width, values) in self.widths.iter().zip(values) {
            let (site, behind) = rest.split_at_mut(width * BLOCK_ROWS);
            rest = behind;
            sites.push((width, site, values));
        }
        sites.into_par_iter().for_each_init(Vec::new, |tile: &mut Vec<f32>, (width, site, values)| {
            debug_assert_eq!(values.len(), n_rows * width, "a value for each row and unit");
            for first in (0..n).step_by(TILE) {
                let rows = from + first..from + n.min(first + TILE);
                let range = rows.start * width..rows.end * width;
                let tile: &[f32] = match values {
                    Values::F32(values) => &values[range],
                    Values::Bits16(bits) => {
                        tile.resize(range.len(), 0.0);
                        dtype.from_bits(&bits[range], tile);
                        tile
                    }
                };
                for (unit, column) in site.chunks_exact_mut(BLOCK_ROWS).enumerate() {
                    let start = n_filled + first;
                    for (row, value) in column[start..start + rows.len()].iter_mut().enumerate() {
                        *value = tile[row * width + unit];
                    }
                }
            }
        });
        self.n_filled += n;
    }

    /// Hands the block on, if there is one.
    fn flush(&mut self) -> Result<(), TaskError> {
        if self.n_filled == 0 {
            return Ok(());
        }
        let whole = ArrayView2::from_shape((BLOCK_ROWS, self.n_neurons()).f(), &self.block)
            .expect("the block was given this size");
        let block = whole.slice(s![..self.n_filled, ..]);
        for sink in &mut self.sinks {
            if let Ok(open) = sink
                && let Err(err) = open.update(block)
            {
                if matches!(err, MethodError::Cancelled) {
                    return Err(nothing_kept());
                }
                // The other methods go on.
                *sink = Err(err);
            }
        }
        if let Some(kept) = &mut self.kept {
            kept.slice_mut(s![self.n_done..self.n_done + self.n_filled, ..]).assign(&block);
        }
        self.n_done += self.n_filled;
        self.n_filled = 0;
        Ok(())
    }
}

impl Taker for Feed<'_> {
    type Made = Fed;

    fn n_taken(&self) -> u64 {
        0
    }

    fn take(&mut self, sentences: &[SentenceRows], values: &[Values<'_>]) -> Result<(), TaskError> {
        let n_rows: usize = sentences.iter().map(|sentence| sentence.rows.len()).sum();
        let mut from = 0;
        while from < n_rows {
            let n = (n_rows - from).min(BLOCK_ROWS - self.n_filled);
            self.fill(values, n_rows, from, n);
            from += n;
            if self.n_filled == BLOCK_ROWS {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Fed, TaskError> {
        self.flush()?;
        let scores = self.sinks.into_iter().map(|sink| Some(sink.and_then(RowSink::finish))).collect();
        Ok(Fed { scores, kept: self.kept })
    }
}

#[cfg(test)]
mod tests;
