//! What the first neurons of an order tell, whoever made it: fresh probes on them, beside random ones.

use nissl_core::{Context, LabeledActivations, MethodError};
use serde::{Deserialize, Serialize};

use super::chosen::ChosenNeurons;
use super::classes::Classes;
use super::inference::Interval;
use super::parts::{Parts, split};
use super::split::Part;
use super::trained::{NAME, Run, TrainOptions};
use crate::random::Random;

/// What the first neurons of some orders tell of the classes of rows that were held out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Judged {
    /// Labeled rows to fit on, to choose by, to report on.
    pub rows: [usize; 3],
    /// Accuracy of the most frequent class.
    pub majority: f64,
    /// Accuracy with all neurons.
    pub all: Interval,
    /// That minus the accuracy of a control task with all neurons; none where words are not known.
    pub selectivity: Option<f64>,
    /// Random neurons, one entry a number of neurons.
    pub random: Vec<AtRandom>,
    /// Of each order one entry a number of neurons.
    pub orders: Vec<Vec<First>>,
}

/// The first neurons of an order.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct First {
    /// Number of neurons.
    pub k: usize,
    /// Accuracy with them.
    pub accuracy: Interval,
    /// That minus the accuracy of a control task with the same neurons; none where words are not known.
    pub selectivity: Option<f64>,
}

/// Random neurons.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AtRandom {
    /// Number of neurons.
    pub k: usize,
    /// Mean accuracy over the draws.
    pub mean: f64,
    /// Lowest of them.
    pub low: f64,
    /// Highest of them.
    pub high: f64,
}

/// Fits fresh probes on the first `options.k` columns of each order, and on as many random ones.
///
/// All see the same split; of the options those of the linear model, the split, `k`, `random_sets`, `controls` (one at most
/// is fitted) and `draws` count.
///
/// # Errors
/// If an option or the labels do not fit, the activations cannot be read, or the user stops it.
///
/// # Panics
/// If an order has a column that is not there.
pub fn judge(
    data: LabeledActivations<'_>,
    options: &TrainOptions,
    orders: &[Vec<usize>],
    ctx: Context<'_>,
) -> Result<Judged, MethodError> {
    options.linear.check(NAME)?;
    let classes = Classes::new(data.labels, NAME, options.min_count, ctx)?;
    let of_split = split(data, options.split, ctx, NAME)?;
    let parts = Parts::new(&of_split, |row| classes.of[row].is_some(), &[Part::Train, Part::Dev, Part::Test], NAME)?;
    let of: Vec<u32> = parts.rows.iter().filter_map(|&row| classes.of[row]).collect();
    let run = Run { data, options: options.clone(), ctx, parts, n_classes: classes.n };
    let n_neurons = data.x.neurons().len();
    let sizes: Vec<usize> = options.k.iter().copied().filter(|&k| k > 0 && k < n_neurons).collect();
    let control = run.controls(&of).into_iter().next();
    let n_fits = 1 + sizes.len() * (orders.len() + options.random_sets);
    ctx.progress.stage("fitting probes on few neurons", Some(n_fits as u64), "probes");
    let mut done = 0;
    let mut judged = |columns: Option<&[usize]>, with_control: bool| {
        let fitted = |of: &[u32]| match columns {
            Some(columns) => run.fitted(&ChosenNeurons::new(data.x, columns), of),
            None => run.fitted(data.x, of),
        };
        let accuracy = run.interval(&fitted(&of)?);
        let control = match &control {
            Some(control) if with_control => Some(fitted(control)?.accuracy(Part::Test)),
            _ => None,
        };
        done += 1;
        ctx.progress.step(done);
        Ok::<_, MethodError>((accuracy, control.map(|control| accuracy.value - control)))
    };
    let (all, selectivity) = judged(None, true)?;
    let mut of_orders = Vec::new();
    for order in orders {
        let mut firsts = Vec::new();
        for &k in &sizes {
            let (accuracy, selectivity) = judged(Some(&order[..k.min(order.len())]), true)?;
            firsts.push(First { k, accuracy, selectivity });
        }
        of_orders.push(firsts);
    }
    let mut source = Random::new(options.split.seed);
    let mut random = Vec::new();
    for &k in &sizes {
        let mut of_draws = Vec::new();
        for _ in 0..options.random_sets {
            let mut columns: Vec<usize> = (0..n_neurons).collect();
            source.shuffle(&mut columns);
            of_draws.push(judged(Some(&columns[..k]), false)?.0.value);
        }
        if let (Some(low), Some(high)) =
            (of_draws.iter().copied().reduce(f64::min), of_draws.iter().copied().reduce(f64::max))
        {
            random.push(AtRandom { k, mean: of_draws.iter().sum::<f64>() / of_draws.len() as f64, low, high });
        }
    }
    Ok(Judged {
        rows: [Part::Train, Part::Dev, Part::Test].map(|part| run.parts.of(part).len()),
        majority: run.majority(&of),
        all,
        selectivity,
        random,
        orders: of_orders,
    })
}

#[cfg(test)]
mod tests;
