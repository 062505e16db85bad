//! Gaussian probes: one normal distribution a class, of which every subset of neurons is a probe.
//!
//! N rows to fit on, M rows to judge by, K classes, t neurons picked so far. The density of a class at picked neurons is
//! kept as the triangle L of its covariance and u = L⁻¹(x - μ) of every row; one more neuron adds a row to L and a number
//! to u. Candidates are judged in single precision, what is picked in double.

use nissl_core::MethodError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::design::{Design, view};
use super::linear::gradient;

mod judge;

use judge::Judge;

/// What a picked neuron is to raise most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Criterion {
    /// Mutual information with the class, its lower bound; picks as the likelihood of the classes does.
    #[default]
    Information,
    /// Share of the rows whose most likely class is theirs.
    Accuracy,
}

/// What is believed of a class before its rows are seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Prior {
    /// Uncorrelated neurons with the class's own variances, counted for the picked neurons.
    #[default]
    Chosen,
    /// The same, counted for all neurons, as published: with many neurons and few rows densities are too narrow.
    All,
    /// Nothing.
    None,
}

/// How neurons are picked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct GaussianOptions {
    pub(crate) steps: usize,
    pub(crate) criterion: Criterion,
    pub(crate) prior: Prior,
    pub(crate) diagonal: bool,
    /// Picking ends where the criterion rises by less: bits, or a share of the rows.
    pub(crate) min_gain: f64,
}

/// What a set of neurons tells of the classes of some rows.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Told {
    /// Lower bound of the mutual information, in bits; may be negative.
    pub information: f64,
    /// That over the entropy of the classes.
    pub normalized: f64,
    /// Share of the rows whose most likely class is theirs.
    pub accuracy: f64,
}

/// Neurons in the order in which they were picked.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Picked {
    pub(crate) order: Vec<usize>,
    /// What the first 1, 2, … picked neurons tell of the rows to judge by.
    pub(crate) curve: Vec<Told>,
    /// Criterion of each neuron by itself; `None` where it is constant within a class.
    pub(crate) alone: Vec<Option<f64>>,
    /// Entropy of the classes of the rows to judge by, in bits.
    pub(crate) entropy: f64,
}

/// A class: its rows, share, and the moments of each neuron.
struct Class {
    n: f64,
    log_share: f64,
    mean: Vec<f64>,
    /// Variances with what the prior adds.
    variance: Vec<f64>,
    /// Off the diagonal, products of the triangle for every neuron: `[t][n_neurons]`.
    w: Vec<Vec<f32>>,
    /// The triangle of the picked neurons, `[t][..=t]`.
    l: Vec<Vec<f64>>,
    /// u of every row to judge by, `[t][M]`.
    u: Vec<Vec<f32>>,
    /// Sum of the squares of u, `[M]`.
    distance: Vec<f64>,
    log_determinant: f64,
}

impl Class {
    /// What covariances are multiplied by: the prior's part in them.
    fn shrink(&self, prior: Prior, n_all: usize, n_chosen: usize) -> f64 {
        let width = match prior {
            Prior::None => return 1.0,
            Prior::Chosen => n_chosen,
            Prior::All => n_all,
        };
        self.n / (self.n + 2.0 * width as f64 + 4.0)
    }
}

/// The part of a variance at or below which a neuron is told by those that are picked.
const DEPENDENT: f64 = 1e-10;

