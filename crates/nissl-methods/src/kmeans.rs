//! k-means over neurons: a fixed number of groups whose activations are near their mean.
//!
//! A neuron is the vector of its standardized activations over all rows (or of the activations themselves). Centers are
//! drawn as k-means++ does, each in proportion to the squared distance from those before it; then neurons go to their
//! nearest center and centers to the mean of their neurons, until nothing changes. The best of several beginnings is
//! kept: the one whose inertia, the sum of squared distances to the nearest center, is least. A center that has lost all
//! its neurons takes the neuron that is farthest from its own. Columns are read tile by tile, centers are held.
//! Sources: Arthur and Vassilvitskii 2007, "k-means++: The Advantages of Careful Seeding"; for groups of neurons that are
//! ablated together, Meyes et al. 2020, "Under the Hood of Neural Networks", arXiv:2004.01254.

use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, Axis, ShapeBuilder, s};
use nissl_core::{Activations, Context, MethodError};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::clustering::Clusters;
use crate::correlation::{read, tile_width, tiles};
use crate::random::{Random, mix};

#[cfg(test)]
mod tests;

/// What errors call it.
pub const NAME: &str = "cluster";

/// How neurons are grouped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KMeans {
    /// Groups.
    pub clusters: usize,
    /// Beginnings.
    pub restarts: usize,
    /// Rounds of a beginning, at most.
    pub rounds: usize,
    /// Whether activations are standardized first, so that groups are of neurons that rise and fall together.
    pub standardize: bool,
    /// Seed of the beginnings.
    pub seed: u64,
}

impl Default for KMeans {
    fn default() -> Self {
        Self { clusters: 10, restarts: 10, rounds: 300, standardize: true, seed: 0 }
    }
}

/// Groups, and how near their neurons are to them.
#[derive(Clone, Debug, PartialEq)]
pub struct Grouped {
    /// The groups; the representative is the neuron nearest to the center, and nothing was merged.
    pub clusters: Clusters,
    /// Inertia after each round of the best beginning.
    pub inertia: Vec<f64>,
}

/// Where the neurons of a beginning stand.
struct Standing {
    /// The group of each neuron.
    labels: Vec<usize>,
    /// Its squared distance from the center.
    distances: Vec<f64>,
    inertia: Vec<f64>,
}

impl KMeans {
    /// Groups the neurons.
    ///
    /// # Errors
    /// If there are more groups than neurons, or none, memory is short of the centers and a tile, an activation is not
    /// finite, or the user stops it.
    pub fn cluster(&self, x: &dyn Activations, ctx: Context<'_>) -> Result<Grouped, MethodError> {
        let refuse =
            |name, value: String, expected| Err(MethodError::Parameter { method: NAME, name, value, expected });
        let (n_rows, n) = (x.n_tokens(), x.neurons().len());
        if self.clusters == 0 || self.clusters > n {
            return refuse("clusters", self.clusters.to_string(), "1 at least, as many as there are neurons at most");
        }
        for (name, count) in [("restarts", self.restarts), ("rounds", self.rounds)] {
            if count == 0 {
                return refuse(name, "0".to_owned(), "at least 1");
            }
        }
        // Centers in 32 bits, and their sums in 64.
        let n_bytes = self.clusters * n_rows * (size_of::<f32>() + size_of::<f64>());
        if n_bytes >= ctx.memory {
            let value = format!("{} bytes", ctx.memory);
            return refuse("memory", value, "12 bytes for every row and group at least; ask for fewer groups");
        }
        let width =
            tile_width(NAME, size_of::<f32>() * n_rows + size_of::<f64>() * self.clusters, ctx.memory - n_bytes)?;
        let points = Points { how: self, x, ctx, width, kept: None }.keep_if_small()?;
        ctx.progress.stage("k-means", Some(self.restarts as u64), "beginnings");
        let mut best: Option<Standing> = None;
        for restart in 0..self.restarts {
            let standing = points.settle(mix(self.seed ^ mix(restart as u64)))?;
            let inertia = |standing: &Standing| standing.inertia.last().copied().unwrap_or(f64::INFINITY);
            if best.as_ref().is_none_or(|best| inertia(&standing) < inertia(best)) {
                best = Some(standing);
            }
            ctx.progress.step(restart as u64 + 1);
        }
        let best = best.expect("there is a beginning at least");
        Ok(Grouped { clusters: grouped(&best, x), inertia: best.inertia })
    }
}

/// Neurons as points.
struct Points<'a> {
    how: &'a KMeans,
    x: &'a dyn Activations,
    ctx: Context<'a>,
    width: usize,
    /// All of them, where one tile has room.
    kept: Option<Array2<f32>>,
}

