//! T5, Flan-T5, mT5 and UMT5: an encoder and a decoder with norms before attention and MLP, no scale of attention
//! scores, and biases by distance in the place of positions, the first layer's in all of them; in UMT5 each has its own.

use serde_json::{Value, json};

use super::{
    Architecture, Config, Cross, DistanceBuckets, EncoderDecoder, Family, Head, Matrix, Positions, Skeleton, Spec,
};
use crate::checkpoint::Checkpoint;
use crate::engine::{Activation, NormKind};
use crate::error::LoadError;

pub(super) const FAMILY: Family = Family {
    name: "t5",
    model_types: &["t5", "mt5", "umt5"],
    summary: "pre-norm encoder and decoder with RMS norms and biases by distance",
    head: "LM of the target",
    fresh: None,
    mark: None,
    read,
};

/// Tokens of a source, or of a target: there is no bound but memory.
const N_CTX: usize = 1 << 16;

fn read(config: &Config, checkpoint: &Checkpoint) -> Result<Architecture, LoadError> {
    let (n_layers, d_model) = (config.layers("num_layers")?, config.size("d_model")?);
    let n_decoder_layers =
        if config.get("num_decoder_layers").is_some() { config.layers("num_decoder_layers")? } else { n_layers };
    let (n_heads, d_head) = config.heads("num_heads", "d_kv", d_model)?;
    let (activation, gated) = feed_forward(config)?;
    let inner = |of: [&'static str; 2], linear: &'static str| {
        (Matrix::linear(of[usize::from(gated)], false), gated.then(|| Matrix::linear(linear, false)))
    };
    let in_each_layer = config.text_or("model_type", "t5")? == "umt5";
    let buckets = |table: &'static str, both_ways: bool| -> Result<DistanceBuckets, LoadError> {
        let n_buckets = config.size_or("relative_attention_num_buckets", 32)?;
        let furthest = config.size_or("relative_attention_max_distance", 128)?;
        let least = if both_ways { 4 } else { 2 };
        if n_buckets < least || !n_buckets.is_multiple_of(least) || furthest <= n_buckets {
            let expected = format!("a multiple of 4, fewer than relative_attention_max_distance = {furthest}");
            return Err(config.wrong("relative_attention_num_buckets", expected, n_buckets));
        }
        Ok(DistanceBuckets { table, in_each_layer, n_buckets, furthest, both_ways })
    };
    let common = |skeleton| -> Result<Spec, LoadError> {
        Ok(Spec {
            d_model,
            n_heads,
            n_kv_heads: n_heads,
            d_head,
            d_mlp: config.size("d_ff")?,
            d_vocab: config.size("vocab_size")?,
            n_ctx: N_CTX,
            activation,
            norm: NormKind::Rms { eps: config.number_or("layer_norm_epsilon", 1e-6)? as f32 },
            positions: Positions::None,
            token_embedding: "shared.weight",
            score_scale: Some(1.0),
            ..Spec::plain(skeleton)
        })
    };
    let (mlp_in, mlp_linear) = inner(
        ["encoder.block.{}.layer.1.DenseReluDense.wi", "encoder.block.{}.layer.1.DenseReluDense.wi_0"],
        "encoder.block.{}.layer.1.DenseReluDense.wi_1",
    );
    let encoder = Spec {
        n_layers,
        distance_bias: Some(buckets("encoder.block.{}.layer.0.SelfAttention.relative_attention_bias.weight", true)?),
        qkv: vec![
            Matrix::linear("encoder.block.{}.layer.0.SelfAttention.q", false),
            Matrix::linear("encoder.block.{}.layer.0.SelfAttention.k", false),
            Matrix::linear("encoder.block.{}.layer.0.SelfAttention.v", false),
        ],
        attn_out: Matrix::linear("encoder.block.{}.layer.0.SelfAttention.o", false),
        attn_norm: Some("encoder.block.{}.layer.0.layer_norm"),
        mlp_in,
        mlp_linear,
        mlp_out: Matrix::linear("encoder.block.{}.layer.1.DenseReluDense.wo", false),
        mlp_norm: Some("encoder.block.{}.layer.1.layer_norm"),
        final_norm: Some("encoder.final_layer_norm"),
        ..common(Skeleton::PreNormEncoder)?
    };
    if checkpoint.contains("encoder.final_layer_norm.weight") && !checkpoint.contains("decoder.final_layer_norm.weight")
    {
        return Ok(Architecture::Transformer(encoder)); // the encoder alone, as sentence vectors are made with
    }
    let (mlp_in, mlp_linear) = inner(
        ["decoder.block.{}.layer.2.DenseReluDense.wi", "decoder.block.{}.layer.2.DenseReluDense.wi_0"],
        "decoder.block.{}.layer.2.DenseReluDense.wi_1",
    );
    let decoder = Spec {
        n_layers: n_decoder_layers,
        distance_bias: Some(buckets("decoder.block.{}.layer.0.SelfAttention.relative_attention_bias.weight", false)?),
        qkv: vec![
            Matrix::linear("decoder.block.{}.layer.0.SelfAttention.q", false),
            Matrix::linear("decoder.block.{}.layer.0.SelfAttention.k", false),
            Matrix::linear("decoder.block.{}.layer.0.SelfAttention.v", false),
        ],
        attn_out: Matrix::linear("decoder.block.{}.layer.0.SelfAttention.o", false),
        attn_norm: Some("decoder.block.{}.layer.0.layer_norm"),
        cross: Some(Cross {
            q: Matrix::linear("decoder.block.{}.layer.1.EncDecAttention.q", false),
            k: Matrix::linear("decoder.block.{}.layer.1.EncDecAttention.k", false),
            v: Matrix::linear("decoder.block.{}.layer.1.EncDecAttention.v", false),
            out: Matrix::linear("decoder.block.{}.layer.1.EncDecAttention.o", false),
            norm: "decoder.block.{}.layer.1.layer_norm",
        }),
        mlp_in,
        mlp_linear,
        mlp_out: Matrix::linear("decoder.block.{}.layer.2.DenseReluDense.wo", false),
        mlp_norm: Some("decoder.block.{}.layer.2.layer_norm"),
        final_norm: Some("decoder.final_layer_norm"),
        // A checkpoint without a matrix of its own for the head has the embeddings there, whatever its config says.
        head: Head { transform: None, decoder: "lm_head.weight", tied: true, bias: "" },
        logit_scale: scales_logits(config)?.then(|| 1.0 / (d_model as f32).sqrt()),
        ..common(Skeleton::Decoder)?
    };
    Ok(Architecture::EncoderDecoder(EncoderDecoder::new(encoder, decoder)))
}

/// The activation, and whether the MLP is gated.
fn feed_forward(config: &Config) -> Result<(Activation, bool), LoadError> {
    let usual = if config.text_or("model_type", "t5")? == "t5" { "relu" } else { "gated-gelu" };
    let kind = config.get("feed_forward_proj").and_then(Value::as_str).unwrap_or(usual);
    match kind {
        "relu" => Ok((Activation::Relu, false)),
        "gelu" => Ok((Activation::GeluErf, false)),
        "gated-gelu" => Ok((Activation::GeluTanh, true)),
        "gated-silu" => Ok((Activation::Silu, true)),
        "gated-relu" => Ok((Activation::Relu, true)),
        _ => Err(config.wrong("feed_forward_proj", "relu, gelu, gated-gelu, gated-relu or gated-silu", kind)),
    }
}

/// Whether logits are divided by the root of the width: in T5 as it was first, whose head is the embeddings.
fn scales_logits(config: &Config) -> Result<bool, LoadError> {
    if config.get("model_type") == Some(&json!("mt5")) {
        return Ok(false);
    }
    let tied = config.flag_or("tie_word_embeddings", true)?;
    config.flag_or("scale_decoder_outputs", tied)
}
