//! ESM: a protein language model, a pre-norm encoder with rotary positions.

use serde_json::json;

use super::{Architecture, Blank, Config, Family, Skeleton, Spec, encoder, positions};
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
    encoder::refuse_decoder(config)?;
    config.only("is_folding_model", &json!(false))?;
    // Said of models without rotations too.
    config.pass_over(&["rope_theta", "rope_parameters"]);
    let d_model = config.size("hidden_size")?;
    let (n_heads, d_head) = config.heads("num_attention_heads", "head_dim", d_model)?;
    let n_layers = config.layers("num_hidden_layers")?;
    let n_ctx = config.size("max_position_embeddings")?;
    let first = config.size_or("pad_token_id", 1)?.saturating_add(1);
    let (positions, n_ctx) = match config.text_or("position_embedding_type", "absolute")?.as_str() {
        "rotary" => (positions::rotary(config, (d_head, d_head), Pairs::Halves, n_layers)?, n_ctx),
        "absolute" => (encoder::positions_from(first), n_ctx.saturating_sub(first)),
        other => return Err(config.wrong("position_embedding_type", "rotary or absolute", other)),
    };
    let drops = config.flag_or("token_dropout", false)?;
    let normed = config.flag_or("emb_layer_norm_before", false)?;
    let spec = Spec {
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
        type_embedding: None,
        embedding_norm: normed.then_some("embeddings.layer_norm"),
        embedding_scale: if drops { 1.0 - MASKED } else { 1.0 },
        blank: if drops { config.tokens("mask_token_id").first().copied().map(Blank::Token) } else { None },
        attn_norm: Some("encoder.layer.{}.attention.LayerNorm"),
        mlp_norm: Some("encoder.layer.{}.LayerNorm"),
        final_norm: Some("encoder.emb_layer_norm_after"),
        ..encoder::named(Skeleton::PreNormEncoder)
    };
    Ok(Architecture::Transformer(encoder::with_roberta_heads(spec, config)?))
}
