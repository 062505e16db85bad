//! What a fresh classifier tells of a concept from the best, the worst and random neurons.
//!
//! The classifier is the linear discriminant: least squares on standardized activations in which rows with and without
//! the concept weigh the same, without a penalty but for what keeps equal neurons apart. Its sums over rows are made once
//! for a list of neurons, and one Cholesky decomposition in the list's order holds the classifiers of all its beginnings.

use ndarray::{Array2, ArrayView2, ShapeBuilder};
use nissl_core::{Activations, Context, MethodError, Ranking, TextRows};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::groups::mean_and_deviation;
use crate::probes::cholesky::{decompose, forward};
use crate::probes::inference::{Interval, bootstrap};
use crate::probes::{ControlSample, Part, Split, SplitOptions, control_classes};
use crate::random::Random;

const NAME: &str = "classification from few neurons";

/// Share of a standardized neuron's variance that is added to it, so that copies of a neuron do not make the sums
/// singular.
const RIDGE: f64 = 1e-6;

/// Rows whose products are summed in 32 bits.
const ROWS: usize = 2048;

/// How few neurons are judged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FewOptions {
    /// Numbers of neurons.
    pub k: Vec<usize>,
    /// Random lists of neurons to compare with.
    pub random_sets: usize,
    /// How rows are split; the classifier is fitted on those to fit on and those to choose by.
    pub split: SplitOptions,
    /// Whether a control task is fitted beside: a random label for each word type.
    pub control: bool,
    /// Draws of the sentences for intervals.
    pub draws: usize,
    /// Seed of the random lists, the control task and the draws.
    pub seed: u64,
}

impl Default for FewOptions {
    fn default() -> Self {
        let k = vec![1, 2, 5, 10, 30, 50, 70, 100];
        Self { k, random_sets: 5, split: SplitOptions::default(), control: true, draws: 1000, seed: 0 }
    }
}

/// What few neurons tell of a concept, as balanced accuracy: the mean of the shares of both kinds of rows that are told
/// rightly; 0.5 is what knows nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FewCurves {
    /// Rows to fit on, and to report on.
    pub rows: [usize; 2],
    /// Of these to report on, rows with the concept.
    pub positive: usize,
    /// Numbers of neurons, ascending, none above the number of neurons there are.
    pub k: Vec<usize>,
    /// Of each ranking.
    pub rankings: Vec<RankingCurve>,
    /// Mean, smallest and largest accuracy of random lists, for each number of neurons.
    pub random: Vec<Interval>,
}

/// The curves of one ranking.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RankingCurve {
    /// Accuracy with the best neurons.
    pub best: Vec<Interval>,
    /// Accuracy with the worst.
    pub worst: Vec<f64>,
    /// Accuracy of the best neurons minus that of the control task with the same; none without words.
    pub selectivity: Option<Vec<f64>>,
    /// Mean over the numbers of neurons of the accuracy of the best less that of random ones.
    pub area: f64,
}

/// A concept to be told, and where.
#[derive(Clone, Copy)]
pub struct ConceptRows<'a> {
    /// Activations, `[n_tokens, n_neurons]`.
    pub x: &'a dyn Activations,
    /// Their words.
    pub text: &'a TextRows,
    /// Whether each row has the concept, `[n_tokens]`.
    pub has: &'a [bool],
}

