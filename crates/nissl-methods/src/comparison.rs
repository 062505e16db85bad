//! Multi-model search: which neurons of a model are found again in another one that read the same words.
//!
//! **Best partners** (Bau et al. 2019, "Identifying and Controlling Important Neurons in Neural Machine Translation",
//! arXiv:1811.01157): for every neuron the one of the other model with which its correlation is largest in size. The
//! largest over several models is MaxCorr, the smallest MinCorr. The mean over a layer is how like another layer it is,
//! neuron by neuron.
//!
//! **Linear CKA** (Kornblith et al. 2019, arXiv:1905.00414) says how like two layers are as a whole, whatever rotation
//! lies between them: `‖YᵀX‖² / (‖XᵀX‖ ‖YᵀY‖)` of centered activations.
//!
//! **Excess correlation** (Gurnee et al. 2024, "Universal Neurons in GPT2 Language Models", arXiv:2401.12181): the
//! highest correlation (with its sign) less the highest with the other model's activations after a random rotation of
//! each layer, which has no neurons of its own. Neurons above .5 are called universal. Their "rotation" is a Gaussian
//! matrix with columns of length 1 ([`Baseline::Gaussian`]); ours is orthogonal.
//!
//! Correlations are products of standardized columns, tile by tile: two tiles of columns and the products of one with a
//! layer are in memory at a time. The other model is read once for as many own neurons as have room.

use std::ops::Range;

use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, Axis, s};
use nissl_core::{Activations, Context, HookPoint, MethodError, NeuronId};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::correlation::{COLUMNS, Packed, correlation_matrix, correlations, pack, tile_width, tiles};

mod rotation;
#[cfg(test)]
mod tests;

/// What errors call it.
pub const NAME: &str = "compare";

/// With what highest correlations are compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Baseline {
    /// With nothing.
    None,
    /// With the other model's layers after a random rotation.
    #[default]
    Rotation,
    /// With the other model's layers times a Gaussian matrix with columns of length 1.
    Gaussian,
}

/// How two models are compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    /// With what highest correlations are compared.
    pub baseline: Baseline,
    /// Seed of the random matrices.
    pub seed: u64,
}

/// What of a model is found again in another.
#[derive(Clone, Debug, PartialEq)]
pub struct Compared {
    /// One entry a neuron of the model, in its order.
    pub neurons: Vec<Found>,
    /// One entry a layer of the model and a layer of the other.
    pub layers: Vec<Likeness>,
}

/// What is found of a neuron.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Found {
    /// The neuron of the other model whose correlation is largest in size.
    pub partner: NeuronId,
    /// That correlation; 0 for a neuron of one value.
    pub correlation: f64,
    /// The highest correlation, with its sign.
    pub highest: f64,
    /// The highest with the baseline; none without one.
    pub baseline: Option<f64>,
}

impl Found {
    /// How much the highest correlation exceeds the baseline's.
    pub fn excess(&self) -> Option<f64> {
        self.baseline.map(|baseline| self.highest - baseline)
    }
}

/// How like a layer is to one of the other model.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Likeness {
    /// The layer's site.
    pub own: HookPoint,
    /// The other's.
    pub other: HookPoint,
    /// Mean over the layer's neurons of the largest correlation in size with one of the other's.
    pub max_corr: f64,
    /// Linear CKA; none if a layer has one value a neuron.
    pub cka: Option<f64>,
}

/// The columns of each site.
fn sites(x: &dyn Activations) -> Vec<(HookPoint, Range<usize>)> {
    let mut sites: Vec<(HookPoint, Range<usize>)> = Vec::new();
    for (column, neuron) in x.neurons().iter().enumerate() {
        match sites.last_mut() {
            Some((point, columns)) if *point == neuron.point => columns.end = column + 1,
            _ => sites.push((neuron.point, column..column + 1)),
        }
    }
    sites
}

/// Products `[m, k] · [k, n]` in 32 bits.
fn product(left: &Array2<f32>, right: &Array2<f32>) -> Array2<f32> {
    let mut out = Array2::zeros((left.nrows(), right.ncols()));
    let chunks: Vec<_> =
        out.axis_chunks_iter_mut(Axis(0), COLUMNS).zip(left.axis_chunks_iter(Axis(0), COLUMNS)).collect();
    chunks.into_par_iter().for_each(|(mut out, left)| {
        general_mat_mul(1.0, &left, right, 0.0, &mut out);
    });
    out
}

/// A site of the other model, and what does not depend on the model that is compared with it.
struct Site {
    point: HookPoint,
    columns: Range<usize>,
    /// `‖YᵀY‖` of its centered activations.
    norm: f64,
    /// The random matrix, and the deviations of the activations times it.
    baseline: Option<(Array2<f32>, Vec<f64>)>,
}

