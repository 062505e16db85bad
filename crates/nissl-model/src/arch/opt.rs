//! OPT: a pre-norm decoder with learned positions and ReLU.

use serde_json::json;

use super::{Architecture, Config, Family, Head, Matrix, Positions, Skeleton, Spec};
use crate::checkpoint::Checkpoint;
use crate::engine::NormKind;
use crate::error::LoadError;

pub(super) const FAMILY: Family = Family {
    name: "opt",
    model_types: &["opt"],
    summary: "pre-norm decoder, learned positions from the third row on",
    head: "causal LM",
    fresh: None,
    mark: None,
    read,
};

fn read(config: &Config, _: &Checkpoint) -> Result<Architecture, LoadError> {
    config.only("do_layer_norm_before", &json!(true))?;
    config.only("layer_norm_elementwise_affine", &json!(true))?;
    config.only("_remove_final_layer_norm", &json!(false))?;
    let (n_layers, d_model) = (config.layers("num_hidden_layers")?, config.size("hidden_size")?);
    config.only("word_embed_proj_dim", &json!(d_model))?;
    let (n_heads, d_head) = config.heads("num_attention_heads", "head_dim", d_model)?;
    let bias = config.flag_or("enable_bias", true)?;
    Ok(Architecture::Transformer(Spec {
        n_layers,
        d_model,
        n_heads,
        n_kv_heads: n_heads,
        d_head,
        d_mlp: config.size("ffn_dim")?,
        d_vocab: config.size("vocab_size")?,
        n_ctx: config.size("max_position_embeddings")?,
        activation: config.activation("activation_function", "relu")?,
        norm: NormKind::Layer { eps: 1e-5 },
        positions: Positions::Learned { table: "embed_positions.weight", first: 2 },
        prefixes: &["model.decoder.", "decoder.", ""],
        token_embedding: "embed_tokens.weight",
        qkv: vec![
            Matrix::linear("layers.{}.self_attn.q_proj", bias),
            Matrix::linear("layers.{}.self_attn.k_proj", bias),
            Matrix::linear("layers.{}.self_attn.v_proj", bias),
        ],
        attn_out: Matrix::linear("layers.{}.self_attn.out_proj", bias),
        attn_norm: Some("layers.{}.self_attn_layer_norm"),
        mlp_in: Matrix::linear("layers.{}.fc1", bias),
        mlp_out: Matrix::linear("layers.{}.fc2", bias),
        mlp_norm: Some("layers.{}.final_layer_norm"),
        final_norm: Some("final_layer_norm"),
        head: Head {
            transform: None,
            decoder: "lm_head.weight",
            tied: config.flag_or("tie_word_embeddings", true)?,
            bias: "lm_head.bias",
        },
        ..Spec::plain(Skeleton::Decoder)
    }))
}
