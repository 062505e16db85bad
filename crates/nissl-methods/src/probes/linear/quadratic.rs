//! A quadratic model of the loss in some weights of one output and its bias, and its minimum with a penalty.

use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView2, s};

use super::solver::Penalty;

/// Rows whose products are summed up at once.
const ROWS: usize = 2048;
/// Neurons of a tile of the products.
const TILE: usize = 128;
/// Rows with less than this share of the usual curvature are left out; what they lack is spread over the others.
const LOW: f64 = 0.1;

/// Products of neurons by the curvature of each row.
pub(super) struct Quadratic {
    /// Mean of curvature times one neuron times another, `[n + 1, n + 1]`; the last is the bias.
    products: Array2<f32>,
    /// Curvature of each row when it was made.
    curvature: Vec<f64>,
}

/// Sum of products: single precision within a few rows, double between.
pub(super) fn dot(a: &[f32], b: &[f32]) -> f64 {
    const LANES: usize = 16;
    let mut sum = 0.0;
    for (a, b) in a.chunks(1024).zip(b.chunks(1024)) {
        let mut lanes = [0.0_f32; LANES];
        let (whole_a, rest_a) = a.as_chunks::<LANES>();
        let (whole_b, rest_b) = b.as_chunks::<LANES>();
        for (a, b) in whole_a.iter().zip(whole_b) {
            for lane in 0..LANES {
                lanes[lane] += a[lane] * b[lane];
            }
        }
        let rest: f32 = rest_a.iter().zip(rest_b).map(|(a, b)| a * b).sum();
        sum += lanes.iter().map(|&lane| lane as f64).sum::<f64>() + rest as f64;
    }
    sum
}

impl Quadratic {
    /// Of columns `[N]` each, and the curvature of each row.
    pub(super) fn new(columns: &[impl AsRef<[f32]>], curvature: Vec<f64>) -> Self {
        let (n, width) = (curvature.len(), columns.len() + 1);
        let total: f64 = curvature.iter().sum();
        let usual = curvature.iter().map(|c| c * c).sum::<f64>() / total.max(f64::MIN_POSITIVE);
        let rows: Vec<usize> = (0..n).filter(|&row| curvature[row] > 0.0 && curvature[row] >= LOW * usual).collect();
        let kept: f64 = rows.iter().map(|&row| curvature[row]).sum();
        let spread = total / kept.max(f64::MIN_POSITIVE) / n.max(1) as f64;
        let mut products = Array2::zeros((width, width));
        let mut values = vec![0.0_f32; width * ROWS.min(rows.len())];
        for rows in rows.chunks(ROWS) {
            let roots: Vec<f32> = rows.iter().map(|&row| (curvature[row] * spread).sqrt() as f32).collect();
            let values = &mut values[..width * rows.len()];
            let (of_columns, of_bias) = values.split_at_mut((width - 1) * rows.len());
            for (to, column) in of_columns.chunks_mut(rows.len()).zip(columns) {
                let column = column.as_ref();
                to.iter_mut().zip(rows.iter().zip(&roots)).for_each(|(to, (&row, root))| *to = column[row] * root);
            }
            of_bias.copy_from_slice(&roots);
            let x = ArrayView2::from_shape((width, rows.len()), &*values).expect("a row for each column and the bias");
            for a in (0..width).step_by(TILE) {
                let tile = x.slice(s![a..width.min(a + TILE), ..]);
                let to = &mut products.slice_mut(s![a..width.min(a + TILE), a..]);
                general_mat_mul(1.0, &tile, &x.slice(s![a.., ..]).t(), 1.0, to);
            }
        }
        for a in 0..width {
            for b in 0..a / TILE * TILE {
                products[[a, b]] = products[[b, a]];
            }
        }
        Self { products, curvature }
    }

    /// Share by which the curvature is another.
    pub(super) fn moved(&self, curvature: &[f64]) -> f64 {
        let by: f64 = self.curvature.iter().zip(curvature).map(|(before, now)| (before - now).abs()).sum();
        by / curvature.iter().sum::<f64>().max(f64::MIN_POSITIVE)
    }

    /// The weights that minimize slopes `g` plus quadratic plus penalty from `w`, and the step of the bias as the last.
    ///
    /// One weight after the other, those with the steepest slopes first.
    pub(super) fn minimum(&self, g: &[f64], w: &[f64], penalty: Penalty) -> Vec<f64> {
        const SWEEPS: usize = 50;
        let bias = w.len();
        let mut to: Vec<f64> = w.iter().copied().chain([0.0]).collect();
        let mut order: Vec<usize> = (0..=bias).filter(|&j| self.products[[j, j]] > 0.0).collect();
        // Not by their places, so that the order of the neurons does not matter.
        order.sort_by(|&a, &b| g[b].abs().total_cmp(&g[a].abs()).then_with(|| a.cmp(&b)));
        let mut moved = vec![0.0_f32; to.len()];
        let mut most_of_first = 0.0;
        for sweep in 0..SWEEPS {
            let mut most = 0.0_f64;
            for &j in &order {
                let steep = self.products[[j, j]] as f64;
                let at = steep * to[j] - g[j] - moved[j] as f64;
                let new = if j == bias {
                    at / steep
                } else {
                    at.signum() * (at.abs() - penalty.l1).max(0.0) / (steep + 2.0 * penalty.l2)
                };
                let by = new - to[j];
                if by != 0.0 {
                    to[j] = new;
                    most = most.max(by.abs() * steep.sqrt());
                    let by = by as f32;
                    let row = self.products.row(j);
                    moved.iter_mut().zip(row).for_each(|(moved, product)| *moved += by * product);
                }
            }
            if sweep == 0 {
                most_of_first = most;
            }
            if most <= 1e-3 * most_of_first {
                break;
            }
        }
        to
    }
}
