//! ELECTRA: BERT with narrower embeddings, as a generator (masked LM) or a discriminator of replaced tokens.

use serde_json::json;

use super::{Architecture, Classifier, Config, Family, Head, Matrix, Positions, Skeleton, Spec};
use crate::checkpoint::Checkpoint;
use crate::engine::{Activation, NormKind};
use crate::error::LoadError;

pub(super) const FAMILY: Family = Family {
    name: "electra",
    model_types: &["electra"],
    summary: "post-norm encoder, learned positions, narrow embeddings",
    head: "masked LM, replaced tokens, token and sequence classifiers",
    fresh: None,
    mark: None,
    read,
};

fn read(config: &Config, _: &Checkpoint) -> Result<Architecture, LoadError> {
    config.only("position_embedding_type", &json!("absolute"))?;
    config.only("is_decoder", &json!(false))?;
    config.only("add_cross_attention", &json!(false))?;
    let (d_model, n_heads) = (config.size("hidden_size")?, config.size("num_attention_heads")?);
    let d_embed = config.size_or("embedding_size", 128)?;
    let activation = config.activation("hidden_act", "gelu")?;
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
        prefixes: &["electra.", ""],
        token_embedding: "embeddings.word_embeddings.weight",
        type_embedding: Some("embeddings.token_type_embeddings.weight"),
        embedding_norm: Some("embeddings.LayerNorm"),
        embedding_projection: (d_embed != d_model).then_some(Matrix::linear("embeddings_project", true)),
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
            transform: Some((Matrix::linear("generator_predictions.dense", true), "generator_predictions.LayerNorm")),
            decoder: "generator_lm_head.weight",
            tied: config.flag_or("tie_word_embeddings", true)?,
            bias: "generator_lm_head.bias",
        },
        head_activation: Some(Activation::GeluErf),
        classifiers: vec![
            Classifier::sequence("classifier.dense", Activation::GeluErf, "classifier.out_proj"),
            Classifier::TOKENS,
            Classifier {
                dense: Some((Matrix::linear("discriminator_predictions.dense", true), activation)),
                out: Matrix::linear("discriminator_predictions.dense_prediction", true),
                ..Classifier::TOKENS
            },
        ],
        ..Spec::plain(Skeleton::Encoder)
    }))
}
