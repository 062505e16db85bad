//! Character LSTMs of TensorFlow's basic cells, in folders without config.json.
//!
//! A layer has one matrix: [x, h] W + b is i, j, f, o, where j are the candidates, and 1 is added to f. The vocabulary
//! is `vocab.json`, a character and its number each. All sizes are those of the weights.

use super::lstm::MAX_LENGTH;
use super::recurrent::{Cell, CellKind, Decoder, Recurrent, Values};
use super::{Architecture, Config, Family, Mark};
use crate::checkpoint::{Checkpoint, Weight};
use crate::engine::Vector;
use crate::error::LoadError;

pub(super) const FAMILY: Family = Family {
    name: "char-rnn",
    model_types: &[],
    summary: "character LSTM of TensorFlow's basic cells, without config.json",
    head: "causal LM",
    fresh: None,
    mark: Some(Mark {
        weight: "rnnlm.multi_rnn_cell.cell_0.basic_lstm_cell.weights",
        sizes: &[("embedding", &[2, 2]), ("rnnlm.softmax_w", &[2, 2])],
    }),
    read,
};

const GATES: &str = "rnnlm.multi_rnn_cell.cell_{}.basic_lstm_cell.weights";

/// Where our gates i, f, g, o are in the file's order.
const ORDER: [usize; 4] = [0, 2, 1, 3];

/// What is added to the forget gate.
const FORGET_BIAS: f32 = 1.0;

fn read(_: &Config, checkpoint: &Checkpoint) -> Result<Architecture, LoadError> {
    let table = Weight::new(checkpoint.tensor("embedding")?, &[None, None])?;
    let decoder = Weight::new(checkpoint.tensor("rnnlm.softmax_w")?, &[None, None])?;
    let (d_vocab, d_hidden) = (table.shape()[0], decoder.shape()[0]);
    let n_layers = (0..checkpoint.names().len()).take_while(|layer| checkpoint.contains(&name(*layer))).count();
    Ok(Architecture::Recurrent(Recurrent {
        kind: CellKind::Lstm,
        n_layers,
        d_embed: table.shape()[1],
        d_hidden,
        d_state: d_hidden,
        n_directions: 1,
        d_vocab,
        n_ctx: MAX_LENGTH,
        token_embedding: "embedding".to_owned(),
        gates: GATES.to_owned(),
        projection: None,
        cell,
        window: None,
        average: None,
        decoder: Some(Decoder {
            weight: "rnnlm.softmax_w".to_owned(),
            transposed: true,
            bias: Some("rnnlm.softmax_b".to_owned()),
            n_out: d_vocab,
        }),
    }))
}

fn name(layer: usize) -> String {
    GATES.replace("{}", &layer.to_string())
}

fn cell(checkpoint: &Checkpoint, model: &Recurrent, layer: usize, _: usize) -> Result<Cell, LoadError> {
    let (n_in, h) = (model.d_in(layer), model.d_hidden);
    let weights = checkpoint.f32(&name(layer), &[n_in + h, 4 * h])?;
    let biases = checkpoint.f32(&name(layer).replace("weights", "biases"), &[4 * h])?;
    let column = |gate: usize| ORDER[gate / h] * h + gate % h;
    let forget = |gate: usize| if gate / h == 1 { FORGET_BIAS } else { 0.0 };
    Ok(Cell {
        input: Values::new([4 * h, n_in], |gate, from| weights[from * 4 * h + column(gate)]),
        input_bias: Some(Vector::unnamed((0..4 * h).map(|gate| biases[column(gate)]).collect())),
        hidden: Values::new([4 * h, h], |gate, from| weights[(n_in + from) * 4 * h + column(gate)]),
        hidden_bias: Some(Vector::unnamed((0..4 * h).map(forget).collect())),
        projection: None,
        multiplier: None,
    })
}
