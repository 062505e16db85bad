//! How the learning rate goes over a training.

use serde::{Deserialize, Serialize};

/// The form of a schedule after its warm-up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decay {
    /// The rate stays.
    Constant,
    /// It falls in a straight line.
    Linear,
    /// It falls as half a cosine.
    #[default]
    Cosine,
}

/// A schedule of the learning rate: a straight rise over the warm-up, then a decay to a share of the top.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Schedule {
    /// The rate after the warm-up.
    pub learning_rate: f64,
    /// Steps of the rise; the first step has `learning_rate / warmup`.
    pub warmup: u64,
    /// The form of the fall.
    pub decay: Decay,
    /// The share of the top at the last step.
    pub floor: f64,
}

impl Default for Schedule {
    fn default() -> Self {
        Self { learning_rate: 1e-3, warmup: 100, decay: Decay::Cosine, floor: 0.1 }
    }
}

impl Schedule {
    /// The rate of step `step` (from 0 on) of `steps`.
    pub fn rate(&self, step: u64, steps: u64) -> f64 {
        if step < self.warmup {
            return self.learning_rate * (step + 1) as f64 / self.warmup as f64;
        }
        let rest = (steps.max(1) - 1).saturating_sub(self.warmup).max(1);
        let done = ((step - self.warmup) as f64 / rest as f64).min(1.0);
        let left = match self.decay {
            Decay::Constant => return self.learning_rate,
            Decay::Linear => 1.0 - done,
            Decay::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * done).cos()),
        };
        self.learning_rate * (self.floor + (1.0 - self.floor) * left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_rise_to_the_top_and_fall_to_the_floor() {
        for decay in [Decay::Linear, Decay::Cosine] {
            let schedule = Schedule { learning_rate: 2.0, warmup: 4, decay, floor: 0.25 };
            let rates: Vec<f64> = (0..21).map(|step| schedule.rate(step, 21)).collect();
            assert_eq!(rates[..5], [0.5, 1.0, 1.5, 2.0, 2.0]);
            assert!((rates[20] - 0.5).abs() < 1e-12, "{rates:?}");
            assert!((rates[12] - 1.25).abs() < 1e-12, "the middle is half way: {rates:?}");
            assert!(rates[4..].is_sorted_by(|a, b| a >= b));
        }
    }

    #[test]
    fn a_constant_rate_stays_and_no_length_divides_by_zero() {
        let schedule = Schedule { decay: Decay::Constant, warmup: 0, ..Schedule::default() };
        assert!((0..9).all(|step| schedule.rate(step, 9).to_bits() == 1e-3f64.to_bits()));
        for steps in 0..3 {
            assert!(Schedule { warmup: 0, ..Schedule::default() }.rate(0, steps).is_finite());
        }
    }
}
