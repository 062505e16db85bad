//! A probe on disk: numbers as safetensors, names as JSON.

use std::fs;
use std::path::{Path, PathBuf};

use ndarray::Array2;
use nissl_core::{Concept, NeuronId};
use nissl_methods::probes::{Loss, Probe};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};

use crate::error::TaskError;
use crate::output::{write_json, write_whole};

const NUMBERS: &str = "probe.safetensors";
const NAMES: &str = "probe.json";

/// A line of the predictions.
#[derive(Serialize)]
pub(super) struct Prediction<'a> {
    /// Row of the store.
    pub(super) row: usize,
    /// Its word.
    pub(super) word: &'a str,
    /// The class; none for a number.
    pub(super) prediction: Option<&'a str>,
    /// All outputs: logits, or the number.
    pub(super) outputs: Vec<f64>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Names {
    /// Version of the form of these files.
    format: u32,
    loss: Loss,
    concepts: Vec<Concept>,
    neurons: Vec<NeuronId>,
}

/// Writes a probe into a folder; the files that were written.
///
/// # Errors
/// If a file cannot be written.
pub(super) fn save(folder: &Path, probe: &Probe) -> Result<Vec<PathBuf>, TaskError> {
    let weights: Vec<u8> = probe.weights.iter().flat_map(|w| w.to_le_bytes()).collect();
    let bytes = |values: &[f64]| -> Vec<u8> { values.iter().flat_map(|value| value.to_le_bytes()).collect() };
    let (bias, mean, inverse) = (bytes(&probe.bias), bytes(&probe.mean), bytes(&probe.inverse_deviation));
    let (k, d) = probe.weights.dim();
    let view = |dtype, shape, data| TensorView::new(dtype, shape, data).expect("as many bytes as the shape says");
    let tensors = [
        ("weights", view(Dtype::F32, vec![k, d], &weights)),
        ("bias", view(Dtype::F64, vec![k], &bias)),
        ("mean", view(Dtype::F64, vec![d], &mean)),
        ("inverse_deviation", view(Dtype::F64, vec![d], &inverse)),
    ];
    let path = folder.join(NUMBERS);
    let bytes = safetensors::serialize(tensors, None).map_err(|err| wrong(&path, "a probe", err.to_string()))?;
    write_whole(&path, |file| std::io::Write::write_all(file, &bytes))?;
    let names = folder.join(NAMES);
    let (concepts, neurons) = (probe.concepts.clone(), probe.neurons.clone());
    write_json(&names, &Names { format: 1, loss: probe.loss, concepts, neurons })?;
    Ok(vec![path, names])
}

/// Reads a probe back, bit for bit.
///
/// # Errors
/// If a file cannot be read, or the two do not belong together.
pub(super) fn load(folder: &Path) -> Result<Probe, TaskError> {
    let path = folder.join(NAMES);
    let text = fs::read(&path).map_err(|source| TaskError::io("read", &path, source))?;
    let names: Names =
        serde_json::from_slice(&text).map_err(|err| wrong(&path, "the names of a probe", err.to_string()))?;
    if names.format != 1 {
        return Err(wrong(&path, "format 1", format!("format {}", names.format)));
    }
    if !names.neurons.is_sorted_by(|a, b| a < b) {
        return Err(wrong(&path, "neurons in ascending order", "another order"));
    }
    let path = folder.join(NUMBERS);
    let bytes = fs::read(&path).map_err(|source| TaskError::io("read", &path, source))?;
    let tensors =
        SafeTensors::deserialize(&bytes).map_err(|err| wrong(&path, "a safetensors file", err.to_string()))?;
    let (k, d) = (names.concepts.len(), names.neurons.len());
    let tensor = |name: &str, dtype: Dtype, shape: &[usize]| {
        let tensor = tensors.tensor(name).map_err(|err| wrong(&path, &format!("a tensor {name}"), err.to_string()))?;
        if tensor.dtype() == dtype && tensor.shape() == shape {
            Ok(tensor.data().to_vec())
        } else {
            let got = format!("{:?} {:?}", tensor.dtype(), tensor.shape());
            Err(wrong(&path, &format!("{name} as {dtype:?} {shape:?}"), got))
        }
    };
    let numbers = |name: &str, n: usize| -> Result<Vec<f64>, TaskError> {
        let data = tensor(name, Dtype::F64, &[n])?;
        let values: Vec<f64> =
            data.chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().expect("eight bytes"))).collect();
        finite(&path, name, &values)?;
        Ok(values)
    };
    let weights: Vec<f32> = tensor("weights", Dtype::F32, &[k, d])?
        .chunks_exact(4)
        .map(|b| f32::from_le_bytes(b.try_into().expect("four bytes")))
        .collect();
    finite(&path, "weights", &weights.iter().map(|&w| w as f64).collect::<Vec<_>>())?;
    Ok(Probe {
        concepts: names.concepts,
        loss: names.loss,
        neurons: names.neurons,
        mean: numbers("mean", d)?,
        inverse_deviation: numbers("inverse_deviation", d)?,
        weights: Array2::from_shape_vec((k, d), weights).expect("the shape was checked"),
        bias: numbers("bias", k)?,
    })
}

fn finite(path: &Path, name: &str, values: &[f64]) -> Result<(), TaskError> {
    match values.iter().find(|value| !value.is_finite()) {
        Some(value) => Err(wrong(path, "finite numbers", format!("{value} in {name}"))),
        None => Ok(()),
    }
}

fn wrong(path: &Path, expected: &str, got: impl Into<String>) -> TaskError {
    TaskError::Format { path: path.to_owned(), expected: expected.to_owned(), got: got.into() }
}