/// Judges rankings of a concept.
///
/// # Errors
/// If a part of the split lacks one kind of rows, a ranked neuron is not among the activations, these cannot be read or
/// are not finite, or the user stops it.
///
/// # Panics
/// If text, activations and concept have not the same number of rows.
pub fn few_curves(
    told: ConceptRows<'_>,
    concept: &str,
    rankings: &[&Ranking],
    options: &FewOptions,
    ctx: Context<'_>,
) -> Result<FewCurves, MethodError> {
    let ConceptRows { x, text, has } = told;
    assert!(has.len() == x.n_tokens() && text.n_tokens() == has.len(), "one of each a row");
    options.split.check(NAME)?;
    let n_neurons = x.neurons().len();
    let mut k: Vec<usize> = options.k.iter().copied().filter(|&k| k > 0 && k <= n_neurons).collect();
    k.sort_unstable();
    k.dedup();
    let Some(&most) = k.last() else {
        let (value, expected) = (format!("{:?}", options.k), "a number of neurons that there are");
        return Err(MethodError::Parameter { method: NAME, name: "k", value, expected });
    };
    let split = Split::by_sentence(text, options.split);
    let mut fit = split.rows(Part::Train);
    fit.extend(split.rows(Part::Dev));
    fit.sort_unstable();
    let test = split.rows(Part::Test);
    for (rows, part) in [(&fit, "fit on"), (&test, "report on")] {
        let got = [true, false].map(|kind| rows.iter().filter(|&&row| has[row] == kind).count());
        if let Some(kind) = got.iter().position(|&n| n == 0) {
            let concept = format!("{}{concept}, in the rows to {part}", if kind == 1 { "not " } else { "" });
            return Err(MethodError::TooFewRows { method: NAME, concept, expected: 1, got: 0 });
        }
    }
    let place = |neuron| x.neurons().binary_search(neuron).map_err(|_| MethodError::MissingNeuron { neuron: *neuron });
    let mut lists = Vec::new();
    for ranking in rankings {
        let columns = ranking.neurons.iter().map(place).collect::<Result<Vec<usize>, _>>()?;
        lists.push(columns.iter().copied().take(most).collect::<Vec<_>>());
        lists.push(columns.iter().rev().copied().take(most).collect());
    }
    let mut random = Random::new(options.seed);
    for _ in 0..options.random_sets {
        let mut columns: Vec<usize> = (0..n_neurons).collect();
        random.shuffle(&mut columns);
        columns.truncate(most);
        lists.push(columns);
    }
    let task: Vec<f64> = fit.iter().map(|&row| if has[row] { 1.0 } else { -1.0 }).collect();
    let control = options.control.then(|| control_of(text, has, options.seed));
    let run = Run { x, fit: &fit, test: &test, task, control, k: &k };
    ctx.progress.stage("classifying with few neurons", Some(lists.len() as u64), "lists of neurons");
    let bytes = (2 * x.n_tokens() * most * size_of::<f32>()).max(1);
    let at_once = (ctx.memory / bytes).clamp(1, rayon::current_num_threads());
    let mut outcomes: Vec<Outcome> = Vec::new();
    let with_control = |idx: usize| idx < 2 * rankings.len() && idx.is_multiple_of(2);
    for wave in (0..lists.len()).collect::<Vec<_>>().chunks(at_once) {
        if ctx.progress.cancelled() {
            return Err(MethodError::Cancelled);
        }
        let of_wave: Vec<Result<Outcome, MethodError>> =
            wave.par_iter().map(|&idx| run.outcome(&lists[idx], with_control(idx))).collect();
        for outcome in of_wave {
            outcomes.push(outcome?);
        }
        ctx.progress.step(outcomes.len() as u64);
    }
    let accuracy = |right: &[bool]| balanced(&total(&sums(&run, text, has, right)));
    let interval = |right: &[bool]| bootstrap(&sums(&run, text, has, right), balanced, options.draws, options.seed);
    let random: Vec<Vec<f64>> = outcomes[2 * rankings.len()..]
        .iter()
        .map(|outcome| outcome.right.iter().map(|right| accuracy(right)).collect())
        .collect();
    let of_k = |idx: usize| random.iter().map(|list| list[idx]).collect::<Vec<f64>>();
    let random: Vec<Interval> = (0..k.len()).filter_map(|idx| Interval::across(&of_k(idx))).collect();
    let curve = |idx: usize| {
        let (best, worst) = (&outcomes[2 * idx], &outcomes[2 * idx + 1]);
        let best_accuracy: Vec<Interval> = best.right.iter().map(|right| interval(right)).collect();
        let above = best_accuracy.iter().zip(&random).map(|(best, random)| best.value - random.value);
        let selectivity = best.control.as_ref().map(|of_control| {
            best_accuracy.iter().zip(of_control).map(|(best, control)| best.value - control).collect()
        });
        RankingCurve {
            area: above.sum::<f64>() / k.len() as f64,
            worst: worst.right.iter().map(|right| accuracy(right)).collect(),
            selectivity,
            best: best_accuracy,
        }
    };
    let curves = (0..rankings.len()).map(curve).collect();
    let positive = test.iter().filter(|&&row| has[row]).count();
    Ok(FewCurves { rows: [fit.len(), test.len()], positive, rankings: curves, random, k: k.clone() })
}

