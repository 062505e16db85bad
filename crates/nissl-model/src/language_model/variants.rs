//! Many variants of one sentence, with what they share computed once.
//!
//! A run of the sentence as all variants have it gives what enters the block of the first edit; in a causal model also
//! the past of the positions before the first edited one. From there chunks of variants go together: one sentence's
//! rows up to the first edit, every variant's own after it, and in the last block, after its attention, only the rows
//! whose logits are wanted. Layers of LSTM are run variant by variant.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use ndarray::{ArrayView2, s};
use nissl_core::{
    Batch, CaptureSink, EditSpec, HookPlan, HookPoint, Model, ModelError, Output, Positions, Site, Trace, VariantSink,
    Variants,
};
use rayon::prelude::*;

use super::LanguageModel;
use crate::arch::AnswersAt;
use crate::engine::cpu::Cpu;
use crate::engine::{Engine, Halt};
use crate::hooks::{Fan, Hooks, NoCapture, Part, Prepared};
use crate::skeletons::{Network, Past, Transformer};

/// Variants that go together.
struct Chunk {
    variants: Vec<usize>,
    start: Start,
}

/// Where variants part from the sentence as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Start {
    /// The block that they begin with; none if they begin with the embeddings.
    block: Option<usize>,
    /// The first position that may differ.
    position: usize,
}

/// See [`Model::run_variants`].
pub(super) fn run(model: &LanguageModel, asked: &Variants<'_>, sink: &dyn VariantSink) -> Result<(), ModelError> {
    asked.check_positions()?;
    let batch = Batch::from_sentences([asked.sentence]);
    for idx in 0..asked.edits.len() {
        model.check(&batch, &asked.plan_of(idx))?;
    }
    let captures_patterns = asked.plan.capture.iter().any(|point| point.site().is_ragged());
    let (Network::Transformer(network), false, false) = (&model.network, captures_patterns, asked.sentence.is_empty())
    else {
        return (0..asked.edits.len()).into_par_iter().try_for_each(|idx| sink.variant(idx, asked.alone(model, idx)?));
    };
    let (mut starts, mut plain) = (BTreeMap::<Start, Vec<usize>>::new(), Vec::new());
    for (idx, edits) in asked.edits.iter().enumerate() {
        match start(model, asked, edits) {
            Some(start) => starts.entry(start).or_default().push(idx),
            None => plain.push(idx),
        }
    }
    plain.into_par_iter().try_for_each(|idx| sink.variant(idx, asked.alone(model, idx)?))?;
    let shared = Shared::new(model, asked, starts.keys())?;
    let mut chunks = Vec::new();
    for (start, variants) in starts {
        let rows = asked.sentence.len() - start.position;
        for variants in variants.chunks((model.network.group() / rows).max(1)) {
            chunks.push(Chunk { variants: variants.to_vec(), start });
        }
    }
    chunks.into_par_iter().with_max_len(1).try_for_each(|chunk| {
        let traces = match shared.run(network, &chunk) {
            Ok(traces) => traces,
            Err(Halt::Failed(err)) => return Err(err),
            Err(Halt::Done) => return Err(ModelError::Engine { what: "variants ended before their edits".to_owned() }),
        };
        chunk.variants.into_iter().zip(traces).try_for_each(|(idx, trace)| sink.variant(idx, trace))
    })
}

/// Where a variant parts from the sentence; none if it has no edits.
fn start(model: &LanguageModel, asked: &Variants<'_>, edits: &[EditSpec]) -> Option<Start> {
    let info = model.info();
    let first = edits.iter().map(|edit| edit.point).min()?;
    let block_of = |point: HookPoint| match (point.site(), point.layer()) {
        (Site::Embed, _) => None,
        (_, layer) => Some(layer.map_or(info.n_layers, usize::from)),
    };
    let mut block = block_of(first);
    // What conditions ask for must be computed on the way.
    loop {
        let reach = |edit: &&EditSpec| block_of(edit.point) >= block;
        let all = asked.plan.edits.iter().chain(edits).filter(reach);
        let asked_for = all.filter_map(|edit| edit.when.as_ref()).map(|when| block_of(when.neuron.point)).min();
        match asked_for {
            Some(earlier) if earlier < block => block = earlier,
            _ => break,
        }
    }
    let mut position = 0;
    let patterns = asked.plan.edits.iter().chain(edits).any(|edit| edit.point.site().is_ragged());
    // An edited pattern may look ahead, at positions that differ.
    if info.causal && !patterns {
        let n_tokens = asked.sentence.len();
        let wanted = wanted(model, asked).map_or(n_tokens, |at| at.start);
        let earliest = edits.iter().map(|edit| first_position(&edit.positions, n_tokens)).min()?;
        position = earliest.min(wanted).min(n_tokens - 1);
    }
    Some(Start { block, position })
}

