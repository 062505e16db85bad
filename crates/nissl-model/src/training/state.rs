//! A training on disk: a model folder as any other, and beside it what AdamW remembers.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::Path;

use nissl_core::NoProgress;
use safetensors::Dtype;
use safetensors::tensor::{TensorView, serialize_to_file};
use serde_json::Value;

use super::Trainer;
use crate::checkpoint::Checkpoint;
use crate::error::LoadError;

/// The file of the optimizer's moments: `mean.NAME` and `square.NAME` of every parameter, and `steps`.
const OPTIMIZER: &str = "optimizer.safetensors";

impl Trainer {
    /// Writes config.json, tokenizer.json and model.safetensors, all values as 32-bit floats, into a folder that
    /// exists: a model that can be loaded here and elsewhere.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn save_model(&self, folder: &Path) -> Result<(), LoadError> {
        write(&folder.join("config.json"), &self.config)?;
        if let Ok(tokenizer) = self.tokenizer.get() {
            write(&folder.join("tokenizer.json"), tokenizer.to_json()?.as_bytes())?;
        }
        let mut tensors = Vec::new();
        for name in self.checkpoint.names() {
            let tensor = self.checkpoint.tensor(name)?;
            tensors.push((name.to_owned(), tensor.shape.to_vec(), tensor.bytes));
        }
        write_tensors(&folder.join("model.safetensors"), tensors)
    }

    /// Writes what [`Trainer::resume`] needs beside the model.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn save_optimizer(&self, folder: &Path) -> Result<(), LoadError> {
        // Whole numbers up to 2^24 are exact in a 32-bit float, and two of them hold any number of steps.
        let steps = [(self.moments.steps >> 24) as f32, (self.moments.steps & 0xff_ffff) as f32];
        let mut tensors = vec![("steps".to_owned(), vec![2], bytemuck::cast_slice(&steps))];
        for (name, (mean, square)) in &self.moments.of {
            tensors.push((format!("mean.{name}"), vec![mean.len()], bytemuck::cast_slice(mean)));
            tensors.push((format!("square.{name}"), vec![square.len()], bytemuck::cast_slice(square)));
        }
        write_tensors(&folder.join(OPTIMIZER), tensors)
    }

    /// A training that [`Trainer::save_model`] and [`Trainer::save_optimizer`] left in a folder; it goes on as if it
    /// had never stopped.
    ///
    /// # Errors
    /// If a file is missing or damaged, or the moments do not fit the model.
    pub fn resume(folder: &Path) -> Result<Self, LoadError> {
        let mut trainer = Self::load(&folder.display().to_string(), &NoProgress)?;
        let saved = Checkpoint::open(&folder.join(OPTIMIZER))?;
        let steps = saved.f32("steps", &[2])?;
        trainer.moments.steps = ((steps[0] as u64) << 24) + steps[1] as u64;
        for name in saved.names().filter_map(|name| name.strip_prefix("mean.")) {
            let n = trainer.checkpoint.tensor(name)?.shape.iter().product();
            let mean = saved.f32(&format!("mean.{name}"), &[n])?.into_owned();
            let square = saved.f32(&format!("square.{name}"), &[n])?.into_owned();
            trainer.moments.of.insert(name.to_owned(), (mean, square));
        }
        Ok(trainer)
    }
}

/// A config that says that its weights are 32-bit floats.
pub(super) fn in_f32(config: &[u8]) -> Vec<u8> {
    let Ok(Value::Object(mut fields)) = serde_json::from_slice(config) else { return config.to_vec() };
    for field in ["torch_dtype", "dtype"] {
        if let Some(dtype) = fields.get_mut(field) {
            *dtype = "float32".into();
        }
    }
    let mut config = Value::Object(fields).to_string().into_bytes();
    config.push(b'\n');
    config
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), LoadError> {
    let written = (|| {
        let mut file = fs::File::create(path)?;
        io::Write::write_all(&mut file, bytes)?;
        file.sync_all()
    })();
    written.map_err(|source| LoadError::Io { path: path.to_owned(), source })
}

fn write_tensors(path: &Path, tensors: Vec<(String, Vec<usize>, &[u8])>) -> Result<(), LoadError> {
    let failed = |source| LoadError::Io { path: path.to_owned(), source };
    let view = |(name, shape, bytes)| {
        (name, TensorView::new(Dtype::F32, shape, bytes).expect("as many bytes as the shape says"))
    };
    // transformers asks for this word.
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    serialize_to_file(tensors.into_iter().map(view), Some(metadata), path).map_err(|err| match err {
        safetensors::SafeTensorError::IoError(err) => failed(err),
        other => failed(io::Error::other(other)),
    })?;
    fs::File::open(path).and_then(|file| file.sync_all()).map_err(failed)
}
