//! Newton's method for sparse weights: the weights of one output after the other, each time those that may differ from 0.
//!
//! With all other outputs as they are, a softmax is a sigmoid with an offset, so that every loss is one of a single output.
//! Its quadratic model has the exact curvature of every row; rows whose curvature is far below the usual are left out of
//! the products of neurons, which changes how fast the minimum is reached, not where it is.

use std::borrow::Cow;

use nissl_core::MethodError;
use rayon::prelude::*;

use super::loss::{CHUNK, Loss};
use super::quadratic::{Quadratic, dot};
use super::solver::{Fit, Penalty, Solver};

/// Neurons of an output whose products are known; those of different blocks take turns.
const BLOCK: usize = 512;
/// Neurons that an output gets at once, at least.
const AT_ONCE: usize = 64;
/// Share of the curvature that may move before products are made again.
const STALE: f64 = 0.25;

/// Weights of one output that move together.
struct Block {
    output: usize,
    columns: Vec<usize>,
    quadratic: Option<Quadratic>,
}

/// The weights that may differ from 0, and what is known of them.
pub(super) struct Newton<'s, 'a> {
    solver: &'s Solver<'a>,
    blocks: Vec<Block>,
    /// Columns in use, where the matrix itself is not in memory.
    kept: Vec<Option<Vec<f32>>>,
}

/// Outputs, one column each.
struct Outputs {
    z: Vec<Vec<f64>>,
    /// Exponentials of the outputs less `top`; empty where the loss is not a softmax.
    e: Vec<Vec<f64>>,
    /// The largest output of each row when the step began.
    top: Vec<f64>,
}

impl<'s, 'a> Newton<'s, 'a> {
    pub(super) fn new(solver: &'s Solver<'a>) -> Self {
        Self { solver, blocks: Vec::new(), kept: vec![None; solver.design.n_columns()] }
    }

    fn n(&self) -> usize {
        self.solver.design.n_fit()
    }