/// Whether each row has the control's label: drawn for each word type with the concept's share.
fn control_of(text: &TextRows, has: &[bool], seed: u64) -> Vec<bool> {
    let rows: Vec<usize> = (0..has.len()).collect();
    let of: Vec<u32> = has.iter().map(|&has| u32::from(has)).collect();
    let drawn = control_classes(text, &rows, (&of, 2), ControlSample::Same, seed);
    drawn.into_iter().map(|class| class == 1).collect()
}

/// What all lists of neurons share.
struct Run<'a> {
    x: &'a dyn Activations,
    fit: &'a [usize],
    test: &'a [usize],
    /// 1 or -1 for each row to fit on.
    task: Vec<f64>,
    /// Whether each row has the control's label.
    control: Option<Vec<bool>>,
    k: &'a [usize],
}

/// What a list of neurons reaches.
struct Outcome {
    /// For each number of neurons, whether each row to report on has the concept by the classifier.
    right: Vec<Vec<bool>>,
    /// Balanced accuracy of the control task.
    control: Option<Vec<f64>>,
}

impl Run<'_> {
    fn outcome(&self, columns: &[usize], with_control: bool) -> Result<Outcome, MethodError> {
        let (fit, test) = self.read(columns)?;
        let right = self.predictions(&fit, &test, columns.len(), &self.task);
        let of_control = |labels: &Vec<bool>| {
            let task: Vec<f64> = self.fit.iter().map(|&row| if labels[row] { 1.0 } else { -1.0 }).collect();
            let predicted = self.predictions(&fit, &test, columns.len(), &task);
            let accuracy = |says: &Vec<bool>| {
                let mut sums = [0.0; 4];
                self.test.iter().zip(says).for_each(|(&row, &says)| count(&mut sums, labels[row], says));
                balanced(&sums)
            };
            predicted.iter().map(accuracy).collect()
        };
        let control = self.control.as_ref().filter(|_| with_control).map(of_control);
        Ok(Outcome { right, control })
    }

    /// Columns of the rows to fit on and to report on, standardized by the former, one behind the other.
    fn read(&self, columns: &[usize]) -> Result<(Vec<f32>, Vec<f32>), MethodError> {
        let n = self.x.n_tokens();
        let (mut fit, mut test) = (Vec::new(), Vec::new());
        let mut raw = vec![0.0f32; n];
        for &column in columns {
            let view = ndarray::ArrayViewMut2::from_shape((n, 1).f(), &mut raw).expect("the buffer has this size");
            self.x.read(0..n, column..column + 1, view)?;
            if let Some(row) = raw.iter().position(|value| !value.is_finite()) {
                let neuron = self.x.neurons()[column];
                return Err(MethodError::NotFinite { neuron, row, value: raw[row] });
            }
            let first = fit.len();
            fit.extend(self.fit.iter().map(|&row| raw[row]));
            let (mean, deviation) = mean_and_deviation(&fit[first..]);
            let inverse = if deviation > 0.0 { 1.0 / deviation } else { 0.0 };
            let scaled = |value: f32| ((f64::from(value) - mean) * inverse) as f32;
            fit[first..].iter_mut().for_each(|value| *value = scaled(*value));
            test.extend(self.test.iter().map(|&row| scaled(raw[row])));
        }
        Ok((fit, test))
    }

    /// For each number of neurons, what the classifier says of each row to report on.
    fn predictions(&self, fit: &[f32], test: &[f32], width: usize, task: &[f64]) -> Vec<Vec<bool>> {
        let discriminant = Discriminant::new(fit, width, task);
        let n = self.test.len();
        let says = |&k: &usize| {
            let (weights, bias) = discriminant.of_first(k);
            let mut z = vec![bias; n];
            for (weight, column) in weights.iter().zip(test.chunks_exact(n.max(1))) {
                z.iter_mut().zip(column).for_each(|(z, &value)| *z += weight * f64::from(value));
            }
            z.into_iter().map(|z| z > 0.0).collect()
        };
        self.k.iter().map(says).collect()
    }
}

/// The classifiers of all beginnings of a list of neurons.
struct Discriminant {
    /// Means in which both kinds of rows weigh the same.
    means: Vec<f64>,
    /// Lower triangular; its beginnings are those of the beginnings of the list.
    factor: Array2<f64>,
    /// The covariances with the task, solved by the factor.
    half: Vec<f64>,
}

