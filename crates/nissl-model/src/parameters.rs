//! Gradients of the cross-entropy with respect to every parameter of a checkpoint.
//!
//! Sentences are taken in groups that do not depend on the number of threads, and sums over them run in their order: the
//! same batch gives the same bits on any number of threads.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use ndarray::Array2;
use nissl_core::{Batch, HookPlan, ModelError, ModelInfo};
use rayon::prelude::*;

use crate::arch::Architecture;
use crate::blocks::head::Head;
use crate::checkpoint::Checkpoint;
use crate::engine::cpu::{Cpu, Norm, Weights};
use crate::engine::tape::{Gradients, Parameters, Tape};
use crate::engine::{Halt, Piece, Wanted};
use crate::hooks::{Hooks, NoCapture, Prepared};
use crate::objective::{self, Term};
use crate::skeletons::{LaidOut, Network};
use crate::weights::Embeddings;

/// Tokens of a group at least: as few as keep some threads busy with a small batch.
const GROUP: usize = 64;
/// Groups into which a batch is cut, as long as they are of such a size.
const GROUPS: usize = 8;

/// A model whose parameters are to be changed.
#[derive(Clone, Copy)]
pub(crate) struct Trained<'a> {
    pub(crate) info: &'a ModelInfo,
    pub(crate) architecture: &'a Architecture,
    pub(crate) checkpoint: &'a Checkpoint,
    pub(crate) embeddings: &'a Embeddings,
    pub(crate) engine: &'a Cpu,
    pub(crate) network: &'a Network<Cpu>,
    pub(crate) head: &'a Head<Cpu>,
}

/// The loss of a batch and its gradient.
#[derive(Clone, Debug, PartialEq)]
pub struct ParameterGradients {
    /// The sum of the cross-entropies, in nats.
    pub loss: f64,
    /// How many targets there are.
    pub n_targets: usize,
    /// The gradient of the sum with respect to every parameter that the model reads, by the checkpoint's name, in the
    /// checkpoint's shape, flat.
    pub gradients: BTreeMap<String, Vec<f32>>,
}

/// Runs a batch and takes the gradient of the sum of the cross-entropies with `targets`, `[n_tokens]`: what each
/// position should expect, none where it does not count.
///
/// # Errors
/// If a sentence or a token does not fit the model, or if the checkpoint holds the weights in another order than they
/// are used.
pub(crate) fn parameter_gradients(
    model: &Trained<'_>,
    batch: &Batch,
    targets: &[Option<u32>],
) -> Result<ParameterGradients, ModelError> {
    crate::language_model::check_batch(model.info, batch)?;
    model.check(targets, batch)?;
    let all = model.laid_out();
    check_names(model, &all)?;
    let parameters = Arc::new(Parameters::new(&all.linears, &all.norms));
    let groups: Vec<Range<usize>> = groups(batch, model.network.group())
        .into_iter()
        .filter(|group| targets[batch.offsets()[group.start]..batch.offsets()[group.end]].iter().any(Option::is_some))
        .collect();
    let n_threads = rayon::current_num_threads();
    let run = Run { model, batch, targets, parameters: &parameters };
    let n_helpers = (n_threads / groups.len().max(1)).saturating_sub(1);
    let parts: Vec<(f64, Array2<f32>)> = groups
        .par_iter()
        .with_max_len(1)
        .enumerate()
        .map(|(number, group)| model.engine.with_helpers(n_helpers, |cpu| run.group(cpu, number, group.clone())))
        .collect::<Result<_, ModelError>>()?;

    let mut gradients = Gradients::new();
    let parameters = Arc::into_inner(parameters).expect("no record is left that shares the parameters");
    parameters.finish(&mut gradients);
    let mut embedded = model.embeddings.gradients(model.checkpoint);
    for (group, (_, gradient)) in groups.iter().zip(&parts) {
        let rows = batch.offsets()[group.start]..batch.offsets()[group.end];
        let positions: Vec<usize> = group.clone().flat_map(|sentence| 0..batch.sentence(sentence).len()).collect();
        model.embeddings.add_gradient(&batch.tokens()[rows], &positions, &gradient.view(), &mut embedded);
    }
    // Tied embeddings are a matrix of the head too.
    for (name, gradient) in embedded {
        match gradients.get_mut(&name) {
            Some(sum) => sum.iter_mut().zip(gradient).for_each(|(sum, part)| *sum += part),
            None => drop(gradients.insert(name, gradient)),
        }
    }
    let loss = parts.iter().fold(0.0, |sum, (loss, _)| sum + loss);
    Ok(ParameterGradients { loss, n_targets: targets.iter().flatten().count(), gradients })
}

