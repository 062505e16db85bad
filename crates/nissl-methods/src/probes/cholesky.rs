//! Cholesky's decomposition of small matrices.

use ndarray::Array2;

/// The lower triangular matrix whose product with its transpose is `a`; `None` if `a` is not positive definite.
pub(crate) fn decompose(a: &Array2<f64>) -> Option<Array2<f64>> {
    let n = a.nrows();
    let mut l: Array2<f64> = Array2::zeros((n, n));
    for i in 0..n {
        for j in 0..=i {
            let sum: f64 = (0..j).map(|m| l[[i, m]] * l[[j, m]]).sum();
            if i == j {
                let pivot = a[[i, i]] - sum;
                if !(pivot > 0.0 && pivot.is_finite()) {
                    return None;
                }
                l[[i, i]] = pivot.sqrt();
            } else {
                l[[i, j]] = (a[[i, j]] - sum) / l[[j, j]];
            }
        }
    }
    Some(l)
}

/// Solves `l x = b` for a lower triangular matrix.
pub(crate) fn forward(l: &Array2<f64>, b: &[f64]) -> Vec<f64> {
    let mut x = vec![0.0; b.len()];
    for i in 0..b.len() {
        let sum: f64 = (0..i).map(|j| l[[i, j]] * x[j]).sum();
        x[i] = (b[i] - sum) / l[[i, i]];
    }
    x
}

/// Solves `a x = b`; `None` if `a` is not positive definite.
pub(crate) fn solve(a: &Array2<f64>, b: &[f64]) -> Option<Vec<f64>> {
    let l = decompose(a)?;
    let y = forward(&l, b);
    let mut x = vec![0.0; b.len()];
    for i in (0..b.len()).rev() {
        let sum: f64 = (i + 1..b.len()).map(|j| l[[j, i]] * x[j]).sum();
        x[i] = (y[i] - sum) / l[[i, i]];
    }
    Some(x)
}

#[cfg(test)]
mod tests {
    use ndarray::array;
    use nissl_testing::{Tol, assert_close};

    use super::*;

    #[test]
    fn the_factor_multiplies_back_and_solves() {
        let a = array![[4.0, 2.0, 0.4], [2.0, 5.0, 1.0], [0.4, 1.0, 3.0]];
        let l = decompose(&a).expect("positive definite");
        assert_close("product", &l.dot(&l.t()), &a, Tol::abs(1e-14));
        let x = solve(&a, &[1.0, -2.0, 3.0]).expect("positive definite");
        assert_close("solution", &a.dot(&ndarray::Array1::from(x)).to_vec(), &[1.0, -2.0, 3.0][..], Tol::abs(1e-14));
    }

    #[test]
    fn what_is_not_positive_definite_has_no_factor() {
        assert!(decompose(&array![[1.0, 2.0], [2.0, 1.0]]).is_none());
        assert!(decompose(&array![[f64::NAN]]).is_none());
    }
}
