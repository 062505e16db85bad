//! Search for the set of units that does most together.
//!
//! The best set cannot be found in reasonable time, so sets grow unit by unit: of all sets with one more unit the best
//! few are kept (Feng et al. 2018, "Pathologies of Neural Models Make Interpretations Difficult"). Where units stand in
//! for each other, all first steps are worth the same; so sets that tie with the last one kept are kept too, up to a
//! limit, those of units that come first in the candidates' order. What of the best set does nothing is dropped in the
//! end.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

#[cfg(test)]
mod tests;

/// How sets grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Search {
    /// Sets that are kept at each size; 1 is a greedy search.
    pub beam: usize,
    /// Units of a set, at most.
    pub most: usize,
    /// Sets that are kept because they tie, at most.
    pub ties: usize,
}

impl Default for Search {
    fn default() -> Self {
        Self { beam: 5, most: 20, ties: 200 }
    }
}

/// What was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Best {
    /// The units of the best set, ascending, without those that do nothing in it.
    pub set: Vec<usize>,
    /// What it does.
    pub effect: f64,
    /// The best set of each size, from 1, and what it does.
    pub sizes: Vec<(Vec<usize>, f64)>,
}

impl Search {
    /// Searches among `n` candidates, the most promising first; `effects` says what some sets do.
    ///
    /// # Errors
    /// Those of `effects`.
    pub fn run<E>(&self, n: usize, mut effects: impl FnMut(&[Vec<usize>]) -> Result<Vec<f64>, E>) -> Result<Best, E> {
        let mut best = Best { set: Vec::new(), effect: f64::NEG_INFINITY, sizes: Vec::new() };
        let mut kept: Vec<Vec<usize>> = vec![Vec::new()];
        for _ in 0..self.most.min(n) {
            let mut grown = BTreeSet::new();
            for set in &kept {
                for unit in (0..n).filter(|unit| !set.contains(unit)) {
                    let mut more = set.clone();
                    more.push(unit);
                    more.sort_unstable();
                    grown.insert(more);
                }
            }
            let grown: Vec<Vec<usize>> = grown.into_iter().collect();
            let mut found: Vec<(Vec<usize>, f64)> = grown.iter().cloned().zip(effects(&grown)?).collect();
            // Sets are in the order of their units: those of promising units come first of equals.
            found.sort_by(|(_, a), (_, b)| b.total_cmp(a));
            let last = found[self.beam.clamp(1, found.len()) - 1].1;
            let n_kept = found.iter().take_while(|(_, effect)| *effect >= last).count();
            found.truncate(n_kept.min(self.beam.max(1) + self.ties));
            if found[0].1 > best.effect {
                (best.set, best.effect) = found[0].clone();
            }
            best.sizes.push(found[0].clone());
            kept = found.into_iter().map(|(set, _)| set).collect();
        }
        prune(&mut best, effects)?;
        Ok(best)
    }
}

/// Drops units without which the set does as much.
fn prune<E>(best: &mut Best, mut effects: impl FnMut(&[Vec<usize>]) -> Result<Vec<f64>, E>) -> Result<(), E> {
    while best.set.len() > 1 {
        let without = |idx: usize| {
            let mut fewer = best.set.clone();
            fewer.remove(idx);
            fewer
        };
        // Of equals the least promising goes.
        let fewer: Vec<Vec<usize>> = (0..best.set.len()).rev().map(without).collect();
        let found = effects(&fewer)?;
        match fewer.into_iter().zip(found).find(|(_, effect)| *effect >= best.effect) {
            Some((set, effect)) => (best.set, best.effect) = (set, effect),
            None => break,
        }
    }
    Ok(())
}
