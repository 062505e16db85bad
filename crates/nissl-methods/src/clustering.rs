//! Correlation clustering: groups of neurons that say the same.
//!
//! The distance of two neurons is `1 - |ρ|`, ρ their correlation (`1 - ρ` with the sign kept); a neuron of one value is
//! at distance 1 from all. Groups are joined from the nearest pair on, by the mean, largest or smallest distance of
//! their members, in a chain of nearest neighbors: as many steps as there are pairs, and one distance a pair in memory.
//! Source: Dalvi et al. 2020, "Analyzing Redundancy in Pretrained Transformer Models", arXiv:2004.04010; reference:
//! NeuroX. Its representative of a cluster is drawn at random; ours is the member nearest to the others on average.

use nissl_core::{Activations, Context, MethodError, NeuronId};
use serde::{Deserialize, Serialize};

use crate::correlation::pairs;

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

/// Distances of all pairs.
struct Distances {
    n: usize,
    values: Vec<f32>,
}

impl Distances {
    /// The place of a pair, `i < j`.
    fn at(&self, i: usize, j: usize) -> usize {
        let (i, j) = if i < j { (i, j) } else { (j, i) };
        i * (2 * self.n - i - 1) / 2 + j - i - 1
    }

    fn get(&self, i: usize, j: usize) -> f64 {
        f64::from(self.values[self.at(i, j)])
    }
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
        let n_bytes = n * n.saturating_sub(1) / 2 * size_of::<f32>();
        if n_bytes >= ctx.memory {
            let value = format!("{} bytes", ctx.memory);
            return refuse("memory", value, "4 bytes for every pair of neurons; choose sites, or give more");
        }
        let mut distances = Distances { n, values: vec![1.0; n * n.saturating_sub(1) / 2] };
        let rest = Context { memory: ctx.memory - n_bytes, ..ctx };
        pairs(NAME, x, rest, |i, j, correlation| {
            let near = if self.absolute { correlation.abs() } else { correlation };
            let at = distances.at(i, j);
            // Rounding must not make a distance negative.
            distances.values[at] = (1.0 - near).max(0.0) as f32;
        })?;
        let merges = self.merges(&mut Distances { n, values: distances.values.clone() }, ctx)?;
        Ok(self.cut(x, &distances, merges))
    }

    /// Joins groups along chains of nearest neighbors; a group goes by its first neuron.
    fn merges(&self, distances: &mut Distances, ctx: Context<'_>) -> Result<Vec<Merge>, MethodError> {
        let n = distances.n;
        let mut sizes = vec![1_usize; n];
        let mut active: Vec<usize> = (0..n).collect();
        let (mut chain, mut merges): (Vec<usize>, _) = (Vec::new(), Vec::with_capacity(n.saturating_sub(1)));
        ctx.progress.stage("join groups", Some(n.saturating_sub(1) as u64), "joins");
        while active.len() > 1 {
            if ctx.progress.cancelled() {
                return Err(MethodError::Cancelled);
            }
            if chain.is_empty() {
                chain.push(active[0]);
            }
            let (left, right, height) = loop {
                let last = chain[chain.len() - 1];
                let before = chain.len().checked_sub(2).map(|place| chain[place]);
                // The one before it wins a tie: the chain must come to an end.
                let mut nearest = before.map(|group| (group, distances.get(last, group)));
                for &group in active.iter().filter(|&&group| group != last) {
                    let distance = distances.get(last, group);
                    if nearest.is_none_or(|(_, least)| distance < least) {
                        nearest = Some((group, distance));
                    }
                }
                let Some((group, distance)) = nearest else { unreachable!("two groups are left at least") };
                if Some(group) == before {
                    chain.truncate(chain.len() - 2);
                    break (last.min(group), last.max(group), distance);
                }
                chain.push(group);
            };
            let (a, b) = (sizes[left] as f64, sizes[right] as f64);
            active.retain(|&group| group != right);
            for &group in active.iter().filter(|&&group| group != left) {
                let (to_left, to_right) = (distances.get(left, group), distances.get(right, group));
                let joined = match self.linkage {
                    Linkage::Average => (a * to_left + b * to_right) / (a + b),
                    Linkage::Complete => to_left.max(to_right),
                    Linkage::Single => to_left.min(to_right),
                };
                let at = distances.at(left, group);
                distances.values[at] = joined as f32;
            }
            sizes[left] += sizes[right];
            merges.push(Merge { left, right, height, size: sizes[left] });
            ctx.progress.step(merges.len() as u64);
        }
        merges.sort_by(|a, b| a.height.total_cmp(&b.height));
        Ok(merges)
    }

    /// Clusters are what is joined up to the threshold.
    fn cut(&self, x: &dyn Activations, distances: &Distances, merges: Vec<Merge>) -> Clusters {
        let mut first: Vec<usize> = (0..distances.n).collect();
        for merge in merges.iter().filter(|merge| merge.height <= self.threshold) {
            let (left, right) = (root(&first, merge.left), root(&first, merge.right));
            first[left.max(right)] = left.min(right);
        }
        let mut members: Vec<Vec<usize>> = Vec::new();
        let mut number = vec![None; distances.n];
        let labels = (0..distances.n).map(|neuron| {
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
                members.iter().filter(|&&other| other != one).map(|&other| distances.get(one, other)).sum::<f64>()
            };
            let nearest = members.iter().copied().min_by(|a, b| far(a).total_cmp(&far(b)));
            x.neurons()[nearest.expect("a cluster has a member")]
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
