//! The weights of transformers.

mod experts;
pub(super) mod neurons;
mod readout;
mod relative;

use std::ops::Range;
use std::sync::Arc;

use crate::arch::{CellKind, Cross, DistanceBuckets, Matrix, Positions, QkNorms, Spec, Ssru};
use crate::blocks::attention::Attention;
use crate::blocks::bias::Biases;
use crate::blocks::cross::CrossAttention;
use crate::blocks::mlp::Mlp;
use crate::blocks::recurrence::{Direction, Recurrence};
use crate::blocks::rotary::Angles;
use crate::blocks::{Feed, Mixer};
use crate::checkpoint::{Checkpoint, Weight};
use crate::engine::{AttentionShape, LinearPart, Packing, Vector};
use crate::error::LoadError;
use crate::skeletons::{Block, Transformer};

use super::Embeddings;
pub(super) use readout::readout;
use relative::Embedded;

/// How the checkpoint calls its weights: the prefix it puts before them.
struct Names {
    prefix: &'static str,
}

impl Names {
    /// Finds the prefix, by the token embedding.
    fn prefix(checkpoint: &Checkpoint, spec: &Spec) -> Self {
        let has = |prefix: &&str| checkpoint.contains(&format!("{prefix}{}", spec.token_embedding));
        Self { prefix: spec.prefixes.iter().copied().find(|prefix| has(prefix)).unwrap_or(spec.prefixes[0]) }
    }

    /// The same; the token embedding must be there.
    fn find(checkpoint: &Checkpoint, spec: &Spec) -> Result<Self, LoadError> {
        let names = Self::prefix(checkpoint, spec);
        names.vector_or_matrix(checkpoint, spec.token_embedding, &[Some(spec.d_vocab), Some(spec.d_embed())])?;
        Ok(names)
    }

    /// The name of a weight of one of the checkpoint's layers.
    fn full(&self, name: &str, stored_layer: usize) -> String {
        format!("{}{}", self.prefix, name.replace("{}", &stored_layer.to_string()))
    }

    fn vector_or_matrix<'a>(
        &self,
        checkpoint: &'a Checkpoint,
        name: &str,
        shape: &[Option<usize>],
    ) -> Result<Weight<'a>, LoadError> {
        Weight::new(checkpoint.tensor(&format!("{}{name}", self.prefix))?, shape)
    }
}

/// Checks names and shapes of the embedding tables.
pub(super) fn embeddings(checkpoint: &Checkpoint, spec: &Spec) -> Result<Embeddings, LoadError> {
    let names = Names::find(checkpoint, spec)?;
    let positions = match &spec.positions {
        Positions::Learned { table, first } => {
            names.vector_or_matrix(checkpoint, table, &[Some(first + spec.n_ctx), Some(spec.d_embed())])?;
            Some((format!("{}{table}", names.prefix), *first))
        }
        Positions::Rotary(_) | Positions::Sines { .. } | Positions::None => None,
    };
    let token_type = match spec.type_embedding {
        Some(name) => {
            let table = names.vector_or_matrix(checkpoint, name, &[None, Some(spec.d_embed())])?;
            let full = format!("{}{name}", names.prefix);
            if table.shape()[0] == 0 {
                let expected = format!("[1 or more, {}]", spec.d_embed());
                let got = format!("{:?}", table.shape());
                return Err(LoadError::Weight { what: "shape", name: full, expected, got });
            }
            Some(full)
        }
        None => None,
    };
    let tokens = format!("{}{}", names.prefix, spec.token_embedding);
    Ok(Embeddings {
        tokens,
        positions,
        token_type,
        width: spec.d_embed(),
        scale: spec.embedding_scale,
        blank: spec.blank,
        sines: if let Positions::Sines { steps } = spec.positions { Some(steps) } else { None },
        source: None,
    })
}

/// Lays out the blocks and norms.
pub(super) fn transformer<P: Packing>(
    packing: &P,
    checkpoint: &Checkpoint,
    spec: &Spec,
) -> Result<Transformer<P>, LoadError> {
    let loader = Loader { packing, checkpoint, spec, names: &Names::find(checkpoint, spec)? };
    let mut rotary: Vec<Angles> = Vec::new();
    if let Positions::Rotary(layers) = &spec.positions {
        for rotation in layers.iter().flatten() {
            if rotary.iter().all(|known| known.rotation() != rotation) {
                rotary.push(Angles::new(rotation.clone(), spec.n_ctx));
            }
        }
    }
    let embedding_norm = spec.embedding_norm.map(|name| loader.norm_of_width(name, 0, spec.d_embed())).transpose()?;
    let projection = spec
        .embedding_projection
        .map(|matrix| loader.linear(&[matrix], 0, spec.d_embed(), &[spec.d_model]))
        .transpose()?;
    let embedded = spec.relative.map(|relative| loader.embedded(&relative.embedded)).transpose()?;
    let mut blocks: Vec<Arc<Block<P>>> = Vec::with_capacity(spec.n_layers);
    for layer in 0..spec.n_layers {
        let stored = spec.stored_layer(layer);
        let again = (layer > 0 && spec.stored_layer(layer - 1) == stored).then(|| Arc::clone(&blocks[layer - 1]));
        blocks.push(again.map_or_else(|| loader.block(stored, &rotary, embedded.as_ref()).map(Arc::new), Ok)?);
    }
    let biases = spec.distance_bias.map_or(Ok(Vec::new()), |buckets| {
        let n_tables = if buckets.in_each_layer { spec.n_layers } else { 1 };
        (0..n_tables).map(|layer| loader.distance_bias(buckets, layer)).collect()
    })?;
    let final_norm = loader.norm(spec.final_norm, 0)?;
    let (skeleton, stack) = (spec.skeleton, spec.stack);
    Ok(Transformer { skeleton, stack, embedding_norm, projection, blocks, final_norm, rotary, biases })
}

