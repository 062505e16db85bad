//! How attention looks at relative positions: what stands for a distance, and the matrices of a layer that read it.

use std::ops::RangeInclusive;

use super::{Config, Matrix};
use crate::error::LoadError;

/// The most distances that a table may have on each side.
const MAX_SPAN: usize = 1 << 20;

/// Vectors of relative positions, with which a layer multiplies its queries, its keys, or both.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RelativeVectors {
    pub(crate) embedded: Distances,
    /// Makes of them what queries are multiplied with.
    pub(crate) keys: Option<Matrix>,
    /// Makes of them what keys are multiplied with.
    pub(crate) queries: Option<Matrix>,
    /// The vector that queries have in place of their bias where they meet positions, `[n_heads d_head]`.
    pub(crate) query_bias: Option<&'static str>,
}

/// What stands for a distance, `[d_model]`.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Distances {
    /// A row of a table `[2 span, d_model]`.
    Table {
        name: &'static str,
        /// The norm of its rows.
        norm: Option<&'static str>,
        span: usize,
        /// Where distances beyond half of the span share rows, the largest one.
        furthest: Option<usize>,
    },
    /// Sines of the distance, then cosines, from fast to slow.
    Waves {
        /// Distances from here on are one.
        furthest: Option<usize>,
    },
}

impl Distances {
    /// The place of a distance, key - query: the row of the table, or how far the key is behind. Keys that are further
    /// back have later places, or the same.
    pub(crate) fn place(&self, distance: i64) -> i64 {
        let back = -distance;
        match *self {
            Self::Waves { furthest: None } => back,
            Self::Waves { furthest: Some(furthest) } => back.clamp(-(furthest as i64), furthest as i64),
            Self::Table { span, furthest, .. } => {
                let (span, middle) = (span as i64, (span / 2) as i64);
                let row = match furthest {
                    Some(furthest) if back.abs() > middle => {
                        // In 32 bits, as the reference computes it.
                        let part = (back.abs() as f32 / middle as f32).ln();
                        let whole = ((furthest as f64 - 1.0) / middle as f64) as f32;
                        let steps = (part / whole.ln() * (middle - 1) as f32).ceil() as i64;
                        steps.clamp(0, span).saturating_add(middle) * back.signum()
                    }
                    _ => back,
                };
                (row + span).clamp(0, 2 * span - 1)
            }
        }
    }

    /// The places of all distances in texts of up to `n` tokens.
    pub(crate) fn places(&self, n: usize) -> RangeInclusive<i64> {
        let furthest = n as i64 - 1;
        self.place(furthest)..=self.place(-furthest)
    }

    /// Sizes that no computation could use.
    pub(super) fn check(&self, config: &Config) -> Result<(), LoadError> {
        match *self {
            Self::Table { span, .. } if !(1..=MAX_SPAN).contains(&span) => {
                Err(config.wrong("number of relative positions", format!("1 to {MAX_SPAN}"), span))
            }
            Self::Table { .. } | Self::Waves { .. } => Ok(()),
        }
    }
}
