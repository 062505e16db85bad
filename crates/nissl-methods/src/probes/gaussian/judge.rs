//! What a candidate adds to the densities of the classes.

use std::ops::Range;

use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView2};

use super::{Class, Criterion, DEPENDENT, GaussianOptions, Prior, Told};

/// Rows that stay in cache while a candidate is judged on them.
const ROWS: usize = 256;

/// Judges candidates in addition to the neurons that are picked.
pub(super) struct Judge<'a> {
    of: &'a [u32],
    criterion: Criterion,
    entropy: f64,
    /// Of each class and row, the logarithm of share and density at the picked neurons, over the row's largest, `[K][M]`.
    base: Vec<Vec<f32>>,
    /// What covariances are multiplied by, `[K]`.
    shrink: Vec<f64>,
    /// u of the picked neurons, `[K]` of `[M, t]`.
    u: Vec<Array2<f32>>,
}

/// Logarithm of share and density of a class at each row.
fn log_density(class: &Class, shrink: f64, n_chosen: usize) -> impl Iterator<Item = f64> + '_ {
    let width = n_chosen as f64 * (std::f64::consts::TAU.ln() + shrink.ln()) + class.log_determinant;
    class.distance.iter().map(move |distance| class.log_share - 0.5 * (width + distance / shrink))
}

/// What the picked neurons tell of the rows' classes; `(n_all, n_chosen)` are numbers of neurons.
pub(super) fn told(
    classes: &[Class],
    of: &[u32],
    prior: Prior,
    (n_all, n_chosen): (usize, usize),
    entropy: f64,
) -> Told {
    let density =
        |class: &Class| -> Vec<f64> { log_density(class, class.shrink(prior, n_all, n_chosen), n_chosen).collect() };
    let densities: Vec<Vec<f64>> = classes.iter().map(density).collect();
    let (mut likelihood, mut n_right) = (0.0, 0);
    for (row, &class) in of.iter().enumerate() {
        let largest = densities.iter().map(|of| of[row]).fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = densities.iter().map(|of| (of[row] - largest).exp()).sum();
        let own = densities[class as usize][row];
        likelihood += own - largest - sum.ln();
        let first = densities.iter().position(|of| of[row] >= largest);
        n_right += usize::from(first == Some(class as usize));
    }
    let n = of.len().max(1) as f64;
    let information = entropy + likelihood / n / std::f64::consts::LN_2;
    let normalized = if entropy > 0.0 { information / entropy } else { 0.0 };
    Told { information, normalized, accuracy: n_right as f64 / n }
}

impl<'a> Judge<'a> {
    /// For candidates that would be number `n_chosen` of the picked.
    pub(super) fn new(
        classes: &[Class],
        of: &'a [u32],
        options: GaussianOptions,
        n_all: usize,
        n_chosen: usize,
        entropy: f64,
    ) -> Self {
        let shrink: Vec<f64> = classes.iter().map(|class| class.shrink(options.prior, n_all, n_chosen)).collect();
        let densities = classes.iter().zip(&shrink).map(|(class, &shrink)| log_density(class, shrink, n_chosen));
        let densities: Vec<Vec<f64>> = densities.map(Iterator::collect).collect();
        let largest = |row: usize| densities.iter().map(|of| of[row]).fold(f64::NEG_INFINITY, f64::max);
        let largest: Vec<f64> = (0..of.len()).map(largest).collect();
        let over = |of: &Vec<f64>| of.iter().zip(&largest).map(|(one, most)| (one - most) as f32).collect();
        let together = |class: &Class| Array2::from_shape_fn((of.len(), class.u.len()), |(row, t)| class.u[t][row]);
        Self {
            of,
            criterion: options.criterion,
            entropy,
            base: densities.iter().map(over).collect(),
            shrink,
            u: classes.iter().map(together).collect(),
        }
    }

