//! ESM: a protein language model, a pre-norm encoder with rotary positions.

use serde_json::json;

use super::{Architecture, Classifier, Config, Family, Head, Matrix, Positions, Skeleton, Spec, positions};
use crate::checkpoint::Checkpoint;
use crate::engine::{Activation, NormKind, Pairs};
use crate::error::LoadError;

pub(super) const FAMILY: Family = Family {
    name: "esm",
    model_types: &["esm"],
    summary: "pre-norm encoder of amino acids, rotary or learned positions",
    head: "masked LM, token and sequence classifiers",
    fresh: None,
    mark: None,
    read,
};

/// The share of tokens that were masked in training: embeddings are scaled by what was left.
const MASKED: f32 = 0.12;

fn read(config: &Config, _: &Checkpoint) -> Result<Architecture, LoadError> {
    config.only("is_decoder", &json!(false))?;
    config.only("add_cross_attention", &json!(false))?;
    config.only("is_folding_model", &json!(false))?;
    let d_model = config.size("hidden_size")?;
    let (n_heads, d_head) = config.heads("num_attention_heads", "head_dim", d_model)?;
    let n_layers = config.layers("num_hidden_layers")?;
    let n_ctx = config.size("max_position_embeddings")?;
    let first = config.size_or("pad_token_id", 1)?.saturating_add(1);
    let (positions, n_ctx) = match config.text("position_embedding_type")?.as_str() {
        "rotary" => (positions::rotary(config, (d_head, d_head), Pairs::Halves, n_layers)?, n_ctx),
        "absolute" => {
            let table = "embeddings.position_embeddings.weight";
            (Positions::Learned { table, first }, n_ctx.saturating_sub(first))
        }
        other => return Err(config.wrong("position_embedding_type", "rotary or absolute", other)),
    };
    let drops = config.flag_or("token_dropout", false)?;
    let normed = config.flag_or("emb_layer_norm_before", false)?;
    Ok(Architecture::Transformer(Spec {
        n_layers,
        d_model,
        n_heads,
        n_kv_heads: n_heads,
        d_head,
        d_mlp: config.size("intermediate_size")?,
        d_vocab: config.size("vocab_size")?,
        n_ctx,
        activation: Activation::GeluErf,
        norm: NormKind::Layer { eps: config.number_or("layer_norm_eps", 1e-12)? as f32 },
        positions,
        prefixes: &["esm.", ""],
        token_embedding: "embeddings.word_embeddings.weight",
        embedding_norm: normed.then_some("embeddings.layer_norm"),
        embedding_scale: if drops { 1.0 - MASKED } else { 1.0 },
        dropped_token: if drops { config.tokens("mask_token_id").first().copied() } else { None },
        qkv: vec![
            Matrix::linear("encoder.layer.{}.attention.self.query", true),
            Matrix::linear("encoder.layer.{}.attention.self.key", true),
            Matrix::linear("encoder.layer.{}.attention.self.value", true),
        ],
        attn_out: Matrix::linear("encoder.layer.{}.attention.output.dense", true),
        attn_norm: Some("encoder.layer.{}.attention.LayerNorm"),
        mlp_in: Matrix::linear("encoder.layer.{}.intermediate.dense", true),
        mlp_out: Matrix::linear("encoder.layer.{}.output.dense", true),
        mlp_norm: Some("encoder.layer.{}.LayerNorm"),
        final_norm: Some("encoder.emb_layer_norm_after"),
        head: Head {
            transform: Some((Matrix::linear("lm_head.dense", true), "lm_head.layer_norm")),
            decoder: "lm_head.decoder.weight",
            tied: config.flag_or("tie_word_embeddings", true)?,
            bias: "lm_head.bias",
        },
        classifiers: vec![
            Classifier::sequence("classifier.dense", Activation::Tanh, "classifier.out_proj"),
            Classifier::TOKENS,
        ],
        ..Spec::plain(Skeleton::PreNormEncoder)
    }))
}
