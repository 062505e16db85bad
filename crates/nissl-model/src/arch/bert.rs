//! BERT: a post-norm encoder with learned positions and a masked-LM head.

use serde_json::{Value, json};

use super::{Architecture, Classifier, Config, Family, Head, Matrix, Positions, Skeleton, Spec};
use crate::checkpoint::Checkpoint;
use crate::engine::{Activation, NormKind};
use crate::error::LoadError;
use crate::training::Sizes;

pub(super) const FAMILY: Family = Family {
    name: "bert",
    model_types: &["bert"],
    summary: "post-norm encoder, learned positions",
    head: "masked LM, token and sequence classifiers",
    fresh: Some(fresh),
    mark: None,
    read,
};

fn read(config: &Config, _: &Checkpoint) -> Result<Architecture, LoadError> {
    config.only("position_embedding_type", &json!("absolute"))?;
    config.only("is_decoder", &json!(false))?;
    config.only("add_cross_attention", &json!(false))?;
    let (d_model, n_heads) = (config.size("hidden_size")?, config.size("num_attention_heads")?);
    Ok(Architecture::Transformer(Spec {
        n_layers: config.size("num_hidden_layers")?,
        d_model,
        n_heads,
        n_kv_heads: n_heads,
        d_head: config.divided("hidden_size", "num_attention_heads")?,
        d_mlp: config.size("intermediate_size")?,
        d_vocab: config.size("vocab_size")?,
        n_ctx: config.size("max_position_embeddings")?,
        activation: config.activation("hidden_act", "gelu")?,
        norm: NormKind::Layer { eps: config.number_or("layer_norm_eps", 1e-12)? as f32 },
        positions: Positions::Learned { table: "embeddings.position_embeddings.weight", first: 0 },
        prefixes: &["bert.", ""],
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
            transform: Some((
                Matrix::linear("cls.predictions.transform.dense", true),
                "cls.predictions.transform.LayerNorm",
            )),
            decoder: "cls.predictions.decoder.weight",
            tied: config.flag_or("tie_word_embeddings", true)?,
            bias: "cls.predictions.bias",
        },
        classifiers: vec![
            Classifier::sequence("pooler.dense", Activation::Tanh, "classifier"),
            Classifier::sequence("pooler.dense", Activation::Tanh, "cls.seq_relationship"),
            Classifier::TOKENS,
        ],
        ..Spec::plain(Skeleton::Encoder)
    }))
}

/// A new model's config.
fn fresh(sizes: &Sizes, d_vocab: usize) -> Value {
    json!({
        "model_type": "bert",
        "architectures": ["BertForMaskedLM"],
        "num_hidden_layers": sizes.n_layers,
        "hidden_size": sizes.d_model,
        "num_attention_heads": sizes.n_heads,
        "intermediate_size": sizes.d_mlp(),
        "max_position_embeddings": sizes.n_ctx,
        "type_vocab_size": 2,
        "vocab_size": d_vocab,
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-12,
        "tie_word_embeddings": true,
        "attention_probs_dropout_prob": 0.0,
        "hidden_dropout_prob": 0.0,
        "pad_token_id": 0,
        "torch_dtype": "float32",
    })
}
