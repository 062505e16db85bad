//! What single tokens of one sentence matter for: derivative and variance saliency, omission scores.
//!
//! Derivative and variance saliency: Li, Chen, Hovy and Jurafsky 2016, Visualizing and Understanding Neural Models in
//! NLP, NAACL, arXiv:1506.01066. Omission score: Kádár, Chrupała and Alishahi 2017, Representation of Linguistic Form
//! and Function in Recurrent Neural Networks, Computational Linguistics 43(4).

use ndarray::{Array1, Array2, ArrayView2, Axis};
use nissl_core::{Batch, HookPlan, HookPoint, Model, ModelError, Objective};
use serde::{Deserialize, Serialize};

/// The size of the derivative of an objective by every unit of a point, `[n_tokens, width]`: how much the sentence's
/// objective would change with it.
///
/// # Errors
/// If the model gives no gradients, or point or objective do not fit.
pub fn derivative(
    model: &dyn Model,
    tokens: &[u32],
    objective: &Objective,
    point: HookPoint,
) -> Result<Array2<f32>, ModelError> {
    let batch = Batch::from_sentences([tokens]);
    let mut gradients = model.gradients(&batch, &HookPlan::default(), std::slice::from_ref(objective), &[point])?;
    Ok(gradients.sites.remove(&point).expect("a wanted gradient is given").mapv_into(f32::abs))
}

/// The squared distance of every value from the mean of its unit over the sentence, `[n_tokens, width]`. It sums over
/// the tokens to their number times the population variance.
pub fn variance(values: &ArrayView2<'_, f32>) -> Array2<f64> {
    let values = values.mapv(f64::from);
    let mean = values.mean_axis(Axis(0)).unwrap_or_else(|| Array1::zeros(values.ncols()));
    let distances = values - &mean;
    &distances * &distances
}

/// What stands for a sentence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Its last token.
    Last,
    /// Its first token.
    First,
    /// The mean of its tokens.
    #[default]
    Mean,
}

impl State {
    fn of(self, values: &ArrayView2<'_, f32>) -> Array1<f64> {
        let row = |row: usize| values.row(row).mapv(f64::from);
        match self {
            Self::First => row(0),
            Self::Last => row(values.nrows() - 1),
            Self::Mean => values.mapv(f64::from).mean_axis(Axis(0)).expect("a sentence has tokens"),
        }
    }
}

/// How far the state of the sentence turns when a token is left out, `1 - cos`: one score for each of `positions`.
/// `None` where nothing is left of the sentence or a state is zero.
///
/// # Errors
/// If the model cannot run, or the point is not there.
///
/// # Panics
/// If a position is not in the sentence.
pub fn omission(
    model: &dyn Model,
    tokens: &[u32],
    positions: &[usize],
    (point, state): (HookPoint, State),
) -> Result<Vec<Option<f64>>, ModelError> {
    if tokens.len() < 2 {
        return Ok(vec![None; positions.len()]);
    }
    let mut batch = Batch::from_sentences([tokens]);
    for &position in positions {
        batch.push(&[&tokens[..position], &tokens[position + 1..]].concat());
    }
    let trace = model.run(&batch, &HookPlan::capture([point]))?;
    let values = &trace.sites[&point];
    let states: Vec<Array1<f64>> =
        (0..batch.n_sentences()).map(|idx| state.of(&values.slice_axis(Axis(0), batch.rows(idx).into()))).collect();
    let length = |state: &Array1<f64>| state.dot(state).sqrt();
    let score = |other: &Array1<f64>| {
        let lengths = length(&states[0]) * length(other);
        (lengths > 0.0).then(|| 1.0 - (states[0].dot(other) / lengths).clamp(-1.0, 1.0))
    };
    Ok(states[1..].iter().map(score).collect())
}

#[cfg(test)]
mod tests;
