//! A linear probe: fitted on a store and judged, or applied to another.

use std::path::PathBuf;

use nissl_core::{Activations, Context, LabeledActivations, Labels, Progress, TextRows};
use nissl_methods::probes::inference::{Interval, bootstrap};
use nissl_methods::probes::{
    ControlSample, Evaluation, LinearOptions, Loss, Probe, SplitOptions, TrainOptions, Trained, regress, train,
};
use nissl_store::Store;
use serde::{Deserialize, Serialize};

use crate::error::TaskError;
use crate::labels::labels;
use crate::output::{write_json, write_whole};
use crate::report::{Head, head};
use crate::select::recorded;
use crate::tasks::extract::StoreSummary;
use crate::tasks::rank::{Best, open_store};

mod file;

/// One sentence about the task.
pub const SUMMARY: &str = "Fit a linear probe on a store and judge it, or apply one to another store";

/// Name of the report in the output's folder.
const REPORT: &str = "report.json";

/// What to fit or apply.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Folder of the store.
    pub store: PathBuf,
    /// Folder of a saved probe, to be applied; one is fitted if `None`.
    pub probe: Option<PathBuf>,
    /// The concepts, see [`nissl_data::ConceptSource`]; with a saved probe, what its predictions are compared with.
    pub concepts: Vec<String>,
    /// A file of concepts.
    pub concepts_file: Option<PathBuf>,
    /// The names of the labels are numbers, and are to be predicted as such.
    pub numeric: bool,
    /// Only these sites; all that are recorded if empty.
    pub sites: Vec<String>,
    /// What is minimized on a row.
    pub loss: Loss,
    /// Penalty of the sizes of the weights.
    pub lambda1: f64,
    /// Penalty of the squares of the weights.
    pub lambda2: f64,
    /// So many values of `lambda1` are tried on held-out rows; 0 takes it as it is.
    pub path: usize,
    /// Every class weighs the same.
    pub balanced: bool,
    /// Duality gap at which to stop, as a share of the objective.
    pub tolerance: f64,
    /// Steps at most.
    pub max_steps: usize,
    /// Concepts with fewer rows are left out.
    pub min_count: usize,
    /// Shares of the rows, seed, and whether words are kept apart.
    pub split: SplitOptions,
    /// Control tasks.
    pub controls: usize,
    /// What control labels are drawn from.
    pub control_sample: ControlSample,
    /// Numbers of best neurons that fresh probes are fitted on.
    pub k: Vec<usize>,
    /// Draws of as many random neurons.
    pub random_sets: usize,
    /// Share of the accuracy that the smallest set of neurons may cost.
    pub minimal_loss: f64,
    /// Draws of the sentences for intervals.
    pub draws: usize,
    /// Best neurons a concept in the report.
    pub top: usize,
    /// Folder for the probe or its predictions, and for the report; nothing is written if `None`.
    pub out: Option<PathBuf>,
    /// Bytes for activations.
    pub memory: usize,
}

impl Default for Config {
    fn default() -> Self {
        let TrainOptions {
            linear: LinearOptions { loss, lambda1, lambda2, balanced, tolerance, max_steps },
            split,
            min_count,
            controls,
            control_sample,
            k,
            random_sets,
            minimal_loss,
            draws,
            path,
        } = TrainOptions::default();
        Self {
            store: PathBuf::new(),
            probe: None,
            concepts: Vec::new(),
            concepts_file: None,
            numeric: false,
            sites: Vec::new(),
            loss,
            lambda1,
            lambda2,
            path,
            balanced,
            tolerance,
            max_steps,
            min_count,
            split,
            controls,
            control_sample,
            k,
            random_sets,
            minimal_loss,
            draws,
            top: 10,
            out: None,
            memory: Context::MEMORY,
        }
    }
}

/// A probe and what it reaches.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Task, version and config.
    #[serde(flatten)]
    pub head: Head<Config>,
    /// The store.
    pub store: StoreSummary,
    /// What the outputs stand for.
    pub concepts: Vec<String>,
    /// Neurons that the probe was given.
    pub neurons: usize,
    /// What a fitted probe of classes reaches.
    pub evaluation: Option<Evaluation>,
    /// What a fitted probe of a number reaches.
    pub regression: Option<Regression>,
    /// What an applied probe says.
    pub applied: Option<Applied>,
    /// The neurons with the largest weights of each output.
    pub top: Vec<Top>,
    /// What was written.
    pub files: Vec<PathBuf>,
}