impl Points<'_> {
    fn keep_if_small(mut self) -> Result<Self, MethodError> {
        let n = self.x.neurons().len();
        if n <= self.width {
            self.kept = Some(self.tile(0..n)?);
        }
        Ok(self)
    }

    /// The points of some neurons, `[n_rows, n_columns]`, column by column.
    fn tile(&self, columns: std::ops::Range<usize>) -> Result<Array2<f32>, MethodError> {
        if self.how.standardize {
            return Ok(read(self.x, columns)?.z);
        }
        let n_rows = self.x.n_tokens();
        let mut values = Array2::zeros((n_rows, columns.len()).f());
        self.x.read(0..n_rows, columns.clone(), values.view_mut())?;
        for (column, values) in columns.zip(values.axis_iter(Axis(1))) {
            if let Some((row, &value)) = values.iter().enumerate().find(|(_, value)| !value.is_finite()) {
                return Err(MethodError::NotFinite { neuron: self.x.neurons()[column], row, value });
            }
        }
        Ok(values)
    }

    /// Shows all points, tile by tile.
    fn each(&self, mut take: impl FnMut(usize, &Array2<f32>)) -> Result<(), MethodError> {
        if let Some(all) = &self.kept {
            take(0, all);
            return Ok(());
        }
        for columns in tiles(&(0..self.x.neurons().len()), self.width) {
            self.go_on()?;
            let first = columns.start;
            take(first, &self.tile(columns)?);
        }
        Ok(())
    }

    fn go_on(&self) -> Result<(), MethodError> {
        if self.ctx.progress.cancelled() { Err(MethodError::Cancelled) } else { Ok(()) }
    }

    /// One neuron's point.
    fn point(&self, neuron: usize) -> Result<Array2<f32>, MethodError> {
        match &self.kept {
            Some(all) => Ok(all.slice(s![.., neuron..=neuron]).to_owned()),
            None => self.tile(neuron..neuron + 1),
        }
    }

    /// Centers as k-means++ draws them, `[n_rows, n_clusters]`.
    fn begin(&self, random: &mut Random) -> Result<Array2<f32>, MethodError> {
        let n = self.x.neurons().len();
        let mut centers = Array2::zeros((self.x.n_tokens(), self.how.clusters).f());
        let mut nearest = vec![f64::INFINITY; n];
        let mut chosen = random.below(n);
        for cluster in 0..self.how.clusters {
            self.go_on()?;
            let center = self.point(chosen)?;
            centers.slice_mut(s![.., cluster..=cluster]).assign(&center);
            self.each(|first, tile| {
                for (idx, distance) in distances(tile, &center).column(0).iter().enumerate() {
                    nearest[first + idx] = nearest[first + idx].min(*distance);
                }
            })?;
            nearest[chosen] = 0.0;
            let total: f64 = nearest.iter().sum();
            let mut left = random.uniform() * total;
            // Where all points are centers, the next is any.
            chosen = random.below(n);
            if total > 0.0 {
                let far = nearest.iter().position(|&distance| {
                    left -= distance;
                    left < 0.0 && distance > 0.0
                });
                let last = || nearest.iter().rposition(|&distance| distance > 0.0);
                chosen = far.or_else(last).unwrap_or(chosen);
            }
        }
        Ok(centers)
    }

    /// From a beginning until nothing changes.
    fn settle(&self, seed: u64) -> Result<Standing, MethodError> {
        let n = self.x.neurons().len();
        let mut centers = self.begin(&mut Random::new(seed))?;
        let mut standing = Standing { labels: vec![usize::MAX; n], distances: vec![0.0; n], inertia: Vec::new() };
        for _ in 0..self.how.rounds {
            self.go_on()?;
            let mut labels = vec![0; n];
            self.each(|first, tile| {
                for (idx, row) in distances(tile, &centers).outer_iter().enumerate() {
                    let nearest = row.iter().enumerate().min_by(|(_, a), (_, b)| a.total_cmp(b));
                    let (label, &distance) = nearest.expect("there is a center");
                    (labels[first + idx], standing.distances[first + idx]) = (label, distance);
                }
            })?;
            self.fill_empty(&mut labels, &mut standing.distances);
            standing.inertia.push(standing.distances.iter().sum());
            if labels == standing.labels {
                break;
            }
            standing.labels = labels;
            centers = self.means(&standing.labels)?;
        }
        Ok(standing)
    }

    /// Gives groups without a neuron the one farthest from its center, of a group that has others.
    fn fill_empty(&self, labels: &mut [usize], distances: &mut [f64]) {
        let mut sizes = vec![0_usize; self.how.clusters];
        for &label in labels.iter() {
            sizes[label] += 1;
        }
        for empty in 0..self.how.clusters {
            if sizes[empty] > 0 {
                continue;
            }
            let may_go = (0..labels.len()).filter(|&idx| sizes[labels[idx]] > 1);
            let far = may_go.max_by(|&a, &b| distances[a].total_cmp(&distances[b]).then(b.cmp(&a)));
            let far = far.expect("there are as many neurons as groups");
            sizes[labels[far]] -= 1;
            sizes[empty] = 1;
            (labels[far], distances[far]) = (empty, 0.0);
        }
    }

    /// The mean of each group, `[n_rows, n_clusters]`.
    fn means(&self, labels: &[usize]) -> Result<Array2<f32>, MethodError> {
        let mut sizes = vec![0.0_f64; self.how.clusters];
        for &label in labels {
            sizes[label] += 1.0;
        }
        let mut sums = Array2::<f64>::zeros((self.x.n_tokens(), self.how.clusters).f());
        self.each(|first, tile| {
            let columns: Vec<_> = sums.axis_iter_mut(Axis(1)).collect();
            columns.into_par_iter().enumerate().for_each(|(cluster, mut sum)| {
                for (idx, column) in tile.axis_iter(Axis(1)).enumerate() {
                    if labels[first + idx] == cluster {
                        sum.zip_mut_with(&column, |sum, &value| *sum += f64::from(value));
                    }
                }
            });
        })?;
        let mut means = Array2::zeros(sums.raw_dim().f());
        for ((mut mean, sum), size) in means.axis_iter_mut(Axis(1)).zip(sums.axis_iter(Axis(1))).zip(sizes) {
            mean.zip_mut_with(&sum, |mean: &mut f32, &sum| *mean = (sum / size.max(1.0)) as f32);
        }
        Ok(means)
    }
}

