//! ALBERT: BERT with narrower embeddings, whose layers share their weights.

use serde_json::json;

use super::{Architecture, Classifier, Config, Family, Head, Matrix, Positions, Skeleton, Spec};
use crate::checkpoint::Checkpoint;
use crate::engine::{Activation, NormKind};
use crate::error::LoadError;

pub(super) const FAMILY: Family = Family {
    name: "albert",
    model_types: &["albert"],
    summary: "post-norm encoder, learned positions, narrow embeddings, shared layers",
    head: "masked LM, token and sequence classifiers",
    fresh: None,
    mark: None,
    read,
};

fn read(config: &Config, _: &Checkpoint) -> Result<Architecture, LoadError> {
    config.only("inner_group_num", &json!(1))?;
    config.only("position_embedding_type", &json!("absolute"))?;
    config.only("is_decoder", &json!(false))?;
    config.only("add_cross_attention", &json!(false))?;
    let (d_model, n_heads) = (config.size("hidden_size")?, config.size("num_attention_heads")?);
    let d_embed = config.size_or("embedding_size", 128)?;
    let activation = config.activation("hidden_act", "gelu_new")?;
    Ok(Architecture::Transformer(Spec {
        n_layers: config.size("num_hidden_layers")?,
        d_model,
        d_embed: Some(d_embed),
        n_heads,
        n_kv_heads: n_heads,
        d_head: config.divided("hidden_size", "num_attention_heads")?,
        d_mlp: config.size("intermediate_size")?,
        d_vocab: config.size("vocab_size")?,
        n_ctx: config.size("max_position_embeddings")?,
        activation,
        norm: NormKind::Layer { eps: config.number_or("layer_norm_eps", 1e-12)? as f32 },
        positions: Positions::Learned { table: "embeddings.position_embeddings.weight", first: 0 },
        prefixes: &["albert.", ""],
        token_embedding: "embeddings.word_embeddings.weight",
        type_embedding: Some("embeddings.token_type_embeddings.weight"),
        embedding_norm: Some("embeddings.LayerNorm"),
        embedding_projection: Some(Matrix::linear("encoder.embedding_hidden_mapping_in", true)),
        n_stored_layers: Some(config.size_or("num_hidden_groups", 1)?),
        qkv: vec![
            Matrix::linear("encoder.albert_layer_groups.{}.albert_layers.0.attention.query", true),
            Matrix::linear("encoder.albert_layer_groups.{}.albert_layers.0.attention.key", true),
            Matrix::linear("encoder.albert_layer_groups.{}.albert_layers.0.attention.value", true),
        ],
        attn_out: Matrix::linear("encoder.albert_layer_groups.{}.albert_layers.0.attention.dense", true),
        attn_norm: Some("encoder.albert_layer_groups.{}.albert_layers.0.attention.LayerNorm"),
        mlp_in: Matrix::linear("encoder.albert_layer_groups.{}.albert_layers.0.ffn", true),
        mlp_out: Matrix::linear("encoder.albert_layer_groups.{}.albert_layers.0.ffn_output", true),
        mlp_norm: Some("encoder.albert_layer_groups.{}.albert_layers.0.full_layer_layer_norm"),
        head: Head {
            transform: Some((Matrix::linear("predictions.dense", true), "predictions.LayerNorm")),
            decoder: "predictions.decoder.weight",
            tied: config.flag_or("tie_word_embeddings", true)?,
            bias: "predictions.bias",
        },
        classifiers: vec![
            Classifier::sequence("pooler", Activation::Tanh, "classifier"),
            Classifier::sequence("pooler", Activation::Tanh, "sop_classifier.classifier"),
            Classifier::TOKENS,
        ],
        ..Spec::plain(Skeleton::Encoder)
    }))
}