/// Picks neurons one by one.
///
/// The rows of the design that are fitted on have the first of `of`, the rest is judged by.
///
/// # Errors
/// If a class has too few rows, the activations cannot be read, or the user stops it.
pub(crate) fn pick(
    design: &Design<'_>,
    of: &[u32],
    n_classes: usize,
    options: GaussianOptions,
) -> Result<Picked, MethodError> {
    let n_fit = design.n_fit();
    let (train, judged) = of.split_at(n_fit);
    let mut classes = moments(design, train, n_classes, judged.len(), options.prior)?;
    let entropy = entropy(judged, n_classes);
    let mut picked = Picked { order: Vec::new(), curve: Vec::new(), alone: vec![None; design.n_columns()], entropy };
    // Values of the picked neurons in the rows that are fitted on.
    let mut values: Vec<Vec<f32>> = Vec::new();
    // Without a neuron nothing is told, and the most frequent class is right.
    let mut reached = match options.criterion {
        Criterion::Information => 0.0,
        Criterion::Accuracy => most_frequent(judged, n_classes),
    };
    let steps = options.steps.min(design.n_columns());
    design.ctx().progress.stage("picking neurons", Some(steps.max(1) as u64), "neurons");
    for step in 0..steps {
        design.go_on()?;
        let judge = Judge::new(&classes, judged, options, design.n_columns(), step + 1, entropy);
        let pieces = design.map_pieces(|columns, piece| {
            judge.piece(&classes, columns, &view(piece, design.n_rows()).slice_move(ndarray::s![n_fit.., ..]))
        })?;
        let found: Vec<Option<f64>> = pieces.into_iter().flatten().collect();
        if step == 0 {
            picked.alone.clone_from(&found);
        }
        let is_free = |neuron: &usize| !picked.order.contains(neuron);
        let better = |best: Option<(usize, f64)>, neuron: usize| match (best, found[neuron]) {
            (Some((_, most)), Some(value)) if value <= most => best,
            (_, Some(value)) => Some((neuron, value)),
            (_, None) => best,
        };
        let Some((neuron, value)) = (0..found.len()).filter(is_free).fold(None, better) else { break };
        if value < reached + options.min_gain {
            break;
        }
        let column = design.gathered(&[neuron])?;
        values.push(column[..n_fit].to_vec());
        accept(design, &mut classes, train, &values, neuron, &column[n_fit..], options)?;
        picked.order.push(neuron);
        let told = judge::told(&classes, judged, options.prior, (design.n_columns(), step + 1), entropy);
        reached = match options.criterion {
            Criterion::Information => told.information,
            Criterion::Accuracy => told.accuracy,
        };
        picked.curve.push(told);
        design.ctx().progress.step(step as u64 + 1);
    }
    design.ctx().progress.step(steps.max(1) as u64);
    Ok(picked)
}

/// Share of the most frequent class.
pub(crate) fn most_frequent(of: &[u32], n_classes: usize) -> f64 {
    let count = |class: u32| of.iter().filter(|&&other| other == class).count();
    (0..n_classes as u32).map(count).max().unwrap_or(0) as f64 / of.len().max(1) as f64
}

/// Entropy of the classes, in bits.
pub(crate) fn entropy(of: &[u32], n_classes: usize) -> f64 {
    let mut counts = vec![0_usize; n_classes];
    for &class in of {
        counts[class as usize] += 1;
    }
    let shares = counts.iter().filter(|&&n| n > 0).map(|&n| n as f64 / of.len() as f64);
    -shares.map(|share| share * share.log2()).sum::<f64>()
}

fn moments(
    design: &Design<'_>,
    train: &[u32],
    n_classes: usize,
    n_judged: usize,
    prior: Prior,
) -> Result<Vec<Class>, MethodError> {
    let mut rows: Vec<Vec<usize>> = vec![Vec::new(); n_classes];
    for (row, &class) in train.iter().enumerate() {
        rows[class as usize].push(row);
    }
    let needed = if prior == Prior::None { 2 } else { 1 };
    if let Some(class) = rows.iter().position(|rows| rows.len() < needed) {
        let concept = format!("number {} in the rows to fit on", class + 1);
        let got = rows[class].len();
        return Err(MethodError::TooFewRows { method: "gaussian-probe", concept, expected: needed, got });
    }
    let n = design.n_rows();
    let pieces = design.map_pieces(|_, piece| {
        let of_column = |column: &[f32]| -> Vec<(f64, f64)> {
            let of_class = |rows: &Vec<usize>| {
                let count = rows.len() as f64;
                let mean = rows.iter().map(|&row| column[row] as f64).sum::<f64>() / count;
                let square = |&row: &usize| (column[row] as f64 - mean) * (column[row] as f64 - mean);
                (mean, rows.iter().map(square).sum::<f64>() / count)
            };
            rows.iter().map(of_class).collect()
        };
        piece.chunks(n.max(1)).map(of_column).collect::<Vec<_>>()
    })?;
    let columns: Vec<Vec<(f64, f64)>> = pieces.into_iter().flatten().collect();
    let class = |class: usize| {
        let count = rows[class].len() as f64;
        let added = if prior == Prior::None { 1.0 } else { 1.0 + 1.0 / count };
        Class {
            n: count,
            log_share: (count / train.len() as f64).ln(),
            mean: columns.iter().map(|of| of[class].0).collect(),
            variance: columns.iter().map(|of| of[class].1 * added).collect(),
            w: Vec::new(),
            l: Vec::new(),
            u: Vec::new(),
            distance: vec![0.0; n_judged],
            log_determinant: 0.0,
        }
    };
    Ok((0..n_classes).map(class).collect())
}

