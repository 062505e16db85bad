//! textgenrnn: a character LSTM with `CuDNN` kernels and an attention average, in folders without config.json.
//!
//! The model always reads 40 characters: a shorter sentence stands behind padding of token 0. The head reads an
//! average, over all positions up to its own, of the embedding and all layers' states side by side; the logits of a
//! sentence's last token are those of the original, whose input is the last 40 characters. A kernel is gates i, f, c, o
//! side by side; that of the input holds each gate's `[n_in, units]` values in the order of `[units, n_in]`, that of
//! the state is transposed. A bias has two halves. The vocabulary is `vocab.json`; all sizes are those of the weights.

use super::recurrent::{Cell, CellKind, Decoder, Recurrent, Values};
use super::{Architecture, Config, Family, Mark};
use crate::checkpoint::{Checkpoint, Weight};
use crate::engine::Vector;
use crate::error::LoadError;

pub(super) const FAMILY: Family = Family {
    name: "textgenrnn",
    model_types: &[],
    summary: "character LSTM that reads 40 characters, with an attention average, without config.json",
    head: "causal LM",
    fresh: None,
    mark: Some(Mark {
        weight: "attention.attention_W",
        sizes: &[("embedding.embeddings", &[2, 2]), ("rnn_1.recurrent_kernel", &[2, 8]), ("rnn_1.kernel", &[2, 8])],
    }),
    read,
};

/// Characters that the model reads.
const WINDOW: usize = 40;

fn read(_: &Config, checkpoint: &Checkpoint) -> Result<Architecture, LoadError> {
    let table = Weight::new(checkpoint.tensor("embedding.embeddings")?, &[None, None])?;
    let recurrent = Weight::new(checkpoint.tensor("rnn_1.recurrent_kernel")?, &[None, None])?;
    let (d_vocab, d_hidden) = (table.shape()[0], recurrent.shape()[0]);
    let n_layers =
        (0..checkpoint.names().len()).take_while(|layer| checkpoint.contains(&name(*layer, "kernel"))).count();
    Ok(Architecture::Recurrent(Recurrent {
        kind: CellKind::Lstm,
        n_layers,
        d_embed: table.shape()[1],
        d_hidden,
        d_state: d_hidden,
        n_directions: 1,
        d_vocab,
        n_ctx: WINDOW,
        token_embedding: "embedding.embeddings".to_owned(),
        // Layers are counted from 1 there.
        gates: "rnn_{}.kernel, from rnn_1 on".to_owned(),
        projection: None,
        cell,
        window: Some(WINDOW),
        average: Some("attention.attention_W".to_owned()),
        decoder: Some(Decoder {
            weight: "output.kernel".to_owned(),
            transposed: true,
            bias: Some("output.bias".to_owned()),
            n_out: d_vocab,
        }),
    }))
}

fn name(layer: usize, what: &str) -> String {
    format!("rnn_{}.{what}", layer + 1)
}

fn cell(checkpoint: &Checkpoint, model: &Recurrent, layer: usize, _: usize) -> Result<Cell, LoadError> {
    let (n_in, h) = (model.d_in(layer), model.d_hidden);
    let kernel = checkpoint.f32(&name(layer, "kernel"), &[n_in, 4 * h])?;
    let recurrent = checkpoint.f32(&name(layer, "recurrent_kernel"), &[h, 4 * h])?;
    let bias = checkpoint.f32(&name(layer, "bias"), &[8 * h])?;
    // The value of a gate's block [rows, h] that is at `place` when the block is read row after row.
    let block = |values: &[f32], gate: usize, place: usize| values[place / h * 4 * h + gate / h * h + place % h];
    Ok(Cell {
        input: Values::new([4 * h, n_in], |gate, from| block(&kernel, gate, gate % h * n_in + from)),
        input_bias: Some(Vector::unnamed(bias[..4 * h].to_vec())),
        hidden: Values::new([4 * h, h], |gate, from| block(&recurrent, gate, gate % h * h + from)),
        hidden_bias: Some(Vector::unnamed(bias[4 * h..].to_vec())),
        projection: None,
        multiplier: None,
    })
}
