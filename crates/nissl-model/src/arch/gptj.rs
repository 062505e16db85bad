//! GPT-J: attention and MLP of the same norm, rotations of neighboring columns of a part of each head.

use super::positions::rotary;
use super::{Architecture, Config, Family, Head, Matrix, Skeleton, Spec};
use crate::checkpoint::Checkpoint;
use crate::engine::{NormKind, Pairs};
use crate::error::LoadError;

pub(super) const FAMILY: Family = Family {
    name: "gptj",
    model_types: &["gptj"],
    summary: "attention beside the MLP, rotary positions of neighboring columns",
    head: "causal LM",
    fresh: None,
    mark: None,
    read,
};

fn read(config: &Config, _: &Checkpoint) -> Result<Architecture, LoadError> {
    // They are always so.
    config.pass_over(&["rotary", "scale_attn_weights"]);
    let (n_layers, d_model) = (config.layers("n_layer")?, config.size("n_embd")?);
    let (n_heads, d_head) = config.heads("n_head", "head_dim", d_model)?;
    let n_rotated = config.size_or("rotary_dim", d_head)?;
    Ok(Architecture::Transformer(Spec {
        n_layers,
        d_model,
        n_heads,
        n_kv_heads: n_heads,
        d_head,
        d_mlp: config.size_or("n_inner", d_model.saturating_mul(4))?,
        d_vocab: config.size("vocab_size")?,
        n_ctx: config.size("n_positions")?,
        activation: config.activation("activation_function", "gelu_new")?,
        norm: NormKind::Layer { eps: config.number_or("layer_norm_epsilon", 1e-5)? as f32 },
        positions: rotary(config, (n_rotated, d_head), Pairs::Neighbors, n_layers)?,
        prefixes: &["transformer.", ""],
        token_embedding: "wte.weight",
        qkv: vec![
            Matrix::linear("h.{}.attn.q_proj", false),
            Matrix::linear("h.{}.attn.k_proj", false),
            Matrix::linear("h.{}.attn.v_proj", false),
        ],
        parallel: true,
        attn_out: Matrix::linear("h.{}.attn.out_proj", false),
        attn_norm: Some("h.{}.ln_1"),
        mlp_in: Matrix::linear("h.{}.mlp.fc_in", true),
        mlp_out: Matrix::linear("h.{}.mlp.fc_out", true),
        final_norm: Some("ln_f"),
        head: Head {
            transform: None,
            decoder: "lm_head.weight",
            tied: config.flag_or("tie_word_embeddings", false)?,
            bias: "lm_head.bias",
        },
        ..Spec::plain(Skeleton::Decoder)
    }))
}
