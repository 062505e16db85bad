//! How well an explanation of a neuron foretells when it fires.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use super::overlap::pearson;

/// A claim "fires on all and only these" against what the neuron did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Judgement {
    /// Claimed, and fired.
    pub hits: usize,
    /// Claimed, and did not fire.
    pub missed: usize,
    /// Not claimed, but fired.
    pub spurious: usize,
    /// Not claimed, and did not fire.
    pub rejected: usize,
}

impl Judgement {
    /// Compares, row by row, where the neuron should fire with where it is above `theta`.
    ///
    /// # Panics
    /// If there is not one claim a value.
    pub fn of(claimed: &[bool], values: &[f32], theta: f32) -> Self {
        assert_eq!(claimed.len(), values.len(), "a claim for each value");
        Self::count(claimed.iter().zip(values).map(|(&claimed, &value)| (claimed, value > theta)))
    }

    /// Counts cases: whether each should be so, and whether it is.
    fn count(cases: impl Iterator<Item = (bool, bool)>) -> Self {
        let mut judgement = Self { hits: 0, missed: 0, spurious: 0, rejected: 0 };
        for case in cases {
            *match case {
                (true, true) => &mut judgement.hits,
                (true, false) => &mut judgement.missed,
                (false, true) => &mut judgement.spurious,
                (false, false) => &mut judgement.rejected,
            } += 1;
        }
        judgement
    }

    /// Share of the rows it fired on that were claimed; `None` where it never fired.
    pub fn precision(&self) -> Option<f64> {
        share(self.hits, self.hits + self.spurious)
    }

    /// Share of the claimed rows it fired on; `None` where nothing was claimed.
    pub fn recall(&self) -> Option<f64> {
        share(self.hits, self.hits + self.missed)
    }

    /// Harmonic mean of precision and recall; `None` where it never fired and nothing was claimed.
    pub fn f1(&self) -> Option<f64> {
        share(2 * self.hits, 2 * self.hits + self.missed + self.spurious)
    }

    /// Mean of the shares of both kinds of rows that were told rightly; `None` where there is only one kind.
    pub fn balanced_accuracy(&self) -> Option<f64> {
        let rejected = share(self.rejected, self.rejected + self.spurious)?;
        Some(f64::midpoint(self.recall()?, rejected))
    }
}

/// How well a judge tells the items that are so from those that are not, by the chances that it gives.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Detection {
    /// Items of each kind, those with a chance of one half and more taken as told to be so.
    pub judgement: Judgement,
    /// Mean share of right judgements over the two kinds of items; none where there is only one kind.
    pub balanced_accuracy: Option<f64>,
    /// Share right of the items told to be so; none where none was.
    pub precision: Option<f64>,
    /// Share found of the items that are so; none where none is.
    pub recall: Option<f64>,
    /// Harmonic mean of precision and recall.
    pub f1: Option<f64>,
    /// Chance that an item that is so has a higher chance than one that is not, ties counting half; none where there is
    /// only one kind.
    pub auc: Option<f64>,
}

impl Detection {
    /// Of items that are so or not, and the chances that the judge gives.
    ///
    /// # Panics
    /// If there is not one chance an item.
    pub fn of(is: &[bool], chances: &[f64]) -> Self {
        assert_eq!(is.len(), chances.len(), "a chance an item");
        let judgement = Judgement::count(is.iter().zip(chances).map(|(&is, &chance)| (is, chance >= 0.5)));
        let kind =
            |wanted: bool| is.iter().zip(chances).filter(move |(is, _)| **is == wanted).map(|(_, chance)| *chance);
        let beats = |chance: f64, other: f64| match chance.total_cmp(&other) {
            Ordering::Greater => 1.0,
            Ordering::Equal => 0.5,
            Ordering::Less => 0.0,
        };
        let won = |chance: f64| kind(false).map(|other| beats(chance, other)).sum::<f64>();
        let n_pairs = (kind(true).count() * kind(false).count()) as f64;
        Self {
            balanced_accuracy: judgement.balanced_accuracy(),
            precision: judgement.precision(),
            recall: judgement.recall(),
            f1: judgement.f1(),
            auc: (n_pairs > 0.0).then(|| kind(true).map(won).sum::<f64>() / n_pairs),
            judgement,
        }
    }
}

fn share(part: usize, whole: usize) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// How near foretold activations are to those of the neuron, over all rows of all sequences joined.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Simulation {
    /// Pearson's correlation; none where one of the two is constant.
    pub correlation: Option<f64>,
    /// 1 - mean (a - â)² / mean a²; none where the neuron is always 0.
    pub r2: Option<f64>,
    /// 1 - mean (a - â)² / variance of a; none where the neuron is constant.
    pub centered_r2: Option<f64>,
    /// 1 - mean |a - â| / mean |a|; none where the neuron is always 0.
    pub absolute: Option<f64>,
}

impl Simulation {
    /// Scores what was foretold against what was.
    ///
    /// # Panics
    /// If there is not one of each a row.
    pub fn of(values: &[f32], foretold: &[f32]) -> Self {
        assert_eq!(values.len(), foretold.len(), "one of each a row");
        let wide = |values: &[f32]| values.iter().map(|&value| f64::from(value)).collect::<Vec<f64>>();
        let (a, b) = (wide(values), wide(foretold));
        let n = a.len().max(1) as f64;
        let mean = a.iter().sum::<f64>() / n;
        let sum = |f: &dyn Fn(f64, f64) -> f64| a.iter().zip(&b).map(|(&a, &b)| f(a, b)).sum::<f64>();
        let off = sum(&|a, b| (a - b) * (a - b));
        let of = |lost: f64, whole: f64| (whole > 0.0).then(|| 1.0 - lost / whole);
        Self {
            correlation: pearson(&a, &b),
            r2: of(off, sum(&|a, _| a * a)),
            centered_r2: of(off, sum(&|a, _| (a - mean) * (a - mean))),
            absolute: of(sum(&|a, b| (a - b).abs()), sum(&|a, _| a.abs())),
        }
    }
}