/// Drops a decoder that is a copy of the token embeddings, where the config says that they are one.
pub(super) fn tie(checkpoint: &mut Checkpoint, spec: &Spec) {
    let Ok(names) = Names::find(checkpoint, spec) else { return };
    let bytes = |name: &str| checkpoint.tensor(name).map(|tensor| tensor.bytes).ok();
    let (decoder, tokens) = (spec.head.decoder, format!("{}{}", names.prefix, spec.token_embedding));
    if spec.head.tied && decoder != tokens && bytes(decoder).is_some() && bytes(decoder) == bytes(&tokens) {
        checkpoint.remove(decoder);
    }
}

/// Gain and bias of a norm that no prefix stands before.
fn head_norm(checkpoint: &Checkpoint, name: &str, width: usize) -> Result<(Vector, Option<Vector>), LoadError> {
    let gain = super::vector(checkpoint, &norm_name(checkpoint, name, "weight", "gamma"), width)?;
    let bias = norm_name(checkpoint, name, "bias", "beta");
    let bias = checkpoint.contains(&bias).then(|| super::vector(checkpoint, &bias, width)).transpose()?;
    Ok((gain, bias))
}

/// The name of a norm's vector: the present one, or the one of old checkpoints.
fn norm_name(checkpoint: &Checkpoint, name: &str, now: &str, old: &str) -> String {
    let old = format!("{name}.{old}");
    if checkpoint.contains(&old) { old } else { format!("{name}.{now}") }
}

struct Loader<'a, P: Packing> {
    packing: &'a P,
    checkpoint: &'a Checkpoint,
    spec: &'a Spec,
    names: &'a Names,
}

