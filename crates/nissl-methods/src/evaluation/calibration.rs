//! Foretold activations on the scale of the neuron, as other text shows it.

use serde::{Deserialize, Serialize};

/// How what is foretold becomes activations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Calibration {
    /// Not at all: as a share of the neuron's highest activation.
    #[default]
    None,
    /// By the line of least squares.
    Linear,
    /// What is foretold above so many others becomes the activation above as many.
    Percentile,
}

impl Calibration {
    /// What is foretold on new text as activations, by what was foretold and what was on known text; as it is where
    /// nothing is known.
    ///
    /// # Panics
    /// If there is not one of each a row of the known text.
    pub fn apply(self, (known, values): (&[f32], &[f32]), foretold: &[f32]) -> Vec<f32> {
        assert_eq!(known.len(), values.len(), "one of each a row");
        match self {
            Self::Linear if !known.is_empty() => linear((known, values), foretold),
            Self::Percentile if !known.is_empty() => percentile((known, values), foretold),
            _ => foretold.to_vec(),
        }
    }
}

fn linear((known, values): (&[f32], &[f32]), foretold: &[f32]) -> Vec<f32> {
    let n = known.len() as f64;
    let mean = |of: &[f32]| of.iter().map(|&value| f64::from(value)).sum::<f64>() / n;
    let (mean_known, mean_value) = (mean(known), mean(values));
    let products = known.iter().zip(values).map(|(&known, &value)| {
        let off = f64::from(known) - mean_known;
        (off * (f64::from(value) - mean_value), off * off)
    });
    let (both, own) = products.fold((0.0, 0.0), |sums, terms| (sums.0 + terms.0, sums.1 + terms.1));
    let slope = if own > 0.0 { both / own } else { 0.0 };
    foretold.iter().map(|&value| (mean_value + slope * (f64::from(value) - mean_known)) as f32).collect()
}

fn percentile((known, values): (&[f32], &[f32]), foretold: &[f32]) -> Vec<f32> {
    let sorted = |of: &[f32]| {
        let mut sorted = of.to_vec();
        sorted.sort_by(f32::total_cmp);
        sorted
    };
    let (known, values) = (sorted(known), sorted(values));
    let place = |value: f32| {
        // The middle of those that are equal.
        let below = known.partition_point(|&known| known < value);
        let not_above = known.partition_point(|&known| known <= value);
        (f64::midpoint(below as f64, not_above as f64) as usize).min(values.len() - 1)
    };
    foretold.iter().map(|&value| values[place(value)]).collect()
}

#[cfg(test)]
mod tests {
    use nissl_testing::{Tol, assert_close};

    use super::*;

    #[test]
    fn a_line_and_a_rising_curve_are_undone() {
        let known: Vec<f32> = (0..11).map(|row| row as f32).collect();
        let line: Vec<f32> = known.iter().map(|known| 3.0 - 2.0 * known).collect();
        let got = Calibration::Linear.apply((&known, &line), &[0.0, 4.5]);
        assert_close("line", &got[..], &[3.0, -6.0], Tol::abs(1e-6));
        let curve: Vec<f32> = known.iter().map(|known| known * known).collect();
        let got = Calibration::Percentile.apply((&known, &curve), &[0.0, 3.0, 99.0]);
        assert_close("curve", &got[..], &[0.0, 9.0, 100.0], Tol::EXACT);
    }

    #[test]
    fn nothing_known_and_nothing_foretold_change_nothing() {
        for how in [Calibration::None, Calibration::Linear, Calibration::Percentile] {
            assert_eq!(how.apply((&[], &[]), &[0.5]), [0.5]);
        }
        assert_eq!(Calibration::Linear.apply((&[1.0, 1.0], &[2.0, 4.0]), &[7.0]), [3.0], "the mean, of a constant");
    }
}
