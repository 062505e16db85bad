//! MPNet: RoBERTa without token types, whose attention adds a learned bias by the distance of key and query.

use serde_json::json;

use super::{Architecture, Classifier, Config, DistanceBuckets, Family, Head, Matrix, Positions, Skeleton, Spec};
use crate::checkpoint::Checkpoint;
use crate::engine::{Activation, NormKind};
use crate::error::LoadError;

pub(super) const FAMILY: Family = Family {
    name: "mpnet",
    model_types: &["mpnet"],
    summary: "post-norm encoder, learned positions and biases by distance",
    head: "masked LM, token and sequence classifiers",
    fresh: None,
    mark: None,
    read,
};

/// Positions begin after that of padding, whatever the config says.
const FIRST: usize = 2;

/// The only number of buckets that the reference computes.
const N_BUCKETS: usize = 32;

fn read(config: &Config, _: &Checkpoint) -> Result<Architecture, LoadError> {
    config.only("relative_attention_num_buckets", &json!(N_BUCKETS))?;
    let (d_model, n_heads) = (config.size("hidden_size")?, config.size("num_attention_heads")?);
    Ok(Architecture::Transformer(Spec {
        n_layers: config.size("num_hidden_layers")?,
        d_model,
        n_heads,
        n_kv_heads: n_heads,
        d_head: config.divided("hidden_size", "num_attention_heads")?,
        d_mlp: config.size("intermediate_size")?,
        d_vocab: config.size("vocab_size")?,
        n_ctx: config.size("max_position_embeddings")?.saturating_sub(FIRST),
        activation: config.activation("hidden_act", "gelu")?,
        norm: NormKind::Layer { eps: config.number_or("layer_norm_eps", 1e-12)? as f32 },
        positions: Positions::Learned { table: "embeddings.position_embeddings.weight", first: FIRST },
        prefixes: &["mpnet.", ""],
        token_embedding: "embeddings.word_embeddings.weight",
        embedding_norm: Some("embeddings.LayerNorm"),
        distance_bias: Some(DistanceBuckets {
            table: "encoder.relative_attention_bias.weight",
            n_buckets: N_BUCKETS,
            furthest: 128,
            both_ways: true,
        }),
        qkv: vec![
            Matrix::linear("encoder.layer.{}.attention.attn.q", true),
            Matrix::linear("encoder.layer.{}.attention.attn.k", true),
            Matrix::linear("encoder.layer.{}.attention.attn.v", true),
        ],
        attn_out: Matrix::linear("encoder.layer.{}.attention.attn.o", true),
        attn_norm: Some("encoder.layer.{}.attention.LayerNorm"),
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