/// Agreement of two raters beyond what their shares of yes and no would give by chance (Cohen's κ); `None` where both
/// always say the same.
///
/// # Panics
/// If they did not rate the same items.
pub fn cohen_kappa(a: &[bool], b: &[bool]) -> Option<f64> {
    assert_eq!(a.len(), b.len(), "ratings of the same items");
    let n = a.len() as f64;
    let yes = |of: &[bool]| of.iter().filter(|&&yes| yes).count() as f64 / n;
    let agreed = a.iter().zip(b).filter(|(a, b)| a == b).count() as f64 / n;
    let chance = yes(a) * yes(b) + (1.0 - yes(a)) * (1.0 - yes(b));
    (chance < 1.0).then(|| (agreed - chance) / (1.0 - chance))
}

#[cfg(test)]
mod tests {
    use nissl_testing::{Tol, assert_close};

    use super::*;

    #[test]
    fn a_judgement_is_that_of_the_worked_example() {
        let judgement = Judgement { hits: 8, missed: 2, rejected: 9, spurious: 1 };
        for (name, got, want) in [
            ("precision", judgement.precision(), 8.0 / 9.0),
            ("recall", judgement.recall(), 0.8),
            ("F1", judgement.f1(), 16.0 / 19.0),
            ("balanced", judgement.balanced_accuracy(), 0.85),
        ] {
            assert_close(name, &got.expect("both kinds"), &want, Tol::abs(1e-12));
        }
        let of = Judgement::of(&[true, true, false, false], &[0.5, 0.0, 0.1, -1.0], 0.0);
        assert_eq!(of, Judgement { hits: 1, missed: 1, spurious: 1, rejected: 1 });
        let none = Judgement::of(&[false; 3], &[-1.0; 3], 0.0);
        assert_eq!((none.precision(), none.f1(), none.balanced_accuracy()), (None, None, None));
    }

    #[test]
    fn detection_is_that_of_the_worked_example() {
        let is: Vec<bool> = (0..20).map(|item| item < 10).collect();
        let chances: Vec<f64> = (0..20).map(|item| if item < 8 || item == 10 { 0.9 } else { 0.1 }).collect();
        let found = Detection::of(&is, &chances);
        assert_eq!(found.judgement, Judgement { hits: 8, missed: 2, rejected: 9, spurious: 1 });
        for (name, got, want) in [
            ("balanced", found.balanced_accuracy, 0.85),
            ("precision", found.precision, 8.0 / 9.0),
            ("recall", found.recall, 0.8),
            ("F1", found.f1, 0.842_105_263_157_894_7),
            ("AUC", found.auc, (8.0 * (9.0 + 0.5) + 2.0 * 4.5) / 100.0),
        ] {
            assert_close(name, &got.expect("both kinds"), &want, Tol::abs(1e-12));
        }
        let one = Detection::of(&[true, true], &[0.5, 0.4]);
        assert_eq!((one.balanced_accuracy, one.auc, one.recall), (None, None, Some(0.5)));
    }

    #[test]
    fn simulation_scores_are_those_of_the_worked_example() {
        let simulation = Simulation::of(&[0.0, 1.0, 2.0, 3.0], &[1.0, 1.0, 2.0, 2.0]);
        for (name, got, want) in [
            ("correlation", simulation.correlation, 0.894_427_190_999_915_9),
            ("r2", simulation.r2, 6.0 / 7.0),
            ("centered", simulation.centered_r2, 0.6),
            ("absolute", simulation.absolute, 2.0 / 3.0),
        ] {
            assert_close(name, &got.expect("neither is constant"), &want, Tol::abs(1e-12));
        }
        let mean = Simulation::of(&[0.0, 1.0, 2.0, 3.0], &[1.5; 4]);
        assert_eq!(mean.correlation, None);
        assert_close("explains nothing", &mean.r2.expect("not 0"), &(1.0 - 5.0 / 14.0), Tol::abs(1e-12));
        assert_close("centered", &mean.centered_r2.expect("differs"), &0.0, Tol::abs(1e-12));
    }

    #[test]
    fn kappa_counts_agreement_beyond_chance() {
        let kappa = |a: &[u8], b: &[u8]| {
            cohen_kappa(&a.iter().map(|&x| x == 1).collect::<Vec<_>>(), &b.iter().map(|&x| x == 1).collect::<Vec<_>>())
        };
        // Agreed on 4 of 6; shares 4/6 and 4/6: chance 20/36.
        let got = kappa(&[1, 1, 1, 1, 0, 0], &[1, 1, 1, 0, 1, 0]).expect("both kinds");
        assert_close("kappa", &got, &((24.0 - 20.0) / 16.0), Tol::abs(1e-12));
        assert_close("same", &kappa(&[1, 0], &[1, 0]).expect("both kinds"), &1.0, Tol::abs(1e-12));
        assert_eq!(kappa(&[1, 1], &[1, 1]), None);
    }
}
