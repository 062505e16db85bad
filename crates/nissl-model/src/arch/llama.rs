//! Llama: a pre-norm decoder with RMS norms, rotary positions, shared key/value heads and a gated MLP.

use serde_json::{Value, json};

use super::positions::rope;
use super::{Architecture, Config, Family, Head, Matrix, Skeleton, Spec};
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

fn read(config: &Config, _: &Checkpoint) -> Result<Architecture, LoadError> {
    let mut spec = spec(config)?;
    if config.flag_or("attention_bias", false)? {
        spec.qkv.iter_mut().for_each(|part| part.bias = true);
        spec.attn_out.bias = true;
    }
    if config.flag_or("mlp_bias", false)? {
        [&mut spec.mlp_in, &mut spec.mlp_out].into_iter().chain(&mut spec.mlp_linear).for_each(|part| part.bias = true);
    }
    Ok(Architecture::Transformer(spec))
}

/// What Llama and its likes have in common: no biases, rotary positions in every layer.
pub(super) fn spec(config: &Config) -> Result<Spec, LoadError> {
    config.pass_over(&["is_llama_config"]);
    let (n_layers, d_model) = (config.layers("num_hidden_layers")?, config.size("hidden_size")?);
    let (n_heads, d_head) = config.heads("num_attention_heads", "head_dim", d_model)?;
    let rope = rope(config, d_head, 1.0)?;
    let n_ctx = config.size_or("max_position_embeddings", 2048)?;
    Ok(Spec {
        n_layers,
        d_model,
        n_heads,
        n_kv_heads: config.size_or("num_key_value_heads", n_heads)?,
        d_head,
        d_mlp: config.size("intermediate_size")?,
        d_vocab: config.size("vocab_size")?,
        n_ctx: rope.n_ctx.map_or(n_ctx, |most| n_ctx.min(most)),
        activation: config.activation("hidden_act", "silu")?,
        norm: NormKind::Rms { eps: config.number_or("rms_norm_eps", 1e-6)? as f32 },
        positions: rope.everywhere(n_layers),
        prefixes: &["model.", ""],
        token_embedding: "embed_tokens.weight",
        qkv: vec![
            Matrix::linear("layers.{}.self_attn.q_proj", false),
            Matrix::linear("layers.{}.self_attn.k_proj", false),
            Matrix::linear("layers.{}.self_attn.v_proj", false),
        ],
        attn_out: Matrix::linear("layers.{}.self_attn.o_proj", false),
        attn_norm: Some("layers.{}.input_layernorm"),
        mlp_in: Matrix::linear("layers.{}.mlp.gate_proj", false),
        mlp_linear: Some(Matrix::linear("layers.{}.mlp.up_proj", false)),
        mlp_out: Matrix::linear("layers.{}.mlp.down_proj", false),
        mlp_norm: Some("layers.{}.post_attention_layernorm"),
        final_norm: Some("norm"),
        head: Head {
            transform: None,
            decoder: "lm_head.weight",
            tied: config.flag_or("tie_word_embeddings", false)?,
            bias: "lm_head.bias",
        },
        ..Spec::plain(Skeleton::Decoder)
    })
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
