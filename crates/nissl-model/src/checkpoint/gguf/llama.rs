//! Llama in GGUF: its settings as a config, its tensors by their names in the family.
//!
//! The file holds the rows of queries and keys for rotations of neighbors (0 with 1, 2 with 3); the family rotates the
//! first half of a head with the second. The rows are read in the family's order.

use serde_json::{Value as Json, json};

use super::{Family, Gguf, Rows};
use crate::error::LoadError;

pub(super) const FAMILY: Family = Family {
    architecture: "llama",
    config: |gguf| settings(gguf, "llama"),
    rename: |name| renamed(name, Rows::Paired),
};

/// The settings of Llama and its likes, as the config of the family of the same name.
pub(super) fn settings(gguf: &Gguf<'_>, family: &str) -> Result<Json, LoadError> {
    let full = |name: &str| format!("{family}.{name}");
    let size = |name: &str| gguf.size(&full(name));
    let needed = |name: &str| size(name)?.ok_or_else(|| gguf.wrong(&full(name), "a whole number", "nothing"));
    let only = |name: &str, allowed: usize, what: &str| match size(name)? {
        Some(n) if n != allowed => Err(gguf.wrong(&full(name), what, n)),
        _ => Ok(()),
    };
    let (d_model, n_heads) = (needed("embedding_length")?, needed("attention.head_count")?);
    if n_heads == 0 {
        return Err(gguf.wrong(&full("attention.head_count"), "at least 1", n_heads));
    }
    let d_head = size("attention.key_length")?.unwrap_or(d_model / n_heads);
    // What would compute something else is refused, not passed over.
    only("expert_count", 0, "no experts")?;
    only("attention.value_length", d_head, "as wide a head of values as of keys")?;
    only("rope.dimension_count", d_head, "rotations of whole heads")?;
    if let Some(kind) = gguf.text(&full("rope.scaling.type"))?.filter(|kind| *kind != "none") {
        return Err(gguf.wrong(&full("rope.scaling.type"), "none (unscaled positions only)", kind));
    }
    let has = |name: &str| gguf.entries.binary_search_by(|entry| entry.name.as_str().cmp(name)).is_ok();
    if has("rope_freqs.weight") {
        return Err(gguf.wrong("rope_freqs.weight", "no such tensor (unscaled positions only)", "one"));
    }
    let d_vocab = match size("vocab_size")? {
        Some(n) => n,
        None => match gguf.entries.iter().find(|entry| entry.name == "token_embd.weight") {
            Some(entry) => entry.shape.first().copied().unwrap_or(0),
            None => return Err(gguf.wrong(&full("vocab_size"), "a whole number", "nothing")),
        },
    };
    let eps_name = full("attention.layer_norm_rms_epsilon");
    let eps = gguf.number(&eps_name)?;
    Ok(json!({
        "model_type": family,
        "hidden_size": d_model,
        "num_attention_heads": n_heads,
        "num_key_value_heads": size("attention.head_count_kv")?.unwrap_or(n_heads),
        "head_dim": d_head,
        "num_hidden_layers": needed("block_count")?,
        "intermediate_size": needed("feed_forward_length")?,
        "max_position_embeddings": needed("context_length")?,
        "rms_norm_eps": eps.ok_or_else(|| gguf.wrong(&eps_name, "a number", "nothing"))?,
        "rope_theta": gguf.number(&full("rope.freq_base"))?.unwrap_or(10_000.0),
        "vocab_size": d_vocab,
        "eos_token_id": gguf.size("tokenizer.ggml.eos_token_id")?,
        "tie_word_embeddings": !has("output.weight"),
    }))
}

/// The parts of a block, and whether their rows are those of rotated heads.
const PARTS: &[(&str, &str, bool)] = &[
    ("attn_norm", "input_layernorm", false),
    ("attn_q", "self_attn.q_proj", true),
    ("attn_k", "self_attn.k_proj", true),
    ("attn_v", "self_attn.v_proj", false),
    ("attn_q_norm", "self_attn.q_norm", false),
    ("attn_k_norm", "self_attn.k_norm", false),
    ("attn_output", "self_attn.o_proj", false),
    ("ffn_norm", "post_attention_layernorm", false),
    ("ffn_gate", "mlp.gate_proj", false),
    ("ffn_up", "mlp.up_proj", false),
    ("ffn_down", "mlp.down_proj", false),
];

/// The family's name of a tensor, and how its rows lie, where rotated heads lie as `heads` says.
pub(super) fn renamed(name: &str, heads: Rows) -> Option<(String, Rows)> {
    let whole = match name {
        "token_embd.weight" => "model.embed_tokens.weight",
        "output_norm.weight" => "model.norm.weight",
        "output.weight" => "lm_head.weight",
        _ => {
            let (stem, kind) = name.strip_prefix("blk.")?.rsplit_once('.')?;
            let (layer, part) = stem.split_once('.')?;
            let (_, part, rotated) = PARTS.iter().find(|(known, ..)| *known == part)?;
            let rows = if *rotated { heads } else { Rows::Same };
            return Some((format!("model.layers.{layer}.{part}.{kind}"), rows));
        }
    };
    Some((whole.to_owned(), Rows::Same))
}