impl Comparison {
    /// Looks for every neuron of a model among those of another; both have the same rows.
    ///
    /// # Errors
    /// If they have not as many rows, or fewer than two; if an activation is not finite; if memory is short of the
    /// tiles; or if the user stops it.
    pub fn compare(
        &self,
        own: &dyn Activations,
        other: &dyn Activations,
        ctx: Context<'_>,
    ) -> Result<Compared, MethodError> {
        let n_tokens = own.n_tokens();
        if other.n_tokens() != n_tokens || n_tokens < 2 {
            let (expected, got) = (n_tokens.max(2), other.n_tokens());
            return Err(MethodError::Shape { what: "rows of two models that are compared", expected, got });
        }
        let (own_sites, other_sites) = (sites(own), sites(other));
        // An activation of each row, and what is made of a correlation with each neuron of a layer.
        let widest = other_sites.iter().map(|(_, columns)| columns.len()).max().unwrap_or(0);
        let n_bytes = n_tokens * size_of::<f32>() + widest * (size_of::<f64>() + 2 * size_of::<f32>());
        let width = tile_width(NAME, n_bytes, ctx.memory)?;
        let groups = together(&own_sites, width);
        let n_steps = other_sites.len() + own_sites.len() + groups.len() * other_sites.len();
        ctx.progress.stage("compare layers", Some(n_steps as u64), "layers");
        let mut done = 0;
        let mut step = || {
            done += 1;
            ctx.progress.step(done);
            if ctx.progress.cancelled() { Err(MethodError::Cancelled) } else { Ok(()) }
        };
        let mut sites = Vec::with_capacity(other_sites.len());
        for (point, columns) in other_sites {
            sites.push(self.site(other, point, columns, width)?);
            step()?;
        }
        let mut norms = Vec::with_capacity(own_sites.len());
        for (_, columns) in &own_sites {
            norms.push(norm(&gram(own, columns, width)?));
            step()?;
        }
        let mut neurons = Vec::with_capacity(own.neurons().len());
        // Of each own layer and each of the other's: squared covariances, and largest correlations.
        let mut cross = Array2::<f64>::zeros((own_sites.len(), sites.len()));
        let mut best = Array2::<f64>::zeros((own_sites.len(), sites.len()));
        for group in groups {
            let read = group.iter().map(|(_, columns)| pack(own, columns.clone()));
            let tiles = read.collect::<Result<Vec<Packed>, MethodError>>()?;
            let mut found: Vec<Vec<Option<Found>>> = tiles.iter().map(|tile| vec![None; tile.columns.len()]).collect();
            for (idx, site) in sites.iter().enumerate() {
                let (all, deviations) = against(&tiles, other, site, width)?;
                for (((own_site, _), tile), (found, against)) in
                    group.iter().zip(&tiles).zip(found.iter_mut().zip(&all))
                {
                    cross[[*own_site, idx]] += squares(tile, &against.values, &deviations);
                    best[[*own_site, idx]] += merge(found, other, site, against);
                }
                step()?;
            }
            neurons.extend(found.into_iter().flatten().flatten());
        }
        let mut layers = Vec::with_capacity(own_sites.len() * sites.len());
        for (own_site, (point, columns)) in own_sites.iter().enumerate() {
            for (idx, site) in sites.iter().enumerate() {
                let scale = norms[own_site] * site.norm;
                let cka = (scale > 0.0).then(|| cross[[own_site, idx]] / scale);
                let max_corr = best[[own_site, idx]] / columns.len() as f64;
                layers.push(Likeness { own: *point, other: site.point, max_corr, cka });
            }
        }
        Ok(Compared { neurons, layers })
    }

    /// What is known of a site by itself.
    fn site(
        &self,
        x: &dyn Activations,
        point: HookPoint,
        columns: Range<usize>,
        width: usize,
    ) -> Result<Site, MethodError> {
        let gram = gram(x, &columns, width)?;
        let norm = norm(&gram);
        let seed = self.seed ^ u64::from(point.layer().unwrap_or(u16::MAX)) << 32;
        let matrix = match self.baseline {
            Baseline::None => None,
            Baseline::Rotation => Some(rotation::orthogonal(columns.len(), seed)),
            Baseline::Gaussian => Some(rotation::gaussian(columns.len(), seed)),
        };
        let baseline = matrix.map(|matrix| {
            let turned = product(&gram.mapv(|value| value as f32), &matrix);
            let variance = |column: usize| {
                let pairs = matrix.column(column).into_iter().zip(turned.column(column));
                pairs.map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>()
            };
            let deviations = (0..columns.len()).map(|column| variance(column).max(0.0).sqrt()).collect();
            (matrix, deviations)
        });
        Ok(Site { point, columns, norm, baseline })
    }
}

