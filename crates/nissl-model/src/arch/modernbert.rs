//! ModernBERT: a pre-norm encoder with rotary positions, a gated MLP, and layers that see their neighborhood alone.

use serde_json::json;

use super::{Architecture, Classifier, Config, Family, Head, HeadKind, Matrix, Positions, Skeleton, Spec, positions};
use crate::checkpoint::Checkpoint;
use crate::engine::NormKind;
use crate::error::LoadError;

pub(super) const FAMILY: Family = Family {
    name: "modernbert",
    model_types: &["modernbert"],
    summary: "pre-norm encoder, rotary positions, gated MLP, local and global layers",
    head: "masked LM, token and sequence classifiers",
    fresh: None,
    mark: None,
    read,
};

fn read(config: &Config, _: &Checkpoint) -> Result<Architecture, LoadError> {
    config.only("classifier_pooling", &json!("cls"))?;
    // How it is trained and computed; the checkpoint has a bias or none.
    config.pass_over(&[
        "decoder_bias",
        "deterministic_flash_attn",
        "layer_norm_eps",
        "position_embedding_type",
        "reference_compile",
        "repad_logits_with_grad",
        "sparse_pred_ignore_index",
        "sparse_prediction",
    ]);
    let d_model = config.size("hidden_size")?;
    let (n_heads, d_head) = config.heads("num_attention_heads", "head_dim", d_model)?;
    let n_layers = config.layers("num_hidden_layers")?;
    let every = config.size_or("global_attn_every_n_layers", 3)?.max(1);
    let local: Vec<bool> = match config.texts("layer_types")? {
        Some(types) => types.iter().map(|kind| kind == "sliding_attention").collect(),
        None => (0..n_layers).map(|layer| layer % every != 0).collect(),
    };
    if local.len() != n_layers {
        return Err(config.wrong("layer_types", format!("{n_layers} of them"), local.len()));
    }
    let groups = config.group("rope_parameters")?;
    let rotation = |kind: &str, field: &str, theta: f64| {
        let group = groups.as_ref().map(|groups| groups.group(kind)).transpose()?.flatten();
        let theta = config.number_or(field, theta)?;
        Ok(positions::rope_of(config, group.as_ref(), d_head, (theta, 1.0))?.rotation)
    };
    let (near, far) = (
        rotation("sliding_attention", "local_rope_theta", 10_000.0)?,
        rotation("full_attention", "global_rope_theta", 160_000.0)?,
    );
    // Half of the tokens that are seen stand before, half behind; and the token itself.
    let window = config.size_or("local_attention", 128)? / 2 + 1;
    let bias = config.flag_or("attention_bias", false)?;
    let mlp_bias = config.flag_or("mlp_bias", false)?;
    let dense = Matrix::linear("head.dense", config.flag_or("classifier_bias", false)?);
    let activation = config.activation("classifier_activation", "gelu")?;
    let classifier = Classifier { dense: Some((dense, activation)), norm: Some("head.norm"), ..Classifier::TOKENS };
    Ok(Architecture::Transformer(Spec {
        n_layers,
        d_model,
        n_heads,
        n_kv_heads: n_heads,
        d_head,
        d_mlp: config.size("intermediate_size")?,
        d_vocab: config.size("vocab_size")?,
        n_ctx: config.size("max_position_embeddings")?,
        activation: config.activation("hidden_activation", "gelu")?,
        norm: NormKind::Layer { eps: config.number_or("norm_eps", 1e-5)? as f32 },
        positions: Positions::Rotary(
            local.iter().map(|&local| Some(if local { near.clone() } else { far.clone() })).collect(),
        ),
        windows: local.iter().map(|local| local.then_some(window)).collect(),
        prefixes: &["model.", ""],
        token_embedding: "embeddings.tok_embeddings.weight",
        embedding_norm: Some("embeddings.norm"),
        qkv: vec![Matrix::linear("layers.{}.attn.Wqkv", bias)],
        attn_out: Matrix::linear("layers.{}.attn.Wo", bias),
        attn_norm: Some("layers.{}.attn_norm"),
        first_attn_norm: false,
        mlp_in: Matrix::linear("layers.{}.mlp.Wi", mlp_bias),
        mlp_joint: true,
        mlp_out: Matrix::linear("layers.{}.mlp.Wo", mlp_bias),
        mlp_norm: Some("layers.{}.mlp_norm"),
        final_norm: Some("final_norm"),
        head: Head {
            transform: Some((dense, "head.norm")),
            decoder: "decoder.weight",
            tied: config.flag_or("tie_word_embeddings", true)?,
            bias: "decoder.bias",
        },
        head_activation: Some(activation),
        classifiers: vec![Classifier { kind: HeadKind::SequenceClassifier, ..classifier }, classifier],
        ..Spec::plain(Skeleton::PreNormEncoder)
    }))
}
