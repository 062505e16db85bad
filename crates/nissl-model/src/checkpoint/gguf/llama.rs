//! Llama in GGUF: its settings as a config, its tensors by their names in the family.
//!
//! The file holds the rows of queries and keys for rotations of neighbors (0 with 1, 2 with 3); the family rotates the
//! first half of a head with the second. The rows are read in the family's order.

use serde_json::{Value as Json, json};

use super::{Family, Gguf, Rows};
use crate::error::LoadError;

pub(super) const FAMILY: Family = Family { architecture: "llama", config, rename };

fn config(gguf: &Gguf<'_>) -> Result<Json, LoadError> {
    let needed = |name: &str| {
        let name = format!("llama.{name}");
        gguf.size(&name)?.ok_or_else(|| gguf.wrong(&name, "a whole number", "nothing"))
    };
    let only = |name: &str, allowed: usize, what: &str| match gguf.size(name)? {
        Some(n) if n != allowed => Err(gguf.wrong(name, what, n)),
        _ => Ok(()),
    };
    let (d_model, n_heads) = (needed("embedding_length")?, needed("attention.head_count")?);
    if n_heads == 0 {
        return Err(gguf.wrong("llama.attention.head_count", "at least 1", n_heads));
    }
    let d_head = gguf.size("llama.attention.key_length")?.unwrap_or(d_model / n_heads);
    // What would compute something else is refused, not passed over.
    only("llama.expert_count", 0, "no experts")?;
    only("llama.attention.value_length", d_head, "as wide a head of values as of keys")?;
    only("llama.rope.dimension_count", d_head, "rotations of whole heads")?;
    if let Some(kind) = gguf.text("llama.rope.scaling.type")?.filter(|kind| *kind != "none") {
        return Err(gguf.wrong("llama.rope.scaling.type", "none (unscaled positions only)", kind));
    }
    let has = |name: &str| gguf.entries.binary_search_by(|entry| entry.name.as_str().cmp(name)).is_ok();
    if has("rope_freqs.weight") {
        return Err(gguf.wrong("rope_freqs.weight", "no such tensor (unscaled positions only)", "one"));
    }
    let d_vocab = match gguf.size("llama.vocab_size")? {
        Some(n) => n,
        None => match gguf.entries.iter().find(|entry| entry.name == "token_embd.weight") {
            Some(entry) => entry.shape.first().copied().unwrap_or(0),
            None => return Err(gguf.wrong("llama.vocab_size", "a whole number", "nothing")),
        },
    };
    let eps = gguf.number("llama.attention.layer_norm_rms_epsilon")?;
    Ok(json!({
        "model_type": "llama",
        "hidden_size": d_model,
        "num_attention_heads": n_heads,
        "num_key_value_heads": gguf.size("llama.attention.head_count_kv")?.unwrap_or(n_heads),
        "head_dim": d_head,
        "num_hidden_layers": needed("block_count")?,
        "intermediate_size": needed("feed_forward_length")?,
        "max_position_embeddings": needed("context_length")?,
        "rms_norm_eps": eps.ok_or_else(|| gguf.wrong("llama.attention.layer_norm_rms_epsilon", "a number", "nothing"))?,
        "rope_theta": gguf.number("llama.rope.freq_base")?.unwrap_or(10_000.0),
        "vocab_size": d_vocab,
        "eos_token_id": gguf.size("tokenizer.ggml.eos_token_id")?,
        "tie_word_embeddings": !has("output.weight"),
    }))
}

/// The parts of a block.
const PARTS: &[(&str, &str, Rows)] = &[
    ("attn_norm", "input_layernorm", Rows::Same),
    ("attn_q", "self_attn.q_proj", Rows::Paired),
    ("attn_k", "self_attn.k_proj", Rows::Paired),
    ("attn_v", "self_attn.v_proj", Rows::Same),
    ("attn_output", "self_attn.o_proj", Rows::Same),
    ("ffn_norm", "post_attention_layernorm", Rows::Same),
    ("ffn_gate", "mlp.gate_proj", Rows::Same),
    ("ffn_up", "mlp.up_proj", Rows::Same),
    ("ffn_down", "mlp.down_proj", Rows::Same),
];

fn rename(name: &str) -> Option<(String, Rows)> {
    let whole = match name {
        "token_embd.weight" => "model.embed_tokens.weight",
        "output_norm.weight" => "model.norm.weight",
        "output.weight" => "lm_head.weight",
        _ => {
            let (layer, part) = name.strip_prefix("blk.")?.strip_suffix(".weight")?.split_once('.')?;
            let (_, part, rows) = PARTS.iter().find(|(known, ..)| *known == part)?;
            return Some((format!("model.layers.{layer}.{part}.weight"), *rows));
        }
    };
    Some((whole.to_owned(), Rows::Same))
}
