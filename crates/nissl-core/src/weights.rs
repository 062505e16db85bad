//! The weights of a model, as methods see them: unit by unit, in 32-bit floats, whatever lies on disk.

use std::ops::Range;

use ndarray::{Array1, Array2, ArrayView2};

use crate::error::ModelError;
use crate::site::HookPoint;

/// Rows of a matrix, one a unit or a token, and what is added to the product.
#[derive(Clone, Debug, PartialEq)]
pub struct Linear {
    /// The rows, `[n_units, width]`.
    pub weights: Array2<f32>,
    /// What is added: of what units read, one value a unit; of what they write, one a column (`[width]`), shared by
    /// all units of the layer. None where the model has none.
    pub bias: Option<Array1<f32>>,
}

/// A norm of the residual stream.
#[derive(Clone, Debug, PartialEq)]
pub struct Norm {
    /// Where it stands: the site that holds its output, or the first that reads it.
    pub point: HookPoint,
    /// The factor of each column, `[d_model]`.
    pub gain: Array1<f32>,
    /// What is added to each column after that, `[d_model]`; none in RMS norms.
    pub bias: Option<Array1<f32>>,
    /// Whether the mean over the columns is taken off first (layer norm; an RMS norm leaves it).
    pub centers: bool,
    /// Added to the variance or the mean square.
    pub eps: f32,
}

impl Norm {
    /// What the norm does to a direction, but for the division by the stream's size: centers it where the norm does,
    /// then takes each column times its gain. Linear.
    pub fn fold(&self, direction: &mut Array1<f32>) {
        self.center(direction);
        *direction *= &self.gain;
    }

    /// The transpose of [`Norm::fold`]: the direction before the norm that a reader of its output reads.
    pub fn fold_reader(&self, reader: &mut Array1<f32>) {
        *reader *= &self.gain;
        self.center(reader);
    }

    fn center(&self, values: &mut Array1<f32>) {
        if self.centers && !values.is_empty() {
            let sum: f64 = values.iter().map(|&value| f64::from(value)).sum();
            let mean = sum / values.len() as f64;
            values.mapv_inplace(|value| (f64::from(value) - mean) as f32);
        }
    }
}

/// The weights of a model. Values are exactly those of the checkpoint, read when they are asked for.
///
/// The residual stream is what `resid_pre`, `resid_mid` and `resid_post` hold; its width is `d_model`. In a recurrent
/// model it is what one layer hands to the next.
///
/// Every function fails, with what to ask for instead, if the point has no such weights, and if units or tokens are
/// out of range.
pub trait NeuronWeights: Send + Sync {
    /// What units read: their rows of the matrix that makes them from the stream before them, `[n_units, d_model]`,
    /// and their biases. Of `mlp_post` these are the rows of `mlp_pre` (the gate's, where the MLP is gated), of
    /// `attn_z` those of the values that its head averages. Gates of an LSTM read the layer's input.
    ///
    /// # Errors
    /// If units of this site read nothing by a matrix.
    fn reads(&self, point: HookPoint, units: Range<usize>) -> Result<Linear, ModelError>;

    /// What gates of an LSTM read of the layer's own state at the position before, `[n_units, width of the state]`;
    /// zeros for units of the other direction.
    ///
    /// # Errors
    /// If the point is no gate.
    fn reads_state(&self, point: HookPoint, units: Range<usize>) -> Result<Linear, ModelError>;

    /// What units add to the residual stream when they are 1, `[n_units, d_model]`: columns of the output projection
    /// for `mlp_post` and `attn_z`, unit vectors where the site is the stream itself or is added to it.
    ///
    /// # Errors
    /// If units of this site reach the stream only through something that is not linear.
    fn writes(&self, point: HookPoint, units: Range<usize>) -> Result<Linear, ModelError>;

    /// Rows of the token embedding, `[n_tokens, width]`. Positions and token types are not in them.
    ///
    /// # Errors
    /// If a token is not in the vocabulary.
    fn embedding(&self, tokens: Range<usize>) -> Result<Array2<f32>, ModelError>;

    /// Rows of the unembedding, `[n_tokens, d_model]`, and their biases.
    ///
    /// # Errors
    /// If the model has no head, or a token is not in the vocabulary.
    fn unembedding(&self, tokens: Range<usize>) -> Result<Linear, ModelError>;

    /// Number of logits: of tokens, or of a tagger's labels.
    fn n_logits(&self) -> usize;

    /// The norms that what is written at `from` (by the token embedding, if `None`) passes on the residual stream
    /// before it is read at `to` (by the head, if `None`), in order; `None` if it is not read there as it was written.
    ///
    /// # Errors
    /// If the model has no such points.
    fn path(&self, from: Option<HookPoint>, to: Option<HookPoint>) -> Result<Option<Vec<Norm>>, ModelError>;

    /// Whether the head is more than a norm and the unembedding: a dense layer, an activation function and a norm of
    /// its own before it, as in masked language models.
    fn has_transform(&self) -> bool;

    /// The logits of rows of the residual stream `[n_rows, d_model]` as if they were its last ones,
    /// `[n_rows, n_logits]`: the final norm (left out for rows of `final_norm`, which have it behind them), then the
    /// head with all its parts. Rows of the last `resid_post` of a run give the bits of its logits.
    ///
    /// # Errors
    /// If the model has no head, or the site of the rows is not as wide as the stream.
    fn logits(&self, point: HookPoint, rows: ArrayView2<'_, f32>) -> Result<Array2<f32>, ModelError>;
}
