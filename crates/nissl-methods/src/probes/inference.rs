//! How sure a number is: intervals by drawing sentences anew, chances under labels that mean nothing, false discoveries.

use nissl_core::{Labels, TextRows};
use serde::{Deserialize, Serialize};

use crate::random::Random;

/// A number and the interval in which 95 of 100 draws of the sentences have it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Interval {
    /// The number, of the rows as they are.
    pub value: f64,
    /// 2.5th percentile of the draws.
    pub low: f64,
    /// 97.5th percentile of the draws.
    pub high: f64,
}

impl Interval {
    /// The mean of some values, from the least to the most of them; none of no values.
    pub fn across(values: &[f64]) -> Option<Self> {
        let ends = values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), &v| (l.min(v), h.max(v)));
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        (!values.is_empty()).then_some(Self { value: mean, low: ends.0, high: ends.1 })
    }

    /// The mean of some values that lie in a range, and where it lies with 95% by Student's t: anywhere in the range with
    /// fewer than two of them. None of no values.
    pub fn of_mean(values: &[f64], (low, high): (f64, f64)) -> Option<Self> {
        let n = values.len();
        let mean = values.iter().sum::<f64>() / n as f64;
        match n {
            0 => None,
            1 => Some(Self { value: mean, low, high }),
            _ => {
                let variance = values.iter().map(|one| (one - mean) * (one - mean)).sum::<f64>() / (n - 1) as f64;
                let half = T.get(n - 2).copied().unwrap_or(1.96) * (variance / n as f64).sqrt();
                Some(Self { value: mean, low: (mean - half).max(low), high: (mean + half).min(high) })
            }
        }
    }
}

/// As people read it: the value, and half of what it spans.
impl std::fmt::Display for Interval {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.2} ±{:.2}", self.value, (self.high - self.low) / 2.0)
    }
}

/// Quantiles of Student's t at 97.5%, for 1, 2, … degrees of freedom.
const T: [f64; 19] = [
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120,
    2.110, 2.101, 2.093,
];

/// The interval of a statistic of sums over rows, by drawing as many groups of rows (sentences) with replacement.
///
/// `groups` are the sums over the rows of each group, all of one length; without draws the interval is the value.
pub fn bootstrap(groups: &[Vec<f64>], statistic: impl Fn(&[f64]) -> f64, draws: usize, seed: u64) -> Interval {
    let n_sums = groups.first().map_or(0, Vec::len);
    let total = |picked: &mut dyn Iterator<Item = usize>| {
        let mut sums = vec![0.0; n_sums];
        for group in picked {
            sums.iter_mut().zip(&groups[group]).for_each(|(sum, value)| *sum += value);
        }
        statistic(&sums)
    };
    let value = total(&mut (0..groups.len()));
    if groups.is_empty() || draws == 0 {
        return Interval { value, low: value, high: value };
    }
    let mut random = Random::new(seed);
    let mut drawn: Vec<f64> = (0..draws)
        .map(|_| total(&mut (0..groups.len()).map(|_| random.below(groups.len())).collect::<Vec<_>>().into_iter()))
        .collect();
    drawn.sort_by(f64::total_cmp);
    let at = |share: f64| drawn[((share * draws as f64) as usize).min(draws - 1)];
    Interval { value, low: at(0.025), high: at(0.975) }
}

/// The labels laid over the rows anew, sentence by sentence in random order: as they are but for what they have to do
/// with the activations. What hangs together within a sentence still does.
///
/// # Panics
/// If text and labels have not the same number of rows.
pub fn shuffled_labels(text: &TextRows, labels: &Labels, seed: u64) -> Labels {
    assert_eq!(text.n_tokens(), labels.n_tokens(), "a word for each label");
    let mut sentences: Vec<_> = text.sentences().collect();
    Random::new(seed).shuffle(&mut sentences);
    labels.select(&sentences.into_iter().flatten().collect::<Vec<usize>>())
}

/// Null scores of which the highest hundredth is enough to see how the tail falls.
const ENOUGH_FOR_TAIL: usize = 2000;

/// Chance of a score at least as high as each of `scores` under labels that mean nothing: the share of `null` scores that
/// are, the score itself counted as one of them.
///
/// Where fewer than ten of at least 2,000 null scores are, their tail beyond the highest hundredth is taken to fall
/// exponentially, as the mean of that hundredth says.
pub fn p_values(scores: &[f32], null: &[f32]) -> Vec<f64> {
    let mut null = null.to_vec();
    null.sort_by(f32::total_cmp);
    let n = null.len();
    let first = n - n / 100;
    let tail: Vec<f64> = null[first.min(n)..].iter().map(|&score| score as f64).collect();
    let start = tail.first().copied().unwrap_or(0.0);
    let mean = tail.iter().map(|score| score - start).sum::<f64>() / tail.len().max(1) as f64;
    let chance = |&score: &f32| {
        let at_least = n - null.partition_point(|&other| other < score);
        let counted = (1 + at_least) as f64 / (1 + n) as f64;
        if at_least >= 10 || n < ENOUGH_FOR_TAIL || mean <= 0.0 {
            return counted;
        }
        let beyond = (score as f64 - start).max(0.0) / mean;
        counted.min(tail.len() as f64 / n as f64 * (-beyond).exp()).max(f64::MIN_POSITIVE)
    };
    scores.iter().map(chance).collect()
}

/// False discovery rate: for each chance the smallest share of false finds among all that are found with it
/// (Benjamini and Hochberg).
pub fn false_discovery_rates(p: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|&a, &b| p[b].total_cmp(&p[a]));
    let (mut q, mut least) = (vec![1.0; p.len()], 1.0_f64);
    for (place, &idx) in order.iter().enumerate() {
        least = least.min(p[idx] * p.len() as f64 / (p.len() - place) as f64);
        q[idx] = least;
    }
    q
}

