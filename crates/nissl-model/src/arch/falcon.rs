//! Falcon: attention beside the MLP, few key/value heads, rotary positions.

use serde_json::json;

use super::positions::rope;
use super::transformer::rows_by_head;
use super::{Architecture, Config, Family, Head, Matrix, Skeleton, Spec};
use crate::checkpoint::Checkpoint;
use crate::engine::NormKind;
use crate::error::LoadError;

pub(super) const FAMILY: Family = Family {
    name: "falcon",
    model_types: &["falcon"],
    summary: "attention beside the MLP, one or few key/value heads, rotary positions",
    head: "causal LM",
    fresh: None,
    mark: None,
    read,
};

fn read(config: &Config, _: &Checkpoint) -> Result<Architecture, LoadError> {
    // Its ALiBi is rounded to 16 bits.
    config.only("alibi", &json!(false))?;
    // Some forms of the decoder say it without need.
    config.pass_over(&["num_kv_heads", "multi_query", "parallel_attn", "num_ln_in_parallel_attn"]);
    let (n_layers, d_model) = (config.layers("num_hidden_layers")?, config.size("hidden_size")?);
    let (n_heads, d_head) = config.heads("num_attention_heads", "head_dim", d_model)?;
    let grouped = config.flag_or("new_decoder_architecture", false)?;
    let (n_kv_heads, qkv_rows) = if grouped {
        let n_kv_heads = config.size_or("num_kv_heads", n_heads)?;
        (n_kv_heads, rows_by_head(n_heads, n_kv_heads, d_head))
    } else if config.flag_or("multi_query", true)? {
        (1, Vec::new())
    } else {
        (n_heads, rows_by_head(n_heads, n_heads, d_head))
    };
    let parallel = grouped || config.flag_or("parallel_attn", true)?;
    let (attn_norm, mlp_norm) = match config.size_or("num_ln_in_parallel_attn", if grouped { 2 } else { 1 })? {
        _ if !parallel => ("h.{}.input_layernorm", Some("h.{}.post_attention_layernorm")),
        2 if grouped => ("h.{}.ln_attn", Some("h.{}.ln_mlp")),
        1 => ("h.{}.input_layernorm", None),
        n => return Err(config.wrong("num_ln_in_parallel_attn", "1, or 2 in the new decoder", n)),
    };
    let bias = config.flag_or("bias", false)?;
    Ok(Architecture::Transformer(Spec {
        n_layers,
        d_model,
        n_heads,
        n_kv_heads,
        d_head,
        d_mlp: config.size_or("ffn_hidden_size", d_model.saturating_mul(4))?,
        d_vocab: config.size("vocab_size")?,
        n_ctx: config.size_or("max_position_embeddings", 2048)?,
        activation: config.activation("activation", "gelu")?,
        norm: NormKind::Layer { eps: config.number_or("layer_norm_epsilon", 1e-5)? as f32 },
        positions: rope(config, d_head, 1.0)?.everywhere(n_layers),
        prefixes: &["transformer.", ""],
        token_embedding: "word_embeddings.weight",
        qkv: vec![Matrix::linear("h.{}.self_attention.query_key_value", bias)],
        qkv_rows,
        parallel,
        attn_out: Matrix::linear("h.{}.self_attention.dense", bias),
        attn_norm: Some(attn_norm),
        mlp_in: Matrix::linear("h.{}.mlp.dense_h_to_4h", bias),
        mlp_out: Matrix::linear("h.{}.mlp.dense_4h_to_h", bias),
        mlp_norm,
        final_norm: Some("ln_f"),
        head: Head {
            transform: None,
            decoder: "lm_head.weight",
            tied: config.flag_or("tie_word_embeddings", true)?,
            bias: "lm_head.bias",
        },
        ..Spec::plain(Skeleton::Decoder)
    }))
}
