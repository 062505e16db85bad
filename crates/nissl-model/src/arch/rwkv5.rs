//! RWKV 5 (5.2, "Eagle"), as Hugging Face's folders name its weights, or as its authors and rwkv.cpp do without
//! config.json.
//!
//! Without config.json all sizes are those of the weights. Decays `[n_heads, d_head]` are stored as ln(-ln(decay)), by
//! rwkv.cpp `[n_heads, d_head, 1]` as they are used. What heads read from the state is divided by `head_size_divisor`
//! before its norm, which is the same as a norm of a larger epsilon: 8 in the authors' files, 1 in rwkv.cpp and where a
//! config does not say.
//!
//! The logits that rwkv.cpp publishes of a model of 12 layers, up to 6.8, are 3.1e-6 from what these equations give in
//! 64-bit floats, and so are ours in 32 bits: the two are up to 3.5e-6 apart.

use serde_json::json;

use super::lstm::MAX_LENGTH;
use super::state_space::{Block, RwkvBlock, StateSpace};
use super::{Architecture, Config, Family, Mark};
use crate::checkpoint::{Checkpoint, Weight};
use crate::engine::NormKind;
use crate::error::LoadError;

pub(super) const FAMILY: Family = Family {
    name: "rwkv5",
    model_types: &["rwkv5"],
    summary: "RWKV 5.2: time-mix with a state a head, channel-mix; with config.json or as its authors store it",
    head: "causal LM",
    fresh: None,
    mark: Some(Mark { weight: "blocks.0.att.time_mix_g", sizes: &[] }),
    read,
};

/// Epsilon of a norm, where nothing else is said.
const EPS: f32 = 1e-5;

/// What the authors divide by before the norms of heads.
const DIVISOR: f32 = 8.0;

/// A block whose sizes are to be filled in, as the authors name it.
const BLOCK: RwkvBlock = RwkvBlock {
    n_heads: 0,
    d_head: 0,
    d_mlp: 0,
    head_eps: EPS,
    plain_decays: false,
    norms: ["blocks.{}.ln1", "blocks.{}.ln2"],
    parts: ["blocks.{}.att", "blocks.{}.ffn"],
    shares: ["time_mix_r", "time_mix_k", "time_mix_v", "time_mix_g"],
};

fn read(config: &Config, checkpoint: &Checkpoint) -> Result<Architecture, LoadError> {
    let model = if config.is_empty() { by_weights(checkpoint)? } else { by_config(config)? };
    Ok(Architecture::StateSpace(model))
}

fn by_config(config: &Config) -> Result<StateSpace, LoadError> {
    // In 16-bit floats the residual stream is halved every so many layers, with what is written to it, so that it does
    // not overflow. Powers of two change no number but in the norms, which add their epsilon to a smaller variance; the
    // model was trained without, and is computed so here.
    config.pass_over(&["rescale_every"]);
    let d_model = config.size("hidden_size")?;
    config.only("attention_hidden_size", &json!(d_model))?;
    config.only("tie_word_embeddings", &json!(false))?;
    let d_head = config.size_or("head_size", 64)?;
    if d_head == 0 || !d_model.is_multiple_of(d_head) {
        return Err(config.wrong("head_size", format!("a divisor of the width {d_model}"), d_head));
    }
    let divisor = config.number_or("head_size_divisor", 1.0)? as f32;
    let eps = config.number_or("layer_norm_epsilon", f64::from(EPS))? as f32;
    let block = RwkvBlock {
        n_heads: d_model / d_head,
        d_head,
        d_mlp: config.size_or("intermediate_size", d_model.saturating_mul(7) / 2 / 32 * 32)?,
        head_eps: EPS * divisor * divisor,
        norms: ["rwkv.blocks.{}.ln1", "rwkv.blocks.{}.ln2"],
        parts: ["rwkv.blocks.{}.attention", "rwkv.blocks.{}.feed_forward"],
        shares: ["time_mix_receptance", "time_mix_key", "time_mix_value", "time_mix_gate"],
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

fn by_weights(checkpoint: &Checkpoint) -> Result<StateSpace, LoadError> {
    let sizes = |name: &str| Ok(Weight::new(checkpoint.tensor(name)?, &[None, None])?.shape());
    let table = sizes("emb.weight")?;
    let decays = checkpoint.tensor("blocks.0.att.time_decay")?;
    let (n_heads, d_head, plain_decays) = match *decays.shape {
        [n_heads, d_head] => (n_heads, d_head, false),
        [n_heads, d_head, 1] => (n_heads, d_head, true),
        _ => {
            return Err(LoadError::Weight {
                what: "shape",
                name: "blocks.0.att.time_decay".to_owned(),
                expected: "[heads, width of a head] (RWKV 5.2)".to_owned(),
                got: format!("{:?}", decays.shape),
            });
        }
    };
    let layers = (0..checkpoint.names().len()).take_while(|n| checkpoint.contains(&format!("blocks.{n}.ln1.weight")));
    let block = RwkvBlock {
        n_heads,
        d_head,
        d_mlp: sizes("blocks.0.ffn.key.weight")?[0],
        head_eps: if plain_decays { EPS } else { EPS * DIVISOR * DIVISOR },
        plain_decays,
        ..BLOCK
    };
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
        block: Block::Rwkv(block),
    })
}