/// What a probe of a number reaches.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Regression {
    /// Rows to fit on, to choose by, to report on.
    pub rows: [usize; 3],
    /// Mean square of what it is off, plus penalties.
    pub objective: f64,
    /// How far that is above the minimum at most.
    pub gap: Option<f64>,
    /// Share of the variance that is explained.
    pub r2: Interval,
}

/// What an applied probe says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Applied {
    /// Rows.
    pub rows: usize,
    /// Rows predicted as each concept.
    pub predicted: Vec<usize>,
    /// Rows with a label to compare with.
    pub labeled: usize,
    /// Share of those that are right; none where there is nothing to compare with.
    pub accuracy: Option<Interval>,
}

/// The neurons of one output.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Top {
    /// The concept.
    pub name: String,
    /// The neurons, the largest weight first.
    pub neurons: Vec<Best>,
}

/// Fits a probe, or applies a saved one.
///
/// # Errors
/// If the store or the probe cannot be read, a concept is unknown or leaves nothing to learn, a neuron of the probe is not
/// in the store, a file cannot be written, or the user stops it.
pub fn run(config: &Config, progress: &dyn Progress) -> Result<Report, TaskError> {
    let store = open_store(&config.store)?;
    let x = recorded(&store, &config.sites)?;
    let text = store.text()?;
    let labels = labels(&store, &config.concepts, config.concepts_file.as_deref())?;
    let ctx = Context { memory: config.memory, progress };
    let rows = Rows { store: &store, x: &x, text: &text, labels: &labels };
    match &config.probe {
        Some(folder) => rows.apply(config, &file::load(folder)?, ctx),
        None => rows.fit(config, ctx),
    }
}

/// What a probe is fitted on or applied to.
struct Rows<'a> {
    store: &'a Store,
    x: &'a dyn Activations,
    text: &'a TextRows,
    labels: &'a Labels,
}