impl<P: Packing> Loader<'_, P> {
    fn block(&self, layer: usize, rotary: &[Angles], embedded: Option<&Embedded>) -> Result<Block<P>, LoadError> {
        let spec = self.spec;
        let gated = spec.mlp_linear.is_some() || spec.mlp_joint;
        let inner: Vec<Matrix> = std::iter::once(spec.mlp_in).chain(spec.mlp_linear).collect();
        Ok(Block {
            mixer: match &spec.ssru {
                Some(ssru) => Mixer::Recurrence(self.ssru(ssru, layer)?),
                None => Mixer::Attention(self.attention(layer, rotary, embedded)?),
            },
            attn_norm: self.norm(spec.attn_norm.filter(|_| layer > 0 || spec.first_attn_norm), layer)?,
            cross: match &spec.cross {
                Some(cross) => Some((self.cross(cross, layer)?, self.norm(Some(cross.norm), layer)?)),
                None => None,
            },
            mlp: match &spec.experts {
                Some(experts) => Feed::Moe(self.moe(experts, layer)?),
                None => Feed::Mlp(Mlp {
                    inner: self.linear(&inner, layer, spec.d_model, &vec![spec.d_mlp; 1 + usize::from(gated)])?,
                    out: self.linear(&[spec.mlp_out], layer, spec.d_mlp, &[spec.d_model])?,
                    out_norm: self.norm(spec.mlp_out_norm, layer)?,
                    activation: spec.activation,
                    gated,
                    d_mlp: spec.d_mlp,
                }),
            },
            mlp_norm: self.norm(spec.mlp_norm, layer)?,
            parallel: spec.parallel,
        })
    }

    fn attention(
        &self,
        layer: usize,
        rotary: &[Angles],
        embedded: Option<&Embedded>,
    ) -> Result<Attention<P>, LoadError> {
        let spec = self.spec;
        let shape = spec.attention(layer);
        let qk_norm = |name, columns: Range<usize>, joint| {
            let width = if joint { columns.len() } else { spec.d_head };
            self.norm_of_width(name, layer, width)
        };
        let rotation = match &spec.positions {
            Positions::Rotary(layers) => layers.get(layer).and_then(Option::as_ref),
            Positions::Learned { .. } | Positions::Sines { .. } | Positions::None => None,
        };
        Ok(Attention {
            qkv: self.linear(&spec.qkv, layer, spec.d_model, &[shape.q().len(), shape.k().len(), shape.v().len()])?,
            qk_norms: match spec.qk_norms {
                Some(QkNorms { q, k, joint }) => Some((qk_norm(q, shape.q(), joint)?, qk_norm(k, shape.k(), joint)?)),
                None => None,
            },
            relative: match (&spec.relative, embedded) {
                (Some(relative), Some(embedded)) => Some(self.relative_positions(relative, embedded.clone(), layer)?),
                _ => None,
            },
            rotation: rotary.iter().position(|known| Some(known.rotation()) == rotation),
            sinks: spec.sinks.map(|name| self.sinks(name, layer)).transpose()?,
            out_norm: self.norm(spec.attn_out_norm, layer)?,
            out: self.linear(&[spec.attn_out], layer, shape.q().end, &[spec.d_model])?,
            shape,
        })
    }

    fn ssru(&self, ssru: &Ssru, layer: usize) -> Result<Recurrence<P>, LoadError> {
        let width = self.spec.d_model;
        let gates = Direction {
            kind: CellKind::Ssru,
            input: self.linear(&[ssru.forget, ssru.candidate], layer, width, &[width, width])?,
            hidden: None,
            multiplier: None,
            projection: None,
            d_hidden: width,
            d_state: width,
        };
        Ok(Recurrence { directions: vec![gates] })
    }

    fn cross(&self, cross: &Cross, layer: usize) -> Result<CrossAttention<P>, LoadError> {
        let (spec, d_model) = (self.spec, self.spec.d_model);
        let shape = AttentionShape { causal: false, window: None, alibi: None, ..spec.attention(layer) };
        Ok(CrossAttention {
            q: self.linear(&[cross.q], layer, d_model, &[shape.q().len()])?,
            kv: self.linear(&[cross.k, cross.v], layer, d_model, &[shape.k().len(), shape.v().len()])?,
            out: self.linear(&[cross.out], layer, shape.q().end, &[d_model])?,
            shape,
        })
    }

    /// Matrices that share an input of `n_in`, side by side: one for each of `widths`, or one for all of them.
    fn linear(&self, parts: &[Matrix], layer: usize, n_in: usize, widths: &[usize]) -> Result<P::Linear, LoadError> {
        let parts: Vec<_> = parts.iter().map(|part| (self.names.full(part.name, layer), *part)).collect();
        self.product(&parts, n_in, widths)
    }

    /// The same, of matrices with their whole names.
    fn product(&self, parts: &[(String, Matrix)], n_in: usize, widths: &[usize]) -> Result<P::Linear, LoadError> {
        let total = [widths.iter().sum()];
        let widths = if parts.len() == widths.len() { widths } else { &total };
        let mut packed = Vec::with_capacity(parts.len());
        for ((stem, part), &n_out) in parts.iter().zip(widths) {
            let shape = if part.transposed { [Some(n_in), Some(n_out)] } else { [Some(n_out), Some(n_in)] };
            let weight = Weight::new(self.checkpoint.tensor(&format!("{stem}.weight"))?, &shape)?;
            let bias = part.bias.then(|| super::vector(self.checkpoint, &format!("{stem}.bias"), n_out)).transpose()?;
            let is_qkv = parts.len() == 1 && self.spec.qkv.first().is_some_and(|qkv| qkv.name == part.name);
            let order = (is_qkv && !self.spec.qkv_rows.is_empty()).then(|| self.spec.qkv_rows.clone());
            packed.push(LinearPart { order, ..LinearPart::new(weight, part.transposed, bias) });
        }
        let linear = self.packing.pack(&packed);
        // The packed copy is the one in memory; the file's pages may go.
        for (stem, _) in parts {
            self.checkpoint.release(&format!("{stem}.weight"));
        }
        Ok(linear)
    }

    /// A norm of the residual stream's width, where there is one.
    fn norm(&self, name: Option<&str>, layer: usize) -> Result<Option<P::Norm>, LoadError> {
        name.map(|name| self.norm_of_width(name, layer, self.spec.d_model)).transpose()
    }

    fn sinks(&self, name: &str, layer: usize) -> Result<Arc<[f32]>, LoadError> {
        let sinks = self.checkpoint.f32(&self.names.full(name, layer), &[self.spec.n_heads])?;
        Ok(sinks.into_owned().into())
    }

    fn distance_bias(&self, buckets: DistanceBuckets, layer: usize) -> Result<Biases, LoadError> {
        let (name, n_heads) = (self.names.full(buckets.table, layer), self.spec.n_heads);
        let table = super::matrix(self.checkpoint, &name, [buckets.n_buckets, n_heads])?;
        let of = move |head: usize, distance: i64| table[buckets.bucket(distance) * n_heads + head];
        Ok(Biases::new(n_heads, Box::new(of)))
    }

    fn norm_of_width(&self, name: &str, layer: usize, width: usize) -> Result<P::Norm, LoadError> {
        let (mut gain, bias) = head_norm(self.checkpoint, &self.names.full(name, layer), width)?;
        gain.values.iter_mut().for_each(|gain| *gain += self.spec.gain_shift);
        Ok(self.packing.pack_norm(self.spec.norm, gain, bias))
    }
}
