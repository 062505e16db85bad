//! XLNet: a post-norm encoder that knows positions by the distance of key and query alone. It runs as it is fine-tuned
//! and used, on the content stream: permutations, the query stream and memories of earlier segments are of its training.
//!
//! Queries have the bias that they meet contents with (`r_w_bias`); where they meet positions, `r_r_bias` stands for it.

use serde_json::json;

use super::{
    AnswersAt, Architecture, Classifier, Config, Distances, Family, Head, Matrix, RelativeVectors, Skeleton, Spec,
};
use crate::checkpoint::Checkpoint;
use crate::engine::{Activation, NormKind};
use crate::error::LoadError;

pub(super) const FAMILY: Family = Family {
    name: "xlnet",
    model_types: &["xlnet"],
    summary: "post-norm encoder, attention to relative positions alone",
    head: "LM, token and sequence classifiers",
    fresh: None,
    mark: None,
    read,
};

/// Texts may have any length; so many tokens are read.
const N_CTX: usize = 2048;

fn read(config: &Config, _: &Checkpoint) -> Result<Architecture, LoadError> {
    config.only("attn_type", &json!("bi"))?;
    config.only("bi_data", &json!(false))?;
    config.only("untie_r", &json!(true))?;
    config.only("summary_use_proj", &json!(true))?;
    config.only("summary_proj_to_labels", &json!(false))?;
    config.only("summary_activation", &json!("tanh"))?;
    // What these say happens only where memories are given, or a mask of earlier tokens.
    config.pass_over(&[
        "mem_len",
        "reuse_len",
        "use_mems_eval",
        "use_mems_train",
        "same_length",
        "start_n_top",
        "end_n_top",
    ]);
    let d_model = config.size("d_model")?;
    let (n_heads, d_head) = config.heads("n_head", "d_head", d_model)?;
    let clamp = config.number_or("clamp_len", -1.0)?;
    let matrix = |name, bias| Matrix { name, transposed: true, bias };
    Ok(Architecture::Transformer(Spec {
        n_layers: config.layers("n_layer")?,
        d_model,
        n_heads,
        n_kv_heads: n_heads,
        d_head,
        d_mlp: config.size("d_inner")?,
        d_vocab: config.size("vocab_size")?,
        n_ctx: N_CTX,
        activation: config.activation("ff_activation", "gelu")?,
        norm: NormKind::Layer { eps: config.number_or("layer_norm_eps", 1e-12)? as f32 },
        prefixes: &["transformer.", ""],
        token_embedding: "word_embedding.weight",
        heads_apart: &[
            (".rel_attn.q", ".rel_attn.q.weight"),
            (".rel_attn.k", ".rel_attn.k.weight"),
            (".rel_attn.v", ".rel_attn.v.weight"),
            (".rel_attn.o", ".rel_attn.o.weight"),
            (".rel_attn.r", ".rel_attn.r.weight"),
            (".rel_attn.r_w_bias", ".rel_attn.q.bias"),
            (".rel_attn.r_r_bias", ".rel_attn.r_r_bias"),
        ],
        relative: Some(RelativeVectors {
            embedded: Distances::Waves { furthest: (clamp >= 1.0).then_some((clamp as usize).min(N_CTX)) },
            keys: Some(matrix("layer.{}.rel_attn.r", false)),
            queries: None,
            query_bias: Some("layer.{}.rel_attn.r_r_bias"),
        }),
        qkv: vec![
            matrix("layer.{}.rel_attn.q", true),
            matrix("layer.{}.rel_attn.k", false),
            matrix("layer.{}.rel_attn.v", false),
        ],
        attn_out: Matrix::linear("layer.{}.rel_attn.o", false),
        attn_norm: Some("layer.{}.rel_attn.layer_norm"),
        mlp_in: Matrix::linear("layer.{}.ff.layer_1", true),
        mlp_out: Matrix::linear("layer.{}.ff.layer_2", true),
        mlp_norm: Some("layer.{}.ff.layer_norm"),
        head: Head {
            transform: None,
            decoder: "lm_loss.weight",
            tied: config.flag_or("tie_word_embeddings", true)?,
            bias: "lm_loss.bias",
        },
        classifiers: vec![
            Classifier::sequence("sequence_summary.summary", Activation::Tanh, "logits_proj"),
            Classifier::TOKENS,
        ],
        answers_at: match config.text_or("summary_type", "last")?.as_str() {
            "last" => Some(AnswersAt::Last),
            "first" => Some(AnswersAt::First),
            other => return Err(config.wrong("summary_type", "last or first", other)),
        },
        ..Spec::plain(Skeleton::Encoder)
    }))
}
