//! A linear probe that is fitted, judged and kept.

use ndarray::Array2;
use nissl_core::{Activations, Concept, Context, LabeledActivations, MethodError, NeuronId, Progress};
use serde::{Deserialize, Serialize};

use super::chosen::ChosenNeurons;
use super::classes::Classes;
use super::control::{ControlSample, control_classes};
use super::design::Design;
use super::inference::{Interval, bootstrap};
use super::linear::solver::{Fit, Penalty, Solver, outputs};
use super::linear::{LinearOptions, Loss};
use super::metrics::{Confusion, largest_output, right};
use super::ordering::{Ordering, ordering};
use super::parts::{Parts, split};
use super::split::{Leakage, Part, SplitOptions};
use super::targets::Targets;
use crate::random::Random;

/// What errors and notes call it.
pub(super) const NAME: &str = "probe";

/// Classes of a linear model of standardized activations.
#[derive(Clone, Debug, PartialEq)]
pub struct Probe {
    /// What each output stands for, `[n_outputs]`.
    pub concepts: Vec<Concept>,
    /// How outputs are read.
    pub loss: Loss,
    /// The neurons, `[n_neurons]`, in ascending order.
    pub neurons: Vec<NeuronId>,
    /// Their means over the rows that were fitted on.
    pub mean: Vec<f64>,
    /// One over their standard deviations there; 0 for a constant one.
    pub inverse_deviation: Vec<f64>,
    /// Weights of the standardized neurons, `[n_outputs, n_neurons]`.
    pub weights: Array2<f32>,
    /// One for each output.
    pub bias: Vec<f64>,
}

impl Probe {
    /// The outputs of all rows, `[n_tokens, n_outputs]`. Only neurons with a weight are read.
    ///
    /// # Errors
    /// [`MethodError::MissingNeuron`] if the activations lack one; or if they cannot be read or are not finite.
    pub fn outputs(&self, x: &dyn Activations, ctx: Context<'_>) -> Result<Array2<f64>, MethodError> {
        let used = |place: &usize| self.weights.column(*place).iter().any(|&w| w != 0.0);
        let places: Vec<usize> = (0..self.neurons.len()).filter(used).collect();
        let find = |&place: &usize| {
            let neuron = self.neurons[place];
            x.neurons().binary_search(&neuron).map_err(|_| MethodError::MissingNeuron { neuron })
        };
        let columns = places.iter().map(find).collect::<Result<Vec<usize>, _>>()?;
        let (n, k) = (x.n_tokens(), self.bias.len());
        let mut z = Array2::from_shape_fn((n, k), |(_, output)| self.bias[output]);
        ctx.progress.stage("applying the probe", Some(columns.len() as u64), "neurons");
        let mut values = Array2::zeros((n, 1));
        for (done, (&place, &column)) in places.iter().zip(&columns).enumerate() {
            if ctx.progress.cancelled() {
                return Err(MethodError::Cancelled);
            }
            x.read(0..n, column..column + 1, values.view_mut())?;
            if let Some(row) = values.iter().position(|value: &f32| !value.is_finite()) {
                return Err(MethodError::NotFinite { neuron: self.neurons[place], row, value: values[[row, 0]] });
            }
            for (mut z, &value) in z.outer_iter_mut().zip(values.iter()) {
                let value = (value as f64 - self.mean[place]) * self.inverse_deviation[place];
                z.iter_mut().zip(self.weights.column(place)).for_each(|(z, &w)| *z += w as f64 * value);
            }
            ctx.progress.step(done as u64 + 1);
        }
        Ok(z)
    }

    /// The class of each row, of outputs `[n_rows, n_outputs]`: the largest; of equal ones the first.
    pub fn classes(&self, outputs: &Array2<f64>) -> Vec<usize> {
        outputs.outer_iter().map(|z| largest_output(&z.to_vec())).collect()
    }
}

