//! What a training leaves on disk: saved steps that appear whole or not at all, and at the end the model.

use std::fs;
use std::path::{Path, PathBuf};

use nissl_model::{Step, Trainer};
use serde::{Deserialize, Serialize};

use super::Config;
use crate::error::TaskError;
use crate::output::write_json;

/// Points of the training loss that are kept.
const POINTS: u64 = 500;

/// How the loss went.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct History {
    /// Means over some steps each.
    pub points: Vec<Point>,
    /// Measurements on held-out windows.
    pub held_out: Vec<Evaluation>,
    /// The sum of the losses since the last point, and their number.
    pub open: (f64, u64),
}

/// The loss over the steps since the point before.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Point {
    /// The last of the steps.
    pub step: u64,
    /// Their mean loss, nats a token.
    pub loss: f64,
    /// The last learning rate.
    pub learning_rate: f64,
    /// The last norm of the gradient.
    pub gradient_norm: f64,
}

/// A measurement on held-out windows.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evaluation {
    /// Steps made.
    pub step: u64,
    /// Mean cross-entropy, nats a token.
    pub loss: f64,
}

impl History {
    /// Adds a step; `step` counts it too.
    pub(super) fn add(&mut self, step: u64, steps: u64, done: &Step, learning_rate: f64) {
        self.open = (self.open.0 + done.loss, self.open.1 + 1);
        if step.is_multiple_of(steps.div_ceil(POINTS)) || step == steps {
            let loss = self.open.0 / self.open.1 as f64;
            self.points.push(Point { step, loss, learning_rate, gradient_norm: done.gradient_norm });
            self.open = (0.0, 0);
        }
    }
}

/// The folder of a training.
pub(super) struct Kept<'a> {
    config: &'a Config,
}

/// What lies beside a saved step.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Saved {
    config: Config,
    history: History,
}

/// The file of [`Saved`].
const TRAINING: &str = "training.json";

impl<'a> Kept<'a> {
    /// Opens the folder; refuses one with a training of another config, unless it may be overwritten.
    pub(super) fn open(config: &'a Config) -> Result<Self, TaskError> {
        let kept = Self { config };
        fs::create_dir_all(&config.out).map_err(|err| TaskError::io("create", &config.out, err))?;
        if config.force {
            for (_, folder) in kept.saved()? {
                remove(&folder)?;
            }
            remove(&config.out.join("model"))?;
        }
        Ok(kept)
    }

    /// The newest saved step and its history; none if the training has not begun.
    pub(super) fn latest(&self) -> Result<Option<(PathBuf, History)>, TaskError> {
        let model = self.config.out.join("model");
        let newest =
            if model.join(TRAINING).exists() { Some(model) } else { self.saved()?.pop().map(|(_, path)| path) };
        let Some(folder) = newest else { return Ok(None) };
        let path = folder.join(TRAINING);
        let text = fs::read_to_string(&path).map_err(|err| TaskError::io("read", &path, err))?;
        let saved: Saved = serde_json::from_str(&text).map_err(|err| TaskError::Format {
            path,
            expected: "a saved training".to_owned(),
            got: err.to_string(),
        })?;
        self.same(&saved.config)?;
        Ok(Some((folder, saved.history)))
    }

    /// Refuses to go on with a config that would not end where the saved one does.
    fn same(&self, saved: &Config) -> Result<(), TaskError> {
        let plain = |config: &Config| {
            let free = Config { out: PathBuf::new(), force: false, keep_all: false, save_every: 1, ..config.clone() };
            serde_json::to_value(free).expect("a config is a plain struct")
        };
        let (have, want) = (plain(saved), plain(self.config));
        let differs = have.as_object().into_iter().flatten().find(|(field, value)| want[field.as_str()] != **value);
        match differs {
            None => Ok(()),
            Some((field, value)) => Err(TaskError::OtherConfig {
                path: self.config.out.clone(),
                what: field.clone(),
                expected: value.to_string(),
                got: want[field.as_str()].to_string(),
            }),
        }
    }

    /// Saves a step; the one before goes, unless all are kept.
    pub(super) fn save(&self, trainer: &Trainer, history: &History) -> Result<(), TaskError> {
        let before = self.saved()?;
        let folder = self.config.out.join(format!("step-{:08}", trainer.steps()));
        self.write(trainer, history, &folder)?;
        if !self.config.keep_all {
            for (_, old) in before.iter().filter(|(_, old)| *old != folder) {
                remove(old)?;
            }
        }
        Ok(())
    }

    /// Saves the end as `model`; saved steps go, unless all are kept.
    pub(super) fn finish(&self, trainer: &Trainer, history: &History) -> Result<PathBuf, TaskError> {
        let folder = self.config.out.join("model");
        if !folder.join(TRAINING).exists() {
            self.write(trainer, history, &folder)?;
        }
        if !self.config.keep_all {
            for (_, old) in self.saved()? {
                remove(&old)?;
            }
        }
        Ok(folder)
    }

    /// Writes a model, its optimizer and its history beside `folder`, and moves them there when all is whole.
    fn write(&self, trainer: &Trainer, history: &History, folder: &Path) -> Result<(), TaskError> {
        let partial = folder.with_extension("partial");
        remove(&partial)?;
        fs::create_dir_all(&partial).map_err(|err| TaskError::io("create", &partial, err))?;
        trainer.save_model(&partial)?;
        trainer.save_optimizer(&partial)?;
        let saved = Saved { config: self.config.clone(), history: history.clone() };
        write_json(&partial.join(TRAINING), &saved)?;
        remove(folder)?;
        fs::rename(&partial, folder).map_err(|err| TaskError::io("write", folder, err))
    }

    /// The saved steps in their order.
    fn saved(&self) -> Result<Vec<(u64, PathBuf)>, TaskError> {
        let failed = |err| TaskError::io("read", &self.config.out, err);
        let mut saved = Vec::new();
        for entry in fs::read_dir(&self.config.out).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if let Some(step) = name.strip_prefix("step-").and_then(|step| step.parse().ok()) {
                saved.push((step, entry.path()));
            }
        }
        saved.sort();
        Ok(saved)
    }
}

/// Removes a folder, if it is there.
fn remove(folder: &Path) -> Result<(), TaskError> {
    match fs::remove_dir_all(folder) {
        Err(err) if err.kind() != std::io::ErrorKind::NotFound => Err(TaskError::io("remove", folder, err)),
        _ => Ok(()),
    }
}
