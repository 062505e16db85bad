//! Climbs along a neuron's gradient.

use ndarray::{Array2, ArrayViewMut1};
use nissl_core::{Batch, Edit, EditSpec, HookPlan, MethodError, Positions, Units};
use rayon::prelude::*;

use super::table::{Table, first_largest};
use super::{Found, Optimizer, Texts};
use crate::random::{Random, mix};

/// Adam's memory of gradients, and of their squares.
const MEMORY: (f64, f64) = (0.9, 0.999);
/// What keeps it from dividing by 0.
const EPS: f64 = 1e-16;

/// Climbs from several beginnings, all at once: row i of a variable is place i % words of climb i / words.
pub(super) struct Climb<'a> {
    texts: &'a Texts<'a>,
    table: &'a Table,
    optimizer: Optimizer,
    /// Vectors `[rows, width]` from the mean on, or weights `[rows, n_tokens]` before what makes them one.
    x: Array2<f32>,
    /// Adam's mean gradient.
    first: Array2<f32>,
    /// Adam's mean square: of each value, or of each row.
    second: Array2<f32>,
    random: Random,
}

impl<'a> Climb<'a> {
    pub(super) fn new(texts: &'a Texts<'a>, table: &'a Table, optimizer: Optimizer) -> Self {
        let how = texts.how;
        let n_rows = how.restarts * how.words;
        let mut random = Random::new(mix(how.seed ^ (optimizer as u64) << 32));
        let width = if optimizer == Optimizer::Embfree { table.width() } else { table.n_tokens() };
        let mut x = Array2::zeros((n_rows, width));
        for (idx, mut row) in x.outer_iter_mut().enumerate() {
            match optimizer {
                Optimizer::Embfree => {
                    let token = random.below(table.n_tokens());
                    row.assign(&table.row(idx % how.words, token));
                }
                // So many together are as far from the mean as an embedding.
                Optimizer::Logits => {
                    let share = 1.0 / (table.n_tokens() as f64).sqrt();
                    row.mapv_inplace(|_| (random.normal() * share) as f32);
                }
                _ => row.mapv_inplace(|_| random.normal() as f32),
            }
        }
        let second = if is_free(optimizer) { (n_rows, 1) } else { (n_rows, width) };
        Self { texts, table, optimizer, first: Array2::zeros(x.dim()), second: Array2::zeros(second), x, random }
    }

    /// The best text of all climbs.
    pub(super) fn run(mut self) -> Result<Found, MethodError> {
        let how = self.texts.how;
        let stage = match self.optimizer {
            Optimizer::Embfree => "climb with free vectors",
            Optimizer::Logits => "climb with free weights",
            Optimizer::Softmax => "climb with a softmax",
            _ => "climb with a softmax and noise",
        };
        self.texts.ctx.progress.stage(stage, Some(how.steps as u64), "steps");
        let mut best: Option<Found> = None;
        let (mut curve, mut idle) = (Vec::new(), 0);
        for step in 0..=how.steps {
            self.texts.go_on()?;
            let (relaxed, gradient) = self.look(step)?;
            if step % how.every == 0 || step == how.steps {
                let better = self.judge(&relaxed, &mut best)?;
                idle = if better { 0 } else { idle + 1 };
                curve.push(best.as_ref().map_or(0.0, |found| found.activation));
                if idle >= how.patience {
                    break;
                }
            }
            if step < how.steps {
                self.climb(&gradient, step + 1);
            }
            self.texts.ctx.progress.step(step as u64);
        }
        let best = best.expect("the first texts were looked at");
        Ok(Found { curve, ..best })
    }

    /// Runs the nearest texts; whether one is the best so far.
    fn judge(&self, relaxed: &[f64], best: &mut Option<Found>) -> Result<bool, MethodError> {
        let Texts { how, tokens, sign, .. } = self.texts;
        let nearest = |row: usize| match self.optimizer {
            Optimizer::Embfree => self.table.nearest(row % how.words, &self.x.row(row)),
            _ => first_largest(self.x.row(row).iter().copied()),
        };
        let chosen: Vec<u32> = (0..self.x.nrows()).into_par_iter().map(|row| tokens.allowed[nearest(row)]).collect();
        let found: Vec<Vec<u32>> = chosen.chunks(how.words).map(<[u32]>::to_vec).collect();
        let mut better = false;
        for (origin, answer) in self.texts.answers(&found)?.into_iter().enumerate() {
            if best.as_ref().is_none_or(|best| sign * answer > sign * best.activation) {
                better = true;
                *best = Some(Found {
                    optimizer: self.optimizer,
                    tokens: found[origin].clone(),
                    activation: answer,
                    relaxed: Some(relaxed[origin]),
                    origin,
                    curve: Vec::new(),
                });
            }
        }
        Ok(better)
    }

    /// What the neuron answers the relaxed texts, one value a climb, and how that changes with the variable.
    fn look(&mut self, step: usize) -> Result<(Vec<f64>, Array2<f32>), MethodError> {
        let how = self.texts.how;
        match self.optimizer {
            Optimizer::Embfree => self.gradient(&self.x),
            Optimizer::Logits => {
                let (values, gradient) = self.gradient(&self.table.mix(&self.x))?;
                Ok((values, self.table.unmix(&gradient)))
            }
            Optimizer::Softmax => self.through_softmax(&self.x, 1.0),
            _ => {
                let cooled = step as f64 / how.steps as f64;
                let temperature = how.hot * (how.cold / how.hot).powf(cooled);
                let (mut values, mut gradient) = (vec![0.0; how.restarts], Array2::zeros(self.x.dim()));
                for _ in 0..how.draws {
                    let mut noisy = self.x.clone();
                    // A uniform number is never 1 and, where it is 0, as good as the next above.
                    let gumbel = |random: &mut Random| -(-random.uniform().max(f64::EPSILON).ln()).ln();
                    noisy.mapv_inplace(|value| value + gumbel(&mut self.random) as f32);
                    let (own, part) = self.through_softmax(&noisy, temperature)?;
                    values.iter_mut().zip(own).for_each(|(sum, own)| *sum += own / how.draws as f64);
                    gradient.scaled_add(1.0 / how.draws as f32, &part);
                }
                Ok((values, gradient))
            }
        }
    }

