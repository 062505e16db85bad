//! Coordinate descent on a quadratic with a penalty.

use ndarray::Array2;

use super::solver::Penalty;

/// Minimizes g·(v - w) + c/2 (v - w)'G(v - w) + penalty of v from v = w, one weight after the other, those with the
/// steepest slopes first; and the curved part at the minimum.
pub(super) fn coordinate_descent(
    gram: &Array2<f64>,
    g: &[f64],
    mut w: Vec<f64>,
    curvature: f64,
    penalty: Penalty,
) -> (Vec<f64>, f64) {
    const SWEEPS: usize = 40;
    let start = w.clone();
    let mut order: Vec<usize> = (0..w.len()).filter(|&j| gram[[j, j]] > 0.0).collect();
    // Not by their places, so that the order of the neurons does not matter.
    order.sort_by(|&a, &b| g[b].abs().total_cmp(&g[a].abs()).then_with(|| a.cmp(&b)));
    let mut moved = vec![0.0; w.len()];
    let mut most_of_first = 0.0;
    for sweep in 0..SWEEPS {
        let mut most = 0.0_f64;
        for &j in &order {
            let steep = curvature * gram[[j, j]];
            let slope = g[j] + curvature * moved[j];
            let to = steep * w[j] - slope;
            let new = to.signum() * (to.abs() - penalty.l1).max(0.0) / (steep + 2.0 * penalty.l2);
            let by = new - w[j];
            if by != 0.0 {
                w[j] = new;
                most = most.max(by.abs());
                let row = gram.row(j);
                moved.iter_mut().zip(row).for_each(|(moved, gram)| *moved += by * gram);
            }
        }
        if sweep == 0 {
            most_of_first = most;
        }
        if most <= 1e-3 * most_of_first {
            break;
        }
    }
    let curved: f64 = w.iter().zip(&start).zip(&moved).map(|((w, start), moved)| (w - start) * moved).sum();
    (w, 0.5 * curvature * curved)
}
