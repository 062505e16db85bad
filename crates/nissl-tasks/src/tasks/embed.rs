//! Vectors of texts, as a folder of the sentence-transformers library says they are made.

use std::path::{Path, PathBuf};

use ndarray::{Array2, ArrayView1, ArrayView2, Axis, concatenate, s};
use nissl_core::{Batch, Model, Progress};
use nissl_model::{LanguageModel, LoadOptions, Pooling, SentenceVectors, resolve};
use serde::{Deserialize, Serialize};

use crate::error::TaskError;
use crate::output::write_whole;
use crate::report::{Head, head};
use crate::tasks::sites::ModelSummary;

/// One sentence about the task.
pub const SUMMARY: &str = "Make vectors of texts, and say how alike they are";

/// Tokens that are run at a time.
const BATCH: usize = 4096;

/// Texts of which all pairs are compared at most.
pub const COMPARED: usize = 64;

/// Which texts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Folder or Hub name of a model with the library's `modules.json`, or a file of a format that is for this.
    pub model: String,
    /// How it is loaded.
    pub load: LoadOptions,
    /// The texts.
    pub texts: Vec<String>,
    /// A file of more of them, one a line.
    pub file: Option<PathBuf>,
    /// A file for the vectors: NumPy's `.npy`, `[n_texts, width]`, 32-bit floats. The report then has none.
    pub out: Option<PathBuf>,
}

/// The vectors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Task, version and config.
    #[serde(flatten)]
    pub head: Head<Config>,
    /// The model.
    pub model: ModelSummary,
    /// What is done with the vectors of a text's tokens; the results stand side by side.
    pub poolings: Vec<String>,
    /// Whether vectors are of length 1.
    pub normalized: bool,
    /// Numbers of a vector.
    pub width: usize,
    /// One entry a text.
    pub texts: Vec<TextReport>,
    /// The cosines of all pairs of texts, where there are two to [`COMPARED`] of them.
    pub cosines: Option<Vec<Vec<f64>>>,
}

/// A text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextReport {
    /// The text.
    pub text: String,
    /// Its tokens, with special ones.
    pub tokens: usize,
    /// How many of them were cut off.
    pub cut: usize,
    /// Its vector, unless the vectors are in a file.
    pub vector: Option<Vec<f32>>,
}

/// Makes the vectors.
///
/// # Errors
/// If there is no text, if the model, its tokenizer or a file cannot be read, if its folder does not say how vectors are
/// made, or if the file for them cannot be written.
pub fn run(config: &Config, progress: &dyn Progress) -> Result<Report, TaskError> {
    if config.model.is_empty() {
        return Err(TaskError::config("model", "a folder or a Hub name", "nothing"));
    }
    let is_npy = |path: &Path| path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("npy"));
    if let Some(path) = config.out.as_deref().filter(|path| !is_npy(path)) {
        return Err(TaskError::config("out", "a file .npy", path.display().to_string()));
    }
    let texts = texts(config)?;
    let folder = resolve(&config.model, progress)?.folder;
    let Some(vectors) = SentenceVectors::from_folder(&folder)? else {
        let got = format!("{}, which has none", config.model);
        return Err(TaskError::config("model", "a folder with modules.json, which says how vectors are made", got));
    };
    progress.stage("load the model", None, "models");
    let model = LanguageModel::load_with(&config.model, &config.load, progress)?;
    let encoded = model.tokenizer()?.encode_batch(&texts)?;
    let read: Vec<Vec<u32>> = encoded.iter().map(|text| vectors.tokens(&model, text)).collect();
    let matrix = of_batches(&model, &vectors, &read, progress)?;
    if let Some(out) = &config.out {
        write_npy(out, &matrix)?;
    }
    let report = |idx: usize| TextReport {
        text: texts[idx].clone(),
        tokens: encoded[idx].len(),
        cut: encoded[idx].len() - read[idx].len(),
        vector: config.out.is_none().then(|| matrix.row(idx).to_vec()),
    };
    let compares = (2..=COMPARED).contains(&texts.len());
    Ok(Report {
        head: head("embed", config),
        model: ModelSummary::of(model.info()),
        poolings: vectors.poolings.iter().map(|pooling| name(*pooling).to_owned()).collect(),
        normalized: vectors.normalized,
        width: matrix.ncols(),
        texts: (0..texts.len()).map(report).collect(),
        cosines: compares.then(|| cosines(&matrix.view())),
    })
}