/// Squared distances of points, columns of `tile`, from centers, `[n_columns, n_clusters]`.
fn distances(tile: &Array2<f32>, centers: &Array2<f32>) -> Array2<f64> {
    let squares = |of: &Array2<f32>| -> Vec<f64> {
        let columns: Vec<_> = of.axis_iter(Axis(1)).collect();
        columns.into_par_iter().map(|column| column.iter().map(|&value| f64::from(value).powi(2)).sum()).collect()
    };
    let (own, theirs) = (squares(tile), squares(centers));
    let mut out = Array2::<f64>::zeros((tile.ncols(), centers.ncols()));
    let chunks: Vec<_> = out.axis_chunks_iter_mut(Axis(0), crate::correlation::COLUMNS).collect();
    chunks.into_par_iter().enumerate().for_each(|(chunk, mut out)| {
        let first = chunk * crate::correlation::COLUMNS;
        let columns = first..first + out.nrows();
        let mut product = Array2::<f32>::zeros(out.dim());
        // Sums of 32-bit products over some rows, added in 64 bits, as for correlations.
        for first in (0..tile.nrows()).step_by(2048) {
            let rows = first..tile.nrows().min(first + 2048);
            let left = tile.slice(s![rows.clone(), columns.clone()]);
            general_mat_mul(1.0, &left.t(), &centers.slice(s![rows, ..]), 0.0, &mut product);
            out.zip_mut_with(&product, |sum, &value| *sum += f64::from(value));
        }
        for (mut row, own) in out.outer_iter_mut().zip(&own[columns]) {
            row.iter_mut().zip(&theirs).for_each(|(value, theirs)| *value = (own + theirs - 2.0 * *value).max(0.0));
        }
    });
    out
}

/// The groups in the order of their first neurons.
fn grouped(standing: &Standing, x: &dyn Activations) -> Clusters {
    let mut number = std::collections::BTreeMap::new();
    let mut members: Vec<Vec<usize>> = Vec::new();
    let mut labels = Vec::with_capacity(standing.labels.len());
    for (neuron, label) in standing.labels.iter().enumerate() {
        let cluster = *number.entry(label).or_insert(members.len());
        if cluster == members.len() {
            members.push(Vec::new());
        }
        members[cluster].push(neuron);
        labels.push(cluster as u32);
    }
    let nearest = |members: &Vec<usize>| {
        let least = members.iter().copied().min_by(|&a, &b| standing.distances[a].total_cmp(&standing.distances[b]));
        x.neurons()[least.expect("a group has a neuron")]
    };
    let representatives = members.iter().map(nearest).collect();
    Clusters { labels, members, representatives, merges: Vec::new() }
}