/// How a probe is fitted and judged.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainOptions {
    /// Loss and penalties.
    pub linear: LinearOptions,
    /// How rows are split.
    pub split: SplitOptions,
    /// Concepts with fewer rows are left out.
    pub min_count: usize,
    /// Control tasks that are fitted; they need the words.
    pub controls: usize,
    /// What control labels are drawn from.
    pub control_sample: ControlSample,
    /// Numbers of best neurons that a fresh probe is fitted on.
    pub k: Vec<usize>,
    /// Draws of as many random neurons to compare with.
    pub random_sets: usize,
    /// A set of neurons is small enough that costs no more than this share of the accuracy.
    pub minimal_loss: f64,
    /// Draws of the sentences for intervals.
    pub draws: usize,
    /// So many values of `lambda1` are tried, from where every weight is 0 down to a thousandth of it, each fit
    /// starting from the one before; that with the highest accuracy on the rows to choose by is taken. 0 takes
    /// `lambda1` as it is.
    pub path: usize,
}

impl Default for TrainOptions {
    fn default() -> Self {
        Self {
            linear: LinearOptions::default(),
            split: SplitOptions::default(),
            min_count: 2,
            controls: 1,
            control_sample: ControlSample::Same,
            k: vec![1, 5, 10, 50, 100],
            random_sets: 3,
            minimal_loss: 0.01,
            draws: 1000,
            path: 0,
        }
    }
}

/// What a probe reaches.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evaluation {
    /// Labeled rows to fit on, to choose by, to report on.
    pub rows: [usize; 3],
    /// The fits by which `lambda1` was chosen, if it was.
    pub path: Vec<PathPoint>,
    /// Objective of the fit.
    pub objective: f64,
    /// How far it is above the minimum at most; none without penalties.
    pub gap: Option<f64>,
    /// Whether that is as near as was asked for.
    pub converged: bool,
    /// Neurons with a weight.
    pub neurons: usize,
    /// Accuracy on the rows that were fitted on.
    pub train_accuracy: f64,
    /// Accuracy on the rows to choose by.
    pub dev_accuracy: f64,
    /// Accuracy on the rows to report on.
    pub accuracy: Interval,
    /// Accuracy there of the most frequent class of the rows that were fitted on.
    pub majority: f64,
    /// What word types alone tell there; none where words are not known.
    pub leakage: Option<Leakage>,
    /// Control tasks; none where words are not known.
    pub control: Option<Control>,
    /// Each class on the rows to report on.
    pub classes: Vec<ClassResult>,
    /// Fresh probes on few neurons.
    pub few: Vec<Few>,
    /// The fewest neurons of the ladder whose fresh probe is as good, within the loss allowed, on the rows to choose by.
    pub minimal: Option<Minimal>,
}

/// A fit of the path.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PathPoint {
    /// Penalty of the sizes of the weights.
    pub lambda1: f64,
    /// Neurons with a weight.
    pub neurons: usize,
    /// Accuracy on the rows to choose by.
    pub dev_accuracy: f64,
    /// Objective of the fit.
    pub objective: f64,
    /// How far it is above the minimum at most.
    pub gap: Option<f64>,
}

/// Control tasks: the same probe on a random class for each word type.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Control {
    /// Mean accuracy of the control tasks on the rows to report on.
    pub accuracy: f64,
    /// Accuracy of the task minus that.
    pub selectivity: f64,
    /// Number of control tasks.
    pub repeats: usize,
}

/// A class on the rows to report on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassResult {
    /// The concept.
    pub name: String,
    /// Its rows.
    pub rows: usize,
    /// Share of the rows it was predicted for that have it.
    pub precision: f64,
    /// Share of its rows it was predicted for.
    pub recall: f64,
    /// Harmonic mean of the two.
    pub f1: f64,
    /// Neurons with half of the mass of its weights.
    pub neurons_to_half: usize,
}

