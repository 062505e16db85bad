//! What the transformer skeletons need to know of a model.

use nissl_core::{ModelInfo, Site, SiteInfo, Stack};

use super::{AnswersAt, Classifier, Config, Head, Readout, RelativeVectors};
use crate::engine::{Activation, AttentionShape, Choice, NormKind, Rotation};
use crate::error::LoadError;

/// The most experts that a token may take.
const MAX_EXPERTS: usize = 1 << 12;

/// The order of the operations of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Skeleton {
    /// Norms after each residual sum, every position sees all others.
    Encoder,
    /// Norms before attention and MLP and at the end, every position sees all others.
    PreNormEncoder,
    /// The same, a position sees those before it.
    Decoder,
    /// Norms after each residual sum, a position sees those before it.
    PostNormDecoder,
}

/// How a model knows positions.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Positions {
    /// None, or those that attention scores have by themselves.
    None,
    /// A table of embeddings.
    Learned {
        table: &'static str,
        /// The row of position 0.
        first: usize,
    },
    /// Sines, then cosines, of the position times frequencies that fall from 1, to 1 / 10000 in so many steps.
    Sines { steps: f64 },
    /// Rotations of queries and keys, one a layer; none where a layer has none.
    Rotary(Vec<Option<Rotation>>),
}

/// Which tokens have an embedding of zeros.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Blank {
    /// This one; the others of its sentence are divided by the share that they are of it.
    Token(u32),
    /// The first of a text, whatever it is.
    First,
}

/// Norms of queries and keys, before any rotation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct QkNorms {
    pub(crate) q: &'static str,
    pub(crate) k: &'static str,
    /// Whether a norm is of all heads together, or of each head by itself, with the same gain.
    pub(crate) joint: bool,
}

/// Tables of what heads add to their scores, `[n_buckets, n_heads]`, by the bucket of a distance.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DistanceBuckets {
    pub(crate) table: &'static str,
    /// Whether each layer has a table of its own; otherwise the first one's is that of all.
    pub(crate) in_each_layer: bool,
    pub(crate) n_buckets: usize,
    /// Distances from here on share a bucket.
    pub(crate) furthest: usize,
    /// Whether keys after the query have buckets of their own; otherwise they share that of distance 0.
    pub(crate) both_ways: bool,
}

impl DistanceBuckets {
    /// The bucket of a distance, key - query: near distances have one each, farther ones share more and more.
    pub(crate) fn bucket(&self, distance: i64) -> usize {
        let n = if self.both_ways { self.n_buckets / 2 } else { self.n_buckets };
        let first = if self.both_ways && distance > 0 { n } else { 0 };
        let steps = if self.both_ways { distance.unsigned_abs() } else { distance.min(0).unsigned_abs() } as usize;
        let exact = n / 2;
        if steps < exact {
            return first + steps;
        }
        // In 32 bits, as the reference computes it.
        let ratio = (steps as f32 / exact as f32).ln() / (self.furthest as f64 / exact as f64).ln() as f32;
        first + (exact + (ratio * (n - exact) as f32) as usize).min(n - 1)
    }
}

/// The attention of a decoder over the source.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cross {
    pub(crate) q: Matrix,
    pub(crate) k: Matrix,
    pub(crate) v: Matrix,
    pub(crate) out: Matrix,
    /// Before it, or after its residual sum, as the norm of the other attention.
    pub(crate) norm: &'static str,
}

/// The gates of an SSRU, which stands in the place of a decoder's attention over its own text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ssru {
    pub(crate) forget: Matrix,
    pub(crate) candidate: Matrix,
}

/// A matrix in the checkpoint, with `{}` for the layer: `name.weight`, and `name.bias` if it has one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Matrix {
    pub(crate) name: &'static str,
    /// Whether the weight is stored `[n_in, n_out]`.
    pub(crate) transposed: bool,
    pub(crate) bias: bool,
}

impl Matrix {
    /// `[n_out, n_in]`, as PyTorch's `Linear` stores it.
    pub(crate) const fn linear(name: &'static str, bias: bool) -> Self {
        Self { name, transposed: false, bias }
    }
}

