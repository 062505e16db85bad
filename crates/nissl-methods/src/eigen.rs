//! Eigenvalues and eigenvectors of a symmetric matrix.

use ndarray::{Array1, Array2, Axis};

/// Rounds for an eigenvalue, at most; three are usual.
const ROUNDS: usize = 60;

/// Eigenvalues, largest first, and the eigenvectors as columns in their order, `[n, n]`.
///
/// The matrix is made tridiagonal by reflections, then diagonal by rotations with shifts (QL). Only its lower half is
/// read. The work is that of one thread: about `9 n³` operations.
pub(crate) fn symmetric(matrix: &Array2<f64>) -> (Array1<f64>, Array2<f64>) {
    let n = matrix.nrows();
    // Vectors are rows here, which are contiguous.
    let (mut diagonal, mut beside, mut basis) = tridiagonal(matrix);
    for first in 0..n {
        for _ in 0..ROUNDS {
            // Where the matrix falls into two.
            let small = |place: usize| {
                let scale = diagonal[place].abs() + diagonal[place + 1].abs();
                beside[place].abs() <= f64::EPSILON * scale
            };
            let end = (first..n - 1).find(|&place| small(place)).unwrap_or(n - 1);
            if end == first {
                break;
            }
            sweep(&mut diagonal, &mut beside, &mut basis, (first, end));
        }
    }
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&one, &two| diagonal[two].total_cmp(&diagonal[one]).then(one.cmp(&two)));
    let values = order.iter().map(|&idx| diagonal[idx]).collect();
    let vectors = Array2::from_shape_fn((n, n), |(row, column)| basis[[order[column], row]]);
    (values, vectors)
}

/// A tridiagonal matrix `T` with `matrix = Bᵀ T B`: its diagonal, what stands beside it, and `B`.
fn tridiagonal(matrix: &Array2<f64>) -> (Vec<f64>, Vec<f64>, Array2<f64>) {
    let n = matrix.nrows();
    let mut work = Array2::from_shape_fn((n, n), |(i, j)| matrix[[i.max(j), i.min(j)]]);
    let mut basis = Array2::eye(n);
    for column in 0..n.saturating_sub(2) {
        let first = column + 1;
        // What is to become zero but for its first entry.
        let mut mirror: Vec<f64> = (0..n).map(|row| if row < first { 0.0 } else { work[[row, column]] }).collect();
        let rest: f64 = mirror[first + 1..].iter().map(|value| value * value).sum();
        if rest == 0.0 {
            continue;
        }
        let length = (mirror[first] * mirror[first] + rest).sqrt();
        // Away from the vector, so that nothing cancels.
        mirror[first] += length.copysign(mirror[first]);
        let size = dot(&mirror, &mirror);
        // A becomes H A H and B becomes H B with H = 1 - 2 v vᵀ / |v|²: updates of rank 2 and 1.
        let product = |row: ndarray::ArrayView1<'_, f64>| {
            row.iter().zip(&mirror).map(|(value, v)| value * v).sum::<f64>() * 2.0 / size
        };
        let moved: Vec<f64> = work.outer_iter().map(product).collect();
        let along = dot(&mirror, &moved) / size;
        for ((mut row, &v), &m) in work.outer_iter_mut().zip(&mirror).zip(&moved) {
            for ((value, other), moved) in row.iter_mut().zip(&mirror).zip(&moved) {
                *value -= v * moved + m * other - 2.0 * along * v * other;
            }
        }
        let mut part = vec![0.0; n];
        for (row, &v) in basis.outer_iter().zip(&mirror).skip(first) {
            part.iter_mut().zip(row).for_each(|(part, value)| *part += 2.0 / size * v * value);
        }
        for (mut row, &v) in basis.outer_iter_mut().zip(&mirror).skip(first) {
            row.iter_mut().zip(&part).for_each(|(value, part)| *value -= v * part);
        }
    }
    let diagonal = (0..n).map(|i| work[[i, i]]).collect();
    let beside = (0..n).map(|i| if i + 1 < n { work[[i + 1, i]] } else { 0.0 }).collect();
    (diagonal, beside, basis)
}

fn dot(one: &[f64], two: &[f64]) -> f64 {
    one.iter().zip(two).map(|(one, two)| one * two).sum()
}

/// One QL sweep over a part of a tridiagonal matrix, with a shift near its first eigenvalue.
fn sweep(diagonal: &mut [f64], beside: &mut [f64], basis: &mut Array2<f64>, (first, end): (usize, usize)) {
    let half = (diagonal[first + 1] - diagonal[first]) / (2.0 * beside[first]);
    let root = half.hypot(1.0);
    let mut lead = diagonal[end] - diagonal[first] + beside[first] / (half + root.copysign(half));
    let (mut sine, mut cosine, mut shift) = (1.0, 1.0, 0.0);
    for place in (first..end).rev() {
        let (far, near) = (sine * beside[place], cosine * beside[place]);
        let length = far.hypot(lead);
        beside[place + 1] = length;
        if length == 0.0 {
            diagonal[place + 1] -= shift;
            beside[end] = 0.0;
            return;
        }
        (sine, cosine) = (far / length, lead / length);
        lead = diagonal[place + 1] - shift;
        let turned = (diagonal[place] - lead) * sine + 2.0 * cosine * near;
        shift = sine * turned;
        diagonal[place + 1] = lead + shift;
        lead = cosine * turned - near;
        let (mut above, mut below) = basis.view_mut().split_at(Axis(0), place + 1);
        for (one, two) in above.row_mut(place).iter_mut().zip(below.row_mut(0).iter_mut()) {
            (*one, *two) = (cosine * *one - sine * *two, sine * *one + cosine * *two);
        }
    }
    diagonal[first] -= shift;
    beside[first] = lead;
    beside[end] = 0.0;
}

#[cfg(test)]
mod tests {
    use nissl_testing::{Random, Tol, assert_close};

    use super::*;

    #[test]
    fn vectors_and_values_multiply_back_and_are_in_order() {
        let mut random = Random::new(5);
        for n in [1, 2, 3, 17, 60] {
            let half = Array2::from_shape_simple_fn((n, n), || random.normal());
            let matrix = &half + &half.t();
            let (values, vectors) = symmetric(&matrix);
            let back = (&vectors * &values).dot(&vectors.t());
            assert_close("product", &back, &matrix, Tol::abs(1e-10));
            assert_close("orthogonal", &vectors.t().dot(&vectors), &Array2::<f64>::eye(n), Tol::abs(1e-11));
            assert!(values.windows(2).into_iter().all(|pair| pair[0] >= pair[1]));
        }
    }

    #[test]
    fn known_values_are_found_and_nothing_is_no_panic() {
        let (values, _) = symmetric(&ndarray::array![[2.0, 1.0, 0.0], [1.0, 2.0, 0.0], [0.0, 0.0, 5.0]]);
        assert_close("values", &values, &ndarray::array![5.0, 3.0, 1.0], Tol::abs(1e-12));
        let (values, _) = symmetric(&Array2::ones((4, 4)));
        assert_close("rank one", &values, &ndarray::array![4.0, 0.0, 0.0, 0.0], Tol::abs(1e-12));
        assert_eq!(symmetric(&Array2::zeros((0, 0))).0.len(), 0);
        assert_close("zeros", &symmetric(&Array2::zeros((3, 3))).0, &Array1::<f64>::zeros(3), Tol::EXACT);
    }
}