#[cfg(test)]
mod tests {
    use nissl_testing::{PlantedActivations, Tol, assert_close};

    use super::*;

    #[test]
    fn the_interval_of_a_mean_is_students() {
        let of = Interval::of_mean(&[0.2, 0.4, 0.6], (0.0, 1.0)).expect("some values");
        // Deviation 0.2, quantile 4.303 at two degrees of freedom.
        assert!((of.value - 0.4).abs() < 1e-12);
        assert!((of.high - (0.4 + 4.303 * 0.2 / 3.0_f64.sqrt())).abs() < 1e-9);
        assert!(of.low.abs() < 1e-12, "cut at the end of the range");
        assert_eq!(Interval::of_mean(&[0.3], (-1.0, 1.0)).map(|of| (of.low, of.high)), Some((-1.0, 1.0)));
        assert_eq!(Interval::of_mean(&[], (0.0, 1.0)), None);
    }

    #[test]
    fn false_discovery_rates_are_those_of_the_procedure_by_hand() {
        // p m / rank: .05, .04, .0667, .0625, .9; each at most those of higher p.
        let q = false_discovery_rates(&[0.01, 0.016, 0.04, 0.05, 0.9]);
        assert_close("q", &q, &[0.04, 0.04, 0.0625, 0.0625, 0.9][..], Tol::abs(1e-12));
        assert!(false_discovery_rates(&[]).is_empty());
    }

    #[test]
    fn chances_count_the_score_itself_and_ties() {
        let p = p_values(&[3.0, 2.0, 0.0], &[1.0, 2.0, 2.0, 0.5]);
        assert_close("p", &p, &[1.0 / 5.0, 3.0 / 5.0, 1.0][..], Tol::abs(1e-12));
        assert_eq!(p_values(&[1.0], &[]), [1.0]);
    }

    #[test]
    fn the_tail_of_normal_scores_is_no_surer_than_it_is() {
        let mut random = Random::new(4);
        let mut normal = || (0..12).map(|_| random.uniform()).sum::<f64>() as f32 - 6.0;
        let null: Vec<f32> = (0..20_000).map(|_| normal()).collect();
        // Chances of a normal score above 4 and above 5; an exponential tail falls more slowly.
        for (score, want) in [(4.0, 3.2e-5), (5.0, 2.9e-7)] {
            let p = p_values(&[score], &null)[0];
            assert!(p > want && p < 30.0 * want.max(1e-6), "{score}: {p}");
        }
        // Where scores are like the null they are found as often as their chance says.
        let fresh: Vec<f32> = (0..20_000).map(|_| normal()).collect();
        let found = p_values(&fresh, &null).iter().filter(|&&p| p < 0.01).count();
        assert!((140..=260).contains(&found), "{found}");
    }

    #[test]
    fn the_interval_of_a_mean_is_two_standard_errors_wide() {
        let mut random = Random::new(1);
        let groups: Vec<Vec<f64>> = (0..400).map(|_| vec![f64::from(u8::from(random.uniform() < 0.3)), 1.0]).collect();
        let mean = |sums: &[f64]| sums[0] / sums[1];
        let interval = bootstrap(&groups, mean, 2000, 3);
        let error = (interval.value * (1.0 - interval.value) / 400.0).sqrt();
        assert_close("low", &interval.low, &(interval.value - 1.96 * error), Tol::abs(0.25 * error));
        assert_close("high", &interval.high, &(interval.value + 1.96 * error), Tol::abs(0.25 * error));
        assert_eq!(interval, bootstrap(&groups, mean, 2000, 3));
        let none = bootstrap(&groups, mean, 0, 3);
        assert_eq!((none.low, none.high), (none.value, none.value));
    }

    #[test]
    fn rows_that_hang_together_widen_the_interval() {
        let mut random = Random::new(1);
        let rows: Vec<f64> = (0..400).map(|_| f64::from(u8::from(random.uniform() < 0.5))).collect();
        let mean = |sums: &[f64]| sums[0] / sums[1];
        let alone: Vec<Vec<f64>> = rows.iter().map(|&value| vec![value, 1.0]).collect();
        let tens: Vec<Vec<f64>> = rows.iter().take(40).map(|&value| vec![10.0 * value, 10.0]).collect();
        let width = |groups: &[Vec<f64>]| {
            let interval = bootstrap(groups, mean, 1000, 1);
            interval.high - interval.low
        };
        assert!(width(&tens) > 2.5 * width(&alone));
    }

    #[test]
    fn shuffled_labels_are_the_same_labels_elsewhere_sentence_by_sentence() {
        let planted = PlantedActivations::new(2, 0.1);
        let shuffled = shuffled_labels(&planted.text, &planted.tag, 9);
        assert_eq!(shuffled.counts(), planted.tag.counts());
        let same = (0..planted.tag.n_tokens()).filter(|&row| shuffled.of(row) == planted.tag.of(row)).count();
        assert!(same < planted.tag.n_tokens() / 2);
        // Every sentence of the grammar ends with its one full stop and has one verb: so do the shuffled labels' runs.
        let verb = planted.tag.concepts().iter().position(|concept| concept.name == "VERB").expect("a tag") as u32;
        let verbs_between = |labels: &Labels| (0..labels.n_tokens()).filter(|&row| labels.of(row) == [verb]).count();
        assert_eq!(verbs_between(&shuffled), 600);
    }
}
