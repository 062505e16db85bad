//! Many variants of one sentence, each with edits of its own.

use std::ops::Range;

use ndarray::s;

use crate::batch::Batch;
use crate::error::ModelError;
use crate::model::{Model, Trace};
use crate::plan::{EditSpec, HookPlan, Output};

/// A sentence and what differs from variant to variant: typically one edited neuron.
#[derive(Clone, Debug)]
pub struct Variants<'a> {
    /// The tokens.
    pub sentence: &'a [u32],
    /// What is captured of every variant, which logits, and edits that all have.
    pub plan: &'a HookPlan,
    /// The edits of each variant, which act after the plan's.
    pub edits: &'a [Vec<EditSpec>],
    /// With [`Output::All`], the positions whose logits are wanted; all of them if `None`.
    pub logits_at: Option<Range<usize>>,
}

/// Receives what variants gave, from several threads at once and in any order.
pub trait VariantSink: Sync {
    /// What [`Model::run`] gives for the sentence alone with the plan's edits and those of this variant; the logits of
    /// [`Variants::logits_at`] alone.
    ///
    /// # Errors
    /// Whatever it returns stops the run.
    fn variant(&self, idx: usize, trace: Trace) -> Result<(), ModelError>;
}

impl Variants<'_> {
    /// The plan of one variant.
    pub fn plan_of(&self, idx: usize) -> HookPlan {
        let mut plan = self.plan.clone();
        plan.edits.extend_from_slice(&self.edits[idx]);
        plan
    }

    /// Runs one variant by itself.
    ///
    /// # Errors
    /// As [`Model::run`], or if `logits_at` is no part of the sentence.
    pub fn alone<M: Model + ?Sized>(&self, model: &M, idx: usize) -> Result<Trace, ModelError> {
        self.check_positions()?;
        let mut trace = model.run(&Batch::from_sentences([self.sentence]), &self.plan_of(idx))?;
        if let (Some(at), Output::All, Some(logits)) = (&self.logits_at, self.plan.output, &mut trace.logits) {
            *logits = logits.slice(s![at.clone(), ..]).to_owned();
        }
        Ok(trace)
    }

    /// Checks `logits_at` against the sentence.
    ///
    /// # Errors
    /// If it is no part of it.
    pub fn check_positions(&self) -> Result<(), ModelError> {
        let n_tokens = self.sentence.len();
        match &self.logits_at {
            Some(at) if at.start > at.end || at.end > n_tokens => {
                let what = format!("logits at {at:?}: expected positions of a sentence of {n_tokens} tokens");
                Err(ModelError::Engine { what })
            }
            _ => Ok(()),
        }
    }
}
