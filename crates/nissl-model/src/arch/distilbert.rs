//! DistilBERT: BERT without token types and pooler, under names of its own.

use serde_json::json;

use super::{Architecture, Classifier, Config, Family, Head, Matrix, Positions, Skeleton, Spec};
use crate::checkpoint::Checkpoint;
use crate::engine::{Activation, NormKind};
use crate::error::LoadError;

pub(super) const FAMILY: Family = Family {
    name: "distilbert",
    model_types: &["distilbert"],
    summary: "post-norm encoder, learned positions",
    head: "masked LM, token and sequence classifiers",
    fresh: None,
    mark: None,
    read,
};

fn read(config: &Config, _: &Checkpoint) -> Result<Architecture, LoadError> {
    // The sines are in the table.
    config.pass_over(&["sinusoidal_pos_embds"]);
    config.only("chunk_size_feed_forward", &json!(0))?;
    let (d_model, n_heads) = (config.size_or("dim", 768)?, config.size_or("n_heads", 12)?);
    Ok(Architecture::Transformer(Spec {
        n_layers: config.size_or("n_layers", 6)?,
        d_model,
        n_heads,
        n_kv_heads: n_heads,
        d_head: config.divided("dim", "n_heads")?,
        d_mlp: config.size_or("hidden_dim", d_model.saturating_mul(4))?,
        d_vocab: config.size("vocab_size")?,
        n_ctx: config.size("max_position_embeddings")?,
        activation: config.activation("activation", "gelu")?,
        norm: NormKind::Layer { eps: 1e-12 },
        positions: Positions::Learned { table: "embeddings.position_embeddings.weight", first: 0 },
        prefixes: &["distilbert.", ""],
        token_embedding: "embeddings.word_embeddings.weight",
        embedding_norm: Some("embeddings.LayerNorm"),
        qkv: vec![
            Matrix::linear("transformer.layer.{}.attention.q_lin", true),
            Matrix::linear("transformer.layer.{}.attention.k_lin", true),
            Matrix::linear("transformer.layer.{}.attention.v_lin", true),
        ],
        attn_out: Matrix::linear("transformer.layer.{}.attention.out_lin", true),
        attn_norm: Some("transformer.layer.{}.sa_layer_norm"),
        mlp_in: Matrix::linear("transformer.layer.{}.ffn.lin1", true),
        mlp_out: Matrix::linear("transformer.layer.{}.ffn.lin2", true),
        mlp_norm: Some("transformer.layer.{}.output_layer_norm"),
        head: Head {
            transform: Some((Matrix::linear("vocab_transform", true), "vocab_layer_norm")),
            decoder: "vocab_projector.weight",
            tied: config.flag_or("tie_word_embeddings", true)?,
            bias: "vocab_projector.bias",
        },
        classifiers: vec![Classifier::sequence("pre_classifier", Activation::Relu, "classifier"), Classifier::TOKENS],
        ..Spec::plain(Skeleton::Encoder)
    }))
}
