//! One linear probe for all sets of neurons, and the distribution over sets with which it does best.
//!
//! N rows to fit on, C neurons, K classes. A step takes a batch of rows, draws two sets of neurons for each, and moves
//! the weights θ by the slope of the cross-entropy, the logarithms φ of the neurons' weights in the distribution by the
//! slope of its expectation (the score function, a row's sets against each other) and of the entropy. Rows and columns are
//! gone through in the order of what is in them, so that neither order changes what is drawn.

use std::borrow::Cow;

use nissl_core::MethodError;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::design::{Design, PIECE};
use super::linear::loss::softmax;
use super::masks::{ConditionalPoisson, Poisson};
use crate::adam::Adam;
use crate::random::mix;

mod pick;

pub(crate) use pick::pick;

/// From which sets of neurons a probe learns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Masks {
    /// Each neuron is in or not, by itself.
    #[default]
    Poisson,
    /// Sets of a size that is drawn first, all sizes alike.
    ConditionalPoisson,
    /// All neurons, always: an ordinary probe.
    All,
}

/// How the probe is fitted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct LatentOptions {
    pub(crate) masks: Masks,
    pub(crate) steps: usize,
    /// Rows of a step, each with two sets.
    pub(crate) batch: usize,
    pub(crate) rate: f64,
    /// Weight of the distribution's entropy.
    pub(crate) eta: f64,
    pub(crate) lambda1: f64,
    pub(crate) lambda2: f64,
    /// Looks at the held-out tenth without a better objective after which to stop.
    pub(crate) patience: usize,
    pub(crate) seed: u64,
}

/// Steps between two looks at the held-out rows.
const LOOK: usize = 10;

/// The columns of a design in the order of what is in them.
pub(crate) struct Ordered<'a> {
    design: &'a Design<'a>,
    /// The columns, `[C]`.
    pub(crate) order: Vec<usize>,
    /// Pieces of [`PIECE`] of them where they fit into memory, `[n_rows, columns]` column by column.
    held: Option<Vec<Vec<f32>>>,
}

impl<'a> Ordered<'a> {
    /// Orders the columns by their values.
    ///
    /// # Errors
    /// If the activations cannot be read or the user stops it.
    pub(crate) fn new(design: &'a Design<'a>) -> Result<Self, MethodError> {
        let n = design.n_rows().max(1);
        let key = |column: &[f32]| column.iter().fold(0, |key, value| mix(key ^ u64::from((value + 0.0).to_bits())));
        let pieces = design.map_pieces(|_, piece| piece.chunks(n).map(key).collect::<Vec<u64>>())?;
        let keys: Vec<u64> = pieces.into_iter().flatten().collect();
        let mut order: Vec<usize> = (0..design.n_columns()).collect();
        order.sort_by_key(|&column| (keys[column], column));
        let mut all = Self { design, order, held: None };
        let bytes = n * design.n_columns() * size_of::<f32>();
        if design.is_held() && bytes <= design.ctx().memory / 5 * 2 {
            let piece = |idx| Ok(all.piece(idx)?.into_owned());
            all.held = Some((0..all.n_pieces()).map(piece).collect::<Result<_, MethodError>>()?);
        }
        Ok(all)
    }

    fn n_pieces(&self) -> usize {
        self.order.len().div_ceil(PIECE)
    }

    fn piece(&self, idx: usize) -> Result<Cow<'_, [f32]>, MethodError> {
        if let Some(held) = &self.held {
            return Ok(Cow::Borrowed(&held[idx]));
        }
        self.design.gathered(&self.order[idx * PIECE..self.order.len().min((idx + 1) * PIECE)])
    }

    /// Calls `map` with the number and the values of every column, piece by piece; answers in order.
    fn map<T: Send>(&self, map: impl Fn(usize, &[f32]) -> T + Send + Sync) -> Result<Vec<T>, MethodError> {
        let n = self.design.n_rows().max(1);
        let one = |idx: usize| {
            let piece = self.piece(idx)?;
            Ok(piece.chunks(n).enumerate().map(|(place, column)| map(idx * PIECE + place, column)).collect())
        };
        self.design.go_on()?;
        let pieces: Vec<Result<Vec<T>, MethodError>> = if self.held.is_some() {
            (0..self.n_pieces()).into_par_iter().map(one).collect()
        } else {
            (0..self.n_pieces()).map(one).collect()
        };
        let mut all = Vec::with_capacity(self.order.len());
        for piece in pieces {
            all.extend(piece?);
        }
        Ok(all)
    }
}

