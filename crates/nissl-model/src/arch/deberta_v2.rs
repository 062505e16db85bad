//! DeBERTa v2 and v3: BERT whose attention weighs contents and relative positions apart.

use serde_json::json;

use super::{
    Architecture, Classifier, Config, Distances, Family, Head, Matrix, Positions, RelativeVectors, Spec, encoder,
};
use crate::checkpoint::Checkpoint;
use crate::engine::NormKind;
use crate::error::LoadError;

pub(super) const FAMILY: Family = Family {
    name: "deberta-v2",
    model_types: &["deberta-v2"],
    summary: "post-norm encoder, attention to relative positions apart from contents",
    head: "masked LM, token and sequence classifiers",
    fresh: None,
    mark: None,
    read,
};

fn read(config: &Config, checkpoint: &Checkpoint) -> Result<Architecture, LoadError> {
    config.only("conv_kernel_size", &json!(0))?;
    // Of the convolution.
    config.pass_over(&["conv_act", "conv_groups"]);
    let spec = encoder::bert_like(config)?;
    config.only("embedding_size", &json!(spec.d_model))?;
    config.only("pooler_hidden_size", &json!(spec.d_model))?;
    let (_, d_head) = config.heads("num_attention_heads", "attention_head_size", spec.d_model)?;
    let kinds = match config.texts("pos_att_type") {
        Ok(kinds) => kinds.unwrap_or_default(),
        Err(_) => config.text("pos_att_type")?.split('|').map(|kind| kind.trim().to_lowercase()).collect(),
    };
    if let Some(unknown) = kinds.iter().find(|kind| !["c2p", "p2c"].contains(&kind.as_str())) {
        return Err(config.wrong("pos_att_type", "c2p and p2c", unknown));
    }
    let has = |kind: &str| kinds.iter().any(|known| known == kind);
    let n_terms = 1 + usize::from(has("c2p")) + usize::from(has("p2c"));
    let shared = config.flag_or("share_att_key", false)?;
    let of = |kind, own, shared_with| has(kind).then(|| Matrix::linear(if shared { shared_with } else { own }, true));
    let relative = RelativeVectors {
        embedded: distances(config, spec.n_ctx)?,
        keys: of("c2p", "encoder.layer.{}.attention.self.pos_key_proj", "encoder.layer.{}.attention.self.key_proj"),
        queries: of(
            "p2c",
            "encoder.layer.{}.attention.self.pos_query_proj",
            "encoder.layer.{}.attention.self.query_proj",
        ),
        query_bias: None,
    };
    let is_relative = config.flag_or("relative_attention", false)? && n_terms > 1;
    let typed = config.size_or("type_vocab_size", 0)? > 0;
    let learned = config.flag_or("position_biased_input", true)?;
    let pooled = config.activation("pooler_hidden_act", "gelu")?;
    Ok(Architecture::Transformer(Spec {
        d_head,
        norm: NormKind::Layer { eps: config.number_or("layer_norm_eps", 1e-7)? as f32 },
        positions: if learned { encoder::positions_from(0) } else { Positions::None },
        prefixes: &["deberta.", ""],
        type_embedding: spec.type_embedding.filter(|_| typed),
        score_scale: Some(1.0 / (d_head.saturating_mul(n_terms) as f32).sqrt()),
        relative: is_relative.then_some(relative),
        qkv: vec![
            Matrix::linear("encoder.layer.{}.attention.self.query_proj", true),
            Matrix::linear("encoder.layer.{}.attention.self.key_proj", true),
            Matrix::linear("encoder.layer.{}.attention.self.value_proj", true),
        ],
        head: head(config, checkpoint)?,
        classifiers: vec![Classifier::sequence("pooler.dense", pooled, "classifier"), Classifier::TOKENS],
        ..spec
    }))
}

/// The table of relative positions.
fn distances(config: &Config, n_ctx: usize) -> Result<Distances, LoadError> {
    // -1 where it is not said.
    let said = |field: &str| config.number_or(field, -1.0).map(|n| if n < 1.0 { None } else { Some(n as usize) });
    let furthest = said("max_relative_positions")?.unwrap_or(n_ctx);
    let buckets = said("position_buckets")?;
    let normed = match config.text_or("norm_rel_ebd", "none")?.as_str() {
        "layer_norm" => true,
        "none" => false,
        other => return Err(config.wrong("norm_rel_ebd", "layer_norm or none", other)),
    };
    Ok(Distances::Table {
        name: "encoder.rel_embeddings.weight",
        norm: normed.then_some("encoder.LayerNorm"),
        span: buckets.unwrap_or(furthest),
        furthest: buckets.map(|_| furthest),
    })
}

/// BERT's head, or the one that the models were trained with, whichever the checkpoint has.
fn head(config: &Config, checkpoint: &Checkpoint) -> Result<Head, LoadError> {
    let legacy = config.flag_or("legacy", true)?;
    let bert = encoder::bert_head(config)?;
    if legacy && !checkpoint.contains("lm_predictions.lm_head.dense.weight") {
        return Ok(bert);
    }
    Ok(Head {
        transform: Some((Matrix::linear("lm_predictions.lm_head.dense", true), "lm_predictions.lm_head.LayerNorm")),
        bias: "lm_predictions.lm_head.bias",
        // No matrix of its own, whatever the checkpoint holds.
        decoder: "",
        tied: true,
    })
}
