//! Groups of neurons of a store that say the same.

use std::path::PathBuf;

use nissl_core::{Activations, Context, NeuronId, Progress};
use nissl_methods::clustering::{Clustering, Clusters, Linkage, Merge};
use nissl_methods::kmeans::KMeans;
use serde::{Deserialize, Serialize};

use crate::error::TaskError;
use crate::output::write_json;
use crate::report::{Head, head};
use crate::select::recorded;
use crate::tasks::extract::StoreSummary;
use crate::tasks::rank::open_store;

/// One sentence about the task.
pub const SUMMARY: &str = "Group the neurons of a store that say the same";

/// What to cluster.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Folder of the store.
    pub store: PathBuf,
    /// Only these sites; all that are recorded if empty.
    pub sites: Vec<String>,
    /// Distance, 1 less the correlation's size, up to which groups are joined.
    pub threshold: f64,
    /// Keep neurons of opposite sign apart.
    pub signed: bool,
    /// How far apart two groups are.
    pub linkage: Linkage,
    /// So many clusters by k-means, instead of what lies within a distance.
    pub k: Option<usize>,
    /// Beginnings of k-means.
    pub restarts: usize,
    /// Seed of k-means.
    pub seed: u64,
    /// Largest clusters in the report; all of them with `out`.
    pub top: usize,
    /// A file for all clusters, their representatives and the tree of joins, as JSON.
    pub out: Option<PathBuf>,
    /// Bytes for activations and distances.
    pub memory: usize,
}

impl Default for Config {
    fn default() -> Self {
        let Clustering { threshold, linkage, .. } = Clustering::default();
        let KMeans { restarts, seed, .. } = KMeans::default();
        let (store, sites, out) = (PathBuf::new(), Vec::new(), None);
        let (k, signed, top, memory) = (None, false, 10, Context::MEMORY);
        Self { store, sites, threshold, signed, linkage, k, restarts, seed, top, out, memory }
    }
}

/// The clusters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Task, version and config.
    #[serde(flatten)]
    pub head: Head<Config>,
    /// The store.
    pub store: StoreSummary,
    /// Number of neurons.
    pub neurons: usize,
    /// Number of clusters, neurons that are alone among them.
    pub clusters: usize,
    /// Neurons that are alone.
    pub alone: usize,
    /// Clusters of several neurons by the layers that they reach over: from the first member's to the last one's.
    pub windows: Vec<Window>,
    /// With k-means, the sum of squared distances of neurons, standardized, from the means of their clusters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inertia: Option<f64>,
    /// The largest clusters.
    pub largest: Vec<Cluster>,
}

/// Clusters that reach over so many layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// Layers, from 1.
    pub layers: usize,
    /// Clusters.
    pub clusters: usize,
}

/// Neurons that say the same.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cluster {
    /// The member nearest to the others on average.
    pub name: NeuronId,
    /// All members.
    pub members: Vec<NeuronId>,
}

/// What is written into the file.
#[derive(Serialize)]
struct Written<'a> {
    neurons: &'a [NeuronId],
    labels: &'a [u32],
    clusters: &'a [Cluster],
    merges: &'a [Merge],
}

/// Clusters.
///
/// # Errors
/// If the store cannot be read, a site is not there, memory is short of a distance for every pair, or the user stops it.
pub fn run(config: &Config, progress: &dyn Progress) -> Result<Report, TaskError> {
    let store = open_store(&config.store)?;
    let x = recorded(&store, &config.sites)?;
    let ctx = Context { memory: config.memory, progress };
    let (found, inertia) = if let Some(clusters) = config.k {
        let how = KMeans { clusters, restarts: config.restarts, seed: config.seed, ..KMeans::default() };
        let found = how.cluster(&x, ctx)?;
        (found.clusters, found.inertia.last().copied())
    } else {
        let Config { threshold, signed, linkage, .. } = *config;
        (Clustering { threshold, absolute: !signed, linkage }.cluster(&x, ctx)?, None)
    };
    let named = clusters(&found, x.neurons());
    if let Some(out) = &config.out {
        let (labels, merges) = (&found.labels, &found.merges);
        write_json(out, &Written { neurons: x.neurons(), labels, clusters: &named, merges })?;
    }
    let n_clusters = named.len();
    let windows = windows(&named);
    let mut largest: Vec<Cluster> = named.into_iter().filter(|cluster| cluster.members.len() > 1).collect();
    let alone = n_clusters - largest.len();
    largest.sort_by_key(|cluster| std::cmp::Reverse(cluster.members.len()));
    largest.truncate(config.top);
    let store = StoreSummary::of(&config.store, &store);
    let neurons = x.neurons().len();
    Ok(Report { head: head("cluster", config), store, neurons, clusters: n_clusters, alone, windows, inertia, largest })
}

fn clusters(found: &Clusters, neurons: &[NeuronId]) -> Vec<Cluster> {
    let both = found.members.iter().zip(&found.representatives);
    both.map(|(members, &name)| Cluster { name, members: members.iter().map(|&idx| neurons[idx]).collect() }).collect()
}

/// How many layers clusters of several neurons reach over.
fn windows(clusters: &[Cluster]) -> Vec<Window> {
    let mut counts: Vec<usize> = Vec::new();
    for Cluster { members, .. } in clusters.iter().filter(|cluster| cluster.members.len() > 1) {
        let layers = members.iter().filter_map(|neuron| neuron.point.layer());
        let (Some(first), Some(last)) = (layers.clone().min(), layers.max()) else { continue };
        let n = usize::from(last - first);
        counts.resize(counts.len().max(n + 1), 0);
        counts[n] += 1;
    }
    counts.into_iter().enumerate().map(|(n, clusters)| Window { layers: n + 1, clusters }).collect()
}

#[cfg(test)]
mod tests;
