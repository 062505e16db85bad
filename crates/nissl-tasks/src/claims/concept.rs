//! A concept: a label, a word list, a regular expression, a condition.

use super::{Claim, Foretold, Told};
use crate::error::TaskError;
use crate::labels::labels;

pub(super) fn foretell(claim: &Claim, told: &Told<'_>) -> Option<Result<Foretold, TaskError>> {
    claim.concept.as_ref().map(|concept| {
        let labels = labels(told.store, std::slice::from_ref(concept), None)?;
        match labels.concepts().len() {
            1 => Ok(Foretold::Fires(labels.mask(0))),
            n => {
                let names = labels.concepts().iter().take(5).map(|concept| concept.name.as_str());
                let got = format!("{n} by '{concept}': {}", names.collect::<Vec<_>>().join(", "));
                Err(TaskError::config("concept", "one concept, such as upos: NOUN", got))
            }
        }
    })
}
