//! What people say of an explanation: of contexts where a neuron is highest and of random ones, which fit it.

use std::ops::Range;

use nissl_core::TextRows;
use serde::{Deserialize, Serialize};

use super::explanation::cohen_kappa;
use crate::probes::inference::{Interval, bootstrap};
use crate::random::Random;

/// A word in its sentence that is rated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Its row.
    pub row: usize,
    /// Whether it is one where the neuron is highest, and not a random one.
    pub real: bool,
}

/// The words where a neuron is highest, and random ones of other sentences, one a sentence, in an order that is drawn.
pub fn shown(text: &TextRows, values: &[f32], (n_real, n_random): (usize, usize), seed: u64) -> Vec<Shown> {
    let mut random = Random::new(seed);
    let sentences: Vec<Range<usize>> = text.sentences().collect();
    let highest = |rows: &Range<usize>| rows.clone().max_by(|&a, &b| values[a].total_cmp(&values[b]).then(b.cmp(&a)));
    let mut best: Vec<usize> = sentences.iter().filter_map(highest).collect();
    best.sort_by(|&a, &b| values[b].total_cmp(&values[a]).then(a.cmp(&b)));
    best.truncate(n_real);
    let mut others: Vec<Range<usize>> =
        sentences.into_iter().filter(|rows| !best.iter().any(|row| rows.contains(row))).collect();
    random.shuffle(&mut others);
    let mut all: Vec<Shown> = best.into_iter().map(|row| Shown { row, real: true }).collect();
    for rows in others.into_iter().take(n_random) {
        all.push(Shown { row: rows.start + random.below(rows.len()), real: false });
    }
    random.shuffle(&mut all);
    all
}

/// How raters found an explanation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rating {
    /// Share of the real contexts that fit, mean of the raters; the interval comes from drawing contexts anew.
    pub precision: Option<Interval>,
    /// The same of the random contexts.
    pub random: Option<Interval>,
    /// Share of real and of random contexts that fit, by rater.
    pub by_rater: Vec<[Option<f64>; 2]>,
    /// Cohen's κ, mean over the pairs of raters; none of one rater, or where two always say the same.
    pub kappa: Option<f64>,
}

/// Of contexts that are real or not, and what each rater says of each.
///
/// # Panics
/// If a rater has not rated every context.
pub fn rating(real: &[bool], raters: &[Vec<bool>], draws: usize, seed: u64) -> Rating {
    assert!(raters.iter().all(|ratings| ratings.len() == real.len()), "a rating a context");
    let of = |wanted: bool| {
        let groups: Vec<Vec<f64>> = (0..real.len())
            .filter(|&context| real[context] == wanted)
            .map(|context| {
                let fits = raters.iter().filter(|ratings| ratings[context]).count();
                vec![fits as f64, raters.len() as f64]
            })
            .collect();
        let some = !groups.is_empty() && !raters.is_empty();
        some.then(|| bootstrap(&groups, |sums| sums[0] / sums[1], draws, seed))
    };
    let share = |ratings: &Vec<bool>, wanted: bool| {
        let own = || real.iter().zip(ratings).filter(move |(real, _)| **real == wanted);
        let n = own().count();
        (n > 0).then(|| own().filter(|(_, fits)| **fits).count() as f64 / n as f64)
    };
    let pairs = (0..raters.len()).flat_map(|a| (a + 1..raters.len()).map(move |b| (a, b)));
    let kappas: Option<Vec<f64>> = pairs.map(|(a, b)| cohen_kappa(&raters[a], &raters[b])).collect();
    let kappas = kappas.filter(|kappas| !kappas.is_empty());
    Rating {
        precision: of(true),
        random: of(false),
        by_rater: raters.iter().map(|ratings| [share(ratings, true), share(ratings, false)]).collect(),
        kappa: kappas.map(|kappas| kappas.iter().sum::<f64>() / kappas.len() as f64),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

    use nissl_testing::{Tol, assert_close};

    use super::*;

    #[test]
    fn real_contexts_are_the_highest_and_random_ones_of_other_sentences() {
        let text =
            TextRows::from_words((0..20).flat_map(|sentence| (0..3).map(move |word| (sentence, word.to_string()))));
        let values: Vec<f32> = (0..60).map(|row| if row % 3 == 1 { row as f32 } else { 0.0 }).collect();
        let all = shown(&text, &values, (4, 5), 2);
        let mut real: Vec<usize> = all.iter().filter(|shown| shown.real).map(|shown| shown.row).collect();
        real.sort_unstable();
        assert_eq!(real, [49, 52, 55, 58]);
        let random: Vec<usize> = all.iter().filter(|shown| !shown.real).map(|shown| shown.row / 3).collect();
        assert!(random.len() == 5 && random.iter().all(|&sentence| sentence < 16), "{random:?}");
        assert_ne!(all, shown(&text, &values, (4, 5), 3), "another order");
        assert!(all.windows(5).any(|five| five.iter().any(|s| s.real) && five.iter().any(|s| !s.real)));
    }

    #[test]
    fn ratings_are_shares_of_their_contexts() {
        let real = [true, true, true, true, false, false];
        let raters = [vec![true, true, true, false, true, false], vec![true, true, false, false, false, false]];
        let found = rating(&real, &raters, 200, 0);
        let precision = found.precision.unwrap();
        assert_close("precision", &precision.value, &(5.0 / 8.0), Tol::abs(1e-12));
        assert!(precision.low < precision.value && precision.value < precision.high);
        assert_close("random", &found.random.unwrap().value, &0.25, Tol::abs(1e-12));
        assert_eq!(found.by_rater, [[Some(0.75), Some(0.5)], [Some(0.5), Some(0.0)]]);
        // Agreed on 4 of 6; shares 4/6 and 2/6: chance 16/36.
        assert_close("kappa", &found.kappa.unwrap(), &((24.0 - 16.0) / 20.0), Tol::abs(1e-12));
        let one = rating(&real, &raters[..1], 0, 0);
        assert_eq!((one.kappa, one.precision.unwrap().value), (None, 0.75));
        assert_eq!(rating(&[true], &[], 0, 0).precision, None);
    }
}
