//! Marian as its own files have it: norms after each sum, sines as positions, and a decoder with an SSRU or attention.
//!
//! Weights are called as `checkpoint/marian.rs` calls them, matrices lie `[n_in, n_out]`. A target begins with an
//! embedding of zeros. Files that were made to be fast round activations to 8 bits and choose among few tokens by a
//! list of their own; neither is done here.

use serde_json::{Value, json};

use super::{
    Architecture, Blank, Config, Cross, EncoderDecoder, Family, Head, Matrix, Positions, Skeleton, Spec, Ssru,
};
use crate::checkpoint::Checkpoint;
use crate::checkpoint::marian::MODEL_TYPE;
use crate::engine::{Activation, NormKind};
use crate::error::LoadError;

pub(super) const FAMILY: Family = Family {
    name: "marian-nmt",
    model_types: &[MODEL_TYPE],
    summary: "Marian's own files: post-norm encoder and decoder with sines, the decoder with an SSRU or attention",
    head: "LM of the target",
    fresh: None,
    mark: None,
    read,
};

/// Tokens of a text at most: no file says, and sines have no end.
const N_CTX: usize = 1024;

/// `[n_in, n_out]`, with a bias.
const fn matrix(name: &'static str) -> Matrix {
    Matrix { name, transposed: true, bias: true }
}

fn read(config: &Config, _: &Checkpoint) -> Result<Architecture, LoadError> {
    check(config)?;
    let d_model = config.size("dim-emb")?;
    if d_model < 4 || !d_model.is_multiple_of(2) {
        return Err(config.wrong("dim-emb", "an even number of 4 or more", d_model));
    }
    let (n_heads, d_head) = config.heads("transformer-heads", "transformer-dim-head", d_model)?;
    let common = |skeleton| -> Result<Spec, LoadError> {
        Ok(Spec {
            d_model,
            n_heads,
            n_kv_heads: n_heads,
            d_head,
            d_mlp: config.size("transformer-dim-ffn")?,
            d_vocab: vocabulary(config)?,
            n_ctx: N_CTX,
            activation: match config.text_or("transformer-ffn-activation", "swish")?.as_str() {
                "relu" => Activation::Relu,
                "swish" => Activation::Silu,
                other => return Err(config.wrong("transformer-ffn-activation", "relu or swish", other)),
            },
            norm: NormKind::Layer { eps: 1e-6 },
            positions: Positions::Sines { steps: (d_model / 2) as f64 - 1.0 },
            token_embedding: "Wemb",
            embedding_scale: (d_model as f32).sqrt(),
            ..Spec::plain(skeleton)
        })
    };
    let encoder = Spec {
        n_layers: config.layers("enc-depth")?,
        qkv: ["encoder.{}.self.q", "encoder.{}.self.k", "encoder.{}.self.v"].map(matrix).to_vec(),
        attn_out: matrix("encoder.{}.self.o"),
        attn_norm: Some("encoder.{}.self.norm"),
        mlp_in: matrix("encoder.{}.ffn.1"),
        mlp_out: matrix("encoder.{}.ffn.2"),
        mlp_norm: Some("encoder.{}.ffn.norm"),
        ..common(Skeleton::Encoder)?
    };
    let decoder = Spec {
        n_layers: config.layers("dec-depth")?,
        blank: Some(Blank::First),
        cross: Some(Cross {
            q: matrix("decoder.{}.context.q"),
            k: matrix("decoder.{}.context.k"),
            v: matrix("decoder.{}.context.v"),
            out: matrix("decoder.{}.context.o"),
            norm: "decoder.{}.context.norm",
        }),
        mlp_in: matrix("decoder.{}.ffn.1"),
        mlp_out: matrix("decoder.{}.ffn.2"),
        mlp_norm: Some("decoder.{}.ffn.norm"),
        head: Head { transform: None, decoder: "", tied: true, bias: "decoder_ff_logit_out_b" },
        ..common(Skeleton::PostNormDecoder)?
    };
    let decoder = match config.text_or("transformer-decoder-autoreg", "rnn")?.as_str() {
        "rnn" => Spec {
            ssru: Some(Ssru {
                forget: matrix("decoder.{}.rnn.f"),
                candidate: Matrix { bias: false, ..matrix("decoder.{}.rnn") },
            }),
            attn_norm: Some("decoder.{}.rnn.norm"),
            ..decoder
        },
        "self-attention" => Spec {
            qkv: ["decoder.{}.self.q", "decoder.{}.self.k", "decoder.{}.self.v"].map(matrix).to_vec(),
            attn_out: matrix("decoder.{}.self.o"),
            attn_norm: Some("decoder.{}.self.norm"),
            ..decoder
        },
        other => return Err(config.wrong("transformer-decoder-autoreg", "rnn or self-attention", other)),
    };
    Ok(Architecture::EncoderDecoder(EncoderDecoder::new(encoder, decoder)))
}

/// Refuses what other models of Marian's have.
fn check(config: &Config) -> Result<(), LoadError> {
    for (field, allowed) in [
        ("type", json!("transformer")),
        ("dec-cell", json!("ssru")),
        ("input-types", json!([])),
        ("layer-normalization", json!(false)),
        ("lemma-dim-emb", json!(0)),
        ("output-omit-bias", json!(false)),
        ("right-left", json!(false)),
        ("tied-embeddings-all", json!(true)),
        ("transformer-dim-decoder-ffn", json!(0)),
        ("transformer-ffn-depth", json!(2)),
        ("transformer-no-projection", json!(false)),
        ("transformer-pool", json!(false)),
        ("transformer-postprocess", json!("dan")),
        ("transformer-postprocess-emb", json!("d")),
        ("transformer-postprocess-top", json!("")),
        ("transformer-preprocess", json!("")),
        ("transformer-rnn-projection", json!(false)),
        ("transformer-tied-layers", json!([])),
        ("transformer-train-position-embeddings", json!(false)),
        ("ulr", json!(false)),
    ] {
        config.only(field, &allowed)?;
    }
    config.pass_over(&[
        // Of models of another type, and of other kinds of layers.
        "bert-train-type-embeddings",
        "bert-type-vocab-size",
        "dec-cell-base-depth",
        "dec-cell-high-depth",
        "dim-rnn",
        "enc-cell",
        "enc-cell-depth",
        "enc-type",
        "skip",
        "tied-embeddings",
        "tied-embeddings-src",
        "transformer-aan-activation",
        "transformer-aan-depth",
        "transformer-aan-nogate",
        "transformer-dim-aan",
        "ulr-dim-emb",
        "ulr-trainable-transformation",
        // Of training.
        "transformer-depth-scaling",
        "transformer-guided-alignment-layer",
        "version",
    ]);
    Ok(())
}

/// Tokens of the vocabulary, which both sides share.
fn vocabulary(config: &Config) -> Result<usize, LoadError> {
    let sizes = config.get("dim-vocabs").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let shared = sizes.first().filter(|size| sizes.iter().all(|other| other == *size)).and_then(Value::as_u64);
    let size = shared.and_then(|size| usize::try_from(size).ok());
    size.ok_or_else(|| config.wrong("dim-vocabs", "one size of both vocabularies", Value::from(sizes)))
}
