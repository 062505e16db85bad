//! Gradients of objectives with respect to activations.

use std::ops::Range;
use std::sync::PoisonError;

use ndarray::{Array2, ArrayView2, s};
use nissl_core::{Batch, CaptureSink, Gradients, HookPlan, HookPoint, ModelError, Objective, Output, Trace};
use rayon::prelude::*;

use super::{Collect, LanguageModel, groups};
use crate::engine::cpu::Cpu;
use crate::engine::tape::Tape;
use crate::engine::{Halt, Piece, Wanted};
use crate::hooks::{Hooks, Prepared};
use crate::objective::{self, Sentence, Term};

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
    // The objective is one of logits.
    model.check(batch, &HookPlan { output: Output::All, ..plan.clone() })?;
    model.check(batch, plan)?;
    model.head()?;
    let terms = terms(model, batch, objectives)?;
    let captured = Collect::new(&model.info, batch, plan);
    let collected = Collect::new(&model.info, batch, &wanted);
    let n_threads = rayon::current_num_threads();
    let groups = groups(batch, n_threads);
    let run = Run {
        model,
        // As in a run without gradients.
        n_helpers: (n_threads / groups.len().max(1)).saturating_sub(1),
        batch,
        output: plan.output,
        prepared: Prepared::new(plan, model.info.n_ctx).of_model(&model.info).differentiated(&wrt),
        terms: &terms,
        captured: &captured,
        collected: &collected,
    };
    let parts: Vec<(Vec<f64>, Option<Array2<f32>>)> =
        groups.par_iter().with_max_len(1).map(|group| run.group(group.clone())).collect::<Result<_, ModelError>>()?;
    let (values, logits): (Vec<Vec<f64>>, Vec<Option<Array2<f32>>>) = parts.into_iter().unzip();
    let trace = Trace { logits: model.joined(plan.output, &logits), ..captured.finish(plan) };
    let Trace { sites, patterns, .. } = collected.finish(&wanted);
    Ok(Gradients { values: values.concat(), sites, patterns, trace })
}

/// The terms of every sentence.
fn terms<'a>(
    model: &LanguageModel,
    batch: &Batch,
    objectives: &'a [Objective],
) -> Result<Vec<Vec<Term<'a>>>, ModelError> {
    let n_sentences = batch.n_sentences();
    if objectives.len() != 1 && objectives.len() != n_sentences {
        return Err(ModelError::ObjectiveCount { expected: n_sentences, got: objectives.len() });
    }
    let (n_logits, causal) = (model.architecture.n_logits(), model.info.causal);
    let sentences = (0..n_sentences).map(|idx| {
        let objective = &objectives[if objectives.len() == 1 { 0 } else { idx }];
        let n_source = if model.info.encoder.is_some() { batch.n_source(idx) } else { 0 };
        Sentence { idx, tokens: batch.sentence(idx), n_source, n_logits, causal }.terms(objective)
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
    /// Of each sentence.
    terms: &'a [Vec<Term<'a>>],
    captured: &'a Collect,
    collected: &'a Collect,
}

impl Run<'_> {
    /// The objectives of a group of sentences, and its logits if they are asked for.
    fn group(&self, sentences: Range<usize>) -> Result<(Vec<f64>, Option<Array2<f32>>), ModelError> {
        let hooks = Hooks::new(&self.prepared, self.captured, self.batch, sentences.clone());
        match self.model.engine.with_helpers(self.n_helpers, |cpu| self.differentiate(cpu, sentences, &hooks)) {
            Ok(found) => Ok(found),
            Err(Halt::Failed(err)) => Err(err),
            Err(Halt::Done) => unreachable!("a run that takes gradients goes on to its end"),
        }
    }

    fn differentiate(
        &self,
        cpu: &Cpu,
        sentences: Range<usize>,
        hooks: &Hooks<'_>,
    ) -> Result<(Vec<f64>, Option<Array2<f32>>), Halt> {
        let (model, batch) = (self.model, self.batch);
        let first_row = batch.offsets()[sentences.start];
        let tokens = &batch.tokens()[first_row..batch.offsets()[sentences.end]];
        let tape = Tape::new(cpu);
        let x = model.embeddings.embed_group(&tape, &model.checkpoint, tokens, hooks);
        let x = model.network.forward(&tape, x, hooks, None)?;
        let asked = model.logits(cpu, x.values(), hooks, self.output)?;

        let mut terms: Vec<Term<'_>> = Vec::new();
        // Of each term its sentence.
        let mut sentence_of = Vec::new();
        for (idx, sentence) in sentences.clone().enumerate() {
            let mut own = self.terms[sentence].clone();
            for term in &mut own {
                term.row += hooks.offsets()[idx];
            }
            own.sort_by_key(|term| term.row);
            sentence_of.extend(std::iter::repeat_n(idx, own.len()));
            terms.extend(own);
        }
        let mut rows: Vec<usize> = terms.iter().map(|term| term.row).collect();
        rows.dedup();
        let logits = model.head()?.forward(&tape, &x, Some(&rows));
        drop(x);
        let (result, mut seed) = logits.into_seed();
        let mut values = vec![0.0; sentences.len()];
        for (idx, value) in sentence_of.into_iter().zip(objective::seeds(cpu, &mut seed, &rows, &terms)) {
            values[idx] += value;
        }
        tape.backward(&result, seed, &mut |wanted, values| {
            self.collected.add(wanted, sentences.start, first_row, &values);
        });
        Ok((values, asked))
    }
}

impl Collect {
    /// Adds a part of a gradient that a group gives.
    fn add(&self, wanted: &Wanted, first_sentence: usize, first_row: usize, values: &ArrayView2<'_, f32>) {
        let stored = match &wanted.piece {
            Piece::Whole => self.capture(wanted.idx, first_sentence, first_row, values.view()),
            Piece::Sentence(sentence) => self.pattern(wanted.idx, first_sentence + sentence, values.view()),
            Piece::Rows { rows, first_unit } => {
                let mut site = self.sites[wanted.idx].lock().unwrap_or_else(PoisonError::into_inner);
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