/// Weights and bias of the probe, and the logarithms of the neurons' weights in the distribution.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Latent {
    /// `[C, K]`, the neurons in the order of [`Ordered`].
    pub(crate) theta: Vec<f64>,
    /// `[K]`.
    pub(crate) bias: Vec<f64>,
    /// `[C]`.
    pub(crate) phi: Vec<f64>,
    /// Steps taken.
    pub(crate) steps: usize,
    /// Cross-entropy of the held-out rows under drawn sets, less the entropy's part, plus penalties, in nats.
    pub(crate) objective: f64,
}

/// Sets of neurons, one for each row of a batch.
struct Sets {
    words: usize,
    /// `[rows, words]`.
    bits: Vec<u64>,
    /// Logarithm of the chance of each.
    log_density: Vec<f64>,
    /// Neurons in each.
    sizes: Vec<usize>,
}

impl Sets {
    fn has(&self, place: usize, neuron: usize) -> bool {
        self.bits[place * self.words + neuron / 64] >> (neuron % 64) & 1 == 1
    }
}

/// A distribution over sets, as it is in one step.
enum Drawn<'a> {
    Poisson(Vec<f64>, Poisson<'a>),
    Conditional(ConditionalPoisson<'a>),
    All,
}

impl<'a> Drawn<'a> {
    fn new(masks: Masks, phi: &'a [f64]) -> Self {
        match masks {
            Masks::Poisson => Self::Poisson(Poisson::new(phi).inclusion(), Poisson::new(phi)),
            Masks::ConditionalPoisson => Self::Conditional(ConditionalPoisson::new(phi)),
            Masks::All => Self::All,
        }
    }

    fn entropy(&self) -> f64 {
        match self {
            Self::Poisson(_, poisson) => poisson.entropy(),
            Self::Conditional(conditional) => conditional.entropy(),
            Self::All => 0.0,
        }
    }

    /// A set for each of `n` rows, `key` the step's.
    fn sets(&self, phi: &[f64], n: usize, key: u64) -> Sets {
        let c = phi.len();
        let words = c.div_ceil(64).max(1);
        let draw = |row: usize| {
            let mut bits = vec![0_u64; words];
            let row_key = mix(key ^ mix(row as u64));
            let (mut sum, mut size, mut n_drawn) = (0.0, 0, 0);
            let mut uniform = || {
                n_drawn += 1;
                (mix(row_key.wrapping_add(n_drawn)) >> 11) as f64 / (1_u64 << 53) as f64
            };
            let mut take = |neuron: usize| {
                bits[neuron / 64] |= 1 << (neuron % 64);
                sum += phi[neuron];
                size += 1;
            };
            let log_density = match self {
                Self::All => {
                    (0..c).for_each(&mut take);
                    0.0
                }
                Self::Poisson(inclusion, _) => {
                    (0..c).filter(|&neuron| uniform() < inclusion[neuron]).for_each(&mut take);
                    0.0
                }
                Self::Conditional(conditional) => {
                    let wanted = 1 + ((uniform() * c as f64) as usize).min(c - 1);
                    conditional.draw(wanted, uniform, &mut take);
                    conditional.log_density(sum, size)
                }
            };
            (bits, log_density, size)
        };
        let drawn: Vec<(Vec<u64>, f64, usize)> = (0..n).into_par_iter().map(draw).collect();
        let mut sets = Sets { words, bits: Vec::new(), log_density: Vec::new(), sizes: Vec::new() };
        for (bits, log_density, size) in drawn {
            sets.bits.extend(bits);
            sets.log_density.push(log_density);
            sets.sizes.push(size);
        }
        sets
    }
}

/// A fit of classes `of` the rows that the design is fitted on.
pub(crate) struct Fitting<'a> {
    pub(crate) columns: &'a Ordered<'a>,
    pub(crate) of: &'a [u32],
    pub(crate) n_classes: usize,
    pub(crate) options: LatentOptions,
}

