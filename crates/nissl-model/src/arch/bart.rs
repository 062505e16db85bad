//! BART: an encoder and a decoder with norms after each sum and learned positions. mBART: the same with norms before
//! attention and MLP and at the end.

use serde_json::{Value, json};

use super::{Architecture, Classifier, Config, Cross, EncoderDecoder, Family, Head, Matrix, Positions, Skeleton, Spec};
use crate::checkpoint::Checkpoint;
use crate::engine::{Activation, NormKind};
use crate::error::LoadError;

pub(super) const FAMILY: Family = Family {
    name: "bart",
    model_types: &["bart", "mbart"],
    summary: "encoder and decoder with learned positions; norms after each sum, or before (mBART)",
    head: "LM of the target, sequence classifiers",
    fresh: None,
    mark: None,
    read,
};

/// Positions begin after that of padding.
const FIRST: usize = 2;

fn read(config: &Config, _: &Checkpoint) -> Result<Architecture, LoadError> {
    let pre_norm = config.get("model_type").and_then(Value::as_str) == Some("mbart");
    config.only("normalize_before", &json!(pre_norm))?;
    config.only("add_final_layer_norm", &json!(pre_norm))?;
    config.only("normalize_embedding", &json!(true))?;
    config.only("static_position_embeddings", &json!(false))?;
    let (encoder, decoder) = layers(config, pre_norm)?;
    let encoder = Spec {
        positions: Positions::Learned { table: "encoder.embed_positions.weight", first: FIRST },
        embedding_norm: Some("encoder.layernorm_embedding"),
        ..encoder
    };
    let decoder = Spec {
        positions: Positions::Learned { table: "decoder.embed_positions.weight", first: FIRST },
        embedding_norm: Some("decoder.layernorm_embedding"),
        // Reads what the decoder makes of the text itself, behind the token that starts it.
        classifiers: vec![Classifier::sequence(
            "classification_head.dense",
            Activation::Tanh,
            "classification_head.out_proj",
        )],
        ..decoder
    };
    Ok(Architecture::EncoderDecoder(EncoderDecoder::new(encoder, decoder)))
}

/// The encoder and the decoder but for what stands before their blocks.
pub(super) fn layers(config: &Config, pre_norm: bool) -> Result<(Spec, Spec), LoadError> {
    let d_model = config.size("d_model")?;
    let common = |skeleton, heads: &str| -> Result<Spec, LoadError> {
        let (n_heads, d_head) = config.heads(heads, "head_dim", d_model)?;
        let scale = if config.flag_or("scale_embedding", false)? { (d_model as f32).sqrt() } else { 1.0 };
        Ok(Spec {
            d_model,
            n_heads,
            n_kv_heads: n_heads,
            d_head,
            d_vocab: config.size("vocab_size")?,
            n_ctx: config.size("max_position_embeddings")?,
            activation: config.activation("activation_function", "gelu")?,
            norm: NormKind::Layer { eps: 1e-5 },
            prefixes: &["model.", ""],
            token_embedding: "shared.weight",
            embedding_scale: scale,
            ..Spec::plain(skeleton)
        })
    };
    let encoder = Spec {
        n_layers: config.layers("encoder_layers")?,
        d_mlp: config.size("encoder_ffn_dim")?,
        qkv: vec![
            Matrix::linear("encoder.layers.{}.self_attn.q_proj", true),
            Matrix::linear("encoder.layers.{}.self_attn.k_proj", true),
            Matrix::linear("encoder.layers.{}.self_attn.v_proj", true),
        ],
        attn_out: Matrix::linear("encoder.layers.{}.self_attn.out_proj", true),
        attn_norm: Some("encoder.layers.{}.self_attn_layer_norm"),
        mlp_in: Matrix::linear("encoder.layers.{}.fc1", true),
        mlp_out: Matrix::linear("encoder.layers.{}.fc2", true),
        mlp_norm: Some("encoder.layers.{}.final_layer_norm"),
        final_norm: pre_norm.then_some("encoder.layer_norm"),
        ..common(if pre_norm { Skeleton::PreNormEncoder } else { Skeleton::Encoder }, "encoder_attention_heads")?
    };
    let decoder = Spec {
        n_layers: config.layers("decoder_layers")?,
        d_mlp: config.size("decoder_ffn_dim")?,
        qkv: vec![
            Matrix::linear("decoder.layers.{}.self_attn.q_proj", true),
            Matrix::linear("decoder.layers.{}.self_attn.k_proj", true),
            Matrix::linear("decoder.layers.{}.self_attn.v_proj", true),
        ],
        attn_out: Matrix::linear("decoder.layers.{}.self_attn.out_proj", true),
        attn_norm: Some("decoder.layers.{}.self_attn_layer_norm"),
        cross: Some(Cross {
            q: Matrix::linear("decoder.layers.{}.encoder_attn.q_proj", true),
            k: Matrix::linear("decoder.layers.{}.encoder_attn.k_proj", true),
            v: Matrix::linear("decoder.layers.{}.encoder_attn.v_proj", true),
            out: Matrix::linear("decoder.layers.{}.encoder_attn.out_proj", true),
            norm: "decoder.layers.{}.encoder_attn_layer_norm",
        }),
        mlp_in: Matrix::linear("decoder.layers.{}.fc1", true),
        mlp_out: Matrix::linear("decoder.layers.{}.fc2", true),
        mlp_norm: Some("decoder.layers.{}.final_layer_norm"),
        final_norm: pre_norm.then_some("decoder.layer_norm"),
        head: Head {
            transform: None,
            decoder: "lm_head.weight",
            tied: config.flag_or("tie_word_embeddings", true)?,
            bias: "final_logits_bias",
        },
        ..common(if pre_norm { Skeleton::Decoder } else { Skeleton::PostNormDecoder }, "decoder_attention_heads")?
    };
    Ok((encoder, decoder))
}