/// The experts of a gated MLP. Names have `{}` for the layer and `{e}` for the expert.
#[derive(Clone, Debug)]
pub(crate) struct Experts {
    pub(crate) choice: Choice,
    /// Neurons of each.
    pub(crate) width: usize,
    pub(crate) router: &'static str,
    /// The gate, the linear branch, and what comes out.
    pub(crate) parts: [&'static str; 3],
    pub(crate) shared: Option<Shared>,
    /// What becomes of the linear branch before it is multiplied with the gate.
    pub(crate) linear: Option<Activation>,
    /// Whether one tensor has the gates and linear branches of all, column by column in turns, and one all that comes out,
    /// with biases.
    pub(crate) stacked: bool,
}

/// An expert that every token takes, with a gate of its own.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    pub(crate) width: usize,
    pub(crate) router: &'static str,
    pub(crate) parts: [&'static str; 3],
}

impl Experts {
    /// Neurons of all.
    pub(crate) fn n_neurons(&self) -> usize {
        let routed = self.choice.n_experts.saturating_mul(self.width);
        routed.saturating_add(self.shared.as_ref().map_or(0, |shared| shared.width))
    }

    /// Experts with the shared one.
    fn n_all(&self) -> usize {
        self.choice.n_experts + usize::from(self.shared.is_some())
    }
}

/// The rows of queries, then keys, then values of a matrix that has for each key/value head its queries, its key and its
/// value; none if they do not share the queries evenly, which [`Spec::check`] refuses.
pub(super) fn rows_by_head(n_heads: usize, n_kv_heads: usize, d_head: usize) -> Vec<usize> {
    if n_kv_heads == 0 || !n_heads.is_multiple_of(n_kv_heads) {
        return Vec::new();
    }
    let each = n_heads / n_kv_heads;
    let head = |group: usize, idx: usize| (group * (each + 2) + idx) * d_head..(group * (each + 2) + idx + 1) * d_head;
    let queries = (0..n_kv_heads).flat_map(|group| (0..each).map(move |idx| (group, idx)));
    let keys_and_values = [each, each + 1].into_iter().flat_map(|idx| (0..n_kv_heads).map(move |group| (group, idx)));
    queries.chain(keys_and_values).flat_map(|(group, idx)| head(group, idx)).collect()
}

/// Everything the skeletons need to know of a model: the answer of a family to a config.
#[derive(Clone, Debug)]
pub(crate) struct Spec {
    pub(crate) skeleton: Skeleton,
    /// Which blocks of the model it is of.
    pub(crate) stack: Stack,
    pub(crate) n_layers: usize,
    pub(crate) d_model: usize,
    /// Width of the embeddings; none: that of the residual stream.
    pub(crate) d_embed: Option<usize>,
    pub(crate) n_heads: usize,
    pub(crate) n_kv_heads: usize,
    pub(crate) d_head: usize,
    pub(crate) d_mlp: usize,
    pub(crate) d_vocab: usize,
    pub(crate) n_ctx: usize,
    pub(crate) activation: Activation,
    pub(crate) norm: NormKind,
    pub(crate) positions: Positions,
    /// What may stand before every weight name but the head's.
    pub(crate) prefixes: &'static [&'static str],
    /// Weights and vectors that the checkpoint has with heads and their columns apart: how their names end, and what
    /// they are called with both as one.
    pub(crate) heads_apart: &'static [(&'static str, &'static str)],
    pub(crate) token_embedding: &'static str,
    /// The embedding of token type 0, added to every position.
    pub(crate) type_embedding: Option<&'static str>,
    pub(crate) embedding_norm: Option<&'static str>,
    /// Factor of the token embeddings.
    pub(crate) embedding_scale: f32,
    /// Which tokens have an embedding of zeros.
    pub(crate) blank: Option<Blank>,
    /// From the width of the embeddings to that of the residual stream.
    pub(crate) embedding_projection: Option<Matrix>,
    /// Layers that the checkpoint has, of which each stands for as many of the model's; none if for one.
    pub(crate) n_stored_layers: Option<usize>,
    /// What is added to the scores by distance.
    pub(crate) distance_bias: Option<DistanceBuckets>,
    /// The vectors of relative positions that attention looks at, where it does.
    pub(crate) relative: Option<RelativeVectors>,
    /// Queries, keys and values, in one matrix or three.
    pub(crate) qkv: Vec<Matrix>,
    /// Of one matrix, the row of the checkpoint that each is, queries first, then keys, then values; nothing if that is
    /// how they lie there.
    pub(crate) qkv_rows: Vec<usize>,
    pub(crate) qk_norms: Option<QkNorms>,
    /// Factor of the attention scores; none for 1 / √`d_head`.
    pub(crate) score_scale: Option<f32>,
    /// The value c of scores c · tanh(score / c).
    pub(crate) score_cap: Option<f32>,
    /// What heads score a key that is nothing, `[n_heads]`.
    pub(crate) sinks: Option<&'static str>,
    /// Factor of the distances that scores are lowered by (`ALiBi`).
    pub(crate) alibi: Option<f32>,
    /// How many keys a query sees, its own position's last; one a layer, or nothing if every layer's see all.
    pub(crate) windows: Vec<Option<usize>>,
    /// Whether the MLP reads what the attention reads, and not its sum.
    pub(crate) parallel: bool,
    pub(crate) attn_out: Matrix,
    /// In place of the attention.
    pub(crate) ssru: Option<Ssru>,
    /// Before the attention (decoder) or after its residual sum (encoder).
    pub(crate) attn_norm: Option<&'static str>,
    /// Whether the first layer has that norm.
    pub(crate) first_attn_norm: bool,
    /// Over the source, of the decoder of a model that has an encoder too.
    pub(crate) cross: Option<Cross>,
    /// Of what the attention gives, before it is added.
    pub(crate) attn_out_norm: Option<&'static str>,
    pub(crate) mlp_in: Matrix,
    /// The linear branch of a gated MLP; `mlp_in` is then the gate.
    pub(crate) mlp_linear: Option<Matrix>,
    /// Whether `mlp_in` is the gate and, behind it, the linear branch.
    pub(crate) mlp_joint: bool,
    /// In place of one MLP.
    pub(crate) experts: Option<Experts>,
    pub(crate) mlp_out: Matrix,
    /// Before the MLP (decoder) or after its residual sum (encoder); a parallel MLP without one reads what the
    /// attention reads.
    pub(crate) mlp_norm: Option<&'static str>,
    /// Of what the MLP gives, before it is added.
    pub(crate) mlp_out_norm: Option<&'static str>,
    /// What is added to the gains of all norms.
    pub(crate) gain_shift: f32,
    pub(crate) final_norm: Option<&'static str>,
    pub(crate) head: Head,
    /// The value c of logits c · tanh(logit / c).
    pub(crate) logit_cap: Option<f32>,
    /// Factor of the logits.
    pub(crate) logit_scale: Option<f32>,
    /// The activation of the head's transform; none: that of the MLP.
    pub(crate) head_activation: Option<Activation>,
    /// Other heads that checkpoints may have.
    pub(crate) classifiers: Vec<Classifier>,
    /// Where a classifier of sentences answers; none: where the direction of the attention says.
    pub(crate) answers_at: Option<AnswersAt>,
    /// The head that the checkpoint has; none if it has none.
    pub(crate) readout: Option<Readout>,
}

