//! The labeled rows of each part of a split.

use nissl_core::{Context, LabeledActivations, MethodError};

use super::design::row_keys;
use super::split::{Part, Split, SplitOptions};

/// Splits by sentence where the words are known, else by row, told apart by their values.
///
/// # Errors
/// If the activations cannot be read.
pub(crate) fn split(
    data: LabeledActivations<'_>,
    options: SplitOptions,
    ctx: Context<'_>,
    method: &'static str,
) -> Result<Split, MethodError> {
    options.check(method)?;
    match data.text {
        Some(text) => Ok(Split::by_sentence(text, options)),
        None => Ok(Split::by_keys(&row_keys(data.x, ctx, method)?, options)),
    }
}

/// Rows of the three parts, one part behind the other: what a design is made of.
#[derive(Clone, Debug)]
pub(crate) struct Parts {
    /// All rows.
    pub(crate) rows: Vec<usize>,
    /// How many of them are to fit on.
    pub(crate) n_train: usize,
    /// How many after them are to choose by.
    pub(crate) n_dev: usize,
}

impl Parts {
    /// The rows of a split that `has` a target.
    ///
    /// # Errors
    /// [`MethodError::TooFewRows`] if a part that is `needed` has none.
    pub(crate) fn new(
        split: &Split,
        has: impl Fn(usize) -> bool,
        needed: &[Part],
        method: &'static str,
    ) -> Result<Self, MethodError> {
        let of_part = |part: Part| split.rows(part).into_iter().filter(|&row| has(row)).collect::<Vec<_>>();
        let (mut rows, dev, test) = (of_part(Part::Train), of_part(Part::Dev), of_part(Part::Test));
        let counts = [(Part::Train, rows.len()), (Part::Dev, dev.len()), (Part::Test, test.len())];
        if let Some((part, _)) = counts.iter().find(|(part, n)| needed.contains(part) && *n == 0) {
            let concept = format!("any, in the {part:?} part of the split").to_lowercase();
            return Err(MethodError::TooFewRows { method, concept, expected: 1, got: 0 });
        }
        let (n_train, n_dev) = (rows.len(), dev.len());
        rows.extend(dev);
        rows.extend(test);
        Ok(Self { rows, n_train, n_dev })
    }

    /// The rows of a part.
    pub(crate) fn of(&self, part: Part) -> &[usize] {
        &self.rows[self.range(part)]
    }

    /// Where a part lies in [`Parts::rows`].
    pub(crate) fn range(&self, part: Part) -> std::ops::Range<usize> {
        let dev = self.n_train + self.n_dev;
        match part {
            Part::Train => 0..self.n_train,
            Part::Dev => self.n_train..dev,
            Part::Test => dev..self.rows.len(),
        }
    }
}
