//! Compares numbers and says where they first differ.

use ndarray::{ArrayBase, Data, Dimension};

/// How far a number may be from the one that is wanted: `abs + rel · |want|`, each number by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Tol {
    /// In the numbers' own unit.
    pub abs: f64,
    /// As a share of the wanted number.
    pub rel: f64,
}

impl Tol {
    /// The very same numbers.
    pub const EXACT: Self = Self { abs: 0.0, rel: 0.0 };

    /// So far in the numbers' own unit.
    pub const fn abs(abs: f64) -> Self {
        Self { abs, rel: 0.0 }
    }

    /// So far as a share of each wanted number.
    pub const fn rel(rel: f64) -> Self {
        Self { abs: 0.0, rel }
    }

    /// So far as a share of the largest size among the wanted numbers, for arrays whose small entries are what is
    /// left of large ones.
    pub fn of_scale(share: f64, want: &(impl Values + ?Sized)) -> Self {
        Self::abs(share * want.values().into_iter().map(f64::abs).fold(0.0, f64::max))
    }
}

/// Numbers with a shape: scalars, slices, vectors, arrays and `ndarray` arrays of `f32` or `f64`.
pub trait Values {
    /// Length in each dimension.
    fn shape(&self) -> Vec<usize>;
    /// The numbers, last dimension fastest.
    fn values(&self) -> Vec<f64>;
}

impl<T: Copy + Into<f64>> Values for [T] {
    fn shape(&self) -> Vec<usize> {
        vec![self.len()]
    }

    fn values(&self) -> Vec<f64> {
        self.iter().map(|&value| value.into()).collect()
    }
}

impl<T: Copy + Into<f64>> Values for Vec<T> {
    fn shape(&self) -> Vec<usize> {
        self.as_slice().shape()
    }

    fn values(&self) -> Vec<f64> {
        self.as_slice().values()
    }
}

impl<T: Copy + Into<f64>, const N: usize> Values for [T; N] {
    fn shape(&self) -> Vec<usize> {
        self.as_slice().shape()
    }

    fn values(&self) -> Vec<f64> {
        self.as_slice().values()
    }
}

impl<T: Copy + Into<f64>, S: Data<Elem = T>, D: Dimension> Values for ArrayBase<S, D> {
    fn shape(&self) -> Vec<usize> {
        self.shape().to_vec()
    }

    fn values(&self) -> Vec<f64> {
        self.iter().map(|&value| value.into()).collect()
    }
}

impl Values for f32 {
    fn shape(&self) -> Vec<usize> {
        Vec::new()
    }

    fn values(&self) -> Vec<f64> {
        vec![(*self).into()]
    }
}

impl Values for f64 {
    fn shape(&self) -> Vec<usize> {
        Vec::new()
    }

    fn values(&self) -> Vec<f64> {
        vec![*self]
    }
}

/// Asserts that numbers are near enough to those wanted.
///
/// ```should_panic
/// # use nissl_testing::{Tol, assert_close};
/// // gate: 1 of 2 numbers differ by more than 1e-6; first at [1]: got 2.5, want 2;
/// // largest difference 5e-1 at [1]: got 2.5, want 2
/// assert_close("gate", &[1.0, 2.5], &[1.0, 2.0], Tol::abs(1e-6));
/// ```
///
/// # Panics
/// If the shapes differ, a number is not near enough, or one is not a number.
#[track_caller]
pub fn assert_close(label: &str, got: &(impl Values + ?Sized), want: &(impl Values + ?Sized), tol: Tol) {
    if let Some(difference) = difference(got, want, tol) {
        panic!("{label}: {difference}");
    }
}

/// How numbers differ from those wanted, in words: the first difference, the largest, and where; `None` if they are
/// near enough.
pub fn difference(got: &(impl Values + ?Sized), want: &(impl Values + ?Sized), tol: Tol) -> Option<String> {
    let shape = want.shape();
    if got.shape() != shape {
        return Some(format!("got the shape {:?}, want {shape:?}", got.shape()));
    }
    let pairs: Vec<(f64, f64)> = got.values().into_iter().zip(want.values()).collect();
    // The difference of a number to one that is none is larger than all others.
    let distance = |(got, want): (f64, f64)| {
        let distance = if got.to_bits() == want.to_bits() && !got.is_nan() { 0.0 } else { (got - want).abs() };
        if distance.is_nan() { f64::INFINITY } else { distance }
    };
    let limit = |want: f64| tol.abs + tol.rel * want.abs();
    let is_far = |&i: &usize| distance(pairs[i]).is_infinite() || distance(pairs[i]) > limit(pairs[i].1);
    let far: Vec<usize> = (0..pairs.len()).filter(is_far).collect();
    let first = *far.first()?;
    let largest = far.iter().copied().fold(first, |a, b| if distance(pairs[b]) > distance(pairs[a]) { b } else { a });
    let place = |i| format!("{:?}: got {}, want {}", index(i, &shape), pairs[i].0, pairs[i].1);
    Some(format!(
        "{} of {} numbers are further than abs {:e} rel {:e} away; first at {}; largest difference {:e} at {}",
        far.len(),
        pairs.len(),
        tol.abs,
        tol.rel,
        place(first),
        distance(pairs[largest]),
        place(largest),
    ))
}

fn index(mut flat: usize, shape: &[usize]) -> Vec<usize> {
    let mut index = vec![0; shape.len()];
    for (place, &len) in index.iter_mut().zip(shape).rev() {
        (*place, flat) = (flat % len, flat / len);
    }
    index
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

    use ndarray::array;

    use super::*;

    #[test]
    fn the_first_and_the_largest_difference_are_named_with_their_index() {
        let (want, mut got) = (array![[1.0_f32, 2.0], [3.0, 4.0]], array![[1.0_f32, 2.0], [3.0, 4.0]]);
        assert_eq!(difference(&got, &want, Tol::EXACT), None);
        got[[0, 1]] = 2.25;
        got[[1, 1]] = 3.0;
        let text = difference(&got, &want, Tol::abs(0.1)).unwrap();
        assert!(text.starts_with("2 of 4 numbers"), "{text}");
        assert!(text.contains("first at [0, 1]: got 2.25, want 2;"), "{text}");
        assert!(text.ends_with("largest difference 1e0 at [1, 1]: got 3, want 4"), "{text}");
        assert_eq!(difference(&got, &want, Tol { abs: 0.25, rel: 0.25 }), None);
    }

    #[test]
    fn another_shape_differs_though_the_numbers_are_the_same() {
        let text = difference(&array![[1.0_f32, 2.0]], &[1.0, 2.0], Tol::EXACT).unwrap();
        assert_eq!(text, "got the shape [1, 2], want [2]");
    }

    #[test]
    fn what_is_not_a_number_is_near_to_nothing() {
        assert!(difference(&[f64::NAN], &[f64::NAN], Tol::abs(1.0)).is_some());
        assert!(difference(&[f64::NAN], &[0.0], Tol::abs(1.0)).is_some());
        assert!(difference(&[f64::INFINITY], &[f64::INFINITY], Tol::EXACT).is_none());
        assert!(difference(&[f64::INFINITY], &[1.0], Tol::abs(1.0)).is_some());
    }

    #[test]
    fn the_scale_is_that_of_the_largest_wanted_number() {
        assert_close("scale", &[-100.5, 0.4], &[-100.0, 0.0], Tol::of_scale(0.01, &[-100.0, 0.0]));
    }
}
