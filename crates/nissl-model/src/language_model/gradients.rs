//! Gradients of objectives with respect to activations.
//!
//! Copies of a sentence, which differ by their edits, are computed once up to the first point that is edited or asked for;
//! behind the last attention only the positions are that the objectives read.

use std::ops::Range;
use std::sync::PoisonError;

use ndarray::{Array2, ArrayView2, ArrayViewMut2, s};
use nissl_core::{Batch, CaptureSink, Gradients, HookPlan, HookPoint, ModelError, Objective, Output, Site, Trace};
use rayon::prelude::*;

use super::{Collect, LanguageModel, groups};
use crate::engine::cpu::{Cpu, Tensor as Values};
use crate::engine::tape::{Recorded, Seeds, Tape, Tensor};
use crate::engine::{Halt, Piece, Wanted};
use crate::hooks::{Hooks, Prepared};
use crate::objective::{self, Read, Sentence, Term, Terms};
use crate::skeletons::Network;

/// See [`nissl_core::Model::gradients`].
pub(super) fn gradients(
    model: &LanguageModel,
    batch: &Batch,
    plan: &HookPlan,
    objectives: &[Objective],
    wrt: &[HookPoint],
) -> Result<Gradients, ModelError> {
    let mut wrt = wrt.to_vec();
    wrt.sort_unstable();
    wrt.dedup();
    let wanted = HookPlan::capture(wrt.iter().copied());
    wanted.check(&model.info, batch)?;
    let terms = terms(model, batch, objectives)?;
    if terms.iter().any(|terms| !terms.logits.is_empty()) || terms.iter().all(|terms| terms.reads.is_empty()) {
        // The objective is one of logits.
        model.check(batch, &HookPlan { output: Output::All, ..plan.clone() })?;
        model.head()?;
    }
    // The values of neurons that objectives read are captured behind those of the plan.
    let mut read: Vec<HookPoint> = terms.iter().flat_map(|terms| &terms.reads).map(|read| read.point).collect();
    read.sort_unstable();
    read.dedup();
    let mut own = plan.clone();
    own.capture.extend(read.iter().filter(|point| !plan.capture.contains(point)));
    model.check(batch, &own)?;
    let captured = Collect::new(&model.info, batch, &own);
    let collected = Collect::new(&model.info, batch, &wanted);
    let mut seen = [wrt.as_slice(), &read].concat();
    seen.sort_unstable();
    seen.dedup();
    let n_threads = rayon::current_num_threads();
    let groups = groups(batch, model.network.group(), n_threads);
    let run = Run {
        model,
        // As in a run without gradients.
        n_helpers: (n_threads / groups.len().max(1)).saturating_sub(1),
        batch,
        output: plan.output,
        prepared: prepared(model, &own, &seen, &terms),
        seen: &seen,
        wrt: &wrt,
        terms: &terms,
        captured: &captured,
        collected: &collected,
    };
    let parts: Vec<(Vec<f64>, Option<Array2<f32>>)> =
        groups.par_iter().with_max_len(1).map(|group| run.group(group.clone())).collect::<Result<_, ModelError>>()?;
    let (values, logits): (Vec<Vec<f64>>, Vec<Option<Array2<f32>>>) = parts.into_iter().unzip();
    let mut trace = Trace { logits: model.joined(plan.output, &logits), ..captured.finish(&own) };
    let mut values = values.concat();
    for ((value, terms), rows) in values.iter_mut().zip(&terms).zip(batch.offsets()) {
        let of = |read: &Read| read.weight * f64::from(trace.sites[&read.point][[rows + read.row, read.unit]]);
        *value += terms.reads.iter().map(of).sum::<f64>();
    }
    trace.sites.retain(|point, _| plan.capture.contains(point));
    let Trace { sites, patterns, .. } = collected.finish(&wanted);
    Ok(Gradients { values, sites, patterns, trace })
}

/// A plan whose run sees the points `seen`, and ends behind what the objectives read if they read no logits.
fn prepared<'a>(model: &LanguageModel, plan: &'a HookPlan, seen: &'a [HookPoint], terms: &[Terms<'_>]) -> Prepared<'a> {
    let prepared = Prepared::new(plan, model.info.n_ctx).of_model(&model.info);
    let of_neurons = terms.iter().all(|terms| terms.logits.is_empty()) && terms.iter().any(|own| !own.reads.is_empty());
    if of_neurons && plan.output == Output::None {
        prepared.differentiated_until_captured(seen)
    } else {
        prepared.differentiated(seen)
    }
}

