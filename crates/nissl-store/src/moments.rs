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
        let n = values.len() as f64;
        let (sum, min, max) = sum_and_range(values);
        // A value that is not a number is in no range, but it is in the sum.
        if !sum.is_finite() || min < -f32::MAX.sqrt() || max > f32::MAX.sqrt() {
            return Self::of_extreme(values);
        }
        let about = (sum / n) as f32;
        let (rest, squares) = differences(values, about);
        let mean = about as f64 + rest / n;
        Self { count: values.len() as u64, not_finite: 0, mean, m2: (squares - rest * rest / n).max(0.0), min, max }
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

/// Sum, least and largest value. Comparisons are written so that they become vector instructions.
fn sum_and_range(values: &[f32]) -> (f64, f32, f32) {
    let mut sums = [0.0_f32; LANES];
    let mut least = [f32::INFINITY; LANES];
    let mut largest = [f32::NEG_INFINITY; LANES];
    each_chunk(values, 0.0, |chunk| {
        for lane in 0..LANES {
            sums[lane] += chunk[lane];
        }
    });
    each_chunk(values, values.first().copied().unwrap_or(f32::INFINITY), |chunk| {
        for lane in 0..LANES {
            let value = chunk[lane];
            least[lane] = if value < least[lane] { value } else { least[lane] };
            largest[lane] = if value > largest[lane] { value } else { largest[lane] };
        }
    });
    let join = |best: f32, lane: f32, better: bool| if better { lane } else { best };
    (
        sums.iter().map(|&sum| sum as f64).sum(),
        least.iter().fold(f32::INFINITY, |best, &lane| join(best, lane, lane < best)),
        largest.iter().fold(f32::NEG_INFINITY, |best, &lane| join(best, lane, lane > best)),
    )
}

/// Sum of the differences from `about`, and of their squares.
fn differences(values: &[f32], about: f32) -> (f64, f64) {
    let mut sums = [0.0_f32; LANES];
    let mut squares = [0.0_f32; LANES];
    // The lanes that are filled up add nothing.
    each_chunk(values, about, |chunk| {
        for lane in 0..LANES {
            let difference = chunk[lane] - about;
            sums[lane] += difference;
            squares[lane] += difference * difference;
        }
    });
    let total = |lanes: [f32; LANES]| lanes.iter().map(|&lane| lane as f64).sum();
    (total(sums), total(squares))
}

/// Calls `add` with the values, a lane each, the last ones filled up with `fill`.
fn each_chunk(values: &[f32], fill: f32, mut add: impl FnMut(&[f32; LANES])) {
    let (whole, rest) = values.as_chunks::<LANES>();
    let mut last = [fill; LANES];
    last[..rest.len()].copy_from_slice(rest);
    // One call, so that it is compiled into the loop.
    for idx in 0..whole.len() + usize::from(!rest.is_empty()) {
        add(whole.get(idx).unwrap_or(&last));
    }
}
