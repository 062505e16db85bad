//! ALBERT: BERT with narrower embeddings, whose layers share their weights.

use serde_json::json;

use super::{Architecture, Classifier, Config, Family, Head, Matrix, Spec, encoder};
use crate::checkpoint::Checkpoint;
use crate::engine::Activation;
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
    // No code reads them.
    config.pass_over(&["down_scale_factor", "gap_size", "net_structure_type", "num_memory_blocks"]);
    config.only("inner_group_num", &json!(1))?;
    Ok(Architecture::Transformer(Spec {
        d_embed: Some(config.size_or("embedding_size", 128)?),
        activation: config.activation("hidden_act", "gelu_new")?,
        prefixes: &["albert.", ""],
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
        ..encoder::bert_like(config)?
    }))
}