impl Discriminant {
    fn new(fit: &[f32], width: usize, task: &[f64]) -> Self {
        let n = task.len();
        let n_positive = task.iter().filter(|&&y| y > 0.0).count().max(1) as f64;
        let n_negative = (n as f64 - n_positive).max(1.0);
        let weights: Vec<f64> =
            task.iter().map(|&y| if y > 0.0 { 0.5 / n_positive } else { 0.5 / n_negative }).collect();
        let mut means = vec![0.0; width];
        let mut along = vec![0.0; width];
        for (column, (mean, along)) in fit.chunks_exact(n.max(1)).zip(means.iter_mut().zip(&mut along)) {
            for ((&value, weight), y) in column.iter().zip(&weights).zip(task) {
                *mean += weight * f64::from(value);
                *along += weight * y * f64::from(value);
            }
        }
        let z = ArrayView2::from_shape((n, width).f(), fit).expect("whole columns");
        let mut gram: Array2<f64> = Array2::zeros((width, width));
        let scale = n as f64;
        for first in (0..n).step_by(ROWS) {
            let rows = first..n.min(first + ROWS);
            let part = z.slice(ndarray::s![rows.clone(), ..]);
            let mut weighted = part.to_owned();
            for (mut row, weight) in weighted.outer_iter_mut().zip(&weights[rows]) {
                let weight = (weight * scale) as f32;
                row.iter_mut().for_each(|value| *value *= weight);
            }
            gram.zip_mut_with(&weighted.t().dot(&part), |sum, &part| *sum += f64::from(part));
        }
        for ((i, j), value) in gram.indexed_iter_mut() {
            *value = *value / scale - means[i] * means[j] + if i == j { RIDGE } else { 0.0 };
        }
        let mean_task: f64 = task.iter().zip(&weights).map(|(y, weight)| y * weight).sum();
        along.iter_mut().zip(&means).for_each(|(along, mean)| *along -= mean_task * mean);
        // Rounding may leave copies of a neuron a hair below 0.
        let mut more = RIDGE;
        let factor = loop {
            if let Some(factor) = decompose(&gram) {
                break factor;
            }
            gram.diag_mut().iter_mut().for_each(|value| *value += more);
            more *= 10.0;
        };
        Self { half: forward(&factor, &along), means, factor }
    }

    /// Weights and bias of the classifier of the first `k` neurons.
    fn of_first(&self, k: usize) -> (Vec<f64>, f64) {
        let mut weights = vec![0.0; k];
        for i in (0..k).rev() {
            let sum: f64 = (i + 1..k).map(|j| self.factor[[j, i]] * weights[j]).sum();
            weights[i] = (self.half[i] - sum) / self.factor[[i, i]];
        }
        let bias = -weights.iter().zip(&self.means).map(|(weight, mean)| weight * mean).sum::<f64>();
        (weights, bias)
    }
}

/// By sentence: rows with the concept told rightly, rows with it, the same of those without.
fn sums(run: &Run<'_>, text: &TextRows, has: &[bool], says: &[bool]) -> Vec<Vec<f64>> {
    let (mut groups, mut last) = (Vec::new(), None);
    for (&row, &says) in run.test.iter().zip(says) {
        let sentence = text.sentence_of()[row];
        if last != Some(sentence) {
            last = Some(sentence);
            groups.push(vec![0.0; 4]);
        }
        let group = groups.last_mut().expect("one was just pushed");
        count(group, has[row], says);
    }
    groups
}

/// The sums of all groups.
fn total(groups: &[Vec<f64>]) -> Vec<f64> {
    let mut all = vec![0.0; 4];
    for group in groups {
        all.iter_mut().zip(group).for_each(|(all, part)| *all += part);
    }
    all
}

fn count(sums: &mut [f64], has: bool, says: bool) {
    let kind = if has { 0 } else { 2 };
    sums[kind] += f64::from(u8::from(says == has));
    sums[kind + 1] += 1.0;
}

fn balanced(sums: &[f64]) -> f64 {
    f64::midpoint(sums[0] / sums[1].max(1.0), sums[2] / sums[3].max(1.0))
}

#[cfg(test)]
mod tests;
