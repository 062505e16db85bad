//! Neurons picked one by one for what they add to a least-squares fit of a number.
//!
//! N rows to fit on, D neurons. What the picked neurons leave of a candidate is e = x - Qq, Q an orthonormal basis of
//! them; only e·e and e·y are kept of each candidate, so that a step is one product of every column with one vector.

use nissl_core::MethodError;
use serde::{Deserialize, Serialize};

use super::design::Design;

/// When picking ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct GreedyOptions {
    pub(crate) max_neurons: usize,
    /// Picking ends where the share of the variance that is explained rises by less.
    pub(crate) min_gain: f64,
    /// Added to what is left of a candidate, as a share of its variance.
    pub(crate) ridge: f64,
}

/// Shares of the variance that picked neurons explain.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Explained {
    /// On the rows that were fitted on.
    pub train: f64,
    /// On the rows to choose by.
    pub dev: f64,
}

/// Neurons in the order in which they were picked.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Greedy {
    pub(crate) order: Vec<usize>,
    /// What the first 1, 2, … of them explain.
    pub(crate) curve: Vec<Explained>,
    /// Correlation of each neuron with the number, on the rows that were fitted on.
    pub(crate) correlation: Vec<f64>,
}

/// What is left of a candidate at or below which it is told by the picked neurons, as a share of its variance.
const DEPENDENT: f64 = 1e-10;

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Takes the mean of the first `n` values away from all.
fn center(values: &mut [f64], n: usize) {
    let mean = values[..n].iter().sum::<f64>() / n.max(1) as f64;
    for value in values {
        *value -= mean;
    }
}

fn squares(values: &[f64]) -> f64 {
    dot(values, values)
}

/// Picks neurons for the number `of` each row of the design. A neuron is picked for what it adds on the rows that are
/// fitted on; whether that is enough is judged on the others.
///
/// # Errors
/// If the activations cannot be read or the user stops it.
pub(crate) fn greedy(design: &Design<'_>, of: &[f64], options: GreedyOptions) -> Result<Greedy, MethodError> {
    let (n, n_rows) = (design.n_fit(), design.n_rows());
    let mut y = of.to_vec();
    center(&mut y, n);
    let total = squares(&y[..n]);
    let dev_total = {
        let mean = y[n..].iter().sum::<f64>() / (n_rows - n).max(1) as f64;
        y[n..].iter().map(|value| (value - mean) * (value - mean)).sum::<f64>()
    };
    // Of each candidate what is left of its squares and of its product with y.
    let mut products = times(design, &y[..n])?;
    let mut left: Vec<f64> = design.scales().iter().map(|scale| if scale.1 > 0.0 { n as f64 } else { 0.0 }).collect();
    let length = (total * n as f64).sqrt();
    let correlation = products.iter().map(|product| if length > 0.0 { product / length } else { 0.0 }).collect();
    let mut found = Greedy { order: Vec::new(), curve: Vec::new(), correlation };
    let mut basis: Vec<Vec<f64>> = Vec::new();
    let (mut rest, mut reached) = (y.clone(), 0.0);
    for _ in 0..options.max_neurons.min(design.n_columns()) {
        design.go_on()?;
        let gain = |j: usize| products[j] * products[j] / (left[j] + options.ridge * n as f64);
        let is_free = |j: &usize| left[*j] > DEPENDENT * n as f64 && !found.order.contains(j);
        let better =
            |best: Option<usize>, j: usize| if best.is_none_or(|best| gain(j) > gain(best)) { Some(j) } else { best };
        let Some(neuron) = (0..left.len()).filter(is_free).fold(None, better) else { break };
        let column = design.gathered(&[neuron])?;
        let mut e: Vec<f64> = column.iter().map(|&value| f64::from(value)).collect();
        center(&mut e, n);
        // Twice, as rounding leaves something the first time.
        for q in basis.iter().chain(&basis) {
            let share = dot(&e[..n], &q[..n]);
            e.iter_mut().zip(q).for_each(|(e, q)| *e -= share * q);
        }
        let size = squares(&e[..n]).sqrt();
        if size <= 0.0 {
            left[neuron] = 0.0;
            continue;
        }
        for value in &mut e {
            *value /= size;
        }
        let weight = dot(&e[..n], &rest[..n]);
        let next: Vec<f64> = rest.iter().zip(&e).map(|(rest, e)| rest - weight * e).collect();
        let share = |left: f64, of: f64| if of > 0.0 { 1.0 - left / of } else { 0.0 };
        let explained =
            Explained { train: share(squares(&next[..n]), total), dev: share(squares(&next[n..]), dev_total) };
        if explained.dev < reached + options.min_gain {
            break;
        }
        reached = explained.dev;
        for (j, along) in times(design, &e[..n])?.into_iter().enumerate() {
            left[j] -= along * along;
            products[j] -= along * weight;
        }
        found.order.push(neuron);
        found.curve.push(explained);
        rest = next;
        basis.push(e);
    }
    Ok(found)
}

