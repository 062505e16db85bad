//! How well a model expects the tokens of a text.

use ndarray::ArrayView1;
use nissl_core::{Batch, EditSpec, HookPlan, Model, ModelError, Output};
use rayon::prelude::*;

use crate::generate::log_sum_exp;
use crate::language_model::LanguageModel;

impl LanguageModel {
    /// Whether the model's logits say which token comes next.
    ///
    /// # Errors
    /// If it has none, or they say something else.
    pub(crate) fn check_next(&self) -> Result<(), ModelError> {
        let info = self.info();
        let why = if !info.has_logits {
            return Err(ModelError::NoLogits { model: info.name.clone() });
        } else if !info.causal {
            "a position of it sees those after it".to_owned()
        } else if self.n_logits() != info.d_vocab {
            format!("it has {} outputs for {} tokens", self.n_logits(), info.d_vocab)
        } else {
            return Ok(());
        };
        Err(ModelError::CannotGenerate { model: info.name.clone(), why })
    }

    /// The log-probability of every token given those before it in its sentence, in nats, `[n_tokens]`: of the first
    /// of a sentence, which nothing expects, it is 0. The logits of the whole batch are held at once.
    ///
    /// # Errors
    /// [`ModelError::CannotGenerate`] if a position sees those after it, or the logits are not of tokens; else as
    /// [`Model::run`].
    pub fn log_probabilities(&self, batch: &Batch, edits: &[EditSpec]) -> Result<Vec<f64>, ModelError> {
        self.check_next()?;
        let plan = HookPlan { output: Output::All, edits: edits.to_vec(), ..HookPlan::default() };
        let logits = self.run(batch, &plan)?.logits.expect("they were asked for");
        let next: Vec<Option<u32>> = (0..batch.n_sentences())
            .flat_map(|sentence| {
                let tokens = batch.sentence(sentence);
                tokens.iter().skip(1).copied().map(Some).chain((!tokens.is_empty()).then_some(None))
            })
            .collect();
        let expected = |(row, next): (ArrayView1<'_, f32>, &Option<u32>)| {
            let row = row.to_slice().expect("rows of a fresh array are contiguous");
            next.map_or(0.0, |token| f64::from(row[token as usize]) - log_sum_exp(row))
        };
        // What is expected after a token is what its row says; each is kept with the token that came.
        let rows: Vec<_> = logits.rows().into_iter().zip(&next).collect();
        let after: Vec<f64> = rows.into_par_iter().with_min_len(16).map(expected).collect();
        let mut own = Vec::with_capacity(after.len());
        for sentence in 0..batch.n_sentences() {
            let rows = batch.offsets()[sentence]..batch.offsets()[sentence + 1];
            own.extend((!rows.is_empty()).then_some(0.0));
            own.extend(&after[rows.start..rows.end.saturating_sub(1).max(rows.start)]);
        }
        Ok(own)
    }
}