impl<'a> Trained<'a> {
    fn laid_out(&self) -> LaidOut<'a, Cpu> {
        let mut all = self.network.laid_out();
        all.linears.extend(self.head.dense.iter().map(|(dense, _)| dense));
        all.norms.extend(&self.head.norm);
        all.linears.push(&self.head.decoder);
        all
    }

    fn check(&self, targets: &[Option<u32>], batch: &Batch) -> Result<(), ModelError> {
        if targets.len() != batch.n_tokens() {
            let what = format!("targets: expected one for each of {} tokens, got {}", batch.n_tokens(), targets.len());
            return Err(ModelError::Engine { what });
        }
        let n_logits = self.architecture.n_logits();
        match targets.iter().flatten().find(|&&token| token as usize >= n_logits) {
            Some(token) => {
                Err(ModelError::Engine { what: format!("targets: expected one of {n_logits} logits, got {token}") })
            }
            None => Ok(()),
        }
    }
}

/// Every gradient must have a name and one layout.
fn check_names(model: &Trained<'_>, all: &LaidOut<'_, Cpu>) -> Result<(), ModelError> {
    let linear = |w: &&Arc<Weights>| {
        let named = |name: &String| !name.is_empty();
        w.origins.iter().all(|part| named(&part.weight) && part.bias.as_ref().is_none_or(named))
            && w.origins.iter().all(|part| part.transposed == w.origins[0].transposed)
    };
    let norm = |norm: &&Arc<Norm>| !norm.names.0.is_empty();
    // Biases by distance and the constants of states are read value by value, vectors of distances are made of several
    // weights: no gradients. Sources and targets have no one loss.
    let read_by_value = match model.network {
        Network::Transformer(network) => {
            !network.biases.is_empty() || network.blocks.iter().any(|block| block.mixer.has_relative_positions())
        }
        Network::EncoderDecoder(_) | Network::StateSpace(_) => true,
        Network::Recurrent(_) => false,
    };
    if !read_by_value && all.linears.iter().all(linear) && all.norms.iter().all(norm) {
        Ok(())
    } else {
        Err(ModelError::NotTrainable { model: model.info.name.clone(), family: model.info.family.clone() })
    }
}

/// Whole sentences in groups, whose size depends on the batch alone.
fn groups(batch: &Batch, most: usize) -> Vec<Range<usize>> {
    crate::language_model::groups_of(batch, batch.n_tokens().div_ceil(GROUPS).clamp(GROUP, most))
}

/// What all groups of a run share.
struct Run<'a> {
    model: &'a Trained<'a>,
    batch: &'a Batch,
    targets: &'a [Option<u32>],
    parameters: &'a Arc<Parameters>,
}

impl Run<'_> {
    /// The loss of a group of sentences and its gradient with respect to what the embeddings gave, `[T, width]`.
    fn group(&self, cpu: &Cpu, number: usize, sentences: Range<usize>) -> Result<(f64, Array2<f32>), ModelError> {
        let Self { model, batch, .. } = *self;
        let plan = HookPlan::default();
        let prepared = Prepared::new(&plan, model.info.n_ctx).differentiated(&[]);
        let hooks = Hooks::new(&prepared, &NoCapture, batch, sentences.clone());
        let rows = batch.offsets()[sentences.start]..batch.offsets()[sentences.end];
        let tape = Tape::of_parameters(cpu, self.parameters, number);
        let mut x = model.embeddings.embed(&tape, model.checkpoint, &batch.tokens()[rows.clone()], hooks.positions());
        tape.want(&mut x, Wanted { idx: 0, piece: Piece::Whole });
        let x = match model.network.forward(&tape, x, &hooks, None) {
            Ok(x) => x,
            Err(Halt::Failed(err)) => return Err(err),
            Err(Halt::Done) => unreachable!("a run that takes gradients goes on to its end"),
        };
        let targets = self.targets[rows.clone()].iter().enumerate();
        let terms: Vec<Term<'_>> =
            targets.filter_map(|(row, target)| target.map(|token| Term::cross_entropy(row, token))).collect();
        let read: Vec<usize> = terms.iter().map(|term| term.row).collect();
        let (result, mut seed) = model.head.forward(&tape, &x, Some(&read)).into_seed();
        drop(x);
        let losses = objective::seeds(cpu, &mut seed, &read, &terms);
        let mut gradient = Array2::zeros((rows.len(), model.embeddings.width()));
        tape.backward(Some((result, seed)), &(), &mut |_, values| gradient.assign(&values));
        Ok((losses.iter().sum(), gradient))
    }
}

#[cfg(test)]
mod tests;