impl Spec {
    /// A model without anything that only some families have, to be filled in: its sizes are 0, which
    /// [`Spec::check`] refuses, and its names are empty.
    pub(super) const fn plain(skeleton: Skeleton) -> Self {
        let nameless = Matrix::linear("", false);
        Self {
            skeleton,
            stack: Stack::Only,
            n_layers: 0,
            d_model: 0,
            d_embed: None,
            n_heads: 0,
            n_kv_heads: 0,
            d_head: 0,
            d_mlp: 0,
            d_vocab: 0,
            n_ctx: 0,
            activation: Activation::GeluErf,
            norm: NormKind::Layer { eps: 1e-5 },
            positions: Positions::None,
            prefixes: &[""],
            heads_apart: &[],
            token_embedding: "",
            type_embedding: None,
            embedding_norm: None,
            embedding_scale: 1.0,
            blank: None,
            embedding_projection: None,
            n_stored_layers: None,
            distance_bias: None,
            relative: None,
            qkv: Vec::new(),
            qkv_rows: Vec::new(),
            qk_norms: None,
            score_scale: None,
            score_cap: None,
            sinks: None,
            alibi: None,
            windows: Vec::new(),
            parallel: false,
            attn_out: nameless,
            ssru: None,
            attn_norm: None,
            first_attn_norm: true,
            cross: None,
            attn_out_norm: None,
            mlp_in: nameless,
            mlp_linear: None,
            mlp_joint: false,
            experts: None,
            mlp_out: nameless,
            mlp_norm: None,
            mlp_out_norm: None,
            gain_shift: 0.0,
            final_norm: None,
            head: Head { transform: None, decoder: "", tied: false, bias: "" },
            logit_cap: None,
            logit_scale: None,
            head_activation: None,
            classifiers: Vec::new(),
            answers_at: None,
            readout: None,
        }
    }

