//! Agreement between methods: how much the best neurons of one are those of the others (Fan, Dalvi, Durrani and Sajjad
//! 2023), and one ranking out of many.

use std::collections::BTreeMap;

use nissl_core::{NeuronId, Ranking};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::overlap::{SetOverlap, rank_biased, spearman};

/// How rankings are compared and vote.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AgreementOptions {
    /// Best neurons of a ranking that get points: as many points for the first, one less for the next.
    #[schemars(range(min = 1))]
    pub depth: usize,
    /// A ranking is compared with the others alone, and their vote is without its points.
    pub exclude_self: bool,
    /// What two sets have in common.
    pub overlap: SetOverlap,
}

impl Default for AgreementOptions {
    fn default() -> Self {
        Self { depth: 100, exclude_self: true, overlap: SetOverlap::Jaccard }
    }
}

/// What a ranking has in common with others.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Agreement {
    /// Number of best neurons.
    pub k: usize,
    /// AvgOverlap: mean overlap with the best of each other ranking.
    pub average_overlap: f64,
    /// NeuronVote: overlap with the best by the vote of the others.
    pub compatibility: f64,
}

/// Points of the neurons by all rankings (Borda): `depth` for the first of a ranking, 1 for the last that counts. Most
/// points first, ties by neuron; neurons without points are left out.
pub fn vote(rankings: &[&Ranking], depth: usize) -> Vec<(NeuronId, usize)> {
    let mut points: BTreeMap<NeuronId, usize> = BTreeMap::new();
    let depth = rankings.iter().map(|ranking| ranking.neurons.len()).max().unwrap_or(0).min(depth);
    for ranking in rankings {
        for (place, &neuron) in ranking.top(depth).iter().enumerate() {
            *points.entry(neuron).or_default() += depth - place;
        }
    }
    let mut points: Vec<_> = points.into_iter().collect();
    points.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    points
}

/// What each ranking has in common with the others at `k` best neurons; none of a single ranking.
pub fn agreement(rankings: &[&Ranking], k: usize, options: AgreementOptions) -> Vec<Agreement> {
    let AgreementOptions { depth, exclude_self, overlap } = options;
    if rankings.len() < 2 {
        return Vec::new();
    }
    let of_one = |own: usize| {
        let counted = || (0..rankings.len()).filter(|&other| other != own || !exclude_self).map(|idx| rankings[idx]);
        let sum: f64 = counted().map(|other| overlap.of(rankings[own].top(k), other.top(k))).sum();
        let others: Vec<&Ranking> = counted().collect();
        let consensus: Vec<NeuronId> = vote(&others, depth).into_iter().take(k).map(|(neuron, _)| neuron).collect();
        Agreement {
            k,
            average_overlap: sum / others.len() as f64,
            compatibility: overlap.of(rankings[own].top(k), &consensus),
        }
    };
    (0..rankings.len()).map(of_one).collect()
}

/// How alike several runs of one method are.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stability {
    /// Mean rank-biased overlap of all pairs, p = 0.98.
    pub rank_biased_overlap: f64,
    /// Mean of Spearman's correlation of all pairs; none where a ranking scores all neurons alike.
    pub spearman: Option<f64>,
}

/// The stability of a method over seeds or samples; `None` of fewer than two rankings or empty ones.
pub fn stability(rankings: &[Ranking]) -> Option<Stability> {
    let pairs: Vec<(&Ranking, &Ranking)> =
        rankings.iter().enumerate().flat_map(|(idx, a)| rankings[idx + 1..].iter().map(move |b| (a, b))).collect();
    let n = pairs.len() as f64;
    let overlaps: Option<f64> = pairs.iter().map(|(a, b)| rank_biased(&a.neurons, &b.neurons, 0.98)).sum();
    let correlations: Option<f64> = pairs.iter().map(|(a, b)| spearman(a, b)).sum();
    let rank_biased_overlap = overlaps.filter(|_| !pairs.is_empty())? / n;
    Some(Stability { rank_biased_overlap, spearman: correlations.map(|sum| sum / n) })
}

#[cfg(test)]
mod tests {
    use nissl_core::{HookPoint, Site};
    use nissl_testing::{Tol, assert_close};

    use super::*;

    fn ranking(order: &[u32]) -> Ranking {
        let neurons = order.iter().map(|&idx| NeuronId::new(HookPoint::new(0, Site::MlpPost), idx)).collect();
        Ranking { neurons, scores: (0..order.len()).map(|place| (order.len() - place) as f32).collect() }
    }

    fn three() -> [Ranking; 3] {
        [ranking(&[0, 1, 2, 3]), ranking(&[1, 0, 4, 2]), ranking(&[1, 2, 0, 5])]
    }

    #[test]
    fn the_vote_counts_points_by_place() {
        let rankings = three();
        let points = vote(&rankings.iter().collect::<Vec<_>>(), 4);
        let points: Vec<(u32, usize)> = points.iter().map(|(neuron, points)| (neuron.idx, *points)).collect();
        assert_eq!(points, [(1, 11), (0, 9), (2, 6), (4, 2), (3, 1), (5, 1)]);
        // A depth beyond the rankings' length begins with their length.
        assert_eq!(vote(&rankings.iter().collect::<Vec<_>>(), 100)[0].1, 11);
    }

    #[test]
    fn agreement_is_that_of_the_worked_example() {
        let rankings = three();
        let rankings: Vec<&Ranking> = rankings.iter().collect();
        let with = AgreementOptions { depth: 4, exclude_self: false, overlap: SetOverlap::Jaccard };
        let compatibility = |k| agreement(&rankings, k, with).iter().map(|a| a.compatibility).collect::<Vec<_>>();
        assert_close("k 1", &compatibility(1), &[0.0, 1.0, 1.0][..], Tol::abs(1e-12));
        assert_close("k 2", &compatibility(2), &[1.0, 1.0, 1.0 / 3.0][..], Tol::abs(1e-12));
        assert_close("k 3", &compatibility(3), &[1.0, 0.5, 1.0][..], Tol::abs(1e-12));
        let average = |options| agreement(&rankings, 2, options).iter().map(|a| a.average_overlap).collect::<Vec<_>>();
        assert_close("with self", &average(with), &[7.0 / 9.0, 7.0 / 9.0, 5.0 / 9.0][..], Tol::abs(1e-12));
        let without = AgreementOptions { exclude_self: true, ..with };
        assert_close("without", &average(without), &[2.0 / 3.0, 2.0 / 3.0, 1.0 / 3.0][..], Tol::abs(1e-12));
        assert!(agreement(&rankings[..1], 2, with).is_empty());
    }

    #[test]
    fn a_method_that_gives_the_same_ranking_is_stable() {
        let [a, b, c] = three();
        let same = stability(&[a.clone(), a.clone(), a.clone()]).expect("three rankings");
        assert_close("overlap", &same.rank_biased_overlap, &1.0, Tol::abs(1e-12));
        assert_close("spearman", &same.spearman.expect("scores differ"), &1.0, Tol::abs(1e-12));
        let other = stability(&[a, b, c]).expect("three rankings");
        assert!(other.rank_biased_overlap < 0.9);
        assert_eq!(stability(&[]), None);
    }
}