    /// The same of mixtures whose weights are softmax(x / temperature); the gradient with respect to x.
    fn through_softmax(&self, x: &Array2<f32>, temperature: f64) -> Result<(Vec<f64>, Array2<f32>), MethodError> {
        let mut weights = x.clone();
        let rows: Vec<ArrayViewMut1<'_, f32>> = weights.outer_iter_mut().collect();
        rows.into_par_iter().for_each(|mut row| softmax(&mut row, temperature));
        let (values, gradient) = self.gradient(&self.table.mix(&weights))?;
        let mut slopes = self.table.unmix(&gradient);
        let rows: Vec<_> = slopes.outer_iter_mut().zip(weights.outer_iter()).collect();
        rows.into_par_iter().for_each(|(mut slopes, weights)| {
            let mean: f64 =
                slopes.iter().zip(weights).map(|(&slope, &weight)| f64::from(slope) * f64::from(weight)).sum();
            let scale = |slope: &mut f32, weight: &f32| {
                *slope = ((f64::from(*slope) - mean) * f64::from(*weight) / temperature) as f32;
            };
            slopes.zip_mut_with(&weights, scale);
        });
        Ok((values, slopes))
    }

    /// What the neuron answers each climb's vectors `[rows, width]`, from the mean on, and how that changes with them.
    fn gradient(&self, vectors: &Array2<f32>) -> Result<(Vec<f64>, Array2<f32>), MethodError> {
        let Texts { how, tokens, model, objective, .. } = self.texts;
        // Its tokens are put out of force by the vectors.
        let sentence = self.texts.sentence(&vec![tokens.allowed[0]; how.words]);
        let batch = Batch::from_sentences(vec![sentence; how.restarts]);
        let row = |idx: usize| batch.rows(idx / how.words).start + tokens.before.len() + idx % how.words;
        let rows: Vec<usize> = (0..vectors.nrows()).map(row).collect();
        let values = vectors.outer_iter().enumerate().flat_map(|(idx, vector)| {
            let sum = &vector + &self.table.mean(idx % how.words);
            sum.to_vec()
        });
        let edit = EditSpec {
            point: self.table.point,
            units: Units::All,
            positions: Positions::Rows(rows.clone()),
            edit: Edit::Patch { values: values.collect() },
            when: None,
        };
        let plan = HookPlan { edits: vec![edit], ..HookPlan::default() };
        let found = model.gradients(&batch, &plan, std::slice::from_ref(objective), &[self.table.point])?;
        Ok((found.values, found.sites[&self.table.point].select(ndarray::Axis(0), &rows)))
    }

    /// A step of Adam, uphill.
    fn climb(&mut self, gradient: &Array2<f32>, step: usize) {
        let (how, free) = (self.texts.how, is_free(self.optimizer));
        let rate = match self.optimizer {
            // Both move a row by a share of what an embedding is.
            Optimizer::Embfree => how.rate * self.table.size,
            Optimizer::Logits => how.rate * (self.table.width() as f64).sqrt() / self.table.n_tokens() as f64,
            _ => how.rate,
        };
        let sign = self.texts.sign;
        let corrected = [MEMORY.0, MEMORY.1].map(|memory| 1.0 - memory.powi(step as i32));
        let rows = self.x.outer_iter_mut().zip(self.first.outer_iter_mut()).zip(self.second.outer_iter_mut());
        let rows: Vec<_> = rows.zip(gradient.outer_iter()).collect();
        rows.into_par_iter().for_each(|(((mut x, mut first), mut second), gradient)| {
            let mean_square =
                gradient.iter().map(|&slope| f64::from(slope).powi(2)).sum::<f64>() / gradient.len() as f64;
            for (idx, &slope) in gradient.iter().enumerate() {
                let slope = sign * f64::from(slope);
                let of = if free { 0 } else { idx };
                first[idx] = (MEMORY.0 * f64::from(first[idx]) + (1.0 - MEMORY.0) * slope) as f32;
                if !free || idx == 0 {
                    let square = if free { mean_square } else { slope * slope };
                    second[of] = (MEMORY.1 * f64::from(second[of]) + (1.0 - MEMORY.1) * square) as f32;
                }
                let size = (f64::from(second[of]) / corrected[1]).sqrt() + EPS;
                x[idx] += (rate * f64::from(first[idx]) / corrected[0] / size) as f32;
            }
        });
    }
}

/// Whether nothing holds the variable together: then a row is scaled as a whole.
fn is_free(optimizer: Optimizer) -> bool {
    matches!(optimizer, Optimizer::Embfree | Optimizer::Logits)
}

/// A row becomes softmax(row / temperature).
fn softmax(row: &mut ArrayViewMut1<'_, f32>, temperature: f64) {
    let most = row.iter().fold(f32::NEG_INFINITY, |most, &value| most.max(value));
    let mut sum = 0.0;
    row.mapv_inplace(|value| {
        let weight = (f64::from(value - most) / temperature).exp();
        sum += weight;
        weight as f32
    });
    row.mapv_inplace(|weight| (f64::from(weight) / sum) as f32);
}
