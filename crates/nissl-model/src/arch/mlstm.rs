//! The multiplicative LSTM of the sentiment neuron (arXiv 1704.01444), as a state dict of its PyTorch port.
//!
//! The embeddings `embed.weight`; the one layer `rnn.layer_0.wx.weight`, `wh.weight` and `wh.bias` (gates i, f, o, g),
//! `wmx.weight` and `wmh.weight`; the head `rnn.h2o.weight` and `rnn.h2o.bias`. A matrix may be weight-normalized: then
//! `weight_v` is scaled row by row to the lengths `weight_g`, `[n_out, 1]`. All sizes are those of the weights; a
//! config.json, if there is one, has `"model_type": "mlstm"` and may repeat them (`vocab_size`, `embedding_size`,
//! `hidden_size`, `num_layers`).

use serde_json::json;

use super::lstm::MAX_LENGTH;
use super::recurrent::{Cell, CellKind, Decoder, Recurrent, Values};
use super::{Architecture, Config, Family, Mark};
use crate::checkpoint::{Checkpoint, Weight};
use crate::engine::Vector;
use crate::error::LoadError;

pub(super) const FAMILY: Family = Family {
    name: "mlstm",
    model_types: &["mlstm"],
    summary: "multiplicative LSTM of the sentiment neuron, with or without weight normalization",
    head: "causal LM",
    fresh: None,
    mark: Some(Mark { weight: BIAS, sizes: &[("embed.weight", &[512, 512]), (BIAS, &[2048])] }),
    read,
};

const BIAS: &str = "rnn.layer_0.wh.bias";
const GATES: &str = "rnn.layer_{}.wx.weight";

/// Where our gates i, f, g, o are in the file's order.
const ORDER: [usize; 4] = [0, 1, 3, 2];

fn read(config: &Config, checkpoint: &Checkpoint) -> Result<Architecture, LoadError> {
    let table = Weight::new(checkpoint.tensor("embed.weight")?, &[None, None])?;
    let n_gates = Weight::new(checkpoint.tensor(BIAS)?, &[None])?.shape()[0];
    let d_hidden = n_gates / 4;
    for (field, size) in [
        ("vocab_size", table.shape()[0]),
        ("embedding_size", table.shape()[1]),
        ("hidden_size", d_hidden),
        ("num_layers", 1),
    ] {
        config.only(field, &json!(size))?;
    }
    if checkpoint.contains("rnn.layer_1.wh.bias") {
        return Err(config.wrong("number of layers", "1 (nothing else yet)", "2 or more"));
    }
    Ok(Architecture::Recurrent(Recurrent {
        kind: CellKind::MultiplicativeLstm,
        n_layers: 1,
        d_embed: table.shape()[1],
        d_hidden,
        d_state: d_hidden,
        n_directions: 1,
        d_vocab: table.shape()[0],
        n_ctx: MAX_LENGTH,
        token_embedding: "embed.weight".to_owned(),
        gates: GATES.to_owned(),
        projection: None,
        cell,
        window: None,
        average: None,
        decoder: Some(Decoder {
            weight: "rnn.h2o.weight".to_owned(),
            transposed: false,
            bias: Some("rnn.h2o.bias".to_owned()),
            n_out: table.shape()[0],
        }),
    }))
}

fn cell(checkpoint: &Checkpoint, model: &Recurrent, layer: usize, _: usize) -> Result<Cell, LoadError> {
    let (n_in, h) = (model.d_embed, model.d_hidden);
    let matrix = |what: &str, shape: [usize; 2]| normalized(checkpoint, &format!("rnn.layer_{layer}.{what}"), shape);
    let bias = checkpoint.f32(BIAS, &[4 * h])?;
    let row = |gate: usize| ORDER[gate / h] * h + gate % h;
    let gates = |values: &[f32], n_in: usize| Values::new([4 * h, n_in], |gate, from| values[row(gate) * n_in + from]);
    let plain = |values: &[f32], n_in: usize| Values::new([h, n_in], |unit, from| values[unit * n_in + from]);
    Ok(Cell {
        input: gates(&matrix("wx", [4 * h, n_in])?, n_in),
        input_bias: None,
        hidden: gates(&matrix("wh", [4 * h, h])?, h),
        hidden_bias: Some(Vector::unnamed((0..4 * h).map(|gate| bias[row(gate)]).collect())),
        projection: None,
        multiplier: Some([plain(&matrix("wmx", [h, n_in])?, n_in), plain(&matrix("wmh", [h, h])?, h)]),
    })
}

/// A matrix, row after row; rows of a normalized one have the lengths that the file says.
fn normalized(checkpoint: &Checkpoint, name: &str, [n_out, n_in]: [usize; 2]) -> Result<Vec<f32>, LoadError> {
    let direction = format!("{name}.weight_v");
    if !checkpoint.contains(&direction) {
        return Ok(checkpoint.f32(&format!("{name}.weight"), &[n_out, n_in])?.into_owned());
    }
    let mut values = checkpoint.f32(&direction, &[n_out, n_in])?.into_owned();
    let lengths = checkpoint.f32(&format!("{name}.weight_g"), &[n_out, 1])?;
    for (row, length) in values.chunks_mut(n_in.max(1)).zip(lengths.iter()) {
        let own = row.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
        for value in row {
            *value = (f64::from(*value) * f64::from(*length) / own) as f32;
        }
    }
    Ok(values)
}