/// Adds a neuron to the densities. `values` are those of the picked neurons and of this one in the rows that are fitted
/// on, `judged` its values in the others.
fn accept(
    design: &Design<'_>,
    classes: &mut [Class],
    train: &[u32],
    values: &[Vec<f32>],
    neuron: usize,
    judged: &[f32],
    options: GaussianOptions,
) -> Result<(), MethodError> {
    let t = values.len() - 1;
    let k = classes.len();
    let mut centered = vec![0.0_f32; train.len() * k];
    for (row, &class) in train.iter().enumerate() {
        centered[row * k + class as usize] = (values[t][row] as f64 - classes[class as usize].mean[neuron]) as f32;
    }
    for (idx, class) in classes.iter_mut().enumerate() {
        // Covariances with the neurons picked before, then the new row of the triangle.
        let mean = class.mean[neuron];
        let covariance = |of: &Vec<f32>| {
            let products = train.iter().enumerate().filter(|(_, class)| **class as usize == idx);
            products.map(|(row, _)| (values[t][row] as f64 - mean) * of[row] as f64).sum::<f64>() / class.n
        };
        let mut row: Vec<f64> = Vec::with_capacity(t + 1);
        if options.diagonal {
            row.resize(t, 0.0);
        } else {
            for (place, of) in values[..t].iter().enumerate() {
                let sum: f64 = row.iter().zip(&class.l[place]).map(|(a, b)| a * b).sum();
                row.push((covariance(of) - sum) / class.l[place][place]);
            }
        }
        let left = class.variance[neuron] - row.iter().map(|w| w * w).sum::<f64>();
        let pivot = left.max(DEPENDENT * class.variance[neuron]).max(f64::MIN_POSITIVE).sqrt();
        let mut u = Vec::with_capacity(judged.len());
        for (place, &value) in judged.iter().enumerate() {
            let told: f64 = row.iter().zip(&class.u).map(|(w, u)| w * u[place] as f64).sum();
            let z = (value as f64 - mean - told) / pivot;
            class.distance[place] += z * z;
            u.push(z as f32);
        }
        class.log_determinant += 2.0 * pivot.ln();
        class.u.push(u);
        row.push(pivot);
        class.l.push(row);
    }
    if options.diagonal {
        return Ok(());
    }
    // Products of the triangle with every neuron, for the candidates to come.
    let pieces = design.map_pieces(|_, piece| gradient(&view(piece, design.n_rows()), &centered, k))?;
    let products: Vec<f64> = pieces.into_iter().flatten().collect();
    for (idx, class) in classes.iter_mut().enumerate() {
        let (scale, row) = (train.len() as f64 / class.n, &class.l[t]);
        let of_neuron = |other: usize| {
            let sum: f64 = row[..t].iter().zip(&class.w).map(|(l, w)| l * w[other] as f64).sum();
            ((products[other * k + idx] * scale - sum) / row[t]) as f32
        };
        let w = (0..design.n_columns()).map(of_neuron).collect();
        class.w.push(w);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