/// Fresh probes on the best, on random and on the worst neurons.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Few {
    /// Number of neurons.
    pub k: usize,
    /// Accuracy with the best.
    pub best: Interval,
    /// Mean accuracy with random ones.
    pub random: f64,
    /// Accuracy with the worst.
    pub worst: f64,
    /// Accuracy with the best minus that of the control task with the same neurons.
    pub selectivity: Option<f64>,
}

/// The smallest set of best neurons that suffices.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Minimal {
    /// Number of neurons.
    pub k: usize,
    /// Its share of all neurons.
    pub share: f64,
    /// Accuracy of a fresh probe on them, on the rows to report on.
    pub accuracy: Interval,
}

/// A probe, what it reaches, and its order of the neurons.
#[derive(Clone, Debug, PartialEq)]
pub struct Trained {
    /// The probe.
    pub probe: Probe,
    /// What it reaches.
    pub evaluation: Evaluation,
    /// The neurons by their weights.
    pub ordering: Ordering,
}

/// Shares of the neurons, in percent, that are tried for the smallest set that suffices.
const LADDER: [f64; 21] = [
    0.1, 0.2, 0.3, 0.4, 0.5, 1.0, 2.0, 3.0, 5.0, 7.0, 10.0, 15.0, 20.0, 25.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0,
];

/// Fits a probe on labeled activations and judges it; classes must exclude each other.
///
/// # Errors
/// If an option or the labels do not fit, the activations cannot be read, or the user stops it.
pub fn train(data: LabeledActivations<'_>, options: &TrainOptions, ctx: Context<'_>) -> Result<Trained, MethodError> {
    options.linear.check(NAME)?;
    if options.linear.loss == Loss::Squared {
        let (name, value, expected) = ("loss", "squared".to_owned(), "a loss of classes");
        return Err(MethodError::Parameter { method: NAME, name, value, expected });
    }
    let classes = Classes::new(data.labels, NAME, options.min_count, ctx)?;
    let of_split = split(data, options.split, ctx, NAME)?;
    let parts = Parts::new(&of_split, |row| classes.of[row].is_some(), &[Part::Train, Part::Dev, Part::Test], NAME)?;
    let of: Vec<u32> = parts.rows.iter().filter_map(|&row| classes.of[row]).collect();
    let mut run = Run { data, options: options.clone(), ctx, parts, n_classes: classes.n };
    let path = run.path(&of)?;
    // Of equally good ones the first, which is the sparsest.
    let better = |best: Option<PathPoint>, point: &PathPoint| {
        if best.is_none_or(|best| point.dev_accuracy > best.dev_accuracy) { Some(*point) } else { best }
    };
    if let Some(best) = path.iter().fold(None, better) {
        run.options.linear.lambda1 = best.lambda1;
    }
    ctx.progress.stage("fitting the probe", None, "fits");
    let task = run.fitted(data.x, &of)?;
    let probe = run.probe(&classes, &task);
    let by_class: Vec<Vec<f64>> =
        probe.weights.outer_iter().map(|row| row.iter().map(|&w| w as f64).collect()).collect();
    let ordering = ordering(&by_class, 100);
    let leakage = data.text.map(|text| of_split.leakage(text, data.labels, Part::Test));
    let mut evaluation = Evaluation { path, ..run.evaluate(&task, &of, &classes, leakage, &by_class) };
    let controls = run.controls(&of);
    ctx.progress.stage("fitting control tasks", Some(controls.len() as u64), "fits");
    if !controls.is_empty() {
        let accuracies = controls.iter().map(|control| Ok(run.fitted(data.x, control)?.accuracy(Part::Test)));
        let accuracy = accuracies.sum::<Result<f64, MethodError>>()? / controls.len() as f64;
        let selectivity = evaluation.accuracy.value - accuracy;
        evaluation.control = Some(Control { accuracy, selectivity, repeats: controls.len() });
    }
    run.few(&mut evaluation, &of, controls.first().map(Vec::as_slice), &ordering.order)?;
    run.minimal(&mut evaluation, &of, &ordering.order)?;
    Ok(Trained { probe, evaluation, ordering })
}

