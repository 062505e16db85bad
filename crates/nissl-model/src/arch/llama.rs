//! Llama: a pre-norm decoder with RMS norms, rotary positions, shared key/value heads and a gated MLP.

use serde_json::{Value, json};

use super::{Architecture, Config, Family, Head, Matrix, Positions, Skeleton, Spec};
use crate::checkpoint::Checkpoint;
use crate::engine::NormKind;
use crate::error::LoadError;
use crate::training::Sizes;

pub(super) const FAMILY: Family = Family {
    name: "llama",
    model_types: &["llama"],
    summary: "pre-norm decoder, RMS norms, rotary positions, grouped key/value heads, gated MLP",
    head: "causal LM",
    fresh: Some(fresh),
    mark: None,
    read,
};

/// The widest head whose rotary frequencies are computed.
const MAX_D_HEAD: usize = 1 << 16;

fn read(config: &Config, _: &Checkpoint) -> Result<Architecture, LoadError> {
    config.only("attention_bias", &json!(false))?;
    config.only("mlp_bias", &json!(false))?;
    let (d_model, n_heads) = (config.size("hidden_size")?, config.size("num_attention_heads")?);
    if n_heads == 0 {
        return Err(config.wrong("num_attention_heads", "at least 1", n_heads));
    }
    let d_head = config.size_or("head_dim", d_model / n_heads)?;
    if !d_head.is_multiple_of(2) || d_head > MAX_D_HEAD {
        let expected = format!("an even number up to {MAX_D_HEAD}, for rotary positions");
        return Err(config.wrong("head_dim", expected, d_head));
    }
    Ok(Architecture::Transformer(Spec {
        n_layers: config.size("num_hidden_layers")?,
        d_model,
        n_heads,
        n_kv_heads: config.size_or("num_key_value_heads", n_heads)?,
        d_head,
        d_mlp: config.size("intermediate_size")?,
        d_vocab: config.size("vocab_size")?,
        n_ctx: config.size_or("max_position_embeddings", 2048)?,
        activation: config.activation("hidden_act", "silu")?,
        norm: NormKind::Rms { eps: config.number_or("rms_norm_eps", 1e-6)? as f32 },
        positions: Positions::Rotary(frequencies(rope_theta(config)?, d_head)),
        prefixes: &["model.", ""],
        token_embedding: "embed_tokens.weight",
        qkv: vec![
            Matrix::linear("layers.{}.self_attn.q_proj", false),
            Matrix::linear("layers.{}.self_attn.k_proj", false),
            Matrix::linear("layers.{}.self_attn.v_proj", false),
        ],
        attn_out: Matrix::linear("layers.{}.self_attn.o_proj", false),
        attn_norm: "layers.{}.input_layernorm",
        mlp_in: Matrix::linear("layers.{}.mlp.gate_proj", false),
        mlp_linear: Some(Matrix::linear("layers.{}.mlp.up_proj", false)),
        mlp_out: Matrix::linear("layers.{}.mlp.down_proj", false),
        mlp_norm: "layers.{}.post_attention_layernorm",
        final_norm: Some("norm"),
        head: Head {
            transform: None,
            decoder: "lm_head.weight",
            tied: config.flag_or("tie_word_embeddings", false)?,
            bias: "lm_head.bias",
        },
        ..Spec::plain(Skeleton::Decoder)
    }))
}

/// The base of the rotary frequencies, from the old field or the newer group; scaled variants are refused.
fn rope_theta(config: &Config) -> Result<f64, LoadError> {
    let mut theta = config.number_or("rope_theta", 10_000.0)?;
    for field in ["rope_scaling", "rope_parameters"] {
        let Some(group) = config.group(field)? else { continue };
        group.only("rope_type", &json!("default"))?;
        group.only("type", &json!("default"))?;
        theta = group.number_or("rope_theta", theta)?;
        if let Some(unknown) = group.names().find(|name| !["rope_type", "type", "rope_theta"].contains(name)) {
            return Err(group.wrong(&format!("{field}.{unknown}"), "no such field (unscaled positions only)", "one"));
        }
    }
    if theta > 0.0 && theta.is_finite() {
        Ok(theta)
    } else {
        Err(config.wrong("rope_theta", "a number above 0", theta))
    }
}

/// 1 / theta^(2 i / d_head) in f32, as the reference computes it.
fn frequencies(theta: f64, d_head: usize) -> Vec<f32> {
    let exponent = |i: usize| (2 * i) as f32 / d_head as f32;
    (0..d_head / 2).map(|i| 1.0 / (theta as f32).powf(exponent(i))).collect()
}

/// A new model's config.
fn fresh(sizes: &Sizes, d_vocab: usize) -> Value {
    json!({
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "num_hidden_layers": sizes.n_layers,
        "hidden_size": sizes.d_model,
        "num_attention_heads": sizes.n_heads,
        "num_key_value_heads": sizes.n_heads,
        "intermediate_size": sizes.d_mlp(),
        "max_position_embeddings": sizes.n_ctx,
        "vocab_size": d_vocab,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-5,
        "rope_theta": 10_000.0,
        "tie_word_embeddings": true,
        "bos_token_id": 0,
        "eos_token_id": 0,
        "torch_dtype": "float32",
    })
}