    /// Width of the embeddings.
    pub(crate) fn d_embed(&self) -> usize {
        self.d_embed.unwrap_or(self.d_model)
    }

    /// The layer of the checkpoint that a layer of the model is.
    pub(crate) fn stored_layer(&self, layer: usize) -> usize {
        self.n_stored_layers.map_or(layer, |n_stored| layer * n_stored / self.n_layers.max(1))
    }

    /// Whether a position sees those before it alone.
    pub(crate) fn is_causal(&self) -> bool {
        matches!(self.skeleton, Skeleton::Decoder | Skeleton::PostNormDecoder)
    }

    /// Whether norms stand after the residual sums.
    pub(crate) fn is_post_norm(&self) -> bool {
        matches!(self.skeleton, Skeleton::Encoder | Skeleton::PostNormDecoder)
    }

    /// The same with experts in place of the MLP.
    pub(super) fn with_experts(self, experts: Experts) -> Self {
        let [gate, linear, out] = experts.parts.map(|name| Matrix::linear(name, false));
        Self {
            d_mlp: experts.n_neurons(),
            mlp_in: gate,
            mlp_linear: Some(linear),
            mlp_out: out,
            experts: Some(experts),
            ..self
        }
    }

    /// Sizes that no computation could use are refused here, once for all families.
    pub(super) fn check(&self, config: &Config) -> Result<(), LoadError> {
        let sizes = [
            ("number of layers", self.n_layers, super::config::MAX_LAYERS),
            ("width", self.d_model, 1 << 20),
            ("width of the embeddings", self.d_embed(), 1 << 20),
            ("number of heads", self.n_heads, 1 << 16),
            ("number of key/value heads", self.n_kv_heads, 1 << 16),
            ("width of a head", self.d_head, 1 << 16),
            ("number of MLP neurons", self.d_mlp, 1 << 24),
            ("size of the vocabulary", self.d_vocab, 1 << 28),
            ("context length", self.n_ctx, 1 << 28),
        ];
        for (what, size, most) in sizes {
            if size == 0 || size > most {
                return Err(config.wrong(what, format!("1 to {most}"), size));
            }
        }
        if let Some(Experts { choice, .. }) = &self.experts
            && !(1..=choice.n_experts.min(MAX_EXPERTS)).contains(&choice.n_taken)
        {
            let (expected, got) = (format!("1 to {}, of at most {MAX_EXPERTS}", choice.n_experts), choice.n_taken);
            return Err(config.wrong("num_experts_per_tok", expected, got));
        }
        if !self.n_heads.is_multiple_of(self.n_kv_heads) {
            let expected = format!("a divisor of {} heads", self.n_heads);
            return Err(config.wrong("number of key/value heads", expected, self.n_kv_heads));
        }
        if let Some(relative) = &self.relative {
            relative.embedded.check(config)?;
        }
        if let Some(n_stored) = self.n_stored_layers.filter(|&n| n == 0 || n > self.n_layers) {
            return Err(config.wrong("number of layer groups", format!("1 to {}", self.n_layers), n_stored));
        }
        Ok(())
    }

    /// Number of logits a token.
    pub(super) fn n_logits(&self) -> usize {
        self.readout.as_ref().map_or(self.d_vocab, |head| head.n_logits)
    }

