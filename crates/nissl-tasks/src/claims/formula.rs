//! A formula of words and labels.

use nissl_data::DataError;
use nissl_methods::evaluation::formula::Formula;

use super::{Claim, Foretold, Told};
use crate::error::TaskError;
use crate::labels::{labels, of_all_columns};

pub(super) fn foretell(claim: &Claim, told: &Told<'_>) -> Option<Result<Foretold, TaskError>> {
    claim.formula.as_ref().map(|text| {
        let labels = if claim.labels.is_empty() && claim.labels_file.is_none() {
            of_all_columns(told.store)?
        } else {
            labels(told.store, &claim.labels, claim.labels_file.as_deref())?
        };
        let formula = Formula::parse(text, &labels).map_err(|err| DataError::Expression {
            text: text.clone(),
            at: err.at,
            expected: err.expected,
            got: err.got,
        })?;
        Ok(Foretold::Fires(formula.rows(told.text, &labels)))
    })
}
