//! BERT: a post-norm encoder with learned positions and a masked-LM head.

use serde_json::{Value, json};

use super::{Architecture, Classifier, Config, Family, Spec, encoder};
use crate::checkpoint::Checkpoint;
use crate::engine::Activation;
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
    Ok(Architecture::Transformer(Spec {
        prefixes: &["bert.", ""],
        head: encoder::bert_head(config)?,
        classifiers: vec![
            Classifier::sequence("pooler.dense", Activation::Tanh, "classifier"),
            Classifier::sequence("pooler.dense", Activation::Tanh, "cls.seq_relationship"),
            Classifier::TOKENS,
        ],
        ..encoder::bert_like(config)?
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