    /// Sizes and sites, as methods see them.
    pub(super) fn info(&self, name: String, family: String, has_logits: bool, fingerprint: String) -> ModelInfo {
        ModelInfo {
            name,
            family,
            n_layers: self.n_layers,
            d_model: self.d_model,
            n_heads: self.n_heads,
            n_kv_heads: self.n_kv_heads,
            d_head: self.d_head,
            d_mlp: self.d_mlp,
            d_vocab: self.d_vocab,
            n_ctx: self.n_ctx,
            causal: self.is_causal(),
            has_logits,
            sites: self.sites(),
            fingerprint,
            encoder: None,
        }
    }

    /// The sizes of the attention of a layer.
    pub(crate) fn attention(&self, layer: usize) -> AttentionShape {
        AttentionShape {
            scale: self.score_scale.unwrap_or(1.0 / (self.d_head as f32).sqrt()),
            cap: self.score_cap,
            alibi: self.alibi,
            window: self.windows.get(layer).copied().flatten(),
            ..AttentionShape::new(self.n_heads, self.n_kv_heads, self.d_head, self.is_causal())
        }
    }

    /// The sites of the architecture in order of the forward pass, with widths and the checkpoint's names.
    pub(crate) fn sites(&self) -> Vec<SiteInfo> {
        let (q, kv) = (self.n_heads * self.d_head, self.n_kv_heads * self.d_head);
        let after = |norm: Option<&'static str>| norm.filter(|_| self.is_post_norm()).unwrap_or_default();
        let mut sites = vec![(Site::Embed, self.d_model, self.token_embedding), (Site::ResidPre, self.d_model, "")];
        if let Some(ssru) = &self.ssru {
            sites.extend([
                (Site::SsruF, self.d_model, ssru.forget.name),
                (Site::SsruG, self.d_model, ssru.candidate.name),
                (Site::SsruC, self.d_model, ""),
                (Site::SsruH, self.d_model, ""),
            ]);
        } else {
            let part = |i: usize| self.qkv.get(i).unwrap_or(&self.qkv[0]).name;
            sites.extend([
                (Site::AttnQ, q, part(0)),
                (Site::AttnK, kv, part(1)),
                (Site::AttnV, kv, part(2)),
                (Site::AttnPattern, self.n_heads * self.n_ctx, ""),
                (Site::AttnZ, q, ""),
                (Site::AttnOut, self.d_model, self.attn_out.name),
            ]);
        }
        if !self.parallel {
            sites.push((Site::ResidMid, self.d_model, after(self.attn_norm)));
        }
        if let Some(cross) = &self.cross {
            sites.extend([
                (Site::CrossQ, q, cross.q.name),
                (Site::CrossK, kv, cross.k.name),
                (Site::CrossV, kv, cross.v.name),
                (Site::CrossPattern, self.n_heads * self.n_ctx, ""),
                (Site::CrossZ, q, ""),
                (Site::CrossOut, self.d_model, cross.out.name),
                (Site::ResidMidCross, self.d_model, after(Some(cross.norm))),
            ]);
        }
        if let Some(experts) = &self.experts {
            sites.push((Site::MlpRouter, experts.n_all(), experts.router));
            sites.push((Site::MlpExpertWeights, experts.n_all(), ""));
        }
        sites.push((Site::MlpPre, self.d_mlp, self.mlp_in.name));
        if let Some(linear) = self.mlp_linear.as_ref().or(self.mlp_joint.then_some(&self.mlp_in)) {
            sites.push((Site::MlpPreLinear, self.d_mlp, linear.name));
        }
        sites.extend([
            (Site::MlpPost, self.d_mlp, ""),
            (Site::MlpOut, self.d_model, self.mlp_out.name),
            (Site::ResidPost, self.d_model, after(self.mlp_norm)),
        ]);
        if let Some(norm) = self.final_norm {
            sites.push((Site::FinalNorm, self.d_model, norm));
        }
        let info = |(site, width, weight): (Site, usize, &str)| SiteInfo { site, width, weight: weight.to_owned() };
        sites.into_iter().map(info).collect()
    }
}
