//! Gate saturation: how often a gate is almost shut, and how often almost open.
//!
//! ## Computes
//! `left` is the share of the rows with a value below `low`, `right` of those above `high`: a point for each gate. A gate
//! that forgets nothing (a forget gate far to the right) integrates its inputs; one that is neither is used as it comes.
//! ## Input
//! Activations `[n_tokens, n_neurons]` of gates: the input, forget and output gates of an LSTM, or any neurons whose
//! values lie between 0 and 1.
//! ## Output
//! For every neuron the numbers `left` and `right`, 0 to 1, a constant one included; their sum is 1 at most.
//! ## Parameters
//! | name | default | range | meaning |
//! |---|---|---|---|
//! | `low` | 0.1 | 0 to 0.5 | values below are on the left |
//! | `high` | 0.9 | 0.5 to 1 | values above are on the right |
//! ## Cost
//! O(n_tokens · n_neurons), one look at each value.
//! ## Errors
//! `OutOfRange` for a value outside of 0 to 1 at a site that is no gate; `NotFinite`, `Parameter`, `Cancelled`.
//! ## Differs
//! The paper draws the points of a layer; here they are the numbers of each neuron.
//! ## Source
//! Karpathy, Johnson and Fei-Fei 2015, Visualizing and Understanding Recurrent Networks, arXiv:1506.02078.

use nissl_core::{
    Context, Describe, MethodCard, MethodError, NeuronId, Number, Profile, Profiler, Site, TextActivations,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::columns::ColumnPass;

/// Tells how often a gate is almost shut, and how often almost open.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct GateSaturation {
    /// Values below are on the left.
    #[schemars(range(min = 0.0, max = 0.5))]
    pub low: f64,
    /// Values above are on the right.
    #[schemars(range(min = 0.5, max = 1.0))]
    pub high: f64,
}

impl Default for GateSaturation {
    fn default() -> Self {
        Self { low: 0.1, high: 0.9 }
    }
}

impl Describe for GateSaturation {
    const NAME: &'static str = "gate-saturation";
    const SUMMARY: &'static str = "Tells how often a gate is almost shut, and how often almost open.";
    const SOURCE: &'static str = "Karpathy, Johnson and Fei-Fei 2015, arXiv:1506.02078";
    const CARD: MethodCard = MethodCard { output: "statistic", human_in_the_loop: false, ..MethodCard::PROFILE };
}

impl GateSaturation {
    fn check(&self) -> Result<(), MethodError> {
        let refuse = |name, value: f64, expected| {
            Err(MethodError::Parameter { method: Self::NAME, name, value: value.to_string(), expected })
        };
        if !(0.0..=0.5).contains(&self.low) {
            return refuse("low", self.low, "a number from 0 to 0.5");
        }
        if !(0.5..=1.0).contains(&self.high) {
            return refuse("high", self.high, "a number from 0.5 to 1");
        }
        Ok(())
    }

    /// The numbers of a neuron.
    fn shares(&self, neuron: NeuronId, column: &[f32]) -> Result<Vec<Number>, MethodError> {
        let is_gate = matches!(neuron.point.site(), Site::LstmI | Site::LstmF | Site::LstmO);
        if let Some(row) = column.iter().position(|value| !(0.0..=1.0).contains(value)).filter(|_| !is_gate) {
            let (value, expected) = (column[row], "values of a gate, from 0 to 1: choose the sites of gates");
            return Err(MethodError::OutOfRange { method: Self::NAME, neuron, row, value, expected });
        }
        if column.is_empty() {
            return Ok(Vec::new());
        }
        let share = |name: &str, n: usize| Number { name: name.to_owned(), value: n as f32 / column.len() as f32 };
        let left = column.iter().filter(|&&value| f64::from(value) < self.low).count();
        let right = column.iter().filter(|&&value| f64::from(value) > self.high).count();
        Ok(vec![share("left", left), share("right", right)])
    }
}

impl Profiler for GateSaturation {
    fn profile(&self, data: TextActivations<'_>, ctx: Context<'_>) -> Result<Vec<Profile>, MethodError> {
        self.check()?;
        let pass = ColumnPass { x: data.x, ctx, method: Self::NAME, stage: "gate saturation", scratch_per_row: 0 };
        pass.map(
            || (),
            |(), column_idx, column| {
                let neuron = data.x.neurons()[column_idx];
                Ok(Profile { numbers: self.shares(neuron, column)?, ..Profile::new(neuron) })
            },
        )
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

    use ndarray::array;
    use nissl_core::{HookPoint, Matrix, TextRows, site_columns};
    use nissl_testing::{Tol, assert_close};

    use super::*;

    fn shares(site: Site, method: &GateSaturation) -> Result<Vec<[f32; 2]>, MethodError> {
        // The third is a forget gate held at 1; the fourth lies on the bounds.
        let x = array![[0.05, 0.2, 1.0, 0.1], [0.5, 0.3, 1.0, 0.9], [0.95, -0.5, 1.0, 0.1], [0.95, 0.4, 1.0, 0.9]];
        let x = Matrix::new(x, site_columns(&[(HookPoint::new(0, site), 4)])).unwrap();
        let text = TextRows::from_words((0..4).map(|row| (0, row.to_string())));
        let profiles = method.profile(TextActivations::new(&x, &text)?, Context::default())?;
        let numbers = |profile: &Profile| {
            assert_eq!((profile.numbers[0].name.as_str(), profile.numbers[1].name.as_str()), ("left", "right"));
            [profile.numbers[0].value, profile.numbers[1].value]
        };
        Ok(profiles.iter().map(numbers).collect())
    }

    #[test]
    fn shares_on_either_side_are_those_by_hand_and_bounds_are_on_neither() {
        let found = shares(Site::LstmF, &GateSaturation::default()).unwrap();
        assert_close("gate", &found[0], &[0.25, 0.5], Tol::EXACT);
        assert_close("below 0", &found[1], &[0.25, 0.0], Tol::EXACT);
        assert_close("held open", &found[2], &[0.0, 1.0], Tol::EXACT);
        // 0.1 and 0.9 in single precision are just above them.
        let on_bounds = shares(Site::LstmF, &GateSaturation { low: 0.25, high: 0.75 }).unwrap();
        assert_close("either side", &on_bounds[3], &[0.5, 0.5], Tol::EXACT);
        let at_value = GateSaturation { low: f64::from(0.1_f32), high: f64::from(0.9_f32) };
        assert_close("on the bounds", &shares(Site::LstmF, &at_value).unwrap()[3], &[0.0, 0.0], Tol::EXACT);
    }

    #[test]
    fn values_of_no_gate_are_refused_by_neuron_and_row() {
        let err = shares(Site::LstmC, &GateSaturation::default()).unwrap_err().to_string();
        assert!(err.starts_with("gate-saturation: blocks.0.lstm.hook_c[1] has the value -0.5 in row 2"), "{err}");
        let err = shares(Site::LstmF, &GateSaturation { high: 0.4, ..GateSaturation::default() }).unwrap_err();
        assert_eq!(err.to_string(), "gate-saturation: parameter high = 0.4: expected a number from 0.5 to 1");
    }
}