/// The first position that an edit may act on.
fn first_position(positions: &Positions, n_tokens: usize) -> usize {
    let place = |place: i64| usize::try_from(if place < 0 { place + n_tokens as i64 } else { place }).ok();
    match positions {
        Positions::All => 0,
        Positions::InSentence(places) => {
            let places = places.iter().filter_map(|&at| place(at));
            places.filter(|&at| at < n_tokens).min().unwrap_or(n_tokens)
        }
        Positions::Rows(rows) => rows.iter().copied().min().unwrap_or(n_tokens),
        Positions::From(at) => place(*at).unwrap_or(0),
        Positions::Generated => n_tokens,
    }
}

/// The positions whose logits are wanted; none if there are no logits.
fn wanted(model: &LanguageModel, asked: &Variants<'_>) -> Option<Range<usize>> {
    let n_tokens = asked.sentence.len();
    match asked.plan.output {
        Output::None => None,
        Output::Last if model.architecture.answers_at() == AnswersAt::First => Some(0..1),
        Output::Last => Some(n_tokens - 1..n_tokens),
        Output::All => Some(asked.logits_at.clone().unwrap_or(0..n_tokens)),
    }
}

/// What all variants share.
struct Shared<'a> {
    model: &'a LanguageModel,
    asked: &'a Variants<'a>,
    /// The sentence with the plan's edits: what variants begin with, and what is captured.
    trace: Trace,
    /// The past of the positions before a first edited one.
    pasts: BTreeMap<usize, Past<Cpu>>,
}

