//! ELECTRA: BERT with narrower embeddings, as a generator (masked LM) or a discriminator of replaced tokens.

use super::{Architecture, Classifier, Config, Family, Head, Matrix, Spec, encoder};
use crate::checkpoint::Checkpoint;
use crate::engine::Activation;
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
    let spec = encoder::bert_like(config)?;
    let d_embed = config.size_or("embedding_size", 128)?;
    Ok(Architecture::Transformer(Spec {
        d_embed: Some(d_embed),
        prefixes: &["electra.", ""],
        embedding_projection: (d_embed != spec.d_model).then_some(Matrix::linear("embeddings_project", true)),
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
                dense: Some((Matrix::linear("discriminator_predictions.dense", true), spec.activation)),
                out: Matrix::linear("discriminator_predictions.dense_prediction", true),
                ..Classifier::TOKENS
            },
        ],
        ..spec
    }))
}