    /// The rows of a column that are fitted on.
    fn column(&self, column: usize) -> Result<Cow<'_, [f32]>, MethodError> {
        let n = self.n();
        if let Some(kept) = &self.kept[column] {
            return Ok(Cow::Borrowed(&kept[..n]));
        }
        Ok(match self.solver.design.gathered(&[column])? {
            Cow::Borrowed(values) => Cow::Borrowed(&values[..n]),
            Cow::Owned(mut values) => {
                values.truncate(n);
                Cow::Owned(values)
            }
        })
    }

    /// Gives every output the neurons that are not 0 and should not be at slopes `v`, the steepest first; whether there are
    /// new ones, and whether there are more than it got.
    pub(super) fn grow(&mut self, v: &[f64], weights: &[f64], l1: f64) -> Result<(bool, bool), MethodError> {
        let (d, k) = (self.solver.design.n_columns(), self.solver.k);
        let mut before = std::mem::take(&mut self.blocks);
        let (mut new, mut more) = (false, false);
        for output in self.in_turn(v) {
            let mut is_in = vec![false; d];
            for block in before.iter().filter(|block| block.output == output) {
                block.columns.iter().for_each(|&column| is_in[column] = true);
            }
            // Those that have become 0 and are far from becoming anything else leave.
            let stays = |column: usize| weights[column * k + output] != 0.0 || v[column * k + output].abs() > 0.8 * l1;
            let mut columns: Vec<usize> = (0..d)
                .filter(|&column| weights[column * k + output] != 0.0 || (is_in[column] && stays(column)))
                .collect();
            let mut wanted: Vec<(f64, usize)> = (0..d)
                .map(|column| (v[column * k + output].abs(), column))
                .filter(|&(slope, column)| slope > l1 && !is_in[column] && weights[column * k + output] == 0.0)
                .collect();
            wanted.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
            let most = columns.len().max(AT_ONCE);
            more |= wanted.len() > most;
            wanted.truncate(most);
            new |= !wanted.is_empty();
            columns.extend(wanted.into_iter().map(|(_, column)| column));
            columns.sort_unstable();
            if columns.is_empty() {
                // The bias moves alone.
                self.blocks.push(Block { output, columns, quadratic: None });
                continue;
            }
            for columns in columns.chunks(BLOCK) {
                let same = |block: &&mut Block| block.output == output && block.columns == columns;
                let quadratic = before.iter_mut().find(same).and_then(|block| block.quadratic.take());
                self.blocks.push(Block { output, columns: columns.to_vec(), quadratic });
            }
        }
        self.keep()?;
        Ok((new, more))
    }

    /// The outputs, those of fewer rows first: not by their places, so that the order of concepts does not matter.
    fn in_turn(&self, v: &[f64]) -> Vec<usize> {
        let (k, targets) = (self.solver.k, self.solver.objective.targets);
        let key = |output: usize| {
            let rows: f64 = (0..targets.len()).map(|row| targets.value(row, output)).sum();
            let slopes: f64 = v.iter().skip(output).step_by(k).sum();
            (rows, slopes)
        };
        let keys: Vec<(f64, f64)> = (0..k).map(key).collect();
        let mut outputs: Vec<usize> = (0..k).collect();
        outputs.sort_by(|&a, &b| keys[a].0.total_cmp(&keys[b].0).then(keys[a].1.total_cmp(&keys[b].1)));
        outputs
    }

    /// Reads the columns in use, as many as there is room for.
    fn keep(&mut self) -> Result<(), MethodError> {
        let design = self.solver.design;
        if design.is_held() {
            return Ok(());
        }
        let mut used = vec![false; self.kept.len()];
        self.blocks.iter().flat_map(|block| &block.columns).for_each(|&column| used[column] = true);
        self.kept.iter_mut().zip(&used).filter(|(_, used)| !**used).for_each(|(kept, _)| *kept = None);
        let room = design.ctx().memory / 5 * 2 / (self.n().max(1) * size_of::<f32>());
        let mut held = self.kept.iter().flatten().count();
        for column in (0..used.len()).filter(|&column| used[column]) {
            if held >= room {
                break;
            }
            if self.kept[column].is_none() {
                design.go_on()?;
                self.kept[column] = Some(self.column(column)?.into_owned());
                held += 1;
            }
        }
        Ok(())
    }

    /// The outputs `[N, K]` of a fit, from the weights that are not 0.
    pub(super) fn outputs(&self, fit: &Fit) -> Result<Vec<f64>, MethodError> {
        let k = self.solver.k;
        let mut z = vec![0.0; self.n() * k];
        for output in 0..k {
            let columns: Vec<usize> =
                (0..self.kept.len()).filter(|&column| fit.weights[column * k + output] != 0.0).collect();
            let weights: Vec<f64> = columns.iter().map(|&column| fit.weights[column * k + output]).collect();
            let of_output = self.product(&columns, &weights, fit.bias[output])?;
            z.iter_mut().skip(output).step_by(k).zip(of_output).for_each(|(z, value)| *z = value);
        }
        Ok(z)
    }

    /// `shift` plus the sum of some columns by their weights, `[N]`: single precision within a piece, double between.
    fn product(&self, columns: &[usize], weights: &[f64], shift: f64) -> Result<Vec<f64>, MethodError> {
        const PIECE: usize = 32;
        let mut sum = vec![shift; self.n()];
        for (columns, weights) in columns.chunks(PIECE).zip(weights.chunks(PIECE)) {
            let values = columns.iter().map(|&column| self.column(column)).collect::<Result<Vec<_>, _>>()?;
            sum.par_chunks_mut(CHUNK).enumerate().for_each(|(chunk, sum)| {
                let mut part = [0.0_f32; CHUNK];
                let rows = chunk * CHUNK..chunk * CHUNK + sum.len();
                for (column, &weight) in values.iter().zip(weights).filter(|(_, weight)| **weight != 0.0) {
                    let weight = weight as f32;
                    part.iter_mut().zip(&column[rows.clone()]).for_each(|(part, x)| *part += weight * x);
                }
                sum.iter_mut().zip(part).for_each(|(sum, part)| *sum += part as f64);
            });
        }
        Ok(sum)
    }

    /// Every block in turn, until a round is expected to lower the objective by less than a share of it, or after so many
    /// rounds; their number.
    pub(super) fn descend(
        &mut self,
        fit: &mut Fit,
        z: &[f64],
        penalty: Penalty,
        (share, most): (f64, usize),
    ) -> Result<usize, MethodError> {
        let k = self.solver.k;
        let mut outputs = Outputs {
            z: (0..k).map(|k0| z.iter().skip(k0).step_by(k).copied().collect()).collect(),
            e: Vec::new(),
            top: Vec::new(),
        };
        for round in 0..most {
            self.solver.design.go_on()?;
            self.exponentials(&mut outputs);
            self.renew(&outputs)?;
            let mut decrease = 0.0;
            for block in 0..self.blocks.len() {
                decrease += self.turn(block, fit, &mut outputs, penalty)?;
            }
            if decrease <= share * fit.objective {
                return Ok(round + 1);
            }
        }
        Ok(most)
    }

    fn exponentials(&self, outputs: &mut Outputs) {
        if self.solver.objective.loss != Loss::Softmax {
            return;
        }
        let z = &outputs.z;
        outputs.top = (0..self.n())
            .into_par_iter()
            .with_min_len(CHUNK)
            .map(|row| z.iter().fold(f64::NEG_INFINITY, |most, z| most.max(z[row])))
            .collect();
        let top = &outputs.top;
        outputs.e = z.par_iter().map(|z| z.iter().zip(top).map(|(z, top)| (z - top).exp()).collect()).collect();
    }

    /// What is taken off the output of a row before its loss is that of one output: see [`Loss::of_one`].
    fn offset(outputs: &Outputs, output: usize, row: usize) -> f64 {
        if outputs.e.is_empty() {
            return 0.0;
        }
        let others: f64 = outputs.e.iter().enumerate().filter(|(of, _)| *of != output).map(|(_, e)| e[row]).sum();
        outputs.top[row] + others.max(f64::MIN_POSITIVE).ln()
    }

    /// Makes the quadratics of blocks whose curvature has moved.
    fn renew(&mut self, outputs: &Outputs) -> Result<(), MethodError> {
        let objective = &self.solver.objective;
        let blocks = std::mem::take(&mut self.blocks);
        let renewed: Vec<Result<Block, MethodError>> = blocks
            .into_par_iter()
            .map(|mut block| {
                let z = &outputs.z[block.output];
                let curvature: Vec<f64> = (0..z.len())
                    .map(|row| {
                        let y = objective.targets.value(row, block.output);
                        let z = z[row] - Self::offset(outputs, block.output, row);
                        objective.weight(row) * objective.loss.of_one(z, y).2
                    })
                    .collect();
                if block.quadratic.as_ref().is_none_or(|quadratic| quadratic.moved(&curvature) > STALE) {
                    let columns = block.columns.iter().map(|&column| self.column(column));
                    let columns = columns.collect::<Result<Vec<_>, _>>()?;
                    block.quadratic = Some(Quadratic::new(&columns, curvature));
                }
                Ok(block)
            })
            .collect();
        self.blocks = renewed.into_iter().collect::<Result<_, _>>()?;
        Ok(())
    }

    /// Moves the weights of a block and the bias of its output to the minimum of the quadratic, or as far towards it as
    /// the objective goes down; by how much that should be.
    fn turn(&self, block: usize, fit: &mut Fit, outputs: &mut Outputs, penalty: Penalty) -> Result<f64, MethodError> {
        let block = &self.blocks[block];
        let (output, k, n) = (block.output, self.solver.k, self.n());
        let objective = &self.solver.objective;
        let of_row = |z: f64, row: usize| {
            let (loss, slope, _) = objective.loss.of_one(z, objective.targets.value(row, output));
            (objective.weight(row) * loss, objective.weight(row) * slope)
        };
        let mut at = vec![0.0; n];
        let mut slopes = vec![0.0_f32; n];
        let z = &outputs.z[output];
        let sums: Vec<(f64, f64)> = at
            .par_chunks_mut(CHUNK)
            .zip(slopes.par_chunks_mut(CHUNK))
            .enumerate()
            .map(|(chunk, (at, slopes))| {
                let mut sums = (0.0, 0.0);
                for (place, (at, to)) in at.iter_mut().zip(slopes).enumerate() {
                    let row = chunk * CHUNK + place;
                    *at = z[row] - Self::offset(outputs, output, row);
                    let (loss, slope) = of_row(*at, row);
                    *to = slope as f32;
                    sums = (sums.0 + loss, sums.1 + slope);
                }
                sums
            })
            .collect();
        let before: f64 = sums.iter().map(|sums| sums.0).sum::<f64>() / n as f64;
        let slope_of = |&column: &usize| Ok(dot(&self.column(column)?, &slopes) / n as f64);
        let mut g: Vec<f64> = block.columns.par_iter().map(slope_of).collect::<Result<_, MethodError>>()?;
        g.push(sums.iter().map(|sums| sums.1).sum::<f64>() / n as f64);
        let w: Vec<f64> = block.columns.iter().map(|column| fit.weights[column * k + output]).collect();
        let Some(quadratic) = &block.quadratic else { return Ok(0.0) };
        let to = quadratic.minimum(&g, &w, penalty);
        let moves: Vec<f64> = to[..w.len()].iter().zip(&w).map(|(to, w)| to - w).collect();
        let shift = to[w.len()];
        let linear: f64 = g.iter().zip(moves.iter().chain([&shift])).map(|(g, by)| g * by).sum();
        let (held, new) = (penalty.of(&w), penalty.of(&to[..w.len()]));
        let decrease = -(linear + new - held);
        if decrease <= 1e-16 * before.abs() || decrease.is_nan() {
            return Ok(0.0);
        }
        let moved = self.product(&block.columns, &moves, shift)?;
        let mut share = 1.0;
        for _ in 0..20 {
            let losses: Vec<f64> = at
                .par_chunks(CHUNK)
                .zip(moved.par_chunks(CHUNK))
                .enumerate()
                .map(|(chunk, (at, moved))| {
                    let rows = at.iter().zip(moved).enumerate();
                    rows.map(|(place, (at, by))| of_row(at + share * by, chunk * CHUNK + place).0).sum()
                })
                .collect();
            let after = losses.iter().sum::<f64>() / n as f64;
            let there: Vec<f64> = w.iter().zip(&moves).map(|(w, by)| w + share * by).collect();
            let noise = 1e-14 * before.abs();
            if after - before + penalty.of(&there) - held <= -0.01 * share * decrease + noise {
                for (&column, w) in block.columns.iter().zip(there) {
                    fit.weights[column * k + output] = w;
                }
                fit.bias[output] += share * shift;
                let z = &mut outputs.z[output];
                z.iter_mut().zip(&moved).for_each(|(z, by)| *z += share * by);
                if let Some(e) = outputs.e.get_mut(output) {
                    // A row of which one output has grown this much is certain already.
                    let exp = |(z, top): (&f64, &f64)| (z - top).min(600.0).exp();
                    e.iter_mut().zip(z.iter().zip(&outputs.top)).for_each(|(e, of_row)| *e = exp(of_row));
                }
                return Ok(share * decrease);
            }
            share *= 0.5;
        }
        Ok(0.0)
    }
}