/// The terms of every sentence.
fn terms<'a>(model: &LanguageModel, batch: &Batch, objectives: &'a [Objective]) -> Result<Vec<Terms<'a>>, ModelError> {
    let n_sentences = batch.n_sentences();
    if objectives.len() != 1 && objectives.len() != n_sentences {
        return Err(ModelError::ObjectiveCount { expected: n_sentences, got: objectives.len() });
    }
    let (n_logits, causal) = (model.architecture.n_logits(), model.info.causal);
    let sentences = (0..n_sentences).map(|idx| {
        let objective = &objectives[if objectives.len() == 1 { 0 } else { idx }];
        let n_source = if model.info.encoder.is_some() { batch.n_source(idx) } else { 0 };
        let tokens = batch.sentence(idx);
        Sentence { model: &model.info, idx, tokens, n_source, n_logits, causal }.terms(objective)
    });
    sentences.collect()
}

/// What all groups of a run share.
struct Run<'a> {
    model: &'a LanguageModel,
    n_helpers: usize,
    batch: &'a Batch,
    output: Output,
    prepared: Prepared<'a>,
    /// The points that the record holds, in order: those whose gradients are wanted, and those that objectives read.
    seen: &'a [HookPoint],
    /// The points whose gradients are wanted, in order.
    wrt: &'a [HookPoint],
    /// Of each sentence.
    terms: &'a [Terms<'a>],
    captured: &'a Collect,
    collected: &'a Collect,
}

impl Run<'_> {
    /// The objectives of a group of sentences, but for what they read of activations, and its logits if they are asked
    /// for.
    fn group(&self, sentences: Range<usize>) -> Result<(Vec<f64>, Option<Array2<f32>>), ModelError> {
        let (hooks, read) = if matches!(self.model.network, Network::Transformer(_)) {
            let narrow = self.narrow(sentences.clone());
            Hooks::of_copies(&self.prepared, self.captured, self.batch, sentences.clone(), narrow)
        } else {
            (Hooks::new(&self.prepared, self.captured, self.batch, sentences.clone()), sentences.clone().collect())
        };
        let tokens: Vec<u32> = read.into_iter().flat_map(|sentence| self.batch.sentence(sentence)).copied().collect();
        match self.model.engine.with_helpers(self.n_helpers, |cpu| self.differentiate(cpu, sentences, &tokens, &hooks))
        {
            Ok(found) => Ok(found),
            Err(Halt::Failed(err)) => Err(err),
            Err(Halt::Done) => unreachable!("where a run ends early is seen in it"),
        }
    }

    /// The last layer and the positions of each sentence whose logits the objectives read, if nothing else is wanted behind
    /// its attention.
    fn narrow(&self, sentences: Range<usize>) -> Option<(u16, Vec<Range<usize>>)> {
        let last = self.model.info.n_layers as u16 - 1;
        if self.output != Output::None || self.prepared.reaches(HookPoint::new(last, Site::AttnOut)) {
            return None;
        }
        let read = |sentence: usize| {
            let rows = || self.terms[sentence].logits.iter().map(|term| term.row);
            Some(rows().min()?..rows().max()? + 1)
        };
        Some((last, sentences.map(read).collect::<Option<_>>()?))
    }

    fn differentiate(
        &self,
        cpu: &Cpu,
        sentences: Range<usize>,
        tokens: &[u32],
        hooks: &Hooks<'_>,
    ) -> Result<(Vec<f64>, Option<Array2<f32>>), Halt> {
        let (model, batch) = (self.model, self.batch);
        let first_row = batch.offsets()[sentences.start];
        let tape = Tape::new(cpu);
        let x = model.embeddings.embed_group(&tape, &model.checkpoint, tokens, hooks);
        let x = match model.network.forward(&tape, x, hooks, None) {
            Ok(x) => Some(x),
            Err(Halt::Done) => None,
            Err(failed) => return Err(failed),
        };
        let asked = match &x {
            Some(x) => model.logits(cpu, x.values(), hooks, self.output)?,
            None => None,
        };
        let mut values = vec![0.0; sentences.len()];
        let result = x.map(|x| self.seed(cpu, &tape, x, sentences.clone(), hooks, &mut values)).transpose()?.flatten();
        let mut reads: Vec<Vec<Read>> = vec![Vec::new(); self.seen.len()];
        for sentence in sentences.clone() {
            let start = batch.offsets()[sentence] - first_row;
            for read in &self.terms[sentence].reads {
                let idx = self.seen.binary_search(&read.point).expect("the record holds what is read");
                reads[idx].push(Read { row: start + read.row, ..*read });
            }
        }
        tape.backward(result, &ReadAt(reads), &mut |wanted, values| {
            if let Ok(idx) = self.wrt.binary_search(&self.seen[wanted.idx]) {
                self.collected.add(idx, &wanted.piece, (sentences.start, first_row), &values);
            }
        });
        Ok((values, asked))
    }

    /// Adds to the objectives what they have of the logits; the result and its gradient, if they have any of them.
    fn seed(
        &self,
        cpu: &Cpu,
        tape: &Tape,
        x: Tensor,
        sentences: Range<usize>,
        hooks: &Hooks<'_>,
        values: &mut [f64],
    ) -> Result<Option<(Recorded, Values)>, ModelError> {
        let mut terms: Vec<Term<'_>> = Vec::new();
        // Of each term its sentence.
        let mut sentence_of = Vec::new();
        for (idx, sentence) in sentences.enumerate() {
            let mut own = self.terms[sentence].logits.clone();
            for term in &mut own {
                term.row = hooks.row_of(idx, term.row);
            }
            own.sort_by_key(|term| term.row);
            sentence_of.extend(std::iter::repeat_n(idx, own.len()));
            terms.extend(own);
        }
        if terms.is_empty() {
            return Ok(None);
        }
        let mut rows: Vec<usize> = terms.iter().map(|term| term.row).collect();
        rows.dedup();
        let logits = self.model.head()?.forward(tape, &x, Some(&rows));
        drop(x);
        let (result, mut seed) = logits.into_seed();
        for (idx, value) in sentence_of.into_iter().zip(objective::seeds(cpu, &mut seed, &rows, &terms)) {
            values[idx] += value;
        }
        Ok(Some((result, seed)))
    }
}

