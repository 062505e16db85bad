//! GPT-2: a pre-norm decoder with learned positions; its matrices are stored input first.

use serde_json::{Value, json};

use super::{Architecture, Config, Family, Head, Matrix, Positions, Skeleton, Spec};
use crate::checkpoint::Checkpoint;
use crate::engine::NormKind;
use crate::error::LoadError;
use crate::training::Sizes;

pub(super) const FAMILY: Family = Family {
    name: "gpt2",
    model_types: &["gpt2"],
    summary: "pre-norm decoder, learned positions",
    head: "causal LM",
    fresh: Some(fresh),
    mark: None,
    read,
};

/// `[n_in, n_out]`, as the original's one-wide convolutions store it.
const fn convolution(name: &'static str) -> Matrix {
    Matrix { name, transposed: true, bias: true }
}

fn read(config: &Config, _: &Checkpoint) -> Result<Architecture, LoadError> {
    // Another name of n_positions, and the order of the same operations.
    config.pass_over(&["n_ctx", "reorder_and_upcast_attn"]);
    config.only("scale_attn_weights", &json!(true))?;
    config.only("scale_attn_by_inverse_layer_idx", &json!(false))?;
    config.only("add_cross_attention", &json!(false))?;
    let (d_model, n_heads) = (config.size("n_embd")?, config.size("n_head")?);
    Ok(Architecture::Transformer(Spec {
        n_layers: config.size("n_layer")?,
        d_model,
        n_heads,
        n_kv_heads: n_heads,
        d_head: config.divided("n_embd", "n_head")?,
        d_mlp: config.size_or("n_inner", d_model.saturating_mul(4))?,
        d_vocab: config.size("vocab_size")?,
        n_ctx: config.size("n_positions")?,
        activation: config.activation("activation_function", "gelu_new")?,
        norm: NormKind::Layer { eps: config.number_or("layer_norm_epsilon", 1e-5)? as f32 },
        positions: Positions::Learned { table: "wpe.weight", first: 0 },
        prefixes: &["transformer.", ""],
        token_embedding: "wte.weight",
        qkv: vec![convolution("h.{}.attn.c_attn")],
        attn_out: convolution("h.{}.attn.c_proj"),
        attn_norm: Some("h.{}.ln_1"),
        mlp_in: convolution("h.{}.mlp.c_fc"),
        mlp_out: convolution("h.{}.mlp.c_proj"),
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

/// A new model's config.
fn fresh(sizes: &Sizes, d_vocab: usize) -> Value {
    json!({
        "model_type": "gpt2",
        "architectures": ["GPT2LMHeadModel"],
        "n_layer": sizes.n_layers,
        "n_embd": sizes.d_model,
        "n_head": sizes.n_heads,
        "n_inner": sizes.d_mlp(),
        "n_positions": sizes.n_ctx,
        "vocab_size": d_vocab,
        "activation_function": "gelu_new",
        "layer_norm_epsilon": 1e-5,
        "tie_word_embeddings": true,
        "attn_pdrop": 0.0,
        "embd_pdrop": 0.0,
        "resid_pdrop": 0.0,
        "bos_token_id": 0,
        "eos_token_id": 0,
        "torch_dtype": "float32",
    })
}
