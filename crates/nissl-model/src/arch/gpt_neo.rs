//! GPT-Neo: GPT-2 with unscaled attention that looks back over a window in every other layer.

use serde_json::Value;

use super::{Architecture, Config, Family, Head, Matrix, Positions, Skeleton, Spec};
use crate::checkpoint::Checkpoint;
use crate::engine::NormKind;
use crate::error::LoadError;

pub(super) const FAMILY: Family = Family {
    name: "gpt_neo",
    model_types: &["gpt_neo"],
    summary: "pre-norm decoder, learned positions, attention over a window in some layers",
    head: "causal LM",
    fresh: None,
    mark: None,
    read,
};

fn read(config: &Config, _: &Checkpoint) -> Result<Architecture, LoadError> {
    // What the list of layers spells out.
    config.pass_over(&["attention_types"]);
    let (n_layers, d_model) = (config.layers("num_layers")?, config.size("hidden_size")?);
    let (n_heads, d_head) = config.heads("num_heads", "head_dim", d_model)?;
    let window = config.size_or("window_size", 256)?;
    let kinds = match config.texts("attention_layers")? {
        Some(kinds) => kinds,
        None => repeated(config, n_layers)?,
    };
    let window_of = |kind: &String| match kind.as_str() {
        "global" => Ok(None),
        "local" => Ok(Some(window)),
        _ => Err(config.wrong("attention_layers", "global or local", kind)),
    };
    let windows = kinds.iter().map(window_of).collect::<Result<Vec<_>, _>>()?;
    if windows.len() != n_layers {
        return Err(config.wrong("attention_layers", format!("one for each of {n_layers} layers"), windows.len()));
    }
    Ok(Architecture::Transformer(Spec {
        n_layers,
        d_model,
        n_heads,
        n_kv_heads: n_heads,
        d_head,
        d_mlp: config.size_or("intermediate_size", d_model.saturating_mul(4))?,
        d_vocab: config.size("vocab_size")?,
        n_ctx: config.size("max_position_embeddings")?,
        activation: config.activation("activation_function", "gelu_new")?,
        norm: NormKind::Layer { eps: config.number_or("layer_norm_epsilon", 1e-5)? as f32 },
        positions: Positions::Learned { table: "wpe.weight", first: 0 },
        prefixes: &["transformer.", ""],
        token_embedding: "wte.weight",
        qkv: vec![
            Matrix::linear("h.{}.attn.attention.q_proj", false),
            Matrix::linear("h.{}.attn.attention.k_proj", false),
            Matrix::linear("h.{}.attn.attention.v_proj", false),
        ],
        score_scale: Some(1.0),
        windows,
        attn_out: Matrix::linear("h.{}.attn.attention.out_proj", true),
        attn_norm: Some("h.{}.ln_1"),
        mlp_in: Matrix::linear("h.{}.mlp.c_fc", true),
        mlp_out: Matrix::linear("h.{}.mlp.c_proj", true),
        mlp_norm: Some("h.{}.ln_2"),
        final_norm: Some("ln_f"),
        head: Head {
            transform: None,
            decoder: "lm_head.weight",
            tied: config.flag_or("tie_word_embeddings", true)?,
            bias: "lm_head.bias",
        },
        ..Spec::plain(Skeleton::Decoder)
    }))
}

/// The kinds of the layers by `attention_types`: lists of kinds, each with how often it is repeated.
fn repeated(config: &Config, n_layers: usize) -> Result<Vec<String>, LoadError> {
    let wrong = || config.wrong("attention_types", "lists of kinds and how often each is repeated", "something else");
    let mut kinds = Vec::new();
    for part in config.get("attention_types").and_then(Value::as_array).ok_or_else(wrong)? {
        let (list, times) = (part.get(0).and_then(Value::as_array), part.get(1).and_then(Value::as_u64));
        let (list, times) = list.zip(times).ok_or_else(wrong)?;
        let list: Vec<&str> = list.iter().map(|kind| kind.as_str().ok_or_else(wrong)).collect::<Result<_, _>>()?;
        // More than there are layers are wrong, however many.
        for _ in 0..times.min(n_layers as u64 + 1) {
            kinds.extend(list.iter().map(|kind| (*kind).to_owned()));
            if kinds.len() > n_layers {
                return Ok(kinds);
            }
        }
    }
    Ok(kinds)
}