impl Fitting<'_> {
    /// Fits; the last tenth of the rows is held out, to say when to stop.
    ///
    /// # Errors
    /// If the activations cannot be read or the user stops it.
    pub(crate) fn run(&self) -> Result<Latent, MethodError> {
        let Self { options, n_classes: k, .. } = *self;
        let (c, n) = (self.columns.order.len(), self.of.len());
        let n_fit = (n - n / 10).max(1);
        let held_out: Vec<usize> = (n_fit..n).collect();
        let mut now = Latent {
            theta: vec![0.0; c * k],
            bias: self.log_shares(n_fit),
            phi: vec![0.0; c],
            steps: 0,
            objective: f64::INFINITY,
        };
        if c == 0 {
            return Ok(now);
        }
        let mut best = now.clone();
        let [mut for_theta, mut for_bias, mut for_phi] = [c * k, k, c].map(|n| Adam::new(n, options.rate));
        let mut since = 0;
        for step in 0..options.steps {
            // Batches are windows that go round and round.
            let first = step * options.batch % n_fit;
            let rows: Vec<usize> = (0..options.batch.min(n_fit)).map(|place| (first + place) % n_fit).collect();
            let slopes = self.slopes(&now, &rows, mix(options.seed ^ mix(2 * step as u64)))?;
            for_theta.step(&mut now.theta, &slopes.theta);
            for_bias.step(&mut now.bias, &slopes.bias);
            for_phi.step(&mut now.phi, &slopes.phi);
            now.steps = step + 1;
            if now.steps.is_multiple_of(LOOK) || now.steps == options.steps {
                now.objective = self.objective(&now, &held_out, mix(options.seed ^ mix(2 * step as u64 + 1)))?;
                since += 1;
                if now.objective < best.objective || held_out.is_empty() {
                    best = now.clone();
                    since = 0;
                }
                if since >= options.patience {
                    break;
                }
            }
        }
        Ok(best)
    }

    /// Logarithms of the classes' shares of the rows to fit on, a row more for each.
    fn log_shares(&self, n_fit: usize) -> Vec<f64> {
        let mut counts = vec![1.0; self.n_classes];
        for &class in &self.of[..n_fit] {
            counts[class as usize] += 1.0;
        }
        let total: f64 = counts.iter().sum();
        counts.iter().map(|count: &f64| (count / total).ln()).collect()
    }

    /// Outputs of some rows with their sets, `[rows, K]`.
    fn outputs(&self, now: &Latent, rows: &[usize], sets: &Sets) -> Result<Vec<f64>, MethodError> {
        let k = self.n_classes;
        // Sums of a piece's columns are joined in order.
        let parts = self.columns.map(|neuron, column| {
            let weights = &now.theta[neuron * k..(neuron + 1) * k];
            let mut z = vec![0.0_f64; rows.len() * k];
            for (place, &row) in rows.iter().enumerate() {
                if sets.has(place, neuron) {
                    let value = f64::from(column[row]);
                    z[place * k..(place + 1) * k].iter_mut().zip(weights).for_each(|(z, w)| *z += w * value);
                }
            }
            z
        })?;
        let mut z: Vec<f64> = rows.iter().flat_map(|_| now.bias.iter().copied()).collect();
        for part in parts {
            z.iter_mut().zip(part).for_each(|(z, part)| *z += part);
        }
        Ok(z)
    }

    /// Cross-entropy of each row, in nats; `z` becomes probabilities less the truth.
    fn losses(&self, rows: &[usize], z: &mut [f64]) -> Vec<f64> {
        let k = self.n_classes;
        let mut p = vec![0.0; k];
        let loss = |(&row, z): (&usize, &mut [f64])| {
            let class = self.of[row] as usize;
            let loss = softmax(z, &mut p) - z[class];
            z.copy_from_slice(&p);
            z[class] -= 1.0;
            loss
        };
        rows.iter().zip(z.chunks_mut(k)).map(loss).collect()
    }

    fn slopes(&self, now: &Latent, rows: &[usize], key: u64) -> Result<Slopes, MethodError> {
        let Self { options, n_classes: k, .. } = *self;
        // Each row twice, with a set of its own each time.
        let rows: Vec<usize> = rows.iter().flat_map(|&row| [row, row]).collect();
        let (n, c) = (rows.len() as f64, now.phi.len());
        let drawn = Drawn::new(options.masks, &now.phi);
        let sets = drawn.sets(&now.phi, rows.len(), key);
        let mut slope = self.outputs(now, &rows, &sets)?;
        let mut cost = self.losses(&rows, &mut slope);
        if matches!(drawn, Drawn::Conditional(_)) {
            // The slope of the entropy, by the same sets.
            cost.iter_mut().zip(&sets.log_density).for_each(|(cost, density)| *cost += options.eta * density);
        }
        let beyond: Vec<f64> = cost.chunks(2).flat_map(|two| [two[0] - two[1], two[1] - two[0]]).collect();
        let of_columns = self.columns.map(|neuron, column| {
            let mut theta = vec![0.0; k];
            let mut phi = 0.0;
            for (place, &row) in rows.iter().enumerate() {
                if sets.has(place, neuron) {
                    let value = f64::from(column[row]);
                    theta.iter_mut().zip(&slope[place * k..]).for_each(|(sum, slope)| *sum += slope * value / n);
                    phi += beyond[place] / n;
                }
            }
            let weights = &now.theta[neuron * k..(neuron + 1) * k];
            let penalty =
                |w: f64| options.lambda1 * f64::from(i8::from(w > 0.0) - i8::from(w < 0.0)) + 2.0 * options.lambda2 * w;
            theta.iter_mut().zip(weights).for_each(|(slope, &w)| *slope += penalty(w));
            (theta, phi)
        })?;
        let (theta, mut phi): (Vec<Vec<f64>>, Vec<f64>) = of_columns.into_iter().unzip();
        match &drawn {
            // Its chances cancel, as a row's two sets count against each other.
            Drawn::Poisson(_, poisson) => {
                phi.iter_mut().zip(poisson.entropy_slope()).for_each(|(phi, slope)| *phi -= options.eta * slope);
            }
            Drawn::Conditional(conditional) => {
                let mut weight = vec![0.0; c + 1];
                beyond.iter().zip(&sets.sizes).for_each(|(beyond, &size)| weight[size] += beyond / n);
                phi.iter_mut().zip(conditional.inclusion(&weight)).for_each(|(phi, expected)| *phi -= expected);
            }
            Drawn::All => phi.fill(0.0),
        }
        let mut bias = vec![0.0; k];
        for of_row in slope.chunks(k) {
            bias.iter_mut().zip(of_row).for_each(|(sum, slope)| *sum += slope / n);
        }
        Ok(Slopes { theta: theta.into_iter().flatten().collect(), bias, phi })
    }

    fn objective(&self, now: &Latent, rows: &[usize], key: u64) -> Result<f64, MethodError> {
        let options = self.options;
        let drawn = Drawn::new(options.masks, &now.phi);
        let sets = drawn.sets(&now.phi, rows.len(), key);
        let mut z = self.outputs(now, rows, &sets)?;
        let loss = self.losses(rows, &mut z).iter().sum::<f64>() / rows.len().max(1) as f64;
        let penalty: f64 = now.theta.iter().map(|w| options.lambda1 * w.abs() + options.lambda2 * w * w).sum();
        Ok(loss - options.eta * drawn.entropy() + penalty)
    }
}

struct Slopes {
    theta: Vec<f64>,
    bias: Vec<f64>,
    phi: Vec<f64>,
}

#[cfg(test)]
mod tests;
