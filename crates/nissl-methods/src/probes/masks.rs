//! Distributions over sets of neurons: each by itself (Poisson), or so many at once (conditional Poisson).
//!
//! D neurons with weights w = exp φ. A set m has `Σ_{d∈m} φ_d` as the logarithm of its weight.

/// Neurons that are in a set or not, each by itself.
#[derive(Clone, Debug)]
pub(crate) struct Poisson<'a> {
    phi: &'a [f64],
}

fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

fn logistic(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

impl<'a> Poisson<'a> {
    /// That of the logarithms of the weights.
    pub(crate) fn new(phi: &'a [f64]) -> Self {
        Self { phi }
    }

    /// Chance of each neuron to be in, `[D]`.
    pub(crate) fn inclusion(&self) -> Vec<f64> {
        self.phi.iter().map(|&phi| logistic(phi)).collect()
    }

    /// Its entropy in nats.
    pub(crate) fn entropy(&self) -> f64 {
        self.phi.iter().map(|&phi| softplus(phi) - logistic(phi) * phi).sum()
    }

    /// Slope of the entropy by each φ, `[D]`.
    pub(crate) fn entropy_slope(&self) -> Vec<f64> {
        let slope = |&phi: &f64| {
            let p = logistic(phi);
            -phi * p * (1.0 - p)
        };
        self.phi.iter().map(slope).collect()
    }

    /// Logarithm of the chance of a set.
    #[cfg(test)]
    fn log_density(&self, set: &[bool]) -> f64 {
        let weight: f64 = self.phi.iter().zip(set).filter(|(_, has)| **has).map(|(phi, _)| phi).sum();
        weight - self.phi.iter().map(|&phi| softplus(phi)).sum::<f64>()
    }
}

/// Sets of a size that is drawn first, all sizes from 1 to D alike.
#[derive(Clone, Debug)]
pub(crate) struct ConditionalPoisson<'a> {
    phi: &'a [f64],
    /// Logarithm of the weight of all sets of j among the first n, `[D + 1, D + 1]`.
    log_z: Vec<f64>,
}

fn log_add(a: f64, b: f64) -> f64 {
    let (most, least) = if a > b { (a, b) } else { (b, a) };
    if least == f64::NEG_INFINITY { most } else { most + (least - most).exp().ln_1p() }
}

impl<'a> ConditionalPoisson<'a> {
    /// That of the logarithms of the weights: D² steps.
    pub(crate) fn new(phi: &'a [f64]) -> Self {
        let d = phi.len();
        let mut all = Self { phi, log_z: vec![f64::NEG_INFINITY; (d + 1) * (d + 1)] };
        all.log_z[0] = 0.0;
        for n in 1..=d {
            for j in 0..=n {
                let with = if j > 0 { phi[n - 1] + all.at(n - 1, j - 1) } else { f64::NEG_INFINITY };
                all.log_z[n * (d + 1) + j] = log_add(all.at(n - 1, j), with);
            }
        }
        all
    }

    fn at(&self, n: usize, j: usize) -> f64 {
        self.log_z[n * (self.phi.len() + 1) + j]
    }

    /// Chance that neuron n - 1 is in, where j of the first n are.
    fn taken(&self, n: usize, j: usize) -> f64 {
        if j == 0 {
            0.0
        } else if j >= n {
            1.0
        } else {
            (self.phi[n - 1] + self.at(n - 1, j - 1) - self.at(n, j)).exp()
        }
    }

    /// Calls `take` with the neurons of a set of `size`, drawn with numbers from 0 to below 1.
    pub(crate) fn draw(&self, size: usize, mut uniform: impl FnMut() -> f64, mut take: impl FnMut(usize)) {
        let mut left = size;
        for n in (1..=self.phi.len()).rev() {
            if left == 0 {
                return;
            }
            if left >= n || uniform() < self.taken(n, left) {
                take(n - 1);
                left -= 1;
            }
        }
    }

    /// Sum over sizes k of `weight[k]` times the chance of each neuron to be in a set of that size, `[D]`.
    pub(crate) fn inclusion(&self, weight: &[f64]) -> Vec<f64> {
        let d = self.phi.len();
        let mut found = vec![0.0; d];
        // How much of the weight comes to j of the first n.
        let mut here = weight.to_vec();
        for n in (1..=d).rev() {
            let mut next = vec![0.0; n];
            for (j, &of_size) in here.iter().enumerate().take(n + 1) {
                let taken = of_size * self.taken(n, j);
                found[n - 1] += taken;
                if j > 0 {
                    next[j - 1] += taken;
                }
                if j < n {
                    next[j] += of_size - taken;
                }
            }
            here = next;
        }
        found
    }

    /// Logarithm of the chance of a set of `size`, given the sum of its φ.
    pub(crate) fn log_density(&self, sum: f64, size: usize) -> f64 {
        let d = self.phi.len();
        sum - self.at(d, size) - (d as f64).ln()
    }

    /// Its entropy in nats: of the size, and of the sets of each size on average.
    pub(crate) fn entropy(&self) -> f64 {
        let d = self.phi.len();
        let each = 1.0 / d as f64;
        let mut weight = vec![each; d + 1];
        weight[0] = 0.0;
        let inclusion = self.inclusion(&weight);
        let of_sets: f64 = (1..=d).map(|size| each * self.at(d, size)).sum();
        (d as f64).ln() + of_sets - inclusion.iter().zip(self.phi).map(|(p, phi)| p * phi).sum::<f64>()
    }
}

#[cfg(test)]
mod tests;
