//! Correlation clustering: groups of neurons that say the same.
//!
//! The distance of two neurons is `1 - |ρ|`, ρ their correlation (`1 - ρ` with the sign kept); a neuron of one value is
//! at distance 1 from all. Groups are joined from the nearest pair on, by the mean, largest or smallest distance of
//! their members, in a chain of nearest neighbors: as many steps as there are pairs, with all distances in memory.
//! Source: Dalvi et al. 2020, "Analyzing Redundancy in Pretrained Transformer Models", arXiv:2004.04010; reference:
//! NeuroX. Its representative of a cluster is drawn at random; ours is the member nearest to the others on average.

use nissl_core::{Activations, Context, MethodError, NeuronId};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use self::chain::Distances;
use crate::correlation::{correlation_matrix, tile_width};

mod chain;
#[cfg(test)]
mod tests;

/// What errors call it.
pub const NAME: &str = "cluster";

/// How far apart two groups are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Linkage {
    /// The mean distance of their members.
    #[default]
    Average,
    /// The largest.
    Complete,
    /// The smallest.
    Single,
}

/// How neurons are clustered.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Clustering {
    /// Distance up to which groups are joined, 0 to 2.
    pub threshold: f64,
    /// Whether neurons of opposite sign are near each other.
    pub absolute: bool,
    /// How far apart two groups are.
    pub linkage: Linkage,
}

impl Default for Clustering {
    fn default() -> Self {
        Self { threshold: 0.5, absolute: true, linkage: Linkage::Average }
    }
}

/// Groups of neurons.
#[derive(Clone, Debug, PartialEq)]
pub struct Clusters {
    /// The cluster of each neuron; clusters are numbered in the order of their first neurons.
    pub labels: Vec<u32>,
    /// Members of each cluster, by place, ascending.
    pub members: Vec<Vec<usize>>,
    /// The member of each cluster that is nearest to the others on average.
    pub representatives: Vec<NeuronId>,
    /// How groups were joined, nearest first, `[n_neurons - 1]`.
    pub merges: Vec<Merge>,
}

/// Two groups that were joined.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Merge {
    /// The first neuron of one, by place.
    pub left: usize,
    /// The first neuron of the other, by place, which comes after it.
    pub right: usize,
    /// Their distance.
    pub height: f64,
    /// Neurons of both.
    pub size: usize,
}

impl Clustering {
    /// Clusters the neurons.
    ///
    /// # Errors
    /// If the threshold is out of range, memory is short of a distance for every pair, an activation is not finite, or
    /// the user stops it.
    pub fn cluster(&self, x: &dyn Activations, ctx: Context<'_>) -> Result<Clusters, MethodError> {
        let refuse = |name, value, expected| Err(MethodError::Parameter { method: NAME, name, value, expected });
        if !(0.0..=2.0).contains(&self.threshold) {
            return refuse("threshold", self.threshold.to_string(), "0 to 2");
        }
        let n = x.neurons().len();
        let n_bytes = Distances::n_bytes(n);
        if n_bytes >= ctx.memory {
            let value = format!("{} bytes", ctx.memory);
            return refuse("memory", value, "9 bytes for every pair of neurons; choose sites, or give more");
        }
        let width = tile_width(NAME, size_of::<f32>() * x.n_tokens(), ctx.memory - n_bytes)?;
        ctx.progress.stage("correlations", Some((n * n / 2) as u64), "pairs of neurons");
        let mut step = |done: usize| {
            ctx.progress.step(done as u64);
            if ctx.progress.cancelled() { Err(MethodError::Cancelled) } else { Ok(()) }
        };
        let distance = |correlation: f64| {
            let near = if self.absolute { correlation.abs() } else { correlation };
            // Rounding must not make a distance negative.
            (1.0 - near).max(0.0) as f32
        };
        let (distances, _) = correlation_matrix(x, &(0..n), width, distance, &mut step)?;
        let mut distances = Distances::new(distances);
        let merges = distances.joins(self.linkage, ctx)?;
        Ok(self.cut(x, &distances, merges))
    }

    /// Clusters are what is joined up to the threshold.
    fn cut(&self, x: &dyn Activations, distances: &Distances, merges: Vec<Merge>) -> Clusters {
        let mut first: Vec<usize> = (0..distances.n()).collect();
        for merge in merges.iter().filter(|merge| merge.height <= self.threshold) {
            let (left, right) = (root(&first, merge.left), root(&first, merge.right));
            first[left.max(right)] = left.min(right);
        }
        let mut members: Vec<Vec<usize>> = Vec::new();
        let mut number = vec![None; distances.n()];
        let labels = (0..distances.n()).map(|neuron| {
            let cluster = *number[root(&first, neuron)].get_or_insert_with(|| {
                members.push(Vec::new());
                members.len() - 1
            });
            members[cluster].push(neuron);
            cluster as u32
        });
        let labels = labels.collect();
        let medoid = |members: &Vec<usize>| {
            let far = |&one: &usize| {
                let others = members.iter().filter(|&&other| other != one);
                others.map(|&other| f64::from(distances.between(one, other))).sum::<f64>()
            };
            let far: Vec<f64> = members.par_iter().map(far).collect();
            let nearest = members.iter().zip(far).min_by(|(_, a), (_, b)| a.total_cmp(b));
            x.neurons()[*nearest.expect("a cluster has a member").0]
        };
        let representatives = members.iter().map(medoid).collect();
        Clusters { labels, members, representatives, merges }
    }
}

/// The first neuron of a group.
fn root(first: &[usize], neuron: usize) -> usize {
    let mut at = neuron;
    while first[at] != at {
        at = first[at];
    }
    at
}
