//! How well predictions agree with the truth.

/// The output that is largest; of equal ones the first.
pub(crate) fn largest_output(z: &[f64]) -> usize {
    (1..z.len()).fold(0, |best, k| if z[k] > z[best] { k } else { best })
}

/// Whether each row's largest output is that of its class; `z` are outputs, `[n_rows, n_outputs]`.
pub(crate) fn right(z: &[f64], of: &[u32]) -> Vec<bool> {
    let k = z.len() / of.len().max(1);
    of.iter().enumerate().map(|(row, &class)| largest_output(&z[row * k..(row + 1) * k]) == class as usize).collect()
}

/// How often each class was predicted for each class.
pub(crate) struct Confusion {
    k: usize,
    /// `[true class, predicted class]`.
    counts: Vec<usize>,
}

impl Confusion {
    /// Of outputs, `[n_rows, k]`, and classes.
    pub(crate) fn new(z: &[f64], of: &[u32], k: usize) -> Self {
        let mut counts = vec![0; k * k];
        for (z, &class) in z.chunks(k).zip(of) {
            counts[class as usize * k + largest_output(z)] += 1;
        }
        Self { k, counts }
    }

    /// Rows of a class.
    pub(crate) fn rows(&self, class: usize) -> usize {
        self.counts[class * self.k..(class + 1) * self.k].iter().sum()
    }

    fn share(&self, class: usize, of: usize) -> f64 {
        if of == 0 { 0.0 } else { self.counts[class * self.k + class] as f64 / of as f64 }
    }

    /// Share of the rows predicted as a class that are of it; 0 if there is none.
    pub(crate) fn precision(&self, class: usize) -> f64 {
        self.share(class, (0..self.k).map(|of| self.counts[of * self.k + class]).sum())
    }

    /// Share of the rows of a class that are predicted as it; 0 if there is none.
    pub(crate) fn recall(&self, class: usize) -> f64 {
        self.share(class, self.rows(class))
    }

    /// Harmonic mean of precision and recall; 0 if both are.
    pub(crate) fn f1(&self, class: usize) -> f64 {
        let (p, r) = (self.precision(class), self.recall(class));
        if p + r > 0.0 { 2.0 * p * r / (p + r) } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use nissl_testing::{Tol, assert_close};

    use super::*;

    #[test]
    fn precision_recall_and_f1_are_those_by_hand() {
        // Predicted 0, 0, 1, 1, 0 for 0, 1, 1, 1, 2; ties go to the first.
        let z = [1.0, 0.0, 0.0, 2.0, 2.0, 1.0, 0.0, 1.0, 0.5, -1.0, 0.0, -0.5, 0.3, 0.3, 0.3];
        let confusion = Confusion::new(&z, &[0, 1, 1, 1, 2], 3);
        let got: Vec<f64> =
            (0..3).flat_map(|c| [confusion.precision(c), confusion.recall(c), confusion.f1(c)]).collect();
        let want = [1.0 / 3.0, 1.0, 0.5, 1.0, 2.0 / 3.0, 0.8, 0.0, 0.0, 0.0];
        assert_close("classes", &got, &want[..], Tol::abs(1e-12));
        assert_eq!(right(&z, &[0, 1, 1, 1, 2]), [true, false, true, true, false]);
    }
}
