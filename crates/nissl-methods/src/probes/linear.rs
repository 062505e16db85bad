//! Linear probes: outputs that are weighted sums of standardized activations.

use ndarray::Array2;
use nissl_core::{Activations, Context, MethodError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

mod coordinate;
mod dense;
pub(crate) mod loss;
mod newton;
mod products;
mod quadratic;
pub(crate) mod solver;

pub use loss::Loss;
pub(crate) use products::gradient;
use solver::{Fit, Penalty, Solver, Stop};

use super::design::Design;
use super::targets::Targets;

/// How a linear probe is fitted: mean loss + `lambda1` Σ|w| + `lambda2` Σw² is minimized; the bias is not penalized.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LinearOptions {
    /// What is minimized on a row.
    pub loss: Loss,
    /// Penalty of the sizes of the weights.
    #[schemars(range(min = 0.0))]
    pub lambda1: f64,
    /// Penalty of the squares of the weights.
    #[schemars(range(min = 0.0))]
    pub lambda2: f64,
    /// Every class weighs the same, however many rows it has.
    pub balanced: bool,
    /// Duality gap at which to stop, as a share of the objective.
    #[schemars(range(min = 0.0))]
    pub tolerance: f64,
    /// Steps at most.
    #[schemars(range(min = 1))]
    pub max_steps: usize,
}

impl Default for LinearOptions {
    fn default() -> Self {
        Self { loss: Loss::Softmax, lambda1: 1e-3, lambda2: 1e-3, balanced: false, tolerance: 1e-4, max_steps: 500 }
    }
}

impl LinearOptions {
    /// Checks the ranges.
    ///
    /// # Errors
    /// [`MethodError::Parameter`] for the first that is out of its range.
    pub fn check(&self, method: &'static str) -> Result<(), MethodError> {
        for (name, value) in [("lambda1", self.lambda1), ("lambda2", self.lambda2), ("tolerance", self.tolerance)] {
            if !(value >= 0.0 && value.is_finite()) {
                let value = value.to_string();
                return Err(MethodError::Parameter { method, name, value, expected: "a finite number, 0 or more" });
            }
        }
        if self.max_steps == 0 {
            let value = "0".to_owned();
            return Err(MethodError::Parameter { method, name: "max_steps", value, expected: "at least 1" });
        }
        Ok(())
    }

    pub(crate) fn penalty(&self) -> Penalty {
        Penalty { l1: self.lambda1, l2: self.lambda2 }
    }

    pub(crate) fn stop(&self) -> Stop {
        Stop { gap: self.tolerance, steps: self.max_steps }
    }
}

/// A linear model of classes, fitted on all rows.
#[derive(Clone, Debug, PartialEq)]
pub struct LinearFit {
    /// Weights of the standardized neurons, `[n_classes, n_neurons]`.
    pub weights: Array2<f64>,
    /// One for each class.
    pub bias: Vec<f64>,
    /// Mean loss plus penalties.
    pub objective: f64,
    /// How far that is above the minimum at most; none without penalties.
    pub gap: Option<f64>,
    /// Steps taken.
    pub steps: usize,
    /// Whether the tolerance was reached.
    pub converged: bool,
}

/// Fits classes that exclude each other, `of` each row, on all rows.
///
/// # Errors
/// If an option does not fit, all rows are of one class, the activations cannot be read, or the user stops it.
///
/// # Panics
/// If there is not one class a row, or one is not below `n_classes`.
pub fn fit_classes(
    x: &dyn Activations,
    of: &[u32],
    n_classes: usize,
    options: &LinearOptions,
    ctx: Context<'_>,
) -> Result<LinearFit, MethodError> {
    const NAME: &str = "probe";
    assert!(of.len() == x.n_tokens() && of.iter().all(|&class| (class as usize) < n_classes), "a class for each row");
    options.check(NAME)?;
    let classes = Targets::Classes { of: of.to_vec(), n: n_classes };
    classes.check(NAME)?;
    let row_weights = classes.balanced().filter(|_| options.balanced);
    let targets = if options.loss == Loss::Softmax { classes } else { classes.one_by_one() };
    let design = Design::new(x, ctx, NAME, (0..of.len()).collect(), of.len())?;
    let solver = Solver::new(&design, options.loss, &targets, row_weights.as_deref());
    let fit = solver.fit(options.penalty(), options.stop(), None)?;
    let weight = |(class, neuron): (usize, usize)| fit.weights[neuron * n_classes + class];
    Ok(LinearFit {
        weights: Array2::from_shape_fn((n_classes, x.neurons().len()), weight),
        bias: fit.bias,
        objective: fit.objective,
        gap: fit.gap,
        steps: fit.steps,
        converged: fit.converged,
    })
}

/// What a fit reached, for the provenance.
pub(crate) fn summary(fit: &Fit) -> Value {
    json!({ "objective": fit.objective, "gap": fit.gap, "steps": fit.steps, "converged": fit.converged })
}

/// Sizes and signs of the weights of the first concepts, `[n_concepts, n_neurons]`.
pub(crate) fn sizes(weights: &[f64], n_concepts: usize, n_outputs: usize) -> (Array2<f32>, Array2<i8>) {
    let n_neurons = weights.len() / n_outputs;
    let weight = |(concept, neuron): (usize, usize)| weights[neuron * n_outputs + concept];
    let values = Array2::from_shape_fn((n_concepts, n_neurons), |place| weight(place).abs() as f32);
    let sign = Array2::from_shape_fn((n_concepts, n_neurons), |place| {
        i8::from(weight(place) > 0.0) - i8::from(weight(place) < 0.0)
    });
    (values, sign)
}

#[cfg(test)]
mod tests;
