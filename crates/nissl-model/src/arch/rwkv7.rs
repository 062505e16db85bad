//! RWKV 7 ("Goose"), as the folders of flash-linear-attention name its weights, or as its authors do without config.json.
//!
//! The state forgets by the delta rule, at a rate of the token's own; the values of later layers go towards those of the
//! first; the channel-mix has no gate. Ranks are those of the weights; without config.json all sizes are.

use serde_json::{Value, json};

use super::lstm::MAX_LENGTH;
use super::rwkv::{BLOCK, EPS, by_weights, head_width};
use super::state_space::{Block, RwkvBlock, StateSpace, TimeMix};
use super::{Architecture, Config, Family, Mark};
use crate::checkpoint::Checkpoint;
use crate::engine::NormKind;
use crate::error::LoadError;

pub(super) const FAMILY: Family = Family {
    name: "rwkv7",
    model_types: &["rwkv7"],
    summary: "RWKV 7: a state that forgets by the delta rule; with config.json or as its authors store it",
    head: "causal LM",
    fresh: None,
    mark: Some(Mark { weight: "blocks.0.att.r_k", sizes: &[] }),
    read,
};

fn read(config: &Config, checkpoint: &Checkpoint) -> Result<Architecture, LoadError> {
    if config.is_empty() {
        let block = RwkvBlock { time: TimeMix::Goose { modules: false }, ..BLOCK };
        let model = by_weights(checkpoint, "blocks.0.att.r_k", "RWKV 7", block)?;
        return Ok(Architecture::StateSpace(model));
    }
    // How it is computed elsewhere, and what the weights say themselves.
    config.pass_over(&["attn_mode", "fuse_norm", "fuse_cross_entropy", "fuse_linear_cross_entropy", "use_l2warp"]);
    config.pass_over(&["decay_low_rank_dim", "gate_low_rank_dim", "a_low_rank_dim", "v_low_rank_dim"]);
    let (d_model, n_layers) = (config.size("hidden_size")?, config.layers("num_hidden_layers")?);
    let d_head = head_width(config, "head_dim", d_model)?;
    let n_heads = config.size_or("num_heads", d_model / d_head)?;
    if n_heads != d_model / d_head {
        return Err(config.wrong("num_heads", format!("{} heads of width {d_head}", d_model / d_head), n_heads));
    }
    config.only("attn", &json!(null))?;
    config.only("norm_bias", &json!(true))?;
    config.only("hidden_act", &json!("sqrelu"))?;
    if config.get("value_dim").is_some_and(Value::is_array) {
        config.only("value_dim", &json!(vec![d_model; n_layers]))?;
    } else {
        config.only("value_dim", &json!(d_model))?;
    }
    let wide = (d_model as f64 * config.number_or("hidden_ratio", 4.0)?) as usize;
    let eps = config.number_or("norm_eps", f64::from(EPS))? as f32;
    let block = RwkvBlock {
        n_heads,
        d_head,
        d_mlp: config.size_or("intermediate_size", wide.checked_next_multiple_of(32).unwrap_or(wide))?,
        head_eps: d_head as f32 * eps,
        norms: ["model.layers.{}.attn_norm", "model.layers.{}.ffn_norm"],
        parts: ["model.layers.{}.attn", "model.layers.{}.ffn"],
        matrices: ["r_proj", "k_proj", "v_proj", "o_proj"],
        head_norm: "g_norm",
        time: TimeMix::Goose { modules: true },
    };
    Ok(Architecture::StateSpace(StateSpace {
        n_layers,
        d_model,
        d_vocab: config.size("vocab_size")?,
        n_ctx: config.size_or("max_position_embeddings", MAX_LENGTH)?,
        norm: NormKind::Layer { eps },
        token_embedding: "model.embeddings.weight",
        embedding_norm: config.flag_or("norm_first", true)?.then_some("model.layers.0.pre_norm"),
        final_norm: "model.norm",
        head: "lm_head.weight",
        tied: config.flag_or("tie_word_embeddings", false)?,
        block: Block::Rwkv(block),
    }))
}