impl Rows<'_> {
    fn fit(&self, config: &Config, ctx: Context<'_>) -> Result<Report, TaskError> {
        if self.labels.concepts().is_empty() {
            let columns: Vec<&str> = self.store.label_columns().collect();
            let expected = format!("at least one; label columns of this store: {}", columns.join(", "));
            return Err(TaskError::config("concepts", expected, "none"));
        }
        let data = LabeledActivations::new(self.x, self.labels)?.with_text(self.text)?;
        let options = options(config);
        let (probe, evaluation, regression) = if config.numeric {
            let name = config.concepts.join(", ");
            let found = regress(data, (&name, &numbers(self.labels)?), &options, ctx)?;
            let regression = Regression { rows: found.rows, objective: found.objective, gap: found.gap, r2: found.r2 };
            (found.probe, None, Some(regression))
        } else {
            let Trained { probe, evaluation, .. } = train(data, &options, ctx)?;
            (probe, Some(evaluation), None)
        };
        let mut report = self.report(config, &probe);
        (report.evaluation, report.regression) = (evaluation, regression);
        if let Some(out) = &config.out {
            report.files = file::save(out, &probe)?;
            report.files.push(out.join(REPORT));
            write_json(&out.join(REPORT), &report)?;
        }
        Ok(report)
    }

    fn apply(&self, config: &Config, probe: &Probe, ctx: Context<'_>) -> Result<Report, TaskError> {
        let z = probe.outputs(self.x, ctx)?;
        let classes = probe.classes(&z);
        let mut predicted = vec![0; probe.concepts.len()];
        for &class in &classes {
            predicted[class] += 1;
        }
        // A row is compared where it has a label that the probe knows, or where the probe has a class for those without.
        let without = probe.concepts.iter().position(|concept| concept.name.starts_with("not "));
        let names = self.labels.concepts();
        let truth = |row: usize| match self.labels.of(row) {
            [] => without.filter(|_| !names.is_empty()),
            of => of.iter().find_map(|&id| probe.concepts.iter().position(|c| c.name == names[id as usize].name)),
        };
        let (mut groups, mut last, mut labeled) = (Vec::new(), None, 0);
        for (row, &class) in classes.iter().enumerate() {
            let Some(truth) = truth(row) else { continue };
            labeled += 1;
            let sentence = self.text.sentence_of()[row];
            if last != Some(sentence) {
                last = Some(sentence);
                groups.push(vec![0.0, 0.0]);
            }
            let group = groups.last_mut().expect("one was just pushed");
            group[0] += f64::from(u8::from(truth == class));
            group[1] += 1.0;
        }
        let right = |sums: &[f64]| sums[0] / sums[1].max(1.0);
        let is_number = probe.loss == Loss::Squared;
        let accuracy = (labeled > 0 && !is_number).then(|| bootstrap(&groups, right, config.draws, config.split.seed));
        let mut report = self.report(config, probe);
        report.applied = Some(Applied { rows: classes.len(), predicted, labeled, accuracy });
        if let Some(out) = &config.out {
            let path = out.join("predictions.jsonl");
            write_whole(&path, |file| {
                for (row, (class, z)) in classes.iter().zip(z.outer_iter()).enumerate() {
                    let said = file::Prediction {
                        row,
                        word: self.text.word(row),
                        prediction: (!is_number).then(|| probe.concepts[*class].name.as_str()),
                        outputs: z.to_vec(),
                    };
                    serde_json::to_writer(&mut *file, &said)?;
                    std::io::Write::write_all(file, b"\n")?;
                }
                Ok(())
            })?;
            report.files = vec![path, out.join(REPORT)];
            write_json(&out.join(REPORT), &report)?;
        }
        Ok(report)
    }

    fn report(&self, config: &Config, probe: &Probe) -> Report {
        let top = |(output, concept): (usize, &nissl_core::Concept)| {
            let weights = probe.weights.row(output);
            let mut order: Vec<usize> = (0..weights.len()).filter(|&neuron| weights[neuron] != 0.0).collect();
            order.sort_by(|&a, &b| weights[b].abs().total_cmp(&weights[a].abs()).then_with(|| a.cmp(&b)));
            order.truncate(config.top);
            let best = |&neuron: &usize| Best {
                name: probe.neurons[neuron],
                score: weights[neuron].abs(),
                sign: Some(if weights[neuron] > 0.0 { 1 } else { -1 }),
                p: None,
                q: None,
            };
            Top { name: concept.name.clone(), neurons: order.iter().map(best).collect() }
        };
        Report {
            head: head("probe", config),
            store: StoreSummary::of(&config.store, self.store),
            concepts: probe.concepts.iter().map(|concept| concept.name.clone()).collect(),
            neurons: probe.neurons.len(),
            evaluation: None,
            regression: None,
            applied: None,
            top: probe.concepts.iter().enumerate().map(top).collect(),
            files: Vec::new(),
        }
    }
}

fn options(config: &Config) -> TrainOptions {
    let Config { loss, lambda1, lambda2, balanced, tolerance, max_steps, .. } = *config;
    TrainOptions {
        linear: LinearOptions { loss, lambda1, lambda2, balanced, tolerance, max_steps },
        split: config.split,
        min_count: config.min_count,
        controls: config.controls,
        control_sample: config.control_sample,
        k: config.k.clone(),
        random_sets: config.random_sets,
        minimal_loss: config.minimal_loss,
        draws: config.draws,
        path: config.path,
    }
}

/// The number that each row's label names.
fn numbers(labels: &Labels) -> Result<Vec<Option<f64>>, TaskError> {
    let number = |name: &str| {
        let text = name.rsplit('=').next().unwrap_or(name).trim();
        text.parse::<f64>().map_err(|_| TaskError::config("concepts", "labels that are numbers", format!("'{text}'")))
    };
    let of_concept: Vec<f64> = labels.concepts().iter().map(|c| number(&c.name)).collect::<Result<_, _>>()?;
    Ok((0..labels.n_tokens()).map(|row| labels.of(row).first().map(|&id| of_concept[id as usize])).collect())
}

#[cfg(test)]
mod tests;
