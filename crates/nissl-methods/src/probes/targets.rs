//! What a probe is to predict.

use nissl_core::MethodError;

/// The value that each row is to have, a number for each output.
#[derive(Clone, Debug)]
pub(crate) enum Targets {
    /// One of `n` classes.
    Classes { of: Vec<u32>, n: usize },
    /// Any of `n` concepts, `[n_rows, n]`.
    Sets { has: Vec<bool>, n: usize },
    /// A number.
    Numbers(Vec<f64>),
}

impl Targets {
    /// Number of outputs.
    pub(crate) fn n_outputs(&self) -> usize {
        match self {
            Self::Classes { n, .. } | Self::Sets { n, .. } => *n,
            Self::Numbers(_) => 1,
        }
    }

    /// Number of rows.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Classes { of, .. } => of.len(),
            Self::Sets { has, n } => has.len() / n.max(&1),
            Self::Numbers(values) => values.len(),
        }
    }

    /// What output `k` of a row should be: 0 or 1, or the number.
    pub(crate) fn value(&self, row: usize, k: usize) -> f64 {
        match self {
            Self::Classes { of, .. } => f64::from(u8::from(of[row] as usize == k)),
            Self::Sets { has, n } => f64::from(u8::from(has[row * n + k])),
            Self::Numbers(values) => values[row],
        }
    }

    /// Classes as concepts that a row has or has not; the rest as they are.
    pub(crate) fn one_by_one(self) -> Self {
        let Self::Classes { of, n } = &self else { return self };
        let has = of.iter().flat_map(|&class| (0..*n as u32).map(move |other| other == class)).collect();
        Self::Sets { has, n: *n }
    }

    /// Weights of the rows, mean 1, by which every class weighs the same; `None` where there are no classes.
    pub(crate) fn balanced(&self) -> Option<Vec<f64>> {
        let Self::Classes { of, n } = self else { return None };
        let mut counts = vec![0_usize; *n];
        for &class in of {
            counts[class as usize] += 1;
        }
        let present = counts.iter().filter(|&&count| count > 0).count();
        let weight = |&class: &u32| of.len() as f64 / (present as f64 * counts[class as usize] as f64);
        Some(of.iter().map(weight).collect())
    }

    /// Refuses targets that leave nothing to learn.
    ///
    /// # Errors
    /// [`MethodError::TooFewConcepts`] if all rows are of one class, or there are none.
    pub(crate) fn check(&self, method: &'static str) -> Result<(), MethodError> {
        let few = |expected, got| Err(MethodError::TooFewConcepts { method, expected, got, dropped: String::new() });
        match self {
            Self::Classes { of, .. } => {
                let first = of.first();
                if of.iter().all(|class| Some(class) == first) { few(2, usize::from(first.is_some())) } else { Ok(()) }
            }
            _ if self.len() == 0 => few(1, 0),
            _ => Ok(()),
        }
    }
}
