//! GPT-NeoX and Pythia: attention beside the MLP, each after a norm of its own, rotations of a part of each head.

use super::positions::rope_of;
use super::transformer::rows_by_head;
use super::{Architecture, Config, Family, Head, Matrix, Skeleton, Spec};
use crate::checkpoint::Checkpoint;
use crate::engine::NormKind;
use crate::error::LoadError;

pub(super) const FAMILY: Family = Family {
    name: "gpt_neox",
    model_types: &["gpt_neox"],
    summary: "attention beside the MLP, rotary positions of a part of each head (Pythia)",
    head: "causal LM",
    fresh: None,
    mark: None,
    read,
};

fn read(config: &Config, checkpoint: &Checkpoint) -> Result<Architecture, LoadError> {
    // Every head has its own.
    config.pass_over(&["num_key_value_heads"]);
    let (n_layers, d_model) = (config.layers("num_hidden_layers")?, config.size("hidden_size")?);
    let (n_heads, d_head) = config.heads("num_attention_heads", "head_dim", d_model)?;
    let plain = (config.number_or("rotary_emb_base", 10_000.0)?, config.number_or("rotary_pct", 0.25)?);
    let group = config.group("rope_parameters")?;
    let group = group.map_or_else(|| config.group("rope_scaling"), |group| Ok(Some(group)))?;
    let bias = config.flag_or("attention_bias", true)?;
    Ok(Architecture::Transformer(Spec {
        n_layers,
        d_model,
        n_heads,
        n_kv_heads: n_heads,
        d_head,
        d_mlp: config.size("intermediate_size")?,
        d_vocab: config.size("vocab_size")?,
        n_ctx: config.size("max_position_embeddings")?,
        activation: config.activation("hidden_act", "gelu")?,
        norm: NormKind::Layer { eps: config.number_or("layer_norm_eps", 1e-5)? as f32 },
        positions: rope_of(config, group.as_ref(), d_head, plain)?.everywhere(n_layers),
        prefixes: &["gpt_neox.", ""],
        token_embedding: "embed_in.weight",
        qkv: vec![Matrix::linear("layers.{}.attention.query_key_value", bias)],
        qkv_rows: rows_by_head(n_heads, n_heads, d_head),
        parallel: config.flag_or("use_parallel_residual", true)?,
        attn_out: Matrix::linear("layers.{}.attention.dense", bias),
        attn_norm: Some("layers.{}.input_layernorm"),
        mlp_in: Matrix::linear("layers.{}.mlp.dense_h_to_4h", true),
        mlp_out: Matrix::linear("layers.{}.mlp.dense_4h_to_h", true),
        mlp_norm: Some("layers.{}.post_attention_layernorm"),
        final_norm: Some("final_layer_norm"),
        head: Head {
            transform: None,
            decoder: if checkpoint.contains("lm_head.weight") { "lm_head.weight" } else { "embed_out.weight" },
            tied: config.flag_or("tie_word_embeddings", false)?,
            bias: "embed_out.bias",
        },
        ..Spec::plain(Skeleton::Decoder)
    }))
}