/// Passes on whether to stop, and nothing else.
struct Silent<'a>(&'a dyn Progress);

impl Progress for Silent<'_> {
    fn stage(&self, _name: &str, _total: Option<u64>, _unit: &str) {}
    fn step(&self, _done: u64) {}
    fn note(&self, _line: &str) {}
    fn cancelled(&self) -> bool {
        self.0.cancelled()
    }
}

/// What all fits of a run share.
pub(super) struct Run<'a> {
    pub(super) data: LabeledActivations<'a>,
    pub(super) options: TrainOptions,
    pub(super) ctx: Context<'a>,
    pub(super) parts: Parts,
    pub(super) n_classes: usize,
}

/// A fit and what it does on all rows of the parts.
pub(super) struct Task {
    fit: Fit,
    scales: Vec<(f64, f64)>,
    /// Outputs, `[n_rows, n_outputs]`.
    z: Vec<f64>,
    right: Vec<bool>,
    parts: Parts,
}

fn share(right: &[bool]) -> f64 {
    right.iter().filter(|&&right| right).count() as f64 / right.len().max(1) as f64
}

impl Task {
    pub(super) fn accuracy(&self, part: Part) -> f64 {
        share(&self.right[self.parts.range(part)])
    }
}

impl Run<'_> {
    /// A probe of some neurons on the classes `of` the rows of the parts.
    pub(super) fn fitted(&self, x: &dyn Activations, of: &[u32]) -> Result<Task, MethodError> {
        let parts = self.parts.clone();
        // Several fits make one stage.
        let silent = Silent(self.ctx.progress);
        let ctx = Context { progress: &silent, ..self.ctx };
        let design = Design::new(x, ctx, NAME, parts.rows.clone(), parts.n_train)?;
        let fit = self.with_solver(&design, of, |solver| {
            solver.fit(self.options.linear.penalty(), self.options.linear.stop(), None)
        })?;
        let z = outputs(&design, &fit.weights, &fit.bias, 0..parts.rows.len())?;
        let right = right(&z, of);
        Ok(Task { fit, scales: design.scales().to_vec(), z, right, parts })
    }

    /// Runs `work` with the solver of the rows to fit on.
    fn with_solver<T>(
        &self,
        design: &Design<'_>,
        of: &[u32],
        work: impl FnOnce(&Solver<'_>) -> Result<T, MethodError>,
    ) -> Result<T, MethodError> {
        let (of, n) = (of[self.parts.range(Part::Train)].to_vec(), self.n_classes);
        let classes = Targets::Classes { of, n };
        classes.check(NAME)?;
        let weights = classes.balanced().filter(|_| self.options.linear.balanced);
        let loss = self.options.linear.loss;
        let targets = if loss == Loss::Softmax { classes } else { classes.one_by_one() };
        work(&Solver::new(design, loss, &targets, weights.as_deref()))
    }

    /// The fits of the path, the sparsest first.
    fn path(&self, of: &[u32]) -> Result<Vec<PathPoint>, MethodError> {
        if self.options.path == 0 {
            return Ok(Vec::new());
        }
        let parts = &self.parts;
        let design = Design::new(self.data.x, self.ctx, NAME, parts.rows.clone(), parts.n_train)?;
        let (dev, k) = (parts.range(Part::Dev), self.n_classes);
        self.ctx.progress.stage("fitting the path", Some(self.options.path as u64), "fits");
        self.with_solver(&design, of, |solver| {
            let most = solver.l1_of_nothing()?;
            let mut start: Option<Fit> = None;
            let mut points = Vec::new();
            for step in 1..=self.options.path {
                let l1 = most * 1e-3_f64.powf(step as f64 / self.options.path as f64);
                let penalty = Penalty { l1, ..self.options.linear.penalty() };
                let fit = solver.fit(penalty, self.options.linear.stop(), start.as_ref())?;
                let right = right(&outputs(&design, &fit.weights, &fit.bias, dev.clone())?, &of[dev.clone()]);
                points.push(PathPoint {
                    lambda1: l1,
                    neurons: fit.weights.chunks(k).filter(|weights| weights.iter().any(|&w| w != 0.0)).count(),
                    dev_accuracy: share(&right),
                    objective: fit.objective,
                    gap: fit.gap,
                });
                start = Some(fit);
                self.ctx.progress.step(step as u64);
            }
            Ok(points)
        })
    }

    fn probe(&self, classes: &Classes, task: &Task) -> Probe {
        let k = self.n_classes;
        let mut concepts = classes.concepts.clone();
        if concepts.len() < k {
            concepts.push(Concept::new(format!("not {}", concepts[0].name)));
        }
        let neurons = self.data.x.neurons().to_vec();
        let weight = |(output, neuron): (usize, usize)| task.fit.weights[neuron * k + output] as f32;
        Probe {
            concepts,
            loss: self.options.linear.loss,
            weights: Array2::from_shape_fn((k, neurons.len()), weight),
            neurons,
            mean: task.scales.iter().map(|scale| scale.0).collect(),
            inverse_deviation: task.scales.iter().map(|scale| scale.1).collect(),
            bias: task.fit.bias.clone(),
        }
    }

    /// Accuracy, on the rows to report on, of the most frequent class of those that are fitted on.
    pub(super) fn majority(&self, of: &[u32]) -> f64 {
        let mut counts = vec![0_usize; self.n_classes];
        of[self.parts.range(Part::Train)].iter().for_each(|&class| counts[class as usize] += 1);
        let most = counts.iter().copied().max().unwrap_or(0);
        let most = counts.iter().position(|&count| count == most).unwrap_or(0) as u32;
        let test = &of[self.parts.range(Part::Test)];
        test.iter().filter(|&&class| class == most).count() as f64 / test.len().max(1) as f64
    }

    /// Accuracy on the rows to report on, with the interval over their sentences.
    pub(super) fn interval(&self, task: &Task) -> Interval {
        let rows = self.parts.of(Part::Test);
        let right = &task.right[self.parts.range(Part::Test)];
        let sentence = |place: usize| match self.data.text {
            Some(text) => text.sentence_of()[rows[place]] as usize,
            None => place,
        };
        let mut groups: Vec<Vec<f64>> = Vec::new();
        let mut last = None;
        for (place, &right) in right.iter().enumerate() {
            if last != Some(sentence(place)) {
                last = Some(sentence(place));
                groups.push(vec![0.0, 0.0]);
            }
            if let Some(group) = groups.last_mut() {
                group[0] += f64::from(u8::from(right));
                group[1] += 1.0;
            }
        }
        bootstrap(&groups, |sums| sums[0] / sums[1].max(1.0), self.options.draws, self.options.split.seed)
    }

    fn evaluate(
        &self,
        task: &Task,
        of: &[u32],
        classes: &Classes,
        leakage: Option<Leakage>,
        by_class: &[Vec<f64>],
    ) -> Evaluation {
        let test = self.parts.range(Part::Test);
        let k = self.n_classes;
        let confusion = Confusion::new(&task.z[test.start * k..test.end * k], &of[test.clone()], k);
        let halves = super::ordering::top_neurons(by_class, 0.5);
        let class = |(class, concept): (usize, &Concept)| ClassResult {
            name: concept.name.clone(),
            rows: confusion.rows(class),
            precision: confusion.precision(class),
            recall: confusion.recall(class),
            f1: confusion.f1(class),
            neurons_to_half: halves[class].len(),
        };
        let has_weight = |weights: &&[f64]| weights.iter().any(|&w| w != 0.0);
        Evaluation {
            rows: [Part::Train, Part::Dev, Part::Test].map(|part| self.parts.of(part).len()),
            path: Vec::new(),
            objective: task.fit.objective,
            gap: task.fit.gap,
            converged: task.fit.converged,
            neurons: task.fit.weights.chunks(k).filter(has_weight).count(),
            train_accuracy: task.accuracy(Part::Train),
            dev_accuracy: task.accuracy(Part::Dev),
            accuracy: self.interval(task),
            majority: self.majority(of),
            leakage,
            control: None,
            classes: classes.concepts.iter().enumerate().map(class).collect(),
            few: Vec::new(),
            minimal: None,
        }
    }

    /// The classes of each control task, in the order of the rows of the parts.
    pub(super) fn controls(&self, of: &[u32]) -> Vec<Vec<u32>> {
        let Some(text) = self.data.text else { return Vec::new() };
        let sample = self.options.control_sample;
        let one = |repeat: usize| {
            let seed = self.options.split.seed + 1000 + repeat as u64;
            control_classes(text, &self.parts.rows, (of, self.n_classes), sample, seed)
        };
        let is_task = |control: &Vec<u32>| control.iter().any(|&class| class != control[0]);
        (0..self.options.controls).map(one).filter(is_task).collect()
    }

    fn few(
        &self,
        evaluation: &mut Evaluation,
        of: &[u32],
        control: Option<&[u32]>,
        order: &[usize],
    ) -> Result<(), MethodError> {
        let sizes: Vec<usize> = self.options.k.iter().copied().filter(|&k| k > 0 && k < order.len()).collect();
        self.ctx.progress.stage("probes of few neurons", Some(sizes.len() as u64), "sizes");
        let mut random = Random::new(self.options.split.seed);
        for (done, &k) in sizes.iter().enumerate() {
            let fitted = |columns: &[usize], of: &[u32]| self.fitted(&ChosenNeurons::new(self.data.x, columns), of);
            let best = fitted(&order[..k], of)?;
            let worst = fitted(&order[order.len() - k..], of)?.accuracy(Part::Test);
            let mut sum = 0.0;
            for _ in 0..self.options.random_sets {
                let mut all: Vec<usize> = (0..order.len()).collect();
                random.shuffle(&mut all);
                sum += fitted(&all[..k], of)?.accuracy(Part::Test);
            }
            let control = match control {
                Some(control) => Some(fitted(&order[..k], control)?.accuracy(Part::Test)),
                None => None,
            };
            let best = self.interval(&best);
            evaluation.few.push(Few {
                k,
                best,
                random: sum / self.options.random_sets.max(1) as f64,
                worst,
                selectivity: control.map(|control| best.value - control),
            });
            self.ctx.progress.step(done as u64 + 1);
        }
        Ok(())
    }

    fn minimal(&self, evaluation: &mut Evaluation, of: &[u32], order: &[usize]) -> Result<(), MethodError> {
        let wanted = evaluation.dev_accuracy * (1.0 - self.options.minimal_loss);
        let n = order.len();
        let mut sizes: Vec<usize> = LADDER.iter().map(|percent| (percent / 100.0 * n as f64) as usize).collect();
        sizes.retain(|&k| k > 0 && k < n);
        sizes.dedup();
        self.ctx.progress.stage("the fewest neurons that suffice", Some(sizes.len() as u64), "sizes");
        for (done, &k) in sizes.iter().enumerate() {
            let task = self.fitted(&ChosenNeurons::new(self.data.x, &order[..k]), of)?;
            self.ctx.progress.step(done as u64 + 1);
            if task.accuracy(Part::Dev) > wanted {
                let accuracy = self.interval(&task);
                evaluation.minimal = Some(Minimal { k, share: k as f64 / n as f64, accuracy });
                return Ok(());
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
