//! Sets of neurons as the user gives them.

use std::path::Path;

use nissl_core::{HookPoint, ModelInfo, NeuronId, Ranking, Site};
use serde::Deserialize;

use crate::edit_text;
use crate::error::TaskError;
use crate::ranking_file::load_ranking;
use crate::select::select;
use crate::tasks::cluster::Cluster;

/// Neurons that are removed or moved together.
pub(crate) struct Set {
    pub(crate) name: String,
    pub(crate) neurons: Vec<NeuronId>,
}

/// Which sets are meant.
#[derive(Clone, Copy, Default)]
pub(crate) struct Sets<'a> {
    /// Neurons: `3.mlp_post[42,50-59]`, `0.attn_z[h3]`, `5.mlp_post`, several joined by ` + `.
    pub(crate) named: &'a [String],
    /// Sites of which every layer is a set: `mlp_post`, `2-4.attn_z`.
    pub(crate) layers: &'a [String],
    /// Whether every attention head is a set.
    pub(crate) heads: bool,
    /// Sites of which every neuron is a set.
    pub(crate) units: &'a [String],
}

impl Sets<'_> {
    /// Whether nothing is meant.
    pub(crate) fn is_empty(&self) -> bool {
        self.named.is_empty() && self.layers.is_empty() && !self.heads && self.units.is_empty()
    }

    /// The sets of a model.
    ///
    /// # Errors
    /// If one is not written as above, or is not of the model.
    pub(crate) fn of(&self, info: &ModelInfo) -> Result<Vec<Set>, TaskError> {
        let mut sets = Vec::new();
        for text in self.named {
            let mut neurons = Vec::new();
            for part in text.split(" + ") {
                neurons.extend(edit_text::neurons(part, info)?);
            }
            neurons.sort_unstable();
            neurons.dedup();
            sets.push(Set { name: text.clone(), neurons });
        }
        let points: Vec<HookPoint> = info.points().map(|(point, _)| point).collect();
        let chosen =
            |specs: &[String]| if specs.is_empty() { Ok(Vec::new()) } else { select(&info.name, &points, specs) };
        for point in chosen(self.layers)? {
            sets.push(Set::named(edit_text::point_name(point), info)?);
        }
        if self.heads {
            for point in points.iter().filter(|point| point.site() == Site::AttnZ) {
                for head in 0..info.n_heads {
                    sets.push(Set::named(format!("{}[h{head}]", edit_text::point_name(*point)), info)?);
                }
            }
        }
        for point in chosen(self.units)? {
            let name = edit_text::point_name(point);
            let neurons = edit_text::neurons(&name, info)?;
            sets.extend(
                neurons
                    .into_iter()
                    .map(|neuron| Set { name: format!("{name}[{}]", neuron.idx), neurons: vec![neuron] }),
            );
        }
        Ok(sets)
    }
}

impl Set {
    fn named(name: String, info: &ModelInfo) -> Result<Self, TaskError> {
        Ok(Self { neurons: edit_text::neurons(&name, info)?, name })
    }
}

/// The file of a cluster task, as far as sets are made of it.
#[derive(Deserialize)]
struct ClusterFile {
    clusters: Vec<Cluster>,
}

/// The clusters of several neurons in the file of a cluster task, the largest first, `most` at most.
///
/// # Errors
/// If the file cannot be read, is none of a cluster task, or has a neuron that the model has not.
pub(crate) fn clusters(path: &Path, most: usize, info: &ModelInfo) -> Result<Vec<Set>, TaskError> {
    let failed = |source| TaskError::Io { action: "read", path: path.to_owned(), source };
    let bytes = std::fs::read(path).map_err(failed)?;
    let refuse = |expected: &str, got: String| {
        Err(TaskError::Format { path: path.to_owned(), expected: expected.to_owned(), got })
    };
    let mut found = match serde_json::from_slice::<ClusterFile>(&bytes) {
        Ok(file) => file.clusters,
        Err(err) => return refuse("the clusters that nissl cluster --out writes", err.to_string()),
    };
    found.retain(|cluster| cluster.members.len() > 1);
    found.sort_by_key(|cluster| std::cmp::Reverse(cluster.members.len()));
    found.truncate(most);
    let mut sets = Vec::with_capacity(found.len());
    for Cluster { name, mut members } in found {
        let known = |neuron: &NeuronId| info.width(neuron.point).is_some_and(|width| (neuron.idx as usize) < width);
        if let Some(neuron) = members.iter().find(|neuron| !known(neuron)) {
            return refuse(&format!("neurons of {}", info.name), neuron.to_string());
        }
        members.sort_unstable();
        members.dedup();
        sets.push(Set {
            name: format!("cluster of {}[{}]", edit_text::point_name(name.point), name.idx),
            neurons: members,
        });
    }
    Ok(sets)
}

/// The ranking of a concept in a file, or of its first one, with the concept's name.
pub(crate) fn ranking(path: &Path, concept: Option<&str>) -> Result<(String, Ranking), TaskError> {
    let scores = load_ranking(path)?;
    let idx = match concept {
        None => 0,
        Some(name) => scores.concept(name).ok_or_else(|| {
            let names: Vec<&str> = scores.concepts().iter().map(|concept| concept.name.as_str()).collect();
            TaskError::config("concept", format!("one of {}", names.join(", ")), name)
        })?,
    };
    let name = scores.concepts().get(idx).map(|concept| concept.name.clone());
    let name = name.ok_or_else(|| TaskError::config("ranking", "a ranking of a concept", "one of none"))?;
    Ok((name, scores.ranking(idx)))
}
