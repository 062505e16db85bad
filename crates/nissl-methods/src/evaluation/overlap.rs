//! How much two rankings or two sets of neurons have in common, and how likely that is by chance.

use std::collections::{BTreeMap, BTreeSet};

use nissl_core::{NeuronId, Ranking};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What two sets of neurons have in common.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum SetOverlap {
    /// |A∩B| / |A∪B|.
    #[default]
    Jaccard,
    /// 2|A∩B| / (|A| + |B|).
    Dice,
    /// |A∩B| / min(|A|, |B|).
    Coefficient,
}

impl SetOverlap {
    /// Between 0 and 1; 0 where a set is empty.
    pub fn of(self, a: &[NeuronId], b: &[NeuronId]) -> f64 {
        let (a, b): (BTreeSet<_>, BTreeSet<_>) = (a.iter().collect(), b.iter().collect());
        let common = a.intersection(&b).count() as f64;
        let all = match self {
            Self::Jaccard => a.union(&b).count() as f64,
            Self::Dice => (a.len() + b.len()) as f64 / 2.0,
            Self::Coefficient => a.len().min(b.len()) as f64,
        };
        if a.is_empty() || b.is_empty() { 0.0 } else { common / all }
    }
}

/// Number of neurons that two sets share.
pub fn common(a: &[NeuronId], b: &[NeuronId]) -> usize {
    let a: BTreeSet<_> = a.iter().collect();
    b.iter().collect::<BTreeSet<_>>().intersection(&a).count()
}

/// Rank-biased overlap, extrapolated from the common depth (Webber, Moffat and Zobel 2010): 1 for equal orders, about 0
/// for what shares nothing. Of `p` = 0.98 the first 50 places have 86% of the weight.
///
/// `None` if a ranking is empty.
pub fn rank_biased(a: &[NeuronId], b: &[NeuronId], p: f64) -> Option<f64> {
    let depth = a.len().min(b.len());
    let (mut seen_a, mut seen_b) = (BTreeSet::new(), BTreeSet::new());
    let (mut shared, mut sum, mut weight) = (0_usize, 0.0, 1.0);
    for place in 0..depth {
        if a[place] == b[place] {
            shared += 1;
        } else {
            shared += usize::from(seen_b.contains(&a[place])) + usize::from(seen_a.contains(&b[place]));
        }
        seen_a.insert(a[place]);
        seen_b.insert(b[place]);
        weight *= p;
        sum += shared as f64 / (place + 1) as f64 * weight;
    }
    (depth > 0).then(|| shared as f64 / depth as f64 * weight + (1.0 - p) / p * sum)
}

/// Spearman's correlation of the ranks that two rankings give to the neurons both have; equal scores share a rank.
///
/// `None` if there are fewer than two such neurons or a ranking scores all of them alike.
pub fn spearman(a: &Ranking, b: &Ranking) -> Option<f64> {
    let (x, y) = shared_scores(a, b);
    pearson(&ranks(&x), &ranks(&y))
}

/// Kendall's τ_b of the scores that two rankings give to the neurons both have.
///
/// `None` as for [`spearman`].
pub fn kendall(a: &Ranking, b: &Ranking) -> Option<f64> {
    let (x, y) = shared_scores(a, b);
    concordance(&x, &y, &vec![0.5; x.len()])
}

/// Kendall's τ in which an exchange at the top counts more: pairs weigh the sum of 1 / (1 + place) of their neurons,
/// places by the one ranking and by the other, of which the mean is taken (Vigna 2015).
///
/// `None` as for [`spearman`].
pub fn weighted_kendall(a: &Ranking, b: &Ranking) -> Option<f64> {
    let (x, y) = shared_scores(a, b);
    let by = |first: &[f64], second: &[f64]| {
        let mut order: Vec<usize> = (0..x.len()).collect();
        order.sort_by(|&i, &j| first[j].total_cmp(&first[i]).then_with(|| second[j].total_cmp(&second[i])));
        let mut weights = vec![0.0; order.len()];
        order.iter().enumerate().for_each(|(place, &idx)| weights[idx] = 1.0 / (1 + place) as f64);
        concordance(&x, &y, &weights)
    };
    Some(f64::midpoint(by(&x, &y)?, by(&y, &x)?))
}

/// The scores of the neurons that both rankings have; adding 0 makes -0 the same as 0.
fn shared_scores(a: &Ranking, b: &Ranking) -> (Vec<f64>, Vec<f64>) {
    let of_b: BTreeMap<_, _> = b.neurons.iter().zip(&b.scores).collect();
    let both = a.neurons.iter().zip(&a.scores);
    both.filter_map(|(neuron, &x)| of_b.get(neuron).map(|&&y| (f64::from(x) + 0.0, f64::from(y) + 0.0))).unzip()
}

/// Mean ranks, counted from 1.
fn ranks(x: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..x.len()).collect();
    order.sort_by(|&i, &j| x[i].total_cmp(&x[j]));
    let mut ranks = vec![0.0; x.len()];
    let mut first = 0;
    for tied in order.chunk_by(|&i, &j| x[i].total_cmp(&x[j]).is_eq()) {
        let rank = first as f64 + (tied.len() + 1) as f64 / 2.0;
        for &idx in tied {
            ranks[idx] = rank;
        }
        first += tied.len();
    }
    ranks
}