fn texts(config: &Config) -> Result<Vec<String>, TaskError> {
    let mut texts = config.texts.clone();
    if let Some(path) = &config.file {
        let text = std::fs::read_to_string(path).map_err(|source| TaskError::io("read", path, source))?;
        texts.extend(text.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned));
    }
    if texts.is_empty() {
        return Err(TaskError::config("texts", "a text, or a file of them", "none"));
    }
    Ok(texts)
}

/// The vectors of texts, `[n_texts, width]`, a batch of some tokens at a time.
fn of_batches(
    model: &LanguageModel,
    vectors: &SentenceVectors,
    texts: &[Vec<u32>],
    progress: &dyn Progress,
) -> Result<Array2<f32>, TaskError> {
    progress.stage("run the model", Some(texts.len() as u64), "texts");
    let mut parts = Vec::new();
    let mut done = 0;
    while done < texts.len() {
        let mut batch = Batch::new();
        while let Some(text) = texts.get(done)
            && (batch.n_sentences() == 0 || batch.n_tokens() + text.len() <= BATCH)
        {
            batch.push(text);
            done += 1;
        }
        parts.push(vectors.of(model, &batch)?);
        progress.step(done as u64);
        if progress.cancelled() {
            return Err(TaskError::Cancelled { resume: "nothing was written".to_owned() });
        }
    }
    let parts: Vec<ArrayView2<'_, f32>> = parts.iter().map(|part| part.view()).collect();
    Ok(concatenate(Axis(0), &parts).expect("vectors of one width, and at least one"))
}

/// The cosines of all pairs of rows; 0 with a row of zeros.
fn cosines(rows: &ArrayView2<'_, f32>) -> Vec<Vec<f64>> {
    let rows = rows.mapv(f64::from);
    let length = |row: ArrayView1<'_, f64>| row.dot(&row).sqrt();
    let of = |(a, b): (usize, usize)| {
        let (x, y) = (rows.slice(s![a, ..]), rows.slice(s![b, ..]));
        let lengths = length(x) * length(y);
        if lengths > 0.0 { x.dot(&y) / lengths } else { 0.0 }
    };
    (0..rows.nrows()).map(|a| (0..rows.nrows()).map(|b| of((a, b))).collect()).collect()
}

fn name(pooling: Pooling) -> &'static str {
    match pooling {
        Pooling::First => "first token",
        Pooling::Last => "last token",
        Pooling::Mean => "mean",
        Pooling::MeanSqrtLen => "sum by the root of the length",
        Pooling::Max => "maximum",
    }
}

/// Writes a matrix of 32-bit floats as NumPy does: a header of a multiple of 64 bytes, then the rows.
fn write_npy(path: &Path, matrix: &Array2<f32>) -> Result<(), TaskError> {
    let (rows, columns) = matrix.dim();
    let mut header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {columns}), }}");
    // Before it stand ten bytes: the name of the format, its version, and the length of what follows, with a line break.
    let padding = (10 + header.len() + 1).next_multiple_of(64) - (10 + header.len() + 1);
    header.extend(std::iter::repeat_n(' ', padding));
    header.push('\n');
    write_whole(path, |file| {
        use std::io::Write;
        file.write_all(b"\x93NUMPY\x01\0")?;
        file.write_all(&(header.len() as u16).to_le_bytes())?;
        file.write_all(header.as_bytes())?;
        matrix.iter().try_for_each(|value| file.write_all(&value.to_le_bytes()))
    })
}

#[cfg(test)]
mod tests;
