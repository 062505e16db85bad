//! What encoders after BERT have in common: its sizes, its weight names, the options that no one computes, and the heads
//! of RoBERTa. A family writes its own fields over them.

use serde_json::json;

use super::{Classifier, Config, Head, Matrix, Positions, Skeleton, Spec};
use crate::engine::{Activation, NormKind};
use crate::error::LoadError;

/// The options of a decoder, which an encoder does not have.
pub(super) fn refuse_decoder(config: &Config) -> Result<(), LoadError> {
    config.only("is_decoder", &json!(false))?;
    config.only("add_cross_attention", &json!(false))
}

/// The sizes of BERT's config, under the names of BERT's weights, without heads.
pub(super) fn bert_like(config: &Config) -> Result<Spec, LoadError> {
    refuse_decoder(config)?;
    config.only("position_embedding_type", &json!("absolute"))?;
    // The table says how many there are.
    config.pass_over(&["type_vocab_size"]);
    let n_heads = config.size("num_attention_heads")?;
    Ok(Spec {
        n_layers: config.size("num_hidden_layers")?,
        d_model: config.size("hidden_size")?,
        n_heads,
        n_kv_heads: n_heads,
        d_head: config.divided("hidden_size", "num_attention_heads")?,
        d_mlp: config.size("intermediate_size")?,
        d_vocab: config.size("vocab_size")?,
        n_ctx: config.size("max_position_embeddings")?,
        activation: config.activation("hidden_act", "gelu")?,
        norm: NormKind::Layer { eps: config.number_or("layer_norm_eps", 1e-12)? as f32 },
        ..named(Skeleton::Encoder)
    })
}

/// The names of BERT's weights.
pub(super) fn named(skeleton: Skeleton) -> Spec {
    Spec {
        positions: positions_from(0),
        token_embedding: "embeddings.word_embeddings.weight",
        type_embedding: Some("embeddings.token_type_embeddings.weight"),
        embedding_norm: Some("embeddings.LayerNorm"),
        qkv: vec![
            Matrix::linear("encoder.layer.{}.attention.self.query", true),
            Matrix::linear("encoder.layer.{}.attention.self.key", true),
            Matrix::linear("encoder.layer.{}.attention.self.value", true),
        ],
        attn_out: Matrix::linear("encoder.layer.{}.attention.output.dense", true),
        attn_norm: Some("encoder.layer.{}.attention.output.LayerNorm"),
        mlp_in: Matrix::linear("encoder.layer.{}.intermediate.dense", true),
        mlp_out: Matrix::linear("encoder.layer.{}.output.dense", true),
        mlp_norm: Some("encoder.layer.{}.output.LayerNorm"),
        ..Spec::plain(skeleton)
    }
}

/// Learned positions, of which that of the first token is row `first`.
pub(super) fn positions_from(first: usize) -> Positions {
    Positions::Learned { table: "embeddings.position_embeddings.weight", first }
}

/// The positions that `n_ctx` tokens have behind those up to `first`.
pub(super) fn shifted(spec: Spec, first: usize) -> Spec {
    Spec { n_ctx: spec.n_ctx.saturating_sub(first), positions: positions_from(first), ..spec }
}

/// BERT's head of masked tokens.
pub(super) fn bert_head(config: &Config) -> Result<Head, LoadError> {
    Ok(Head {
        transform: Some((
            Matrix::linear("cls.predictions.transform.dense", true),
            "cls.predictions.transform.LayerNorm",
        )),
        decoder: "cls.predictions.decoder.weight",
        tied: config.flag_or("tie_word_embeddings", true)?,
        bias: "cls.predictions.bias",
    })
}

/// The same with RoBERTa's heads.
pub(super) fn with_roberta_heads(spec: Spec, config: &Config) -> Result<Spec, LoadError> {
    Ok(Spec {
        head: Head {
            transform: Some((Matrix::linear("lm_head.dense", true), "lm_head.layer_norm")),
            decoder: "lm_head.decoder.weight",
            tied: config.flag_or("tie_word_embeddings", true)?,
            bias: "lm_head.bias",
        },
        head_activation: Some(Activation::GeluErf),
        classifiers: vec![
            Classifier::sequence("classifier.dense", Activation::Tanh, "classifier.out_proj"),
            Classifier::TOKENS,
        ],
        ..spec
    })
}
