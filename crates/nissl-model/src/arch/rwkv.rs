//! What RWKV 5 to 7 share, as their authors and Hugging Face's folders store them.

use serde_json::json;

use super::Config;
use super::lstm::MAX_LENGTH;
use super::state_space::{Block, RwkvBlock, StateSpace, TimeMix};
use crate::checkpoint::{Checkpoint, Weight};
use crate::engine::NormKind;
use crate::error::LoadError;

/// Epsilon of a norm, where nothing else is said.
pub(super) const EPS: f32 = 1e-5;

/// What the authors divide by before the norms of heads, which is the same as a larger epsilon.
pub(super) const DIVISOR: f32 = 8.0;

/// A block whose sizes and time-mix are to be filled in, as the authors name it.
pub(super) const BLOCK: RwkvBlock = RwkvBlock {
    n_heads: 0,
    d_head: 0,
    d_mlp: 0,
    head_eps: EPS * DIVISOR * DIVISOR,
    norms: ["blocks.{}.ln1", "blocks.{}.ln2"],
    parts: ["blocks.{}.att", "blocks.{}.ffn"],
    matrices: ["receptance", "key", "value", "output"],
    head_norm: "ln_x",
    time: TimeMix::Finch,
};

/// A model of the fields that RWKV 5 and 6 have in Hugging Face's folders; the divisor before the norms of heads is this
/// where the config has none.
pub(super) fn by_config(config: &Config, time: TimeMix, divisor: f32) -> Result<StateSpace, LoadError> {
    // In 16-bit floats the residual stream is halved every so many layers, with what is written to it, so that it does
    // not overflow. Powers of two change no number but in the norms, which add their epsilon to a smaller variance; the
    // model was trained without, and is computed so here. What is called a number of heads is in fact their width, which
    // `head_size` says.
    config.pass_over(&["rescale_every", "num_attention_heads", "model_version"]);
    let d_model = config.size("hidden_size")?;
    config.only("attention_hidden_size", &json!(d_model))?;
    config.only("tie_word_embeddings", &json!(false))?;
    let d_head = head_width(config, "head_size", d_model)?;
    let divisor = config.number_or("head_size_divisor", f64::from(divisor))? as f32;
    let eps = config.number_or("layer_norm_epsilon", f64::from(EPS))? as f32;
    let block = RwkvBlock {
        n_heads: d_model / d_head,
        d_head,
        d_mlp: config.size_or("intermediate_size", d_model.saturating_mul(7) / 2 / 32 * 32)?,
        head_eps: EPS * divisor * divisor,
        norms: ["rwkv.blocks.{}.ln1", "rwkv.blocks.{}.ln2"],
        parts: ["rwkv.blocks.{}.attention", "rwkv.blocks.{}.feed_forward"],
        time,
        ..BLOCK
    };
    Ok(StateSpace {
        n_layers: config.layers("num_hidden_layers")?,
        d_model,
        d_vocab: config.size("vocab_size")?,
        n_ctx: config.size_or("context_length", MAX_LENGTH)?,
        norm: NormKind::Layer { eps },
        token_embedding: "rwkv.embeddings.weight",
        embedding_norm: Some("rwkv.blocks.0.pre_ln"),
        final_norm: "rwkv.ln_out",
        head: "head.weight",
        tied: false,
        block: Block::Rwkv(block),
    })
}

/// The width of a head, which divides that of the model.
pub(super) fn head_width(config: &Config, field: &str, d_model: usize) -> Result<usize, LoadError> {
    let d_head = config.size_or(field, 64)?;
    if d_head == 0 || !d_model.is_multiple_of(d_head) {
        return Err(config.wrong(field, format!("a divisor of the width {d_model}"), d_head));
    }
    Ok(d_head)
}

/// A model without config.json: the sizes are those of the weights, the heads those of `of_heads`, `[n_heads, d_head]` and
/// perhaps a 1 behind.
pub(super) fn by_weights(
    checkpoint: &Checkpoint,
    of_heads: &str,
    version: &str,
    block: RwkvBlock,
) -> Result<StateSpace, LoadError> {
    let sizes = |name: &str| Ok(Weight::new(checkpoint.tensor(name)?, &[None, None])?.shape());
    let table = sizes("emb.weight")?;
    let heads = checkpoint.tensor(of_heads)?;
    let ([n_heads, d_head] | [n_heads, d_head, 1]) = *heads.shape else {
        return Err(LoadError::Weight {
            what: "shape",
            name: of_heads.to_owned(),
            expected: format!("[heads, width of a head] ({version})"),
            got: format!("{:?}", heads.shape),
        });
    };
    let layers = (0..checkpoint.names().len()).take_while(|n| checkpoint.contains(&format!("blocks.{n}.ln1.weight")));
    let d_mlp = sizes("blocks.0.ffn.key.weight")?[0];
    Ok(StateSpace {
        n_layers: layers.count(),
        d_model: table[1],
        d_vocab: table[0],
        n_ctx: MAX_LENGTH,
        norm: NormKind::Layer { eps: EPS },
        token_embedding: "emb.weight",
        embedding_norm: Some("blocks.0.ln0"),
        final_norm: "ln_out",
        head: "head.weight",
        tied: false,
        block: Block::Rwkv(RwkvBlock { n_heads, d_head, d_mlp, ..block }),
    })
}