/// What objectives read at each point, rows counted from those of the group.
struct ReadAt(Vec<Vec<Read>>);

impl Seeds for ReadAt {
    fn any(&self, wanted: &Wanted) -> bool {
        !self.0[wanted.idx].is_empty()
    }

    fn add(&self, wanted: &Wanted, mut gradient: ArrayViewMut2<'_, f32>) {
        let width = gradient.ncols();
        let mut add = |row: usize, column: usize, weight: f64| gradient[[row, column]] += weight as f32;
        for read in &self.0[wanted.idx] {
            match &wanted.piece {
                Piece::Whole => add(read.row, read.unit, read.weight),
                Piece::Rows { rows, first_unit } => {
                    let own = rows.iter().enumerate().filter(|(_, row)| **row == Some(read.row));
                    if (*first_unit..first_unit + width).contains(&read.unit) {
                        own.for_each(|(row, _)| add(row, read.unit - first_unit, read.weight));
                    }
                }
                Piece::Sentence(_) => unreachable!("objectives read no patterns"),
            }
        }
    }
}

impl Collect {
    /// Adds a part of the `idx`th gradient that a group gives.
    fn add(
        &self,
        idx: usize,
        piece: &Piece,
        (first_sentence, first_row): (usize, usize),
        values: &ArrayView2<'_, f32>,
    ) {
        let stored = match piece {
            Piece::Whole => self.capture(idx, first_sentence, first_row, values.view()),
            Piece::Sentence(sentence) => self.pattern(idx, first_sentence + sentence, values.view()),
            Piece::Rows { rows, first_unit } => {
                let mut site = self.sites[idx].lock().unwrap_or_else(PoisonError::into_inner);
                for (row, values) in rows.iter().zip(values.rows()) {
                    let Some(row) = row else { continue };
                    let units = *first_unit..first_unit + values.len();
                    site.slice_mut(s![first_row + row, units]).assign(&values);
                }
                Ok(())
            }
        };
        stored.expect("a whole array takes every part");
    }
}