/// The product of every column with a vector of the rows that are fitted on.
fn times(design: &Design<'_>, with: &[f64]) -> Result<Vec<f64>, MethodError> {
    let n_rows = design.n_rows().max(1);
    let of_column = |column: &[f32]| column.iter().zip(with).map(|(&value, with)| f64::from(value) * with).sum::<f64>();
    let pieces = design.map_pieces(|_, piece| piece.chunks(n_rows).map(of_column).collect::<Vec<f64>>())?;
    Ok(pieces.into_iter().flatten().collect())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

    use ndarray::Array2;
    use nissl_core::{Context, Matrix, site_columns};
    use nissl_testing::{PlantedActivations, Random, Tol, assert_close};

    use super::*;
    use crate::probes::cholesky::solve;

    const OPTIONS: GreedyOptions = GreedyOptions { max_neurons: 6, min_gain: f64::NEG_INFINITY, ridge: 0.0 };

    /// Share of the variance that a fit on some columns explains, from normal equations.
    fn dense(x: &Array2<f64>, y: &[f64], n: usize, columns: &[usize]) -> f64 {
        let centered = |column: usize| {
            let mut values = x.column(column).to_vec();
            center(&mut values, n);
            values
        };
        let chosen: Vec<Vec<f64>> = columns.iter().map(|&column| centered(column)).collect();
        let k = columns.len();
        let gram = Array2::from_shape_fn((k, k), |(a, b)| dot(&chosen[a][..n], &chosen[b][..n]));
        let mut y = y.to_vec();
        center(&mut y, n);
        let right: Vec<f64> = chosen.iter().map(|column| dot(&column[..n], &y[..n])).collect();
        let w = solve(&gram, &right).unwrap();
        let fitted = |row: usize| chosen.iter().zip(&w).map(|(column, w)| column[row] * w).sum::<f64>();
        let off: f64 = (0..n).map(|row| (y[row] - fitted(row)).powi(2)).sum();
        1.0 - off / squares(&y[..n])
    }

    #[test]
    fn every_pick_is_the_best_of_all_fits_computed_anew() {
        let mut random = Random::new(5);
        let (n_rows, n, d) = (300, 200, 12);
        let hidden: Vec<f64> = (0..n_rows).map(|_| random.normal()).collect();
        let x = Array2::from_shape_fn((n_rows, d), |(row, j)| {
            f64::from((random.normal() + if j % 3 == 0 { hidden[row] } else { 0.0 }) as f32)
        });
        let y: Vec<f64> = (0..n_rows).map(|row| hidden[row] + 0.4 * x[[row, 4]] + 0.3 * random.normal()).collect();
        let columns = site_columns(&[(PlantedActivations::neuron(0).point, d)]);
        let matrix = Matrix::new(x.mapv(|value| value as f32), columns).unwrap();
        let design = Design::new(&matrix, Context::default(), "test", (0..n_rows).collect(), n).unwrap();
        let found = greedy(&design, &y, OPTIONS).unwrap();
        assert_eq!(found.order.len(), 6);
        for picked in 1..=6 {
            let got = found.curve[picked - 1].train;
            assert_close("explained", &got, &dense(&x, &y, n, &found.order[..picked]), Tol::abs(1e-6));
            let best = (0..d)
                .filter(|j| !found.order[..picked - 1].contains(j))
                .map(|j| dense(&x, &y, n, &[&found.order[..picked - 1], &[j]].concat()))
                .fold(0.0, f64::max);
            assert!(got > best - 1e-6, "{got} below {best}");
        }
    }

    #[test]
    fn a_copy_of_a_picked_neuron_is_not_picked() {
        let mut random = Random::new(1);
        let mut x = Array2::from_shape_fn((50, 3), |_| random.normal() as f32);
        let copy = x.column(0).mapv(|value| 2.0 * value - 1.0);
        x.column_mut(1).assign(&copy);
        let y: Vec<f64> = x.column(0).iter().map(|&value| f64::from(value)).collect();
        let matrix = Matrix::new(x, site_columns(&[(PlantedActivations::neuron(0).point, 3)])).unwrap();
        let design = Design::new(&matrix, Context::default(), "test", (0..50).collect(), 40).unwrap();
        let found = greedy(&design, &y, GreedyOptions { min_gain: 0.0, ridge: 1e-6, ..OPTIONS }).unwrap();
        assert_eq!(found.order.iter().filter(|&&neuron| neuron < 2).count(), 1, "{:?}", found.order);
        assert_close("all of it", &found.curve[0].train, &1.0, Tol::abs(1e-9));
    }
}