    /// The criterion with each candidate of a piece, whose values are `x`, `[M, columns]`; `None` where a class tells it
    /// from the picked neurons already.
    pub(super) fn piece(&self, classes: &[Class], columns: Range<usize>, x: &ArrayView2<'_, f32>) -> Vec<Option<f64>> {
        let (k, m, width) = (classes.len(), self.of.len(), columns.len());
        let t = classes.first().map_or(0, |class| class.w.len());
        // One over the deviation that is left, and what the picked neurons tell of the candidate.
        let mut inverse = vec![None; k * width];
        let mut told: Vec<Array2<f32>> = Vec::new();
        for (idx, class) in classes.iter().enumerate() {
            let w = Array2::from_shape_fn((t, width), |(place, j)| class.w[place][columns.start + j]);
            let mut of_class = Array2::zeros((if t > 0 { m } else { 0 }, width));
            if t > 0 {
                general_mat_mul(1.0, &self.u[idx], &w, 0.0, &mut of_class);
            }
            told.push(of_class.reversed_axes().as_standard_layout().to_owned());
            for (j, column) in columns.clone().enumerate() {
                let all = class.variance[column];
                let left = all - w.column(j).iter().map(|&w| w as f64 * w as f64).sum::<f64>();
                if left > DEPENDENT * all && left > 0.0 {
                    inverse[idx * width + j] = Some(1.0 / left);
                }
            }
        }
        let mut densities = vec![0.0_f32; k * ROWS];
        let judged = (0..width).map(|j| {
            let inverse: Vec<f64> = (0..k).map(|idx| inverse[idx * width + j]).collect::<Option<_>>()?;
            let values: Vec<f32> = x.column(j).to_vec();
            let mut total = 0.0;
            for first in (0..m).step_by(ROWS) {
                let rows = first..m.min(first + ROWS);
                for (idx, class) in classes.iter().enumerate() {
                    let mean = class.mean[columns.start + j] as f32;
                    let factor = (-0.5 * inverse[idx] / self.shrink[idx]) as f32;
                    let constant = (0.5 * inverse[idx].ln()) as f32;
                    let out = &mut densities[idx * ROWS..idx * ROWS + rows.len()];
                    let base = &self.base[idx][rows.clone()];
                    let values = &values[rows.clone()];
                    if t == 0 {
                        for ((out, base), value) in out.iter_mut().zip(base).zip(values) {
                            let z = value - mean;
                            *out = base + constant + factor * z * z;
                        }
                    } else {
                        let told = told[idx].row(j);
                        let told = &told.as_slice().expect("rows are contiguous")[rows.clone()];
                        for (((out, base), value), told) in out.iter_mut().zip(base).zip(values).zip(told) {
                            let z = value - mean - told;
                            *out = base + constant + factor * z * z;
                        }
                    }
                }
                total += self.sum(&densities, rows);
            }
            Some(total / m.max(1) as f64 + if self.criterion == Criterion::Information { self.entropy } else { 0.0 })
        });
        judged.collect()
    }

    /// Sum of the criterion over some rows, bits or rows that are right; `densities` are `[K][ROWS]`.
    fn sum(&self, densities: &[f32], rows: Range<usize>) -> f64 {
        let of = &self.of[rows];
        let n = of.len();
        let mut largest = [f32::NEG_INFINITY; ROWS];
        for class in densities.chunks(ROWS) {
            for (largest, &density) in largest.iter_mut().zip(&class[..n]) {
                *largest = largest.max(density);
            }
        }
        let own = |row: usize| densities[of[row] as usize * ROWS + row];
        if self.criterion == Criterion::Accuracy {
            let first = |row: usize| densities.chunks(ROWS).position(|class| class[row] >= largest[row]);
            return (0..n).filter(|&row| first(row) == Some(of[row] as usize)).count() as f64;
        }
        let mut sums = [0.0_f32; ROWS];
        for class in densities.chunks(ROWS) {
            for ((sum, &density), &largest) in sums.iter_mut().zip(&class[..n]).zip(&largest) {
                *sum += exponential(density - largest);
            }
        }
        let likelihood = |row: usize| (own(row) - largest[row] - sums[row].ln()) as f64;
        (0..n).map(likelihood).sum::<f64>() / std::f64::consts::LN_2
    }
}

/// e to a number that is not above 0, to some 1e-7 of it times the number, in operations that run on several numbers at once.
fn exponential(x: f32) -> f32 {
    // Adding it rounds to a whole number, which then stands in the low bits.
    const ROUND: f32 = 12_582_912.0;
    let t = x.max(-86.0) * std::f32::consts::LOG2_E;
    let rounded = t + ROUND;
    let rest = t - (rounded - ROUND);
    // Taylor's series of 2^rest, |rest| ≤ 1/2.
    let mut power = 1.540_353e-4_f32;
    for coefficient in [1.333_355_8e-3, 9.618_129e-3, 5.550_411e-2, 0.240_226_5, std::f32::consts::LN_2, 1.0] {
        power = power * rest + coefficient;
    }
    f32::from_bits(power.to_bits().wrapping_add(rounded.to_bits() << 23))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fast_exponential_is_the_exponential() {
        for step in 0..8000 {
            let x = -0.01 * step as f32;
            let (got, want) = (exponential(x) as f64, (x as f64).exp());
            assert!((got - want).abs() <= (4e-7 - 1e-7 * x as f64) * want, "{x}: {got} {want}");
        }
        assert!(exponential(-1e30) < 1e-37);
    }
}
