//! Running statistics of a neuron that can be joined.

/// Number, mean, spread and range of the finite values of one neuron. The same bits for the same rows, in whatever
/// pieces they were written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Moments {
    /// Number of finite values.
    pub count: u64,
    /// Number of values that are infinite or not a number; they are in nothing else here.
    pub not_finite: u64,
    /// Mean.
    pub mean: f64,
    /// Sum of squared differences from the mean.
    pub m2: f64,
    /// Smallest value; infinite if there is none.
    pub min: f32,
    /// Largest value; minus infinite if there is none.
    pub max: f32,
}

impl Default for Moments {
    fn default() -> Self {
        Self { count: 0, not_finite: 0, mean: 0.0, m2: 0.0, min: f32::INFINITY, max: f32::NEG_INFINITY }
    }
}

/// Sums are kept in this many lanes, always the same, which the compiler turns into vectors.
const LANES: usize = 16;

impl Moments {
    /// Standard deviation (of the rows, not an estimate for a larger text); 0 without values.
    pub fn std(&self) -> f64 {
        if self.count == 0 { 0.0 } else { (self.m2 / self.count as f64).sqrt() }
    }

    /// Joins the statistics of the rows that follow.
    pub fn merge(&mut self, next: &Self) {
        self.not_finite += next.not_finite;
        if next.count == 0 {
            return;
        }
        let (n, m) = (self.count as f64, next.count as f64);
        let delta = next.mean - self.mean;
        self.mean += delta * (m / (n + m));
        self.m2 += next.m2 + delta * delta * (n * m / (n + m));
        self.count += next.count;
        self.min = self.min.min(next.min);
        self.max = self.max.max(next.max);
    }

    /// Joins the values of the rows that follow.
    pub fn add(&mut self, values: &[f32]) {
        self.merge(&Self::of(values));
    }

    fn of(values: &[f32]) -> Self {
        // The largest magnitude as bits is that of an infinity or more exactly if a value is not finite.
        let largest = values.iter().fold(0, |largest, value| largest.max(value.to_bits() & 0x7fff_ffff));
        if largest > f32::MAX.sqrt().to_bits() {
            return Self::of_extreme(values);
        }
        let (mut min, mut max) = (f32::INFINITY, f32::NEG_INFINITY);
        for &value in values {
            min = min.min(value);
            max = max.max(value);
        }
        let n = values.len() as f64;
        let about = (lanes(values, |value| value) / n) as f32;
        let rest = lanes(values, |value| value - about);
        let squares = lanes(values, |value| (value - about) * (value - about));
        Self {
            count: values.len() as u64,
            not_finite: 0,
            mean: about as f64 + rest / n,
            m2: (squares - rest * rest / n).max(0.0),
            min,
            max,
        }
    }

    /// As `of`, one value at a time in 64 bits: for values that are not finite or whose squares would not be.
    fn of_extreme(values: &[f32]) -> Self {
        let mut all = Self::default();
        for &value in values {
            if value.is_finite() {
                all.merge(&Self { count: 1, mean: value as f64, min: value, max: value, ..Self::default() });
            } else {
                all.not_finite += 1;
            }
        }
        all
    }
}

/// Sum of `f` over `values`, in lanes.
fn lanes(values: &[f32], f: impl Fn(f32) -> f32) -> f64 {
    let mut sums = [0.0_f32; LANES];
    let (whole, rest) = values.as_chunks::<LANES>();
    for chunk in whole {
        for (sum, &value) in sums.iter_mut().zip(chunk) {
            *sum += f(value);
        }
    }
    for (sum, &value) in sums.iter_mut().zip(rest) {
        *sum += f(value);
    }
    sums.iter().map(|&sum| sum as f64).sum()
}