/// Pearson's correlation; `None` where one of the two is constant.
pub(super) fn pearson(x: &[f64], y: &[f64]) -> Option<f64> {
    let n = x.len().max(1) as f64;
    let (mean_x, mean_y) = (x.iter().sum::<f64>() / n, y.iter().sum::<f64>() / n);
    let (mut xx, mut yy, mut xy) = (0.0, 0.0, 0.0);
    for (x, y) in x.iter().zip(y) {
        let (x, y) = (x - mean_x, y - mean_y);
        xx += x * x;
        yy += y * y;
        xy += x * y;
    }
    (xx > 0.0 && yy > 0.0).then(|| xy / (xx.sqrt() * yy.sqrt()))
}

/// (Weight of the pairs in the same order less that of the pairs in opposite order) over the geometric mean of the
/// weights of the pairs that are not tied in `x` and of those that are not in `y`. A pair weighs the sum of its two.
fn concordance(x: &[f64], y: &[f64], weights: &[f64]) -> Option<f64> {
    let n = x.len();
    let all = |of: &[usize]| of.len().saturating_sub(1) as f64 * of.iter().map(|&idx| weights[idx]).sum::<f64>();
    let mut by_y: Vec<usize> = (0..n).collect();
    by_y.sort_by(|&i, &j| y[i].total_cmp(&y[j]));
    let mut level = vec![0; n];
    let (mut n_levels, mut tied_y) = (0, 0.0);
    for tied in by_y.chunk_by(|&i, &j| y[i].total_cmp(&y[j]).is_eq()) {
        for &idx in tied {
            level[idx] = n_levels;
        }
        n_levels += 1;
        tied_y += all(tied);
    }
    let mut by_x: Vec<usize> = (0..n).collect();
    by_x.sort_by(|&i, &j| x[i].total_cmp(&x[j]));
    let (mut seen, mut tied_x, mut balance) = (Levels::new(n_levels), 0.0, 0.0);
    for tied in by_x.chunk_by(|&i, &j| x[i].total_cmp(&x[j]).is_eq()) {
        tied_x += all(tied);
        // All that were seen are below in x.
        for &idx in tied {
            let (below, at_most) = (seen.up_to(level[idx]), seen.up_to(level[idx] + 1));
            let above = (seen.total.0 - at_most.0, seen.total.1 - at_most.1);
            balance += weights[idx] * (below.0 - above.0) + below.1 - above.1;
        }
        for &idx in tied {
            seen.add(level[idx], weights[idx]);
        }
    }
    let every = all(&by_x);
    let (of_x, of_y) = (every - tied_x, every - tied_y);
    (of_x > 0.0 && of_y > 0.0).then(|| balance / (of_x.sqrt() * of_y.sqrt()))
}

/// Counts and weights by level, with sums of all below a level in logarithmic time.
struct Levels {
    tree: Vec<(f64, f64)>,
    total: (f64, f64),
}

impl Levels {
    fn new(n: usize) -> Self {
        Self { tree: vec![(0.0, 0.0); n + 1], total: (0.0, 0.0) }
    }

    fn add(&mut self, level: usize, weight: f64) {
        let mut at = level + 1;
        while at < self.tree.len() {
            self.tree[at].0 += 1.0;
            self.tree[at].1 += weight;
            at += at & at.wrapping_neg();
        }
        self.total.0 += 1.0;
        self.total.1 += weight;
    }

    /// The sums of the levels below `level`.
    fn up_to(&self, level: usize) -> (f64, f64) {
        let (mut at, mut sum) = (level, (0.0, 0.0));
        while at > 0 {
            sum.0 += self.tree[at].0;
            sum.1 += self.tree[at].1;
            at &= at - 1;
        }
        sum
    }
}

/// Chance that two sets of `k` out of `n` neurons, drawn without regard to each other, share at least `shared`.
pub fn chance_of_sharing(n: usize, k: usize, shared: usize) -> f64 {
    let k = k.min(n);
    let mut log_factorial = vec![0.0; n + 1];
    for i in 1..=n {
        log_factorial[i] = log_factorial[i - 1] + (i as f64).ln();
    }
    let choose = |n: usize, k: usize| log_factorial[n] - log_factorial[k] - log_factorial[n - k];
    let least = (2 * k).saturating_sub(n);
    let chance = |x: usize| (choose(k, x) + choose(n - k, k - x) - choose(n, k)).exp();
    if shared <= least { 1.0 } else { (shared..=k).rev().map(chance).sum::<f64>().min(1.0) }
}

/// Which of several chances are below `alpha` all together (Holm): the smallest is compared with alpha / m, the next
/// with alpha / (m - 1), until one is not below.
pub fn holm(p: &[f64], alpha: f64) -> Vec<bool> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|&i, &j| p[i].total_cmp(&p[j]));
    let mut rejected = vec![false; p.len()];
    for (place, &idx) in order.iter().enumerate() {
        if p[idx] > alpha / (p.len() - place) as f64 {
            break;
        }
        rejected[idx] = true;
    }
    rejected
}

#[cfg(test)]
mod tests;
