//! LSTM language models and taggers with PyTorch's weights.
//!
//! A folder has `config.json` with `"model_type": "lstm"` and
//!
//! | field | meaning | default |
//! |---|---|---|
//! | `vocab_size` | tokens | |
//! | `embedding_size` | width of the embeddings | |
//! | `hidden_size` | cells a layer and direction | |
//! | `num_layers` | layers | 1 |
//! | `bidirectional` | whether each layer runs backward too | false |
//! | `proj_size` | width of the projected hidden state, 0 for none | 0 |
//! | `tie_word_embeddings` | whether the embeddings are the decoder | false |
//! | `num_labels` | outputs of a tagger; absent or null for a language model, which has `vocab_size` | |
//! | `max_length` | tokens of the longest sentence that is run in one piece | 4096 |
//!
//! and weights named as `torch.nn` names them: the embeddings `encoder.weight` (as PyTorch's word language model and
//! those of Gulordava et al. call them) or `embedding.weight`; the layers `rnn.weight_ih_l0`, `rnn.weight_hh_l0`,
//! `rnn.bias_ih_l0`, `rnn.bias_hh_l0`, `rnn.weight_hr_l0` for a projection, each with `_reverse` for the backward
//! direction, or `lstm.` in place of `rnn.`; the head `decoder.weight` and `decoder.bias`, or `linear.`, `fc.`. Biases
//! may be absent. Every sentence begins with a state of zeros.

use serde_json::json;

use super::recurrent::{Cell, CellKind, Decoder, Recurrent, Values};
use super::{Architecture, Config, Family};
use crate::checkpoint::{Checkpoint, Weight};
use crate::engine::Vector;
use crate::error::LoadError;

pub(super) const FAMILY: Family = Family {
    name: "lstm",
    model_types: &["lstm"],
    summary: "LSTM layers in PyTorch's layout, one or two directions, with or without projection",
    head: "causal LM or tagger",
    fresh: None,
    mark: None,
    read,
};

/// Tokens of a sentence that are run in one piece, if the config does not say.
pub(super) const MAX_LENGTH: usize = 4096;

fn read(config: &Config, checkpoint: &Checkpoint) -> Result<Architecture, LoadError> {
    config.only("rnn_type", &json!("LSTM"))?;
    pytorch(config, checkpoint, CellKind::Lstm, &["rnn", "lstm"])
}

/// Layers of PyTorch's whose names begin with one of `stems`.
pub(super) fn pytorch(
    config: &Config,
    checkpoint: &Checkpoint,
    kind: CellKind,
    stems: &[&str],
) -> Result<Architecture, LoadError> {
    let first = |names: &[&str], suffix: &str| {
        let name = names.iter().find(|name| checkpoint.contains(&format!("{name}{suffix}")));
        (*name.unwrap_or(&names[0])).to_owned()
    };
    // How sentences are laid out, and what the names of the weights say.
    config.pass_over(&["batch_first", "bias"]);
    let stem = first(stems, ".weight_ih_l0");
    let token_embedding = format!("{}.weight", first(&["encoder", "embedding", "embeddings"], ".weight"));
    let head = first(&["decoder", "linear", "fc"], ".weight");
    let (d_vocab, d_hidden) = (config.size("vocab_size")?, config.size("hidden_size")?);
    let proj_size = config.size_or("proj_size", 0)?;
    let weight = format!("{head}.weight");
    let weight = if checkpoint.contains(&weight) {
        Some(weight)
    } else {
        config.flag_or("tie_word_embeddings", false)?.then(|| token_embedding.clone())
    };
    let bias = Some(format!("{head}.bias")).filter(|bias| checkpoint.contains(bias));
    let n_out = config.size_or("num_labels", d_vocab)?;
    Ok(Architecture::Recurrent(Recurrent {
        kind,
        n_layers: config.size_or("num_layers", 1)?,
        d_embed: config.size("embedding_size")?,
        d_hidden,
        d_state: if proj_size == 0 { d_hidden } else { proj_size },
        n_directions: if config.flag_or("bidirectional", false)? { 2 } else { 1 },
        d_vocab,
        n_ctx: config.size_or("max_length", MAX_LENGTH)?,
        token_embedding,
        gates: format!("{stem}.weight_ih_l{{}}"),
        projection: (proj_size > 0).then(|| format!("{stem}.weight_hr_l{{}}")),
        cell,
        window: None,
        average: None,
        decoder: weight.map(|weight| Decoder { weight, transposed: false, bias, n_out }),
    }))
}

/// PyTorch's gates are in our order.
fn cell(checkpoint: &Checkpoint, model: &Recurrent, layer: usize, direction: usize) -> Result<Cell, LoadError> {
    let stem = model.gates.trim_end_matches("weight_ih_l{}");
    let name = |what: &str| format!("{stem}{what}_l{layer}{}", if direction == 0 { "" } else { "_reverse" });
    let matrix = |what: &str, shape: [usize; 2]| -> Result<Values, LoadError> {
        let weight = Weight::new(checkpoint.tensor(&name(what))?, &shape.map(Some))?;
        let mut values = vec![0.0; shape[0] * shape[1]];
        weight.decode(0, &mut values);
        Ok(Values::new(shape, |row, column| values[row * shape[1] + column]).named(name(what)))
    };
    let n_gates = model.kind.gates().len() * model.d_hidden;
    let bias = |what: &str| {
        let bias = checkpoint.contains(&name(what)).then(|| checkpoint.f32(&name(what), &[n_gates]));
        bias.transpose().map(|bias| bias.map(|bias| Vector { name: name(what), values: bias.into_owned() }))
    };
    Ok(Cell {
        input: matrix("weight_ih", [n_gates, model.d_in(layer)])?,
        input_bias: bias("bias_ih")?,
        hidden: matrix("weight_hh", [n_gates, model.d_state])?,
        hidden_bias: bias("bias_hh")?,
        projection: model
            .projection
            .is_some()
            .then(|| matrix("weight_hr", [model.d_state, model.d_hidden]))
            .transpose()?,
        multiplier: None,
    })
}
