//! Models that no one has trained yet: a config and its weights, drawn by chance.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};

use crate::arch::{Matrix, Positions, Spec};
use crate::engine::NormKind;

/// The sizes of a new model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sizes {
    /// Number of blocks.
    pub n_layers: usize,
    /// Width of the residual stream; a multiple of the heads.
    pub d_model: usize,
    /// Attention heads.
    pub n_heads: usize,
    /// MLP neurons a block; none: four times the width.
    pub d_mlp: Option<usize>,
    /// Longest sentence, in tokens.
    pub n_ctx: usize,
}

impl Default for Sizes {
    fn default() -> Self {
        Self { n_layers: 2, d_model: 128, n_heads: 4, d_mlp: None, n_ctx: 128 }
    }
}

impl Sizes {
    /// MLP neurons a block.
    pub(crate) fn d_mlp(&self) -> usize {
        self.d_mlp.unwrap_or(self.d_model.saturating_mul(4))
    }
}

/// How a weight begins.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Init {
    Zeros,
    Ones,
    /// Normal, mean 0, of this standard deviation.
    Normal(f32),
}

/// Standard deviation of embeddings and matrices.
const STD: f32 = 0.02;

/// Every weight of a model of `spec`: its name, shape and first values, from `seed`.
///
/// As GPT-2 began (Radford et al., 2019): normal with deviation 0.02, matrices that write to the residual stream
/// divided by the root of their number; biases 0, gains 1. Each weight has a generator of its own, so that adding a
/// layer leaves the others as they were.
pub(super) fn weights(spec: &Spec, seed: u64) -> Vec<(String, Vec<usize>, Vec<f32>)> {
    let draw = |(name, shape, init): (String, Vec<usize>, Init)| {
        let n = shape.iter().product();
        let values = match init {
            Init::Zeros => vec![0.0; n],
            Init::Ones => vec![1.0; n],
            Init::Normal(std) => normal(seed, &name, std, n),
        };
        (name, shape, values)
    };
    inventory(spec).into_iter().map(draw).collect()
}

/// Names, shapes and beginnings of all weights of a transformer.
fn inventory(spec: &Spec) -> Vec<(String, Vec<usize>, Init)> {
    let (d, prefix) = (spec.d_model, spec.prefixes[0]);
    let residual = Init::Normal(STD / (2.0 * spec.n_layers as f32).sqrt());
    let mut all = Vec::new();
    let table = |name: &str, rows: usize| (format!("{prefix}{name}"), vec![rows, d], Init::Normal(STD));
    all.push(table(spec.token_embedding, spec.d_vocab));
    if let Positions::Learned { table: name, first } = spec.positions {
        all.push(table(name, first + spec.n_ctx));
    }
    all.extend(spec.type_embedding.map(|name| table(name, 2)));
    let norm = |name: &str| {
        let gain = (format!("{name}.weight"), vec![d], Init::Ones);
        let bias = matches!(spec.norm, NormKind::Layer { .. }).then(|| (format!("{name}.bias"), vec![d], Init::Zeros));
        std::iter::once(gain).chain(bias)
    };
    let matrix = |prefix: &str, matrix: &Matrix, layer: usize, n_in: usize, n_out: usize, init: Init| {
        let stem = format!("{prefix}{}", matrix.name.replace("{}", &layer.to_string()));
        let shape = if matrix.transposed { vec![n_in, n_out] } else { vec![n_out, n_in] };
        let bias = matrix.bias.then(|| (format!("{stem}.bias"), vec![n_out], Init::Zeros));
        std::iter::once((format!("{stem}.weight"), shape, init)).chain(bias)
    };
    let at = |name: &str, layer: usize| format!("{prefix}{}", name.replace("{}", &layer.to_string()));
    let (q, kv) = (spec.n_heads * spec.d_head, spec.n_kv_heads * spec.d_head);
    let widths = if spec.qkv.len() == 1 { vec![q + 2 * kv] } else { vec![q, kv, kv] };
    for layer in 0..spec.n_layers {
        for (part, &width) in spec.qkv.iter().zip(&widths) {
            all.extend(matrix(prefix, part, layer, d, width, Init::Normal(STD)));
        }
        all.extend(matrix(prefix, &spec.attn_out, layer, q, d, residual));
        all.extend(spec.attn_norm.into_iter().flat_map(|name| norm(&at(name, layer))));
        for part in std::iter::once(&spec.mlp_in).chain(&spec.mlp_linear) {
            all.extend(matrix(prefix, part, layer, d, spec.d_mlp, Init::Normal(STD)));
        }
        all.extend(matrix(prefix, &spec.mlp_out, layer, spec.d_mlp, d, residual));
        all.extend(spec.mlp_norm.into_iter().flat_map(|name| norm(&at(name, layer))));
    }
    for name in spec.embedding_norm.iter().chain(&spec.final_norm) {
        all.extend(norm(&at(name, 0)));
    }
    if let Some((dense, name)) = &spec.head.transform {
        all.extend(matrix("", dense, 0, d, d, Init::Normal(STD)));
        all.extend(norm(name));
        all.push((spec.head.bias.to_owned(), vec![spec.d_vocab], Init::Zeros));
    }
    if !spec.head.tied {
        all.push((spec.head.decoder.to_owned(), vec![spec.d_vocab, d], Init::Normal(STD)));
    }
    all
}

/// `n` normal values by Box and Muller's transform, from the seed and the weight's name.
fn normal(seed: u64, name: &str, std: f32, n: usize) -> Vec<f32> {
    let own = blake3::hash(name.as_bytes());
    let own = u64::from_le_bytes(own.as_bytes()[..8].try_into().expect("a digest has 32 bytes"));
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ own);
    // In (0, 1): a logarithm of zero is none.
    let mut uniform = || (f64::from(rng.next_u32()) + 0.5) / 4_294_967_296.0;
    let mut values = Vec::with_capacity(n + 1);
    while values.len() < n {
        let (radius, angle) = ((-2.0 * uniform().ln()).sqrt(), std::f64::consts::TAU * uniform());
        values.push((radius * angle.cos()) as f32 * std);
        values.push((radius * angle.sin()) as f32 * std);
    }
    values.truncate(n);
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_normal_and_depend_on_seed_and_name() {
        let values = normal(1, "a", 0.5, 100_001);
        let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / values.len() as f64;
        let var = values.iter().map(|&v| f64::from(v) * f64::from(v)).sum::<f64>() / values.len() as f64;
        let beyond = values.iter().filter(|v| v.abs() > 1.0).count() as f64 / values.len() as f64;
        assert!(mean.abs() < 0.01 && (var - 0.25).abs() < 0.01 && (beyond - 0.0455).abs() < 0.005);
        assert_eq!(values[..9], normal(1, "a", 0.5, 9)[..]);
        assert_ne!(values[..9], normal(2, "a", 0.5, 9)[..]);
        assert_ne!(values[..9], normal(1, "b", 0.5, 9)[..]);
    }
}