/// Tiles of at most `width` columns, each with the number of its site, in groups of at most as many.
fn together(sites: &[(HookPoint, Range<usize>)], width: usize) -> Vec<Vec<(usize, Range<usize>)>> {
    let mut groups: Vec<Vec<(usize, Range<usize>)>> = Vec::new();
    for (site, (_, columns)) in sites.iter().enumerate() {
        for tile in tiles(columns, width) {
            let size = |group: &Vec<(usize, Range<usize>)>| group.iter().map(|(_, tile)| tile.len()).sum::<usize>();
            match groups.last_mut().filter(|group| size(group) + tile.len() <= width) {
                Some(group) => group.push((site, tile)),
                None => groups.push(vec![(site, tile)]),
            }
        }
    }
    groups
}

/// Covariances of the columns of a site, `[n_columns, n_columns]`.
fn gram(x: &dyn Activations, columns: &Range<usize>, width: usize) -> Result<Array2<f64>, MethodError> {
    let (mut gram, deviations) = correlation_matrix(x, columns, width, |correlation| correlation, &mut |_| Ok(()))?;
    for ((row, column), value) in gram.indexed_iter_mut() {
        *value *= deviations[row] * deviations[column];
    }
    Ok(gram)
}

/// The square root of the sum of squares.
fn norm(gram: &Array2<f64>) -> f64 {
    gram.iter().map(|value| value * value).sum::<f64>().sqrt()
}

fn shifted(range: &Range<usize>, within: &Range<usize>) -> Range<usize> {
    range.start - within.start..range.end - within.start
}

/// The correlations of a tile with a site, and with its baseline.
struct Against {
    values: Array2<f64>,
    /// `[n_columns of the tile, n_columns of the site]`.
    baseline: Option<Array2<f32>>,
}

/// The correlations of tiles with a site, which is read once, and the deviations of the site's columns.
fn against(
    own: &[Packed],
    other: &dyn Activations,
    site: &Site,
    width: usize,
) -> Result<(Vec<Against>, Vec<f64>), MethodError> {
    let zeros = |tile: &Packed| Array2::zeros((tile.columns.len(), site.columns.len()));
    let mut all: Vec<Array2<f64>> = own.iter().map(zeros).collect();
    let mut deviations = Vec::with_capacity(site.columns.len());
    for columns in tiles(&site.columns, width) {
        let b = pack(other, columns)?;
        let place = shifted(&b.columns, &site.columns);
        for (tile, values) in own.iter().zip(&mut all) {
            correlations(tile, &b, values.slice_mut(s![.., place.clone()]));
        }
        deviations.extend(b.deviations);
    }
    let baseline = |values: &Array2<f64>| {
        let (matrix, turned) = site.baseline.as_ref()?;
        let mut scaled = values.mapv(|value| value as f32);
        for (mut column, &deviation) in scaled.axis_iter_mut(Axis(1)).zip(&deviations) {
            column *= deviation as f32;
        }
        let mut baseline = product(&scaled, matrix);
        for (mut column, &deviation) in baseline.axis_iter_mut(Axis(1)).zip(turned) {
            column *= if deviation > 0.0 { (1.0 / deviation) as f32 } else { 0.0 };
        }
        Some(baseline)
    };
    let all = all.into_iter().map(|values| Against { baseline: baseline(&values), values }).collect();
    Ok((all, deviations))
}

/// The sum of squared covariances.
fn squares(tile: &Packed, correlations: &Array2<f64>, deviations: &[f64]) -> f64 {
    let rows = correlations.outer_iter().zip(&tile.deviations);
    let of_row = |row: ndarray::ArrayView1<'_, f64>, own: f64| {
        row.iter().zip(deviations).map(|(value, other)| (value * own * other).powi(2)).sum::<f64>()
    };
    rows.map(|(row, &own)| of_row(row, own)).sum()
}

/// Takes over what is better than what was found before; returns the sum of the largest correlations in size.
fn merge(found: &mut [Option<Found>], other: &dyn Activations, site: &Site, against: &Against) -> f64 {
    let mut sum = 0.0;
    for (idx, (found, row)) in found.iter_mut().zip(against.values.outer_iter()).enumerate() {
        let (mut partner, mut highest) = ((0, 0.0_f64), f64::NEG_INFINITY);
        for (column, &value) in row.iter().enumerate() {
            if value.abs() > partner.1.abs() {
                partner = (column, value);
            }
            highest = highest.max(value);
        }
        sum += partner.1.abs();
        let baseline = against.baseline.as_ref().map(|baseline| {
            baseline.row(idx).iter().fold(f64::NEG_INFINITY, |most, &value| most.max(f64::from(value)))
        });
        let neuron = other.neurons()[site.columns.start + partner.0];
        let here = Found { partner: neuron, correlation: partner.1, highest, baseline };
        *found = Some(match *found {
            None => here,
            Some(before) => Found {
                highest: before.highest.max(here.highest),
                baseline: before.baseline.zip(here.baseline).map(|(a, b)| a.max(b)),
                ..if here.correlation.abs() > before.correlation.abs() { here } else { before }
            },
        });
    }
    sum
}