impl<'a> Shared<'a> {
    fn new<'s>(
        model: &'a LanguageModel,
        asked: &'a Variants<'a>,
        starts: impl Iterator<Item = &'s Start> + Clone,
    ) -> Result<Self, ModelError> {
        let capture: Vec<HookPoint> =
            starts.clone().filter_map(|start| start.block).map(entry).chain(asked.plan.capture.clone()).collect();
        let batch = Batch::from_sentences([asked.sentence]);
        let plan = HookPlan { capture, edits: asked.plan.edits.clone(), output: Output::None };
        let trace = model.run(&batch, &plan)?;
        let mut pasts = BTreeMap::new();
        for position in starts.map(|start| start.position).filter(|&position| position > 0) {
            if pasts.contains_key(&position) {
                continue;
            }
            let Some(mut past) = model.past(1) else { continue };
            // Everything that leaves keys and values behind: up to the last block.
            let edits = HookPlan { edits: asked.plan.edits.clone(), output: Output::Last, ..HookPlan::default() };
            let prepared = Prepared::new(&edits, model.info.n_ctx);
            let hooks = Hooks::of_parts(&prepared, &NoCapture, vec![Part::new(0..asked.sentence.len(), 0..position)]);
            match model.run_group(&model.engine, &asked.sentence[..position], &hooks, Some(&mut past), Output::None) {
                Ok(_) | Err(Halt::Done) => {}
                Err(Halt::Failed(err)) => return Err(err),
            }
            past.grows = false;
            pasts.insert(position, past);
        }
        Ok(Self { model, asked, trace, pasts })
    }

    /// What the variants of a chunk give.
    fn run(&self, network: &Transformer<Cpu>, chunk: &Chunk) -> Result<Vec<Trace>, Halt> {
        let Self { model, asked, .. } = *self;
        let (engine, info) = (&model.engine, &model.info);
        let edits: Vec<&[EditSpec]> = chunk.variants.iter().map(|&idx| asked.edits[idx].as_slice()).collect();
        let n_variants = edits.len();
        let prepared = Prepared::with_variants(asked.plan, &edits, info.n_ctx);
        let Start { block, position } = chunk.start;
        let positions = position..asked.sentence.len();
        let at = edits.iter().copied().flatten().map(|edit| edit.point).min();
        let at = at.unwrap_or(HookPoint::new(0, Site::FinalNorm));
        let last = info.n_layers - 1;
        let captures_end = asked.plan.capture.iter().any(|&point| point >= HookPoint::new(last as u16, Site::AttnOut));
        let narrow = wanted(model, asked).filter(|_| !captures_end).map(|wanted| (last as u16, wanted));
        let collect = Collect::new(self, at, position, n_variants);
        let fan = Fan { sentence: 0..asked.sentence.len(), positions: positions.clone(), at, narrow };
        let hooks = Hooks::of_variants(&prepared, &collect, fan);
        let mut past = self.pasts.get(&position).map(|past| past.choose(engine, &vec![0; n_variants]));
        let x = if let Some(block) = block {
            let entering = &self.trace.sites[&entry(block)];
            let x = engine.embed(positions.len(), entering.ncols(), &|row, values| {
                entering.row(position + row).iter().zip(values).for_each(|(from, to)| *to = *from);
            });
            network.blocks_from(engine, x, block, &hooks, past.as_mut())
        } else {
            let tokens = &asked.sentence[positions.clone()];
            let x = model.embeddings.embed(engine, &model.checkpoint, tokens, hooks.positions());
            network.forward(engine, x, &hooks, past.as_mut())
        };
        let logits = match (x, wanted(model, asked)) {
            (Ok(x), Some(wanted)) => {
                let first = if hooks.is_narrow() { wanted.start } else { position };
                let each = |&row: &usize| wanted.clone().map(move |at| row + at - first).collect::<Vec<_>>();
                let n_parts = hooks.offsets().len() - 1;
                let rows: Vec<usize> = hooks.offsets()[..n_parts].iter().flat_map(each).collect();
                Some(engine.read(&model.head()?.forward(engine, &x, Some(&rows))))
            }
            (Ok(_), None) | (Err(Halt::Done), _) => None,
            (Err(failed), _) => return Err(failed),
        };
        let mut traces = collect.finish();
        if let (Some(logits), Some(wanted)) = (logits, wanted(model, asked)) {
            for (variant, trace) in traces.iter_mut().enumerate() {
                let rows = variant * wanted.len()..(variant + 1) * wanted.len();
                trace.logits = Some(logits.slice(s![rows, ..]).to_owned());
            }
        }
        Ok(traces)
    }
}

/// What enters a block, or the final norm, after all edits before it.
fn entry(block: usize) -> HookPoint {
    match block.checked_sub(1) {
        Some(before) => HookPoint::new(before as u16, Site::ResidPost),
        None => HookPoint::new(0, Site::Embed),
    }
}

/// Puts together what is captured of each variant.
struct Collect<'a> {
    shared: &'a Shared<'a>,
    /// Where each has its own rows.
    fan_at: HookPoint,
    /// The first position that is read; those before it are all variants'.
    position: usize,
    traces: Mutex<Vec<Trace>>,
}

impl<'a> Collect<'a> {
    /// Every variant with the captures of the sentence, until its own come.
    fn new(shared: &'a Shared<'a>, fan_at: HookPoint, position: usize, n_variants: usize) -> Self {
        let mut trace = Trace::default();
        for point in &shared.asked.plan.capture {
            trace.sites.insert(*point, shared.trace.sites[point].clone());
        }
        Self { shared, fan_at, position, traces: Mutex::new(vec![trace; n_variants]) }
    }

    fn finish(self) -> Vec<Trace> {
        self.traces.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CaptureSink for Collect<'_> {
    fn capture(&self, idx: usize, _: usize, _: usize, values: ArrayView2<'_, f32>) -> Result<(), ModelError> {
        let point = self.shared.asked.plan.capture[idx];
        if point < self.fan_at {
            return Ok(()); // what all share is there
        }
        let mut traces = self.traces.lock().unwrap_or_else(PoisonError::into_inner);
        let n_rows = values.nrows() / traces.len().max(1);
        for (variant, trace) in traces.iter_mut().enumerate() {
            let own = values.slice(s![variant * n_rows..(variant + 1) * n_rows, ..]);
            if let Some(site) = trace.sites.get_mut(&point) {
                site.slice_mut(s![self.position.., ..]).assign(&own);
            }
        }
        Ok(())
    }
}
