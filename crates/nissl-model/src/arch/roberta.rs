//! RoBERTa and XLM-R: BERT whose positions begin after the padding token's number, with a head of its own.

use serde_json::json;

use super::{Architecture, Classifier, Config, Family, Head, Matrix, Positions, Skeleton, Spec};
use crate::checkpoint::Checkpoint;
use crate::engine::{Activation, NormKind};
use crate::error::LoadError;

pub(super) const FAMILY: Family = Family {
    name: "roberta",
    model_types: &["roberta", "xlm-roberta"],
    summary: "post-norm encoder, learned positions after the padding's",
    head: "masked LM, token and sequence classifiers",
    fresh: None,
    mark: None,
    read,
};

fn read(config: &Config, _: &Checkpoint) -> Result<Architecture, LoadError> {
    config.only("position_embedding_type", &json!("absolute"))?;
    config.only("is_decoder", &json!(false))?;
    config.only("add_cross_attention", &json!(false))?;
    let (d_model, n_heads) = (config.size("hidden_size")?, config.size("num_attention_heads")?);
    let first = config.size_or("pad_token_id", 1)?.saturating_add(1);
    Ok(Architecture::Transformer(Spec {
        n_layers: config.size("num_hidden_layers")?,
        d_model,
        n_heads,
        n_kv_heads: n_heads,
        d_head: config.divided("hidden_size", "num_attention_heads")?,
        d_mlp: config.size("intermediate_size")?,
        d_vocab: config.size("vocab_size")?,
        n_ctx: config.size("max_position_embeddings")?.saturating_sub(first),
        activation: config.activation("hidden_act", "gelu")?,
        norm: NormKind::Layer { eps: config.number_or("layer_norm_eps", 1e-12)? as f32 },
        positions: Positions::Learned { table: "embeddings.position_embeddings.weight", first },
        prefixes: &["roberta.", ""],
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
        ..Spec::plain(Skeleton::Encoder)
    }))
}
