//! Beam search for the formula that fits a set of rows best.

use super::Compositional;
use super::bits::Bits;
use super::formula::{Formula, Op};
use crate::features::Features;
use crate::groups::RowGroups;

/// Looks for formulas of the features.
pub(super) struct Search<'a> {
    pub(super) method: &'a Compositional,
    pub(super) features: &'a Features,
    /// The rows of each feature.
    pub(super) rows: &'a RowGroups,
}

/// A formula and its score.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) formula: Formula,
    pub(super) score: f64,
}

/// A formula of the beam, with the rows where it holds.
struct Held {
    found: Found,
    rows: Bits,
}

/// A formula of the beam, joined with a feature; not made yet.
struct Candidate {
    score: f64,
    held: usize,
    op: Op,
    feature: u32,
}

/// How many rows of a set each feature has: all of them, and those where the neuron fires.
struct Counts {
    all: Vec<u32>,
    firing: Vec<u32>,
}

impl Search<'_> {
    /// The best formula, then the best of each smaller number of features, down to one.
    pub(super) fn best(&self, fires: &Bits) -> Vec<Found> {
        let n_fires = fires.count();
        let of_neuron = self.counts(fires.rows(), fires);
        let mut beam = self.leaves(&of_neuron, n_fires);
        let mut best: Vec<Found> = beam.first().map(|held| held.found.clone()).into_iter().collect();
        for _ in 1..self.method.rounds {
            if beam.first().is_none_or(|held| held.found.score >= 1.0) {
                break;
            }
            let mut candidates = Vec::new();
            for (idx, held) in beam.iter().enumerate() {
                self.extend(idx, held, fires, (&of_neuron, n_fires), &mut candidates);
            }
            beam = self.next_beam(&beam, candidates);
            for held in &beam {
                let n_features = held.found.formula.n_features();
                if n_features > best.len() {
                    best.push(held.found.clone());
                }
            }
        }
        // Formulas that are longer and no better say nothing.
        let mut kept: Vec<Found> = Vec::new();
        for found in best {
            if kept.last().is_none_or(|last| found.score > last.score) {
                kept.push(found);
            }
        }
        kept.reverse();
        kept
    }

    fn counts(&self, rows: impl Iterator<Item = usize>, fires: &Bits) -> Counts {
        let n_features = self.features.names.len();
        let mut counts = Counts { all: vec![0; n_features], firing: vec![0; n_features] };
        for row in rows {
            let is_firing = u32::from(fires.has(row));
            for &feature in self.features.of_row(row) {
                counts.all[feature as usize] += 1;
                counts.firing[feature as usize] += is_firing;
            }
        }
        counts
    }

    /// The best single features that meet the neuron somewhere.
    fn leaves(&self, of_neuron: &Counts, n_fires: u32) -> Vec<Held> {
        let leaf = |feature: usize| {
            let score = self.score(of_neuron.firing[feature], self.features.counts[feature], n_fires, 1);
            (score > 0.0).then(|| Found { formula: Formula::leaf(feature as u32), score })
        };
        let mut found: Vec<Found> = (0..self.features.names.len()).filter_map(leaf).collect();
        self.sort(&mut found);
        found.truncate(self.method.beam);
        found.into_iter().map(|found| Held { rows: self.rows_of(found.formula.first), found }).collect()
    }

    fn rows_of(&self, feature: u32) -> Bits {
        Bits::of(self.rows.rows(feature as usize), self.features.set_of.len())
    }

    fn score(&self, in_both: u32, in_formula: u32, n_fires: u32, length: u32) -> f64 {
        let score = self.method.measure.of(f64::from(in_both), f64::from(in_formula), f64::from(n_fires));
        score * self.method.penalty.powi(length as i32 - 1)
    }

    /// All formulas that a feature makes of a held one, with their scores.
    fn extend(
        &self,
        idx: usize,
        held: &Held,
        fires: &Bits,
        (of_neuron, n_fires): (&Counts, u32),
        candidates: &mut Vec<Candidate>,
    ) {
        let formula = &held.found.formula;
        let here = self.counts(held.rows.rows(), fires);
        let n_rows = held.rows.count();
        let n_both = held.rows.rows().filter(|&row| fires.has(row)).count() as u32;
        let length = formula.length();
        for feature in 0..self.features.names.len() {
            let (all, n_here) = (self.features.counts[feature], here.all[feature]);
            let (firing, firing_here) = (of_neuron.firing[feature], here.firing[feature]);
            if formula.has(feature as u32) {
                continue;
            }
            let mut push = |op, in_both, in_formula, length| {
                let score = self.score(in_both, in_formula, n_fires, length);
                candidates.push(Candidate { score, held: idx, op, feature: feature as u32 });
            };
            // A formula with the same rows is longer and no better.
            if firing > 0 && n_here < all {
                push(Op::Or, n_both + firing - firing_here, n_rows + all - n_here, length + 1);
            }
            if firing > 0 && n_here < n_rows {
                push(Op::And, firing_here, n_here, length + 1);
            }
            if n_here > firing_here {
                push(Op::AndNot, n_both - firing_here, n_rows - n_here, length + 2);
            }
        }
    }

    /// The best of the beam and of what its formulas became.
    fn next_beam(&self, beam: &[Held], mut candidates: Vec<Candidate>) -> Vec<Held> {
        let width = self.method.beam;
        // Only the best can enter. What reads the same in another order counts once and may come from each formula of
        // the beam, so that so many more are looked at; of the last score all, since their order is not known yet.
        let n_looked_at = 4 * width;
        if candidates.len() > n_looked_at {
            let (_, last, _) = candidates.select_nth_unstable_by(n_looked_at, |a, b| b.score.total_cmp(&a.score));
            let bar = last.score;
            candidates.retain(|candidate| candidate.score >= bar);
        }
        let worst = beam.last().filter(|_| beam.len() == width).map_or(0.0, |held| held.found.score);
        let new = candidates.iter().filter(|candidate| candidate.score > 0.0 && candidate.score >= worst);
        let mut all: Vec<(Found, Option<usize>)> = new
            .map(|new| {
                let formula = beam[new.held].found.formula.join(new.op, new.feature);
                (Found { formula, score: new.score }, Some(new.held))
            })
            .chain(beam.iter().map(|held| (held.found.clone(), None)))
            .collect();
        all.sort_by(|(a, _), (b, _)| self.order(a, b));
        let mut next: Vec<Held> = Vec::new();
        let mut seen = Vec::new();
        for (found, held) in all {
            let canonical = found.formula.canonical();
            if seen.contains(&canonical) {
                continue;
            }
            seen.push(canonical);
            let rows = match (held, found.formula.joined.last()) {
                (Some(held), Some(&(op, feature))) => {
                    let join = match op {
                        Op::Or => |a, b| a | b,
                        Op::And => |a, b| a & b,
                        Op::AndNot => |a: u64, b: u64| a & !b,
                    };
                    beam[held].rows.with(&self.rows_of(feature), join)
                }
                _ => {
                    beam.iter().find(|old| old.found.formula == found.formula).expect("it is of the beam").rows.clone()
                }
            };
            next.push(Held { found, rows });
            if next.len() == width {
                break;
            }
        }
        next
    }

    /// Better first, then shorter, then by the text.
    fn order(&self, a: &Found, b: &Found) -> std::cmp::Ordering {
        b.score
            .total_cmp(&a.score)
            .then_with(|| a.formula.length().cmp(&b.formula.length()))
            .then_with(|| a.formula.text(&self.features.names).cmp(&b.formula.text(&self.features.names)))
    }

    fn sort(&self, found: &mut [Found]) {
        found.sort_by(|a, b| self.order(a, b));
    }
}
