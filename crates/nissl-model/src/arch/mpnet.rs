//! MPNet: RoBERTa without token types, whose attention adds a learned bias by the distance of key and query.

use serde_json::json;

use super::{Architecture, Config, DistanceBuckets, Family, Matrix, Spec, encoder};
use crate::checkpoint::Checkpoint;
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
    let spec = encoder::shifted(encoder::bert_like(config)?, FIRST);
    Ok(Architecture::Transformer(Spec {
        prefixes: &["mpnet.", ""],
        type_embedding: None,
        distance_bias: Some(DistanceBuckets {
            table: "encoder.relative_attention_bias.weight",
            in_each_layer: false,
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
        ..encoder::with_roberta_heads(spec, config)?
    }))
}
