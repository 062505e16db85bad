//! Joins of the nearest groups, found along chains of nearest neighbors.
//!
//! A chain goes from a group to the nearest one, until two are nearest to each other; these are joined, and the chain goes
//! on where it was. A group's distances stand in the row of one of its neurons, so that most of them are read in order:
//! only those from groups that were joined later than the row was written stand in the rows of these.

use ndarray::Array2;
use nissl_core::{Context, MethodError};

use super::{Linkage, Merge};

/// Farther than all groups.
pub(super) const FAR: f32 = f32::MAX;

/// Distances of all pairs of neurons, and of the groups that they are joined to.
pub(super) struct Distances {
    /// `[n_neurons, n_neurons]`, far on the diagonal; rows of groups are overwritten.
    rows: Array2<f32>,
    /// The how manyth row to be overwritten each was; none if it was not.
    order: Vec<Option<usize>>,
    /// The rows that were overwritten, in order.
    overwritten: Vec<usize>,
    /// Distances between neurons whose rows were overwritten: of each from those before it.
    lost: Vec<f32>,
}

impl Distances {
    /// Of neurons from each other, symmetric, `[n_neurons, n_neurons]`.
    pub(super) fn new(mut rows: Array2<f32>) -> Self {
        rows.diag_mut().fill(FAR);
        let n = rows.nrows();
        Self { rows, order: vec![None; n], overwritten: Vec::new(), lost: Vec::with_capacity(n * n / 8) }
    }

    /// Bytes that they take at most, with what [`joins`](Self::joins) needs: no more rows are overwritten than pairs of
    /// neurons are joined.
    pub(super) fn n_bytes(n: usize) -> usize {
        (n * n + n * n / 8) * size_of::<f32>()
    }

    /// How many neurons there are.
    pub(super) fn n(&self) -> usize {
        self.rows.nrows()
    }

    /// Of two neurons from each other, whatever was joined.
    pub(super) fn between(&self, i: usize, j: usize) -> f32 {
        match (self.order[i], self.order[j]) {
            (None, _) => self.rows[[i, j]],
            (_, None) => self.rows[[j, i]],
            (Some(a), Some(b)) => self.lost[a.max(b) * (a.max(b) - 1) / 2 + a.min(b)],
        }
    }

    /// Keeps what is in a row of neurons that is to be overwritten.
    fn keep(&mut self, row: usize) {
        if self.order[row].is_none() {
            self.order[row] = Some(self.overwritten.len());
            self.lost.extend(self.overwritten.iter().map(|&before| self.rows[[row, before]]));
            self.overwritten.push(row);
        }
    }

    /// Joins groups until one is left; nearest first.
    ///
    /// # Errors
    /// If the user stops it.
    pub(super) fn joins(&mut self, linkage: Linkage, ctx: Context<'_>) -> Result<Vec<Merge>, MethodError> {
        let n = self.n();
        let n_joins = n.saturating_sub(1);
        let mut groups = Groups {
            first: (0..n).collect(),
            size: vec![1; n],
            written: vec![0; n],
            joined: Vec::new(),
            gone: vec![0.0; n],
        };
        let mut merges = Vec::with_capacity(n_joins);
        let (mut chain, mut own, mut other) = (Vec::new(), vec![0.0; n], vec![0.0; n]);
        ctx.progress.stage("join groups", Some(n_joins as u64), "joins");
        while merges.len() < n_joins {
            if ctx.progress.cancelled() {
                return Err(MethodError::Cancelled);
            }
            let Some(&last) = chain.last() else {
                chain.extend(groups.gone.iter().position(|&gone| gone < FAR));
                continue;
            };
            self.row(last, &groups, &mut own);
            let (group, height) = nearest(&own, chain.len().checked_sub(2).map(|place| chain[place]));
            if chain.len() < 2 || chain[chain.len() - 2] != group {
                chain.push(group);
                continue;
            }
            chain.truncate(chain.len() - 2);
            self.row(group, &groups, &mut other);
            // A row that was overwritten before is lost already.
            let (kept, freed) = if self.order[last].is_some() { (last, group) } else { (group, last) };
            self.keep(kept);
            let share = groups.size[last] as f32 / (groups.size[last] + groups.size[group]) as f32;
            let row = self.rows.row_mut(kept).into_slice().expect("rows are contiguous");
            for ((to, &own), &other) in row.iter_mut().zip(&own).zip(&other) {
                *to = match linkage {
                    Linkage::Average => other + (own - other) * share,
                    Linkage::Complete => own.max(other),
                    Linkage::Single => own.min(other),
                };
            }
            row[kept] = FAR;
            merges.push(groups.join(kept, freed, height, merges.len() + 1));
            ctx.progress.step(merges.len() as u64);
        }
        merges.sort_by(|a, b| a.height.total_cmp(&b.height));
        Ok(merges)
    }

    /// The distances of a group from all others; far where there is none.
    fn row(&self, group: usize, groups: &Groups, out: &mut [f32]) {
        let (n, rows) = (self.n(), self.rows.as_slice().expect("rows are contiguous"));
        let row = &rows[group * n..(group + 1) * n];
        out.iter_mut().zip(row).zip(&groups.gone).for_each(|((to, &distance), &gone)| *to = distance.max(gone));
        let later = groups.joined.partition_point(|&joined| groups.written[joined] <= groups.written[group]);
        groups.joined[later..].iter().for_each(|&joined| out[joined] = rows[joined * n + group]);
    }
}

/// The nearest group; of several, the one before in the chain, which would not end otherwise, or the first.
fn nearest(distances: &[f32], before: Option<usize>) -> (usize, f32) {
    // Side by side: one chain of comparisons would wait for each.
    let mut lanes = [FAR; 16];
    let mut whole = distances.chunks_exact(lanes.len());
    for distances in &mut whole {
        lanes
            .iter_mut()
            .zip(distances)
            .for_each(|(least, &distance)| *least = if distance < *least { distance } else { *least });
    }
    let least = lanes.iter().chain(whole.remainder()).copied().fold(FAR, f32::min);
    let before = before.filter(|&group| distances[group] <= least);
    let group = before.or_else(|| distances.iter().position(|&distance| distance <= least));
    (group.expect("one of the distances is the least"), least)
}

/// The groups that neurons were joined to, each by the neuron in whose row its distances stand.
struct Groups {
    /// Its first neuron.
    first: Vec<usize>,
    /// Its neurons.
    size: Vec<usize>,
    /// How many joins there had been when its row was written.
    written: Vec<usize>,
    /// Groups of several neurons, the latest last.
    joined: Vec<usize>,
    /// Far where there is no group, 0 otherwise.
    gone: Vec<f32>,
}

impl Groups {
    /// Joins two groups; the distances of both stand in the row of the first.
    fn join(&mut self, kept: usize, freed: usize, height: f32, n_joins: usize) -> Merge {
        let (a, b) = (self.first[kept], self.first[freed]);
        self.first[kept] = a.min(b);
        self.size[kept] += self.size[freed];
        self.written[kept] = n_joins;
        self.gone[freed] = FAR;
        self.joined.retain(|&group| group != kept && group != freed);
        self.joined.push(kept);
        Merge { left: a.min(b), right: a.max(b), height: f64::from(height), size: self.size[kept] }
    }
}
