//! Adam: steps of about the same length in every direction.

/// The state of parameters that are moved together.
pub(crate) struct Adam {
    rate: f64,
    /// Means of slopes and of their squares.
    mean: Vec<f64>,
    square: Vec<f64>,
    steps: i32,
}

impl Adam {
    /// For `n` parameters.
    pub(crate) fn new(n: usize, rate: f64) -> Self {
        Self { rate, mean: vec![0.0; n], square: vec![0.0; n], steps: 0 }
    }

    /// Moves the parameters down the slope.
    pub(crate) fn step(&mut self, parameters: &mut [f64], slope: &[f64]) {
        const MEAN: f64 = 0.9;
        const SQUARE: f64 = 0.999;
        self.steps += 1;
        let (of_mean, of_square) = (1.0 - MEAN.powi(self.steps), 1.0 - SQUARE.powi(self.steps));
        let state = self.mean.iter_mut().zip(&mut self.square);
        for ((parameter, &slope), (mean, square)) in parameters.iter_mut().zip(slope).zip(state) {
            *mean += (1.0 - MEAN) * (slope - *mean);
            *square += (1.0 - SQUARE) * (slope * slope - *square);
            *parameter -= self.rate * (*mean / of_mean) / ((*square / of_square).sqrt() + 1e-8);
        }
    }
}
