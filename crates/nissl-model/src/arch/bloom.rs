//! BLOOM: a pre-norm decoder whose attention scores fall with the distance, instead of positions.

use serde_json::json;

use super::transformer::rows_by_head;
use super::{Architecture, Config, Family, Head, Matrix, Skeleton, Spec};
use crate::checkpoint::Checkpoint;
use crate::engine::{Activation, NormKind};
use crate::error::LoadError;

pub(super) const FAMILY: Family = Family {
    name: "bloom",
    model_types: &["bloom"],
    summary: "pre-norm decoder, attention that falls with the distance (ALiBi)",
    head: "causal LM",
    fresh: None,
    mark: None,
    read,
};

fn read(config: &Config, _: &Checkpoint) -> Result<Architecture, LoadError> {
    config.only("apply_residual_connection_post_layernorm", &json!(false))?;
    // Second names, and how the same numbers are computed.
    config.pass_over(&[
        "attention_softmax_in_fp32",
        "bias_dropout_fusion",
        "hidden_size",
        "masked_softmax_fusion",
        "num_attention_heads",
        "num_hidden_layers",
        "offset_alibi",
        "skip_bias_add",
        "skip_bias_add_qkv",
        "slow_but_exact",
    ]);
    let n_layers = config.layers(if config.get("n_layer").is_some() { "n_layer" } else { "num_hidden_layers" })?;
    let d_model = config.size(if config.get("n_embed").is_some() { "n_embed" } else { "hidden_size" })?;
    let heads = if config.get("n_head").is_some() { "n_head" } else { "num_attention_heads" };
    let (n_heads, d_head) = config.heads(heads, "head_dim", d_model)?;
    Ok(Architecture::Transformer(Spec {
        n_layers,
        d_model,
        n_heads,
        n_kv_heads: n_heads,
        d_head,
        d_mlp: d_model.saturating_mul(4),
        d_vocab: config.size("vocab_size")?,
        n_ctx: config.size_or("seq_length", 2048)?,
        activation: Activation::GeluTanh,
        norm: NormKind::Layer { eps: config.number_or("layer_norm_epsilon", 1e-5)? as f32 },
        prefixes: &["transformer.", ""],
        token_embedding: "word_embeddings.weight",
        embedding_norm: Some("word_embeddings_layernorm"),
        qkv: vec![Matrix::linear("h.{}.self_attention.query_key_value", true)],
        qkv_rows: rows_by_head(n_heads, n_heads, d_head),
        alibi: Some(1.0),
        attn_out: Matrix::linear("h.{}.self_attention.dense", true),
        attn_norm: Some("h.{}.input_layernorm"),
        mlp_in: Matrix::linear("h.{}.mlp.dense_h_to_4h", true),
        mlp_out: Matrix::linear("h.{}.mlp.dense_4h_to_h", true),
        mlp_norm: Some("h.{}.post_attention_layernorm"),
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
